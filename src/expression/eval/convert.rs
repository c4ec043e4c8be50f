//! From one type to another.

use super::super::json::number_text;
use super::super::value::{Text, Value};
use super::functions::Given;
use super::{Eval, Result};

/// 2^63 and 2^64: what whole numbers stay below.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const UINT_END: f64 = 18_446_744_073_709_551_616.0;
/// No number has more characters, blanks not allowed.
const MAX_NUMBER_BYTES: usize = 400;

impl<'s> Eval<'s> {
    pub(super) fn to_int(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let number = match given.value {
            Value::Int(number) => Some(*number),
            Value::Uint(number) => i64::try_from(*number).ok(),
            // As CEL has it: the ends are left out, where rounding begins.
            Value::Double(number) if *number > -INT_END && *number < INT_END => {
                Some(*number as i64)
            }
            Value::Text(text) => digits(text).and_then(|text| text.parse().ok()),
            _ => None,
        };
        match number {
            Some(number) => Ok(Value::Int(number)),
            None => self.no_form(given, "a whole number (int)"),
        }
    }

    pub(super) fn to_uint(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let number = match given.value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Uint(number) => Some(*number),
            Value::Double(number) if *number >= 0.0 && *number < UINT_END => Some(*number as u64),
            Value::Text(text) => digits(text).and_then(|text| text.parse().ok()),
            _ => None,
        };
        match number {
            Some(number) => Ok(Value::Uint(number)),
            None => self.no_form(given, "a whole number (uint)"),
        }
    }

    pub(super) fn to_double(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let number = match given.value {
            Value::Int(number) => Some(*number as f64),
            Value::Uint(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::Huge(digits) => {
                self.budget().charge_part(digits.len(), 8)?;
                digits.parse().ok()
            }
            Value::Text(text) if text.len() <= MAX_NUMBER_BYTES => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Ok(Value::Double(number)),
            None => self.no_form(given, "a number with a fraction (double)"),
        }
    }

    pub(super) fn to_bool(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let found = match given.value {
            Value::Bool(found) => Some(*found),
            Value::Text(text) => match &**text {
                "true" | "True" | "TRUE" | "t" | "1" => Some(true),
                "false" | "False" | "FALSE" | "f" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        match found {
            Some(found) => Ok(Value::Bool(found)),
            None => self.no_form(given, "true or false"),
        }
    }

    pub(super) fn to_text(&self, given: Given<'_, 's>) -> Result<Value<'s>> {
        let text = match given.value {
            Value::Text(_) => return Ok(given.value.clone()),
            Value::Huge(digits) => return Ok(Value::text(digits)),
            _ => self.built_as_text(given)?,
        };
        Ok(Value::Text(Text::Built(text.into())))
    }

    fn built_as_text(&self, given: Given<'_, 's>) -> Result<String> {
        self.budget().build(0)?;
        Ok(match given.value {
            Value::Int(number) => number.to_string(),
            Value::Uint(number) => number.to_string(),
            Value::Double(number) => number_text(*number),
            Value::Bool(found) => found.to_string(),
            Value::Type(kind) => kind.cel_name().to_owned(),
            Value::Bytes(bytes) => {
                self.budget().grow(bytes.len())?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => text.to_owned(),
                    Err(_) => return self.no_form(given, "text (it isn't UTF-8)"),
                }
            }
            _ => return self.no_form(given, "text; `json(…)` has one"),
        })
    }
}

/// Without a `+`, which numbers of CEL don't have.
fn digits(text: &str) -> Option<&str> {
    (text.len() <= MAX_NUMBER_BYTES && !text.starts_with('+')).then_some(text)
}
