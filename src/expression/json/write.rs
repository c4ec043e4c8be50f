//! A value as JSON.

use super::super::budget::{BYTES_A_STEP, Budget};
use super::super::error::{EvalError, Fault};
use super::super::value::{List, Map, Value};
use super::{MAX_PAYLOAD_DEPTH, Node, Ref};
use std::collections::HashSet;

/// An object with more names is checked with a set.
const FEW_NAMES: usize = 8;

pub(in super::super) struct Writer<'b> {
    out: Vec<u8>,
    budget: &'b Budget,
    depth: usize,
}

impl<'b> Writer<'b> {
    pub fn new(budget: &'b Budget) -> Self {
        Self {
            out: Vec::with_capacity(128),
            budget,
            depth: 0,
        }
    }

    pub fn finish(self) -> Result<Vec<u8>, Fault> {
        self.budget.grow(self.out.len())?;
        Ok(self.out)
    }

    pub fn value(&mut self, value: &Value<'_>) -> Result<(), Fault> {
        self.budget.charge(1)?;
        match value {
            Value::Null => self.word("null"),
            Value::Bool(true) => self.word("true"),
            Value::Bool(false) => self.word("false"),
            Value::Int(number) => return self.number(number),
            Value::Uint(number) => return self.number(number),
            Value::Huge(digits) => self.word(digits),
            Value::Double(number) if number.is_finite() => return self.number(number),
            Value::Double(_) => return Err(self.no_form("a number that is infinite or none")),
            Value::Text(text) => return self.text(text),
            Value::List(List::Json(it)) | Value::Map(Map::Json(it)) => return self.json(*it),
            Value::List(List::Built(values)) => return self.built_list(values),
            Value::Map(Map::Built(entries)) => return self.built_map(entries),
            Value::Bytes(_) => return Err(self.no_form("bytes that aren't text")),
            Value::Type(_) => return Err(self.no_form("a type")),
        }
        Ok(())
    }

    fn word(&mut self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
    }

    fn no_form(&self, found: &'static str) -> Fault {
        self.budget.fault(EvalError::NoJson { found })
    }

    fn number(&mut self, number: &impl serde::Serialize) -> Result<(), Fault> {
        serde_json::to_writer(&mut self.out, number).map_err(|_| self.no_form("this number"))
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        self.budget.charge_part(text.len(), BYTES_A_STEP / 4)?;
        self.check_size(text.len())?;
        serde_json::to_writer(&mut self.out, text).map_err(|_| self.no_form("this text"))
    }

    /// Before more is written: what is built is charged once it is whole.
    fn check_size(&self, more: usize) -> Result<(), Fault> {
        let limit = super::super::budget::MAX_BUILT_BYTES;
        if self.out.len() + more <= limit {
            return Ok(());
        }
        Err(Box::new(EvalError::TooLarge { limit }))
    }

    fn open(&mut self, bracket: u8) -> Result<(), Fault> {
        self.check_size(1)?;
        if self.depth == MAX_PAYLOAD_DEPTH {
            return Err(self.budget.fault(EvalError::TooDeep {
                limit: MAX_PAYLOAD_DEPTH,
            }));
        }
        self.depth += 1;
        self.budget.charge(1)?;
        self.out.push(bracket);
        Ok(())
    }

    /// In place of the last comma, if there is one.
    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = bracket,
            _ => self.out.push(bracket),
        }
    }

    fn built_list(&mut self, values: &[Value<'_>]) -> Result<(), Fault> {
        self.open(b'[')?;
        for value in values {
            self.value(value)?;
            self.out.push(b',');
        }
        self.close(b']');
        Ok(())
    }

    fn built_map(&mut self, entries: &[(Value<'_>, Value<'_>)]) -> Result<(), Fault> {
        self.open(b'{')?;
        for (key, value) in entries {
            let Value::Text(name) = key else {
                return Err(self.no_form("an object whose keys aren't text"));
            };
            self.text(name)?;
            self.out.push(b':');
            self.value(value)?;
            self.out.push(b',');
        }
        self.close(b'}');
        Ok(())
    }

    fn json(&mut self, it: Ref<'_>) -> Result<(), Fault> {
        match it.node() {
            Node::List { .. } => {
                self.open(b'[')?;
                for element in it.elements() {
                    self.value(&Value::json(element))?;
                    self.out.push(b',');
                }
                self.close(b']');
            }
            _ => {
                self.check_names(it)?;
                self.open(b'{')?;
                for (name, value) in it.entries() {
                    self.text(name)?;
                    self.out.push(b':');
                    self.value(&Value::json(value))?;
                    self.out.push(b',');
                }
                self.close(b'}');
            }
        }
        Ok(())
    }

    /// A name that stands twice is not passed on.
    fn check_names(&self, it: Ref<'_>) -> Result<(), Fault> {
        let twice = if it.len() <= FEW_NAMES {
            let mut before: [&str; FEW_NAMES] = [""; FEW_NAMES];
            it.entries().enumerate().find_map(|(at, (name, _))| {
                before[at] = name;
                before[..at].contains(&name).then_some(name)
            })
        } else {
            self.budget.charge(it.len() as u64)?;
            let mut before = HashSet::with_capacity(it.len());
            it.entries()
                .find_map(|(name, _)| (!before.insert(name)).then_some(name))
        };
        match twice {
            None => Ok(()),
            // The name is the payload's, not the expression's: it isn't told.
            Some(_) => Err(self.budget.fault(EvalError::NoJson {
                found: "an object in which a name stands twice",
            })),
        }
    }
}

/// A number as text: as short as can be, with an exponent where digits would fill a line.
pub(in super::super) fn number_text(number: f64) -> String {
    let size = number.abs();
    if number.is_finite() && size != 0.0 && !(1e-7..1e21).contains(&size) {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}
