//! One envelope under evaluation.

use super::budget::Budget;
use super::error::{EvalError, Fault};
use super::json::Doc;
use crate::message::Envelope;
use bytes::Bytes;
use std::cell::OnceCell;

/// One envelope under evaluation: its payload is parsed at most once, at first need; the step
/// budget is shared by all that is evaluated for it.
pub struct Scope<'a> {
    shared: Shared<'a>,
    pub(super) envelope: &'a Envelope,
    levels: &'a [(&'a str, &'a str)],
    transformed: Option<&'a Transformed>,
}

enum Shared<'a> {
    Own(Common),
    Of(&'a Common),
}

#[derive(Default)]
struct Common {
    budget: Budget,
    payload: OnceCell<Result<Doc, Fault>>,
}

/// What a `transform` made.
#[derive(Debug)]
pub struct Transformed {
    pub json: Bytes,
    /// The same, read again when something asks for it.
    doc: OnceCell<Result<Doc, Fault>>,
}

impl Transformed {
    pub(super) fn new(json: Vec<u8>) -> Self {
        Self {
            json: json.into(),
            doc: OnceCell::new(),
        }
    }
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new(envelope: &'a Envelope) -> Self {
        Self {
            shared: Shared::Own(Common::default()),
            envelope,
            levels: &[],
            transformed: None,
        }
    }

    /// The same, with what a route's topic binds.
    #[must_use]
    pub fn with_levels<'b>(&'b self, levels: &'b [(&'b str, &'b str)]) -> Scope<'b> {
        Scope {
            shared: Shared::Of(self.common()),
            envelope: self.envelope,
            levels,
            transformed: self.transformed,
        }
    }

    /// The same, with `payload` as a `transform` made it.
    #[must_use]
    pub fn with_payload<'b>(&'b self, transformed: &'b Transformed) -> Scope<'b> {
        Scope {
            shared: Shared::Of(self.common()),
            envelope: self.envelope,
            levels: self.levels,
            transformed: Some(transformed),
        }
    }

    /// Spent so far, by all that was evaluated for this envelope.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.budget().steps()
    }

    const fn common(&self) -> &Common {
        match &self.shared {
            Shared::Own(common) => common,
            Shared::Of(common) => common,
        }
    }

    pub(super) const fn budget(&self) -> &Budget {
        &self.common().budget
    }

    pub(super) fn level(&self, name: &str) -> Option<&'a str> {
        let found = self.levels.iter().find(|(level, _)| *level == name);
        found.map(|(_, value)| *value)
    }

    /// The bytes of `payload`.
    pub(super) fn payload_bytes(&self) -> Result<&[u8], Fault> {
        match (self.transformed, &self.envelope.payload) {
            (Some(transformed), _) => Ok(&transformed.json),
            (None, Ok(payload)) => Ok(payload),
            (None, Err(_)) => Err(self.budget().fault(EvalError::NoPayload)),
        }
    }

    /// `payload` as JSON.
    pub(super) fn payload(&self) -> Result<&Doc, Fault> {
        let cell = match self.transformed {
            Some(transformed) => &transformed.doc,
            None => &self.common().payload,
        };
        let read = cell.get_or_init(|| Doc::read(self.payload_bytes()?, self.budget()));
        match read {
            Ok(doc) => Ok(doc),
            Err(fault) => Err(self.budget().fault((**fault).clone())),
        }
    }
}
