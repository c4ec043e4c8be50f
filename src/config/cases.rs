//! routes.test.toml: what users expect of their routes. Read with places like routes.toml's, all
//! errors at once; and written, a case at a time.
//!
//! What lives here: the file's form. What must not: what a route does with a message.

mod reader;
#[cfg(test)]
mod tests;
mod write;

use super::problem::Report;
use super::units::parse_duration;
use crate::message::{Envelope, Guarantee, Header, MessageId, guess_content_type};
use bytes::Bytes;
use reader::{Reader, Table};
use std::time::Duration;
pub use write::to_toml;

/// Everybody, as long as there is no authentication.
const ANONYMOUS: &str = "anonymous";
/// Ingress kinds; any other `from` is a source's name.
const INGRESSES: [&str; 3] = ["http", "grpc", "mqtt"];
const GUARANTEES: [(&str, Guarantee); 3] = [
    named(Guarantee::AtMostOnce),
    named(Guarantee::AtLeastOnce),
    named(Guarantee::ExactlyOnce),
];

const fn named(guarantee: Guarantee) -> (&'static str, Guarantee) {
    (guarantee.as_str(), guarantee)
}

/// One `[[test]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub name: Option<String>,
    /// Where it begins in its file, from 1.
    pub line: usize,
    pub publish: Sample,
    pub expected: Expected,
}

/// A message as people write it down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub topic: String,
    /// None: an empty payload.
    pub data: Option<Data>,
    pub id: Option<String>,
    pub key: Option<String>,
    /// In order; a name may stand twice.
    pub headers: Vec<(String, String)>,
    /// None: what the data looks like.
    pub content_type: Option<String>,
    /// An ingress or the name of a source; None: `http`.
    pub from: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Text(String),
    Json(serde_json::Value),
    Bytes(Bytes),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Exactly these, in any order; none: no route matches.
    Targets(Vec<ExpectedTarget>),
    /// The end of the problem's `type`: `id-needed`, `too-large`, …
    Refused(String),
}

/// What isn't said isn't compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectedTarget {
    pub route: String,
    pub destination: String,
    pub guarantee: Option<Guarantee>,
    pub topic: Option<String>,
    pub key: Option<String>,
    /// Those named; others may be there too.
    pub headers: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub data: Option<Data>,
    pub priority: Option<u8>,
    pub delay: Option<Duration>,
    pub ttl: Option<Duration>,
    /// Whether it is planned straight into the dead letters.
    pub dead_letter: Option<bool>,
}

impl Data {
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::Json(json) => Bytes::from(json.to_string()),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

impl Sample {
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.data.as_ref().map(Data::bytes).unwrap_or_default()
    }

    /// As said, else what the payload looks like.
    #[must_use]
    pub fn content_type(&self) -> String {
        let guess = || guess_content_type(&self.payload()).to_owned();
        self.content_type.clone().unwrap_or_else(guess)
    }

    /// As an ingress would hand it over.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        let headers = self.headers.iter().map(|(name, value)| Header {
            name: name.to_ascii_lowercase(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        });
        Envelope {
            principal: ANONYMOUS.into(),
            source: source(self.from.as_deref().unwrap_or(INGRESSES[0])).into(),
            topic: self.topic.clone(),
            id: match &self.id {
                Some(id) => MessageId::Publisher(id.clone()),
                None => MessageId::None,
            },
            key: self
                .key
                .as_ref()
                .map(|key| Bytes::copy_from_slice(key.as_bytes())),
            headers: headers.collect(),
            content_type: Some(self.content_type()),
            payload: Ok(self.payload()),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        }
    }
}

/// `from`, as envelopes have it.
#[must_use]
pub fn source(from: &str) -> String {
    match INGRESSES.contains(&from) {
        true => from.to_owned(),
        false => format!("source:{from}"),
    }
}

/// The cases of a file's text, or all that is wrong with it.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>, Report> {
    let reader = match Reader::parse(file, text) {
        Ok(reader) => reader,
        Err(problem) => return Err(Report::new(file.to_owned(), vec![problem], Vec::new())),
    };
    let root = reader.root();
    let tables = root.tables("test").unwrap_or_default();
    let cases: Vec<_> = tables.into_iter().map(read_case).collect();
    root.finish();
    if cases.is_empty() && !reader.has_problems() {
        reader.error(
            None,
            "there is no case in it",
            "write [[test]] with publish = { topic = \"…\" } and expect = [], or let `causeway \
             explain --save` write one",
        );
    }
    let whole: Option<Vec<Case>> = cases.into_iter().collect();
    let problems = reader.into_problems();
    match (whole, problems.is_empty()) {
        (Some(cases), true) => Ok(cases),
        _ => Err(Report::new(file.to_owned(), problems, Vec::new())),
    }
}

fn read_case(table: Table<'_>) -> Option<Case> {
    let name = table.text("name");
    let publish = table.required_table("publish", "{ topic = \"orders/north\" }");
    let publish = publish.and_then(read_sample);
    let expected = read_expected(&table);
    let line = table.line();
    table.finish();
    Some(Case {
        name,
        line,
        publish: publish?,
        expected: expected?,
    })
}

fn read_sample(table: Table<'_>) -> Option<Sample> {
    let sample = Sample {
        topic: table
            .required("topic", "\"orders/north\"")
            .unwrap_or_default(),
        data: table.data(),
        id: table.text("id"),
        key: table.text("key"),
        headers: table.headers(),
        content_type: table.text("content_type"),
        from: table.text("from"),
    };
    table.finish();
    Some(sample)
}

fn read_expected(table: &Table<'_>) -> Option<Expected> {
    match (table.has("expect"), table.has("refused")) {
        (true, false) => {
            let targets = table.tables("expect")?.into_iter().map(read_target);
            Some(Expected::Targets(targets.collect()))
        }
        (false, true) => {
            let kind = table.text("refused")?;
            let is_kind = |c: char| c.is_ascii_lowercase() || c == '-';
            if kind.is_empty() || !kind.chars().all(is_kind) {
                table.value_error(
                    "refused",
                    "`refused` is no type of a problem",
                    "write the end of its `type`, like \"id-needed\" (docs/HTTP.md has them all)",
                );
            }
            Some(Expected::Refused(kind))
        }
        (both, _) => {
            let message = match both {
                true => "it can't be delivered and refused",
                false => "it isn't said what is expected",
            };
            table.error(
                message,
                "write expect = [{ route = \"…\", destination = \"…\" }], expect = [] for no \
                 route, or refused = \"id-needed\"",
            );
            None
        }
    }
}

fn read_target(table: Table<'_>) -> ExpectedTarget {
    let target = ExpectedTarget {
        route: table.required("route", "\"orders\"").unwrap_or_default(),
        destination: table
            .required("destination", "\"inbox\"")
            .unwrap_or_default(),
        guarantee: table.choice("guarantee", &GUARANTEES),
        topic: table.text("topic"),
        key: table.text("key"),
        headers: table.headers(),
        content_type: table.text("content_type"),
        data: table.data(),
        priority: table.small_number("priority"),
        delay: table.duration("delay"),
        ttl: table.duration("ttl"),
        dead_letter: table.boolean("dead_letter"),
    };
    table.finish();
    target
}
