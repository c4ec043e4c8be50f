//! A JSON payload as a row of nodes: read once, in one go, and looked at by reference.
//!
//! What lives here: reading within a depth and a budget, and walking. What must not: what an
//! expression makes of it.

mod write;

use super::budget::{Budget, PASSED_A_STEP, READ_BYTES_A_STEP};
use super::error::{EvalError, Fault};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
pub(super) use write::{Writer, number_text};

/// How deep a payload may be nested that expressions read: what `serde_json` allows, which counts
/// the same.
pub const MAX_PAYLOAD_DEPTH: usize = 127;
/// Of a text, besides its node.
const TEXT_STEPS: u64 = 1;
/// From here on a whole number may be rounded when it is read as a double.
const EXACT_BELOW: f64 = 9_223_372_036_854_775_808.0;

/// A value; what it holds stands behind it, up to `end`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// The digits of a whole number beyond 64 bits, as they are written.
    Huge(Span),
    Text(Span),
    List {
        len: u32,
        end: u32,
    },
    /// Names and values by turns.
    Map {
        len: u32,
        end: u32,
    },
}

/// A piece of `Doc::text`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    at: u32,
    len: u32,
}

#[derive(Debug, Default)]
pub(super) struct Doc {
    nodes: Vec<Node>,
    /// All texts, unescaped, one after the other.
    text: String,
}

/// One value of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ref<'d> {
    doc: &'d Doc,
    at: u32,
}

impl Doc {
    pub fn read(payload: &[u8], budget: &Budget) -> Result<Self, Fault> {
        budget.charge_part(payload.len(), READ_BYTES_A_STEP)?;
        if payload.is_empty() {
            return Err(EvalError::Empty.into());
        }
        let text = std::str::from_utf8(payload).map_err(|error| {
            let (line, column) = place(&payload[..error.valid_up_to()]);
            Box::new(EvalError::NotJson { line, column })
        })?;
        let mut reading = Reading {
            doc: Self::default(),
            budget,
            has_huge: false,
            stopped: None,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = Value(&mut reading).deserialize(&mut reader);
        if let Err(error) = read.and_then(|()| reader.end()) {
            return Err(reading
                .stopped
                .take()
                .unwrap_or_else(|| Box::new(not_json(&error))));
        }
        if reading.has_huge {
            reading.doc.restore_digits(text);
        }
        Ok(reading.doc)
    }

    pub const fn root(&self) -> Ref<'_> {
        Ref { doc: self, at: 0 }
    }

    fn push_text(&mut self, text: &str) -> Span {
        let at = self.text.len() as u32;
        self.text.push_str(text);
        Span {
            at,
            len: text.len() as u32,
        }
    }

    /// Whole numbers that were rounded get their digits back. `json` is what was read: its
    /// numbers stand in the order of the nodes.
    fn restore_digits(&mut self, json: &str) {
        let mut numbers = numbers(json);
        for at in 0..self.nodes.len() {
            let digits = match self.nodes[at] {
                Node::Int(_) | Node::Uint(_) | Node::Double(_) => numbers.next(),
                _ => continue,
            };
            let is_rounded =
                matches!(self.nodes[at], Node::Double(number) if number.abs() >= EXACT_BELOW);
            if let Some(digits) = digits
                && is_rounded
                && !digits.contains(['.', 'e', 'E'])
            {
                self.nodes[at] = Node::Huge(self.push_text(digits));
            }
        }
    }

    const fn after(&self, at: u32, node: Node) -> u32 {
        match node {
            Node::List { end, .. } | Node::Map { end, .. } => end,
            _ => at + 1,
        }
    }
}

/// The numbers of valid JSON, as they are written.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let bytes = json.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at = string_end(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let start = at;
                    let is_part =
                        |b: &&u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    at += bytes[at..].iter().take_while(is_part).count();
                    return Some(&json[start..at]);
                }
                _ => at += 1,
            }
        }
        None
    })
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn not_json(error: &serde_json::Error) -> EvalError {
    if error.to_string().starts_with("recursion limit exceeded") {
        return EvalError::PayloadTooDeep {
            limit: MAX_PAYLOAD_DEPTH,
        };
    }
    EvalError::NotJson {
        line: error.line(),
        column: error.column(),
    }
}

/// Line and column behind these bytes, as `serde_json` counts them: bytes, from 1.
fn place(before: &[u8]) -> (usize, usize) {
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    (line, before.len() - line_start + 1)
}

impl<'d> Ref<'d> {
    pub fn node(self) -> Node {
        self.doc.nodes[self.at as usize]
    }

    pub fn text(self, span: Span) -> &'d str {
        let start = span.at as usize;
        &self.doc.text[start..start + span.len as usize]
    }

    const fn at(self, at: u32) -> Self {
        Self { doc: self.doc, at }
    }

    /// The field of an object; `None` if this is no object or has no such field.
    pub fn field(self, name: &str, budget: &Budget) -> Result<Field<'d>, Fault> {
        let Node::Map { len, .. } = self.node() else {
            return Ok(Field::NoMap);
        };
        budget.charge_passed(len as usize, name)?;
        let mut found = Field::Absent;
        for (key, value) in self.entries() {
            if key == name {
                if !matches!(found, Field::Absent) {
                    return Ok(Field::Twice);
                }
                found = Field::Value(value);
            }
        }
        Ok(found)
    }

    /// The names and values of an object; nothing of anything else.
    pub fn entries(self) -> impl Iterator<Item = (&'d str, Self)> {
        let (len, mut at) = match self.node() {
            Node::Map { len, .. } => (len, self.at + 1),
            _ => (0, 0),
        };
        (0..len).map(move |_| {
            let name = match self.at(at).node() {
                Node::Text(span) => self.text(span),
                _ => "",
            };
            let value = self.at(at + 1);
            at = self.doc.after(at + 1, value.node());
            (name, value)
        })
    }

    /// The elements of a list; nothing of anything else.
    pub fn elements(self) -> Elements<'d> {
        match self.node() {
            Node::List { len, .. } => Elements {
                next: self.at(self.at + 1),
                left: len,
            },
            _ => Elements {
                next: self,
                left: 0,
            },
        }
    }

    pub fn element(self, index: usize, budget: &Budget) -> Result<Option<Self>, Fault> {
        let Node::List { len, end } = self.node() else {
            return Ok(None);
        };
        if index >= len as usize {
            return Ok(None);
        }
        // Of values that hold no others the place is known.
        if end - self.at - 1 == len {
            return Ok(Some(self.at(self.at + 1 + index as u32)));
        }
        budget.charge_part(index, PASSED_A_STEP)?;
        Ok(self.elements().nth(index))
    }

    pub fn len(self) -> usize {
        match self.node() {
            Node::List { len, .. } | Node::Map { len, .. } => len as usize,
            _ => 0,
        }
    }
}

/// What a name finds.
pub(super) enum Field<'d> {
    Value(Ref<'d>),
    Absent,
    Twice,
    NoMap,
}

#[derive(Clone, Debug)]
pub(super) struct Elements<'d> {
    next: Ref<'d>,
    left: u32,
}

impl<'d> Iterator for Elements<'d> {
    type Item = Ref<'d>;

    fn next(&mut self) -> Option<Ref<'d>> {
        self.left = self.left.checked_sub(1)?;
        let found = self.next;
        self.next = found.at(found.doc.after(found.at, found.node()));
        Some(found)
    }
}

struct Reading<'b> {
    doc: Doc,
    budget: &'b Budget,
    has_huge: bool,
    /// Why reading was given up, if not for the JSON.
    stopped: Option<Fault>,
}

impl Reading<'_> {
    fn charge<E: serde::de::Error>(&mut self, steps: u64) -> Result<(), E> {
        self.budget.charge(steps).map_err(|fault| {
            self.stopped = Some(fault);
            E::custom("too many steps")
        })
    }

    fn push<E: serde::de::Error>(&mut self, node: Node) -> Result<usize, E> {
        self.charge(1)?;
        self.doc.nodes.push(node);
        Ok(self.doc.nodes.len() - 1)
    }

    fn push_text<E: serde::de::Error>(&mut self, text: &str) -> Result<(), E> {
        let span = self.doc.push_text(text);
        self.charge(TEXT_STEPS)?;
        self.push(Node::Text(span)).map(drop)
    }

    fn end(&self) -> u32 {
        self.doc.nodes.len() as u32
    }
}

/// Reads one value to the end of the row.
struct Value<'r, 'b>(&'r mut Reading<'b>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.0.push(Node::Null).map(drop)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.0.push(Node::Bool(value)).map(drop)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.push(Node::Int(value)).map(drop)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let node = i64::try_from(value).map_or(Node::Uint(value), Node::Int);
        self.0.push(node).map(drop)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.0.has_huge |= value.abs() >= EXACT_BELOW;
        self.0.push(Node::Double(value)).map(drop)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.0.push_text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let at = self.0.push(Node::Null)?;
        let mut len = 0;
        while seq.next_element_seed(Value(self.0))?.is_some() {
            len += 1;
        }
        let end = self.0.end();
        self.0.doc.nodes[at] = Node::List { len, end };
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let at = self.0.push(Node::Null)?;
        let mut len = 0;
        while map.next_key_seed(Name(self.0))?.is_some() {
            map.next_value_seed(Value(self.0))?;
            len += 1;
        }
        let end = self.0.end();
        self.0.doc.nodes[at] = Node::Map { len, end };
        Ok(())
    }
}

struct Name<'r, 'b>(&'r mut Reading<'b>);

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<(), E> {
        self.0.push_text(name)
    }
}

#[cfg(test)]
mod tests;
