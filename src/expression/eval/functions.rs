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

/// An argument, and where it comes from.
#[derive(Clone, Copy)]
pub(super) struct Given<'v, 's> {
    function: Function,
    node: &'s Node,
    pub value: &'v Value<'s>,
}

impl Given<'_, '_> {
    pub fn what(&self) -> String {
        format!(
            "{}, given to `{}`,",
            self.node.described(),
            self.function.name()
        )
    }
}

impl<'s> Eval<'s> {
    pub(super) fn call(&mut self, function: Function, nodes: &'s [Node]) -> Result<Value<'s>> {
        let mut values = [const { Value::Null }; MAX_ARGS];
        for (value, node) in values.iter_mut().zip(nodes) {
            *value = self.eval(node)?;
        }
        let last = nodes.len() - 1;
        let given = |at: usize| Given {
            function,
            node: &nodes[at.min(last)],
            value: &values[at],
        };
        let args = [given(0), given(1), given(2)];
        let [first, second, third] = args;
        match function {
            Function::Size => self.size(first),
            Function::Type => Ok(Value::Type(first.value.kind())),
            Function::Dyn => Ok(first.value.clone()),
            Function::Int => self.to_int(first),
            Function::Uint => self.to_uint(first),
            Function::Double => self.to_double(first),
            Function::String => self.to_text(first),
            Function::Bytes => self.to_bytes(first),
            Function::Bool => self.to_bool(first),
            Function::Hash => self.hash(first),
            Function::Json => self.json(first.value),
            Function::Join => self.join(first, (last > 0).then_some(second)),
            Function::Substring => self.substring(first, second, (last > 1).then_some(third)),
            _ => self.of_texts(function, args),
        }
    }

    /// Functions of which all arguments are text.
    fn of_texts(&self, function: Function, args: [Given<'_, 's>; MAX_ARGS]) -> Result<Value<'s>> {
        let text = self.needs_text(args[0])?;
        match function {
            Function::LowerAscii => self.changed(text, str::to_ascii_lowercase),
            Function::UpperAscii => self.changed(text, str::to_ascii_uppercase),
            Function::Trim => self.changed(text, |text| text.trim().to_owned()),
            _ => {
                let other = self.needs_text(args[1])?;
                self.of_two_texts(function, text, other, args[2])
            }
        }
    }

    fn of_two_texts(
        &self,
        function: Function,
        text: &str,
        other: &str,
        third: Given<'_, 's>,
    ) -> Result<Value<'s>> {
        match function {
            Function::StartsWith => {
                self.budget().charge_part(other.len(), BYTES_A_STEP)?;
                Ok(Value::Bool(text.starts_with(other)))
            }
            Function::EndsWith => {
                self.budget().charge_part(other.len(), BYTES_A_STEP)?;
                Ok(Value::Bool(text.ends_with(other)))
            }
            Function::Contains => self.contains(text, other),
            Function::Split => self.split(text, other),
            _ => self.replace(text, other, self.needs_text(third)?),
        }
    }

    pub(super) fn needs_text<'v>(&self, given: Given<'v, 's>) -> Result<&'v Text<'s>> {
        match given.value {
            Value::Text(text) => Ok(text),
            _ => self.wrong_argument(given, "text"),
        }
    }

    pub(super) fn wrong_argument<T>(
        &self,
        given: Given<'_, 's>,
        expected: &'static str,
    ) -> Result<T> {
        let what = given.what();
        match given.value.kind() {
            Kind::Null => self.fail(EvalError::Null { what }),
            found => self.fail(EvalError::Type {
                what,
                expected,
                found,
            }),
        }
    }

    fn size(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let size = match given.value {
            Value::Text(text) => {
                self.budget().charge_part(text.len(), BYTES_A_STEP)?;
                text.chars().count()
            }
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            _ => return self.wrong_argument(given, "text, bytes, a list or an object"),
        };
        Ok(Value::Int(size as i64))
    }

    /// The same text for the same bytes, in every version: 32 digits of XXH3. It finds what is
    /// equal; it is no protection against somebody who wants two contents to look alike.
    fn hash(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        const EXPECTED: &str = "text, bytes or `payload` (of anything else `json(…)` is text)";
        match given.value {
            Value::Text(text) => self.hash_bytes(text.as_bytes()),
            Value::Bytes(bytes) => self.hash_bytes(bytes),
            _ => self.wrong_argument(given, EXPECTED),
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

    fn to_bytes(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        match given.value {
            Value::Bytes(_) => Ok(given.value.clone()),
            Value::Text(Text::Borrowed(text)) => Ok(Value::Bytes(Blob::Borrowed(text.as_bytes()))),
            Value::Text(Text::Built(text)) => {
                self.budget().build(text.len())?;
                Ok(Value::Bytes(Blob::Built(text.as_bytes().into())))
            }
            _ => self.no_form(given, "bytes"),
        }
    }

    /// Not of this type, or not of this value.
    pub(super) fn no_form<T>(&self, given: Given<'_, 's>, to: &'static str) -> Result<T> {
        self.fail(EvalError::Conversion {
            what: given.what(),
            from: given.value.kind(),
            to,
        })
    }
}
