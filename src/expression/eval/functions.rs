//! Functions: which does what.

use super::super::budget::BYTES_A_STEP;
use super::super::error::{EvalError, Kind};
use super::super::ir::{Function, Node};
use super::super::json::Writer;
use super::super::value::{Blob, Text, Value};
use super::{Eval, Result};
use xxhash_rust::xxh3::xxh3_128;

const HASH_DIGITS: usize = 32;
/// No function takes more.
const MAX_ARGS: usize = 3;

impl<'s> Eval<'s> {
    pub(super) fn call(&mut self, function: Function, nodes: &'s [Node]) -> Result<Value<'s>> {
        let mut args = [const { Value::Null }; MAX_ARGS];
        for (arg, node) in args.iter_mut().zip(nodes) {
            *arg = self.eval(node)?;
        }
        let count = nodes.len();
        let [first, second, third] = &args;
        match function {
            Function::Size => self.size(first),
            Function::Type => Ok(Value::Type(first.kind())),
            Function::Dyn => Ok(first.clone()),
            Function::Int => self.to_int(first),
            Function::Uint => self.to_uint(first),
            Function::Double => self.to_double(first),
            Function::String => self.to_text(first),
            Function::Bytes => self.to_bytes(first),
            Function::Bool => self.to_bool(first),
            Function::Hash => self.hash(first),
            Function::Json => self.json(first),
            Function::Join => self.join(first, (count > 1).then_some(second)),
            Function::Substring => self.substring(first, second, (count > 2).then_some(third)),
            _ => self.of_texts(function, &args),
        }
    }

    /// Functions of which all arguments are text.
    fn of_texts(&self, function: Function, args: &[Value<'s>; MAX_ARGS]) -> Result<Value<'s>> {
        let text = self.needs_text(&args[0])?;
        match function {
            Function::LowerAscii => self.changed(text, str::to_ascii_lowercase),
            Function::UpperAscii => self.changed(text, str::to_ascii_uppercase),
            Function::Trim => self.changed(text, |text| text.trim().to_owned()),
            _ => {
                let other = self.needs_text(&args[1])?;
                self.of_two_texts(function, text, other, &args[2])
            }
        }
    }

    fn of_two_texts(
        &self,
        function: Function,
        text: &Text<'s>,
        other: &Text<'s>,
        third: &Value<'s>,
    ) -> Result<Value<'s>> {
        match function {
            Function::StartsWith => {
                self.budget().charge_part(other.len(), BYTES_A_STEP)?;
                Ok(Value::Bool(text.starts_with(&**other)))
            }
            Function::EndsWith => {
                self.budget().charge_part(other.len(), BYTES_A_STEP)?;
                Ok(Value::Bool(text.ends_with(&**other)))
            }
            Function::Contains => self.contains(text, other),
            Function::Split => self.split(text, other),
            _ => self.replace(text, other, self.needs_text(third)?),
        }
    }

    pub(super) fn needs_text<'v>(&self, value: &'v Value<'s>) -> Result<&'v Text<'s>> {
        match value {
            Value::Text(text) => Ok(text),
            other => self.fail(EvalError::Type {
                what: "what a function of texts is given".to_owned(),
                expected: "text",
                found: other.kind(),
            }),
        }
    }

    fn size(&self, value: &Value<'_>) -> Result<Value<'s>> {
        let size = match value {
            Value::Text(text) => {
                self.budget().charge_part(text.len(), BYTES_A_STEP)?;
                text.chars().count()
            }
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            other => {
                return self.fail(EvalError::Type {
                    what: "what `size` is given".to_owned(),
                    expected: "text, bytes, a list or an object",
                    found: other.kind(),
                });
            }
        };
        Ok(Value::Int(size as i64))
    }

    /// The same text for the same bytes, in every version: 32 digits of XXH3. It finds what is
    /// equal; it is no protection against somebody who wants two contents to look alike.
    fn hash(&self, value: &Value<'_>) -> Result<Value<'s>> {
        match value {
            Value::Text(text) => self.hash_bytes(text.as_bytes()),
            Value::Bytes(bytes) => self.hash_bytes(bytes),
            Value::Null => self.fail(EvalError::Null {
                what: "what `hash` is given".to_owned(),
            }),
            other => self.fail(EvalError::Type {
                what: "what `hash` is given".to_owned(),
                expected: "text, bytes or `payload`; `json(…)` makes text of anything",
                found: other.kind(),
            }),
        }
    }

    pub(super) fn hash_payload(&self) -> Result<Value<'s>> {
        self.hash_bytes(self.scope.payload_bytes()?)
    }

    fn hash_bytes(&self, bytes: &[u8]) -> Result<Value<'s>> {
        self.budget().charge_part(bytes.len(), BYTES_A_STEP)?;
        self.budget().build(HASH_DIGITS)?;
        Ok(Value::built_text(&format!("{:032x}", xxh3_128(bytes))))
    }

    fn json(&self, value: &Value<'_>) -> Result<Value<'s>> {
        let mut writer = Writer::new(self.budget());
        writer.value(value)?;
        match String::from_utf8(writer.finish()?) {
            Ok(json) => Ok(Value::Text(Text::Built(json.into()))),
            // JSON is text.
            Err(_) => self.fail(EvalError::NoJson { found: "this" }),
        }
    }

    fn to_bytes(&self, value: &Value<'s>) -> Result<Value<'s>> {
        match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::Text(Text::Borrowed(text)) => Ok(Value::Bytes(Blob::Borrowed(text.as_bytes()))),
            Value::Text(Text::Built(text)) => {
                self.budget().build(text.len())?;
                Ok(Value::Bytes(Blob::Built(text.as_bytes().into())))
            }
            other => self.no_form(other.kind(), "bytes"),
        }
    }

    pub(super) fn no_form<T>(&self, from: Kind, to: &'static str) -> Result<T> {
        self.fail(EvalError::Conversion { from, to })
    }
}
