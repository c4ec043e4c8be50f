//! `payload.a.b`: one value of a JSON payload, found without building the rest.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

const ROOT: &str = "payload";

/// A plain path into the payload: `payload`, then one name or more, joined by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadPath {
    text: String,
    names: Vec<String>,
}

/// Why a payload has no id at a path. Never quotes the payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("and the payload isn't JSON (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("which the payload doesn't have")]
    Absent,
    #[error("which is null")]
    Null,
    #[error("which stands twice in the payload")]
    Twice,
    #[error("which is {found}, not text, a whole number, true or false")]
    WrongType { found: &'static str },
}

/// The value at the end of the path, as far as it was found.
enum Found<'a> {
    Nothing,
    Twice,
    Value(&'a RawValue),
}

impl PayloadPath {
    /// `None` if the text is no such path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        if parts.next() != Some(ROOT) {
            return None;
        }
        let names: Vec<String> = parts.map(str::to_owned).collect();
        let good = |name: &String| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        (!names.is_empty() && names.iter().all(good)).then(|| Self {
            text: text.to_owned(),
            names,
        })
    }

    /// The value there as an id: text as it is, a number as the payload writes it.
    pub fn find(&self, payload: &[u8]) -> Result<String, PathError> {
        let mut reader = serde_json::Deserializer::from_slice(payload);
        let not_json = |error: serde_json::Error| PathError::NotJson {
            line: error.line(),
            column: error.column(),
        };
        let found = Seek { names: &self.names }
            .deserialize(&mut reader)
            .map_err(not_json)?;
        reader.end().map_err(not_json)?;
        match found {
            Found::Nothing => Err(PathError::Absent),
            Found::Twice => Err(PathError::Twice),
            Found::Value(raw) => scalar(raw.get()),
        }
    }
}

impl fmt::Display for PayloadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Text, whole numbers, true and false can be ids. `raw` is valid JSON.
fn scalar(raw: &str) -> Result<String, PathError> {
    let wrong = |found| Err(PathError::WrongType { found });
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|e| PathError::NotJson {
            line: e.line(),
            column: e.column(),
        }),
        Some(b'{') => wrong("an object"),
        Some(b'[') => wrong("an array"),
        Some(b'n') => Err(PathError::Null),
        Some(b't' | b'f') => Ok(raw.to_owned()),
        _ if raw.contains(['.', 'e', 'E']) => wrong("a number with a fraction or an exponent"),
        _ => Ok(raw.to_owned()),
    }
}

/// Walks one level down for each name and skips everything else.
struct Seek<'p> {
    names: &'p [String],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        if self.names.is_empty() {
            return serde::Deserialize::deserialize(reader).map(Found::Value);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (name, rest) = self
            .names
            .split_first()
            .ok_or_else(|| A::Error::custom("a path that ends is read as a value"))?;
        let mut found = None;
        while let Some(matches) = map.next_key_seed(IsName(name))? {
            if !matches {
                map.next_value::<IgnoredAny>()?;
            } else if found.is_some() {
                // Which of the two counts differs between readers: none does.
                map.next_value::<IgnoredAny>()?;
                found = Some(Found::Twice);
            } else {
                found = Some(map.next_value_seed(Seek { names: rest })?);
            }
        }
        Ok(found.unwrap_or(Found::Nothing))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Found::Nothing)
    }
}

/// Compares a key without keeping it.
struct IsName<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
