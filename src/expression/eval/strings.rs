//! Functions of texts.

use super::super::budget::READ_BYTES_A_STEP;
use super::super::error::EvalError;
use super::super::value::{Text, Value};
use super::functions::Given;
use super::{Eval, Result};
use std::mem::size_of;

impl<'s> Eval<'s> {
    pub(super) fn changed(&self, text: &str, change: impl Fn(&str) -> String) -> Result<Value<'s>> {
        self.charge_search(text)?;
        self.budget().build(text.len())?;
        Ok(Value::Text(Text::Built(change(text).into())))
    }

    fn charge_search(&self, text: &str) -> Result<()> {
        self.budget().charge_part(text.len(), READ_BYTES_A_STEP)
    }

    pub(super) fn contains(&self, text: &str, part: &str) -> Result<Value<'s>> {
        self.charge_search(text)?;
        self.charge_search(part)?;
        Ok(Value::Bool(text.contains(part)))
    }

    /// An empty separator parts the characters.
    pub(super) fn split(&self, text: &str, separator: &str) -> Result<Value<'s>> {
        self.charge_search(text)?;
        self.charge_search(separator)?;
        let mut parts = Vec::new();
        let mut push = |part: &str| -> Result<()> {
            self.budget().charge(1)?;
            self.budget().build(part.len() + size_of::<Value>())?;
            parts.push(Value::built_text(part));
            Ok(())
        };
        if separator.is_empty() {
            let mut buffer = [0; 4];
            for c in text.chars() {
                push(c.encode_utf8(&mut buffer))?;
            }
        } else {
            for part in text.split(separator) {
                push(part)?;
            }
        }
        self.built_list(parts.into_iter())
    }

    pub(super) fn join(
        &self,
        given: Given<'_, 's>,
        separator: Option<Given<'_, 's>>,
    ) -> Result<Value<'s>> {
        let Value::List(list) = given.value else {
            return self.wrong_argument(given, "a list of texts");
        };
        let separator = match separator {
            Some(separator) => self.needs_text(separator)?,
            None => &Text::Borrowed(""),
        };
        let mut joined = String::new();
        for (at, part) in list.iter().enumerate() {
            self.budget().charge(1)?;
            let Value::Text(part) = part else {
                return self.fail(EvalError::Type {
                    what: format!("an entry of {}", given.what()),
                    expected: "text",
                    found: part.kind(),
                });
            };
            self.budget().grow(part.len() + separator.len())?;
            if at > 0 {
                joined.push_str(separator);
            }
            joined.push_str(&part);
        }
        Ok(Value::Text(Text::Built(joined.into())))
    }

    pub(super) fn replace(&self, text: &str, from: &str, to: &str) -> Result<Value<'s>> {
        self.charge_search(text)?;
        self.charge_search(from)?;
        // Each place found is paid for before the text is built.
        let places = text.matches(from).count();
        self.budget().charge(places as u64)?;
        self.budget()
            .build(text.len() + places.saturating_mul(to.len()))?;
        Ok(Value::Text(Text::Built(text.replace(from, to).into())))
    }

    /// Characters from `start` up to, not with, `end`.
    pub(super) fn substring(
        &self,
        text: Given<'_, 's>,
        start: Given<'_, 's>,
        end: Option<Given<'_, 's>>,
    ) -> Result<Value<'s>> {
        let text = self.needs_text(text)?;
        self.charge_search(text)?;
        let size = text.chars().count();
        let start = self.place(start, size)?;
        let end = match end {
            Some(end) => self.place(end, size)?,
            None => size,
        };
        if start > end {
            return self.fail(EvalError::Place { len: size });
        }
        let part: String = text.chars().skip(start).take(end - start).collect();
        self.budget().build(part.len())?;
        Ok(Value::Text(Text::Built(part.into())))
    }

    fn place(&self, given: Given<'_, 's>, size: usize) -> Result<usize> {
        let Value::Int(place) = given.value else {
            return self.wrong_argument(given, "a whole number");
        };
        match usize::try_from(*place) {
            Ok(place) if place <= size => Ok(place),
            _ => self.fail(EvalError::Place { len: size }),
        }
    }
}
