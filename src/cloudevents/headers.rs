//! Attributes as headers `ce-NAME`: the binary mode of every protocol. HTTP alone quotes their values.

use super::event::{DATACONTENTTYPE, REQUIRED};
use super::value::{escape, is_legal};
use super::{Attribute, Event, EventError, Value};
use percent_encoding::percent_decode;
use std::borrow::Cow;

pub const HEADER_PREFIX: &str = "ce-";

/// How values stand in headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Percent-encoded, perhaps within double quotes: HTTP's.
    Percent,
    /// UTF-8 as it is.
    Plain,
}

/// An attribute's name and value in headers.
pub type Plain<'a> = (&'a str, &'a [u8]);

/// Whether headers of these names are an event's: one that it must have is there.
pub fn is_event<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    let is_required = |name: &str| {
        REQUIRED
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    names.any(|name| attribute_of(name).is_some_and(is_required))
}

/// The attribute's name in a header's, if it is one's.
pub(super) fn attribute_of(header: &str) -> Option<&str> {
    let prefix = header.get(..HEADER_PREFIX.len())?;
    prefix
        .eq_ignore_ascii_case(HEADER_PREFIX)
        .then(|| &header[HEADER_PREFIX.len()..])
}

impl Event {
    /// From all headers of a message (those of other names don't matter) and its content type. Without data.
    ///
    /// # Errors
    /// If an attribute is missing, stands there twice, or isn't what it has to be.
    pub fn of_headers<'a>(
        headers: impl Iterator<Item = Plain<'a>>,
        quoting: Quoting,
        content_type: Option<String>,
    ) -> Result<Self, EventError> {
        let mut attributes = Vec::new();
        for (name, value) in headers {
            let Some(name) = attribute_of(name) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            if name == DATACONTENTTYPE {
                return Err(EventError::attribute(
                    &name,
                    "beside headers the content type says it",
                ));
            }
            let value = Value::Text(value_of(&name, value, quoting)?);
            attributes.push(Attribute { name, value });
        }
        Self::new(attributes, content_type)
    }

    /// Whether headers beside an event in one piece say the same as it does: they may be there, for who
    /// doesn't look into it.
    ///
    /// # Errors
    /// If one says something else.
    pub fn agrees_with<'a>(
        &self,
        headers: impl Iterator<Item = Plain<'a>>,
        quoting: Quoting,
    ) -> Result<(), EventError> {
        for (name, value) in headers {
            let Some(name) = attribute_of(name) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let said = value_of(&name, value, quoting)?;
            let own = match name.as_str() {
                DATACONTENTTYPE => self.content_type().map(Cow::Borrowed),
                name => self.attribute(name).map(Value::text),
            };
            if own.is_none_or(|own| own != said) {
                let why = "a header beside the event says something else than the event";
                return Err(EventError::attribute(&name, why));
            }
        }
        Ok(())
    }

    /// All attributes as headers of HTTP; the content type stands beside them.
    #[must_use]
    pub fn quoted_headers(&self) -> Vec<(String, String)> {
        let header = |attribute: &Attribute| {
            let name = format!("{HEADER_PREFIX}{}", attribute.name);
            (name, quoted(&attribute.value.text()))
        };
        self.attributes().iter().map(header).collect()
    }
}

fn value_of(name: &str, value: &[u8], quoting: Quoting) -> Result<String, EventError> {
    let bad = |why: &str| EventError::attribute(name, why);
    let bytes = match quoting {
        Quoting::Plain => Cow::Borrowed(value),
        Quoting::Percent => {
            let unquoted = unquoted(value).ok_or_else(|| bad("its quoted string is damaged"))?;
            if !is_percent_encoded(&unquoted) {
                return Err(bad(
                    "it has a % without two hexadecimal digits; a plain % is %25",
                ));
            }
            Cow::Owned(percent_decode(&unquoted).collect())
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(bad("it isn't UTF-8")),
    }
}

/// Without the double quotes around it, if they are there. What is written by the rules has no others.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some((b'"', rest)) = value.split_first() else {
        return Some(Cow::Borrowed(value));
    };
    let mut content = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(Cow::Owned(content)),
            b'\\' => content.push(*bytes.next()?),
            byte => content.push(*byte),
        }
    }
}

fn is_percent_encoded(value: &[u8]) -> bool {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

/// As HTTP has it: visible ASCII but `"` and `%` stays, all else is percent-encoded.
fn quoted(text: &str) -> String {
    debug_assert!(text.chars().all(is_legal), "an event's texts are legal");
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '%' => escape(c, &mut quoted),
            '!'..='~' => quoted.push(c),
            _ => escape(c, &mut quoted),
        }
    }
    quoted
}
