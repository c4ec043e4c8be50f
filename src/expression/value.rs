//! Values while an expression is evaluated: borrowed from the envelope, the payload or the
//! program where that can be.

use super::error::Kind;
use super::ir::Const;
use super::json;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub(super) enum Value<'s> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// A whole number of the payload beyond 64 bits: its digits.
    Huge(&'s str),
    Text(Text<'s>),
    Bytes(Blob<'s>),
    List(List<'s>),
    Map(Map<'s>),
    Type(Kind),
}

#[derive(Clone, Debug)]
pub(super) enum Text<'s> {
    Borrowed(&'s str),
    Built(Rc<str>),
}

#[derive(Clone, Debug)]
pub(super) enum Blob<'s> {
    Borrowed(&'s [u8]),
    Built(Rc<[u8]>),
}

#[derive(Clone, Debug)]
pub(super) enum List<'s> {
    Json(json::Ref<'s>),
    Built(Rc<[Value<'s>]>),
}

#[derive(Clone, Debug)]
pub(super) enum Map<'s> {
    Json(json::Ref<'s>),
    /// No key twice.
    Built(Rc<[(Value<'s>, Value<'s>)]>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Built(text) => text,
        }
    }
}

impl std::ops::Deref for Blob<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Built(bytes) => bytes,
        }
    }
}

impl<'s> Value<'s> {
    pub const fn text(text: &'s str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    pub fn built_text(text: &str) -> Self {
        Self::Text(Text::Built(text.into()))
    }

    /// Text if it can be, else bytes.
    pub fn bytes(bytes: &'s [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::text(text),
            Err(_) => Self::Bytes(Blob::Borrowed(bytes)),
        }
    }

    pub fn of(constant: &'s Const) -> Self {
        match constant {
            Const::Null => Self::Null,
            Const::Bool(it) => Self::Bool(*it),
            Const::Int(it) => Self::Int(*it),
            Const::Uint(it) => Self::Uint(*it),
            Const::Double(it) => Self::Double(*it),
            Const::Text(it) => Self::text(it),
            Const::Bytes(it) => Self::Bytes(Blob::Borrowed(it)),
            Const::Type(it) => Self::Type(*it),
        }
    }

    pub fn json(it: json::Ref<'s>) -> Self {
        match it.node() {
            json::Node::Null => Self::Null,
            json::Node::Bool(value) => Self::Bool(value),
            json::Node::Int(value) => Self::Int(value),
            json::Node::Uint(value) => Self::Uint(value),
            json::Node::Double(value) => Self::Double(value),
            json::Node::Huge(digits) => Self::Huge(it.text(digits)),
            json::Node::Text(text) => Self::text(it.text(text)),
            json::Node::List { .. } => Self::List(List::Json(it)),
            json::Node::Map { .. } => Self::Map(Map::Json(it)),
        }
    }

    pub const fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) | Self::Huge(_) => Kind::Int,
            Self::Uint(_) => Kind::Uint,
            Self::Double(_) => Kind::Double,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Type(_) => Kind::Type,
        }
    }
}

impl<'s> List<'s> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(it) => it.len(),
            Self::Built(values) => values.len(),
        }
    }

    pub fn iter(&self) -> Items<'s> {
        match self {
            Self::Json(it) => Items::Json(it.elements()),
            Self::Built(values) => Items::Built(Rc::clone(values), 0),
        }
    }
}

impl Map<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(it) => it.len(),
            Self::Built(entries) => entries.len(),
        }
    }
}

/// What a loop goes over.
pub(super) enum Items<'s> {
    Json(json::Elements<'s>),
    Built(Rc<[Value<'s>]>, usize),
}

impl<'s> Iterator for Items<'s> {
    type Item = Value<'s>;

    fn next(&mut self) -> Option<Value<'s>> {
        match self {
            Self::Json(elements) => elements.next().map(Value::json),
            Self::Built(values, at) => {
                let value = values.get(*at)?.clone();
                *at += 1;
                Some(value)
            }
        }
    }
}
