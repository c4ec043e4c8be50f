//! An event, which holds all rules of CloudEvents 1.0.2 once it is made.

use super::value::is_legal;
use super::{EventError, Mode, Value, uri};
use crate::clock::parse_rfc3339;
use bytes::Bytes;

/// Longer names than this one are refused; the specification advises 20.
pub const MAX_NAME_CHARS: usize = 64;
/// `limits.headers` is usually less, and counts them too.
pub(super) const MAX_ATTRIBUTES: usize = 256;

pub(super) const SPECVERSION: &str = "specversion";
pub(super) const ID: &str = "id";
pub(super) const SOURCE: &str = "source";
pub(super) const TYPE: &str = "type";
pub(super) const TIME: &str = "time";
pub(super) const DATACONTENTTYPE: &str = "datacontenttype";
pub(super) const PARTITIONKEY: &str = "partitionkey";
pub(super) const DATA: &str = "data";
pub(super) const DATA_BASE64: &str = "data_base64";
const DATASCHEMA: &str = "dataschema";
const SUBJECT: &str = "subject";

/// The only version there is.
pub(super) const VERSION: &str = "1.0";
/// In the order in which a missing one is told.
pub(super) const REQUIRED: [&str; 4] = [SPECVERSION, ID, SOURCE, TYPE];
/// Those that are texts in any case, and never empty.
const TEXTS: [&str; 8] = [
    SPECVERSION,
    ID,
    SOURCE,
    TYPE,
    TIME,
    DATASCHEMA,
    SUBJECT,
    PARTITIONKEY,
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// All but `datacontenttype`, each once.
    attributes: Vec<Attribute>,
    content_type: Option<String>,
    data: Option<Bytes>,
}

impl Event {
    /// Without data.
    ///
    /// # Errors
    /// If an attribute is missing, stands there twice, or isn't what it has to be.
    pub fn new(
        attributes: Vec<Attribute>,
        datacontenttype: Option<String>,
    ) -> Result<Self, EventError> {
        if attributes.len() > MAX_ATTRIBUTES {
            let all = attributes.len();
            return Err(EventError::Malformed(format!(
                "it has {all} attributes; {MAX_ATTRIBUTES} are the most"
            )));
        }
        for (at, attribute) in attributes.iter().enumerate() {
            check_name(&attribute.name)?;
            let is_same = |other: &Attribute| other.name == attribute.name;
            if attributes[..at].iter().any(is_same) {
                return Err(EventError::attribute(&attribute.name, "it is there twice"));
            }
        }
        let event = Self::trusted(attributes, datacontenttype);
        for required in REQUIRED {
            if event.attribute(required).is_none() {
                return Err(EventError::attribute(required, "it is missing"));
            }
        }
        for attribute in &event.attributes {
            check_value(attribute)?;
        }
        event
            .content_type
            .as_deref()
            .map_or(Ok(()), check_content_type)?;
        Ok(event)
    }

    /// Of texts that are known to keep the rules.
    pub(super) const fn trusted(
        attributes: Vec<Attribute>,
        datacontenttype: Option<String>,
    ) -> Self {
        Self {
            attributes,
            content_type: datacontenttype,
            data: None,
        }
    }

    #[must_use]
    pub fn with_data(mut self, data: Option<Bytes>) -> Self {
        self.data = data;
        self
    }

    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Value> {
        let named = self.attributes.iter().find(|a| a.name == name);
        named.map(|attribute| &attribute.value)
    }

    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// `datacontenttype`
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    #[must_use]
    pub const fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    pub(super) fn into_parts(self) -> (Vec<Attribute>, Option<String>, Option<Bytes>) {
        (self.attributes, self.content_type, self.data)
    }

    /// A required attribute, or one that is a text wherever it is.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.attribute(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

pub(super) fn check_name(name: &str) -> Result<(), EventError> {
    let bad = |why: &str| Err(EventError::attribute(name, why));
    if name.is_empty() {
        return bad("its name is empty");
    }
    if name == DATA || name == DATA_BASE64 {
        return bad("no attribute has this name: it is the data's own");
    }
    if name == DATACONTENTTYPE {
        return bad("the content type says it");
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return bad(&format!(
            "its name is longer than {MAX_NAME_CHARS} characters"
        ));
    }
    let is_legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match name.bytes().all(is_legal) {
        true => Ok(()),
        false => bad("a name has lower-case letters and digits only"),
    }
}

fn check_value(attribute: &Attribute) -> Result<(), EventError> {
    let name = attribute.name.as_str();
    let bad = |why: &str| Err(EventError::attribute(name, why));
    let text = match &attribute.value {
        Value::Text(text) => text.as_str(),
        Value::Integer(_) | Value::Boolean(_) if TEXTS.contains(&name) => {
            return bad("it is a text");
        }
        Value::Integer(_) | Value::Boolean(_) => return Ok(()),
    };
    if text.is_empty() && TEXTS.contains(&name) {
        return bad("it is empty");
    }
    if let Some(c) = text.chars().find(|c| !is_legal(*c)) {
        let code = u32::from(c);
        return bad(&format!("no attribute may hold the character U+{code:04X}"));
    }
    match name {
        SPECVERSION if text != VERSION => bad("only version 1.0 can be read"),
        SOURCE | DATASCHEMA => match uri::fault_of(text) {
            Some(fault) => bad(&format!("it isn't a URI reference: it has {fault}")),
            None => Ok(()),
        },
        TIME if parse_rfc3339(text).is_none() => {
            bad("write RFC 3339 with a zone, as in 2026-01-31T12:00:00Z")
        }
        _ => Ok(()),
    }
}

fn check_content_type(text: &str) -> Result<(), EventError> {
    let bad = |why: &str| Err(EventError::attribute(DATACONTENTTYPE, why));
    if !is_media_type(text) {
        return bad("it isn't a media type, as text/plain is");
    }
    match Mode::of(text) {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => {
            bad("an event's data isn't an event: a reader would take it for one")
        }
    }
}

/// `type/subtype`, and whatever parameters may stand in a header.
pub(super) fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_token = |part: &str| {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !part.is_empty() && part.bytes().all(is_legal)
    };
    let Some((kind, subtype)) = essence.trim_end().split_once('/') else {
        return false;
    };
    let is_visible = |b: u8| matches!(b, b'\t' | b' '..=b'~');
    is_token(kind) && is_token(subtype) && parameters.bytes().all(is_visible)
}
