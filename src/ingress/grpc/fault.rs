//! Errors in gRPC's words: a code, a text for people, and details for programs (google.rpc).

use super::reason::Reason;
use crate::cloudevents::EventError;
use crate::ingress::front::ReadError;
use crate::message::{Refusal, text};
use prost::Message;
use std::collections::HashMap;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

/// Of all our `ErrorInfo`.
const DOMAIN: &str = "causeway";

/// Why a call, or one message of it, isn't done.
#[derive(Clone, Debug)]
pub(super) struct Fault(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    code: Code,
    reason: Reason,
    text: String,
    retry_after: Option<Duration>,
    /// The field that is wrong.
    field: Option<String>,
    /// Whose limit it is.
    quota: Option<String>,
    facts: HashMap<String, String>,
}

impl Fault {
    pub(super) fn new(code: Code, reason: Reason, text: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            text: text::shown(text.into()),
            retry_after: None,
            field: None,
            quota: None,
            facts: HashMap::new(),
        }))
    }

    pub(super) fn malformed(field: &str, why: impl Into<String>) -> Self {
        let why = why.into();
        let mut fault = Self::new(
            Code::InvalidArgument,
            Reason::Malformed,
            format!("{field}: {why}"),
        );
        fault.0.field = Some(field.to_owned());
        fault
    }

    /// What came can't be read at all.
    pub(super) fn unreadable(why: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, Reason::Malformed, why)
    }

    /// The same may succeed later.
    pub(super) fn unavailable(reason: Reason, text: impl Into<String>, seconds: u64) -> Self {
        Self::new(Code::Unavailable, reason, text).retry_after(seconds)
    }

    /// A limit that others fill, too: the same may succeed later.
    pub(super) fn exhausted(
        reason: Reason,
        text: impl Into<String>,
        whose: &str,
        seconds: u64,
    ) -> Self {
        let mut fault = Self::new(Code::ResourceExhausted, reason, text).retry_after(seconds);
        fault.0.quota = Some(whose.to_owned());
        fault
    }

    pub(super) fn stopping() -> Self {
        Refusal::Stopping.into()
    }

    pub(super) fn in_flight_full() -> Self {
        let text = "too many bytes of other requests are in flight";
        Self::exhausted(Reason::InFlightFull, text, "limits.in_flight_bytes", 1)
            .with("setting", "limits.in_flight_bytes")
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(Duration::from_secs(seconds));
        self
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        let value = text::shown(value.to_string());
        self.0.facts.insert(name.to_owned(), value);
        self
    }

    /// The facts of a limit that was met.
    fn over(self, what: &str, actual: usize, limit: usize, setting: &str) -> Self {
        self.with("what", what)
            .with("actual", actual)
            .with("limit", limit)
            .with("setting", setting)
    }

    /// Whether the same may succeed later.
    pub(super) const fn is_retriable(&self) -> bool {
        self.0.retry_after.is_some()
    }

    pub(super) fn status(self) -> Status {
        let parts = *self.0;
        let mut details = ErrorDetails::new();
        details.set_error_info(parts.reason.as_str(), DOMAIN, parts.facts);
        if let Some(field) = parts.field {
            details.add_bad_request_violation(field, parts.text.clone());
        }
        if let Some(whose) = parts.quota {
            details.add_quota_failure_violation(whose, parts.text.clone());
        }
        if parts.retry_after.is_some() {
            details.set_retry_info(parts.retry_after);
        }
        Status::with_error_details(parts.code, parts.text, details)
    }

    /// As it stands in an answer to one of many messages.
    pub(super) fn rpc_status(self) -> pb::Status {
        let status = self.status();
        // What we have just encoded.
        pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Malformed(_) => Self::unreadable(text),
            Refusal::TooLarge {
                what,
                actual,
                limit,
                setting,
            } => Self::new(Code::InvalidArgument, Reason::TooLarge, text)
                .over(what, actual, limit, setting),
            Refusal::TooMany {
                what,
                actual,
                limit,
                setting,
            } => Self::new(Code::InvalidArgument, Reason::TooMany, text)
                .over(what, actual, limit, setting),
            Refusal::IdNeeded(_) => {
                let mut fault = Self::new(Code::InvalidArgument, Reason::IdNeeded, text);
                fault.0.field = Some("message.id".to_owned());
                fault
            }
            Refusal::NoRoute { topic } => {
                Self::new(Code::NotFound, Reason::NoRoute, text).with("topic", topic)
            }
            Refusal::RouteRefused { route, .. } => {
                Self::new(Code::FailedPrecondition, Reason::RouteRefused, text).with("route", route)
            }
            Refusal::Conflict { id, position } => {
                Self::new(Code::AlreadyExists, Reason::IdConflict, text)
                    .with("id", id)
                    .with("position", position.0)
            }
            Refusal::BacklogFull { lane, limit_bytes } => {
                Self::exhausted(Reason::BacklogFull, text, &format!("destination:{lane}"), 5)
                    .with("destination", lane)
                    .with("limit", limit_bytes)
                    .with("setting", "backlog")
            }
            Refusal::DedupFull { entries } => {
                Self::exhausted(Reason::DedupFull, text, "dedup.max_entries", 10)
                    .with("entries", entries)
                    .with("setting", "dedup.max_entries")
            }
            Refusal::JournalFull(_) => Self::unavailable(Reason::JournalFull, text, 10),
            Refusal::Busy => Self::unavailable(Reason::Busy, text, 1),
            Refusal::Stopping => Self::unavailable(Reason::Stopping, text, 5),
            Refusal::JournalFailed(_) => Self::unavailable(Reason::JournalFailed, text, 30),
            Refusal::EarlierRefused { is_retriable: true } => {
                Self::new(Code::Aborted, Reason::EarlierRefused, text).retry_after(1)
            }
            Refusal::EarlierRefused {
                is_retriable: false,
            } => Self::new(Code::Aborted, Reason::EarlierRefused, text),
        }
    }
}

impl From<EventError> for Fault {
    fn from(error: EventError) -> Self {
        let text = error.to_string();
        match error {
            EventError::Attribute { name, .. } => Self::unreadable(text).with("attribute", name),
            EventError::Malformed(_) => Self::unreadable(text),
            EventError::ContentType { .. } => {
                Self::new(Code::InvalidArgument, Reason::ContentType, text)
            }
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        match error {
            ReadError::UnknownStream(name) => {
                Self::new(Code::NotFound, Reason::UnknownStream, text).with("stream", name)
            }
            ReadError::Gone { earliest } => {
                Self::new(Code::OutOfRange, Reason::OffsetGone, text).with("earliest", earliest)
            }
            ReadError::Failed(_) => Self::unavailable(Reason::StreamFailed, text, 5),
        }
    }
}

/// What the gRPC library says of a message that it doesn't read, in our words.
pub(super) fn of_decoding(status: Status, limit: usize) -> Status {
    let is_too_long = status.message().contains("message length too large")
        || status.message().contains("size limit, of");
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted if is_too_long => {
            let text = format!("the message is larger than {limit} bytes, decompressed");
            Fault::new(Code::InvalidArgument, Reason::TooLarge, text)
                .with("what", "the message")
                .with("limit", limit)
                .with("setting", "limits.payload")
                .status()
        }
        // It names the codings that there are, in `grpc-accept-encoding`.
        Code::Unimplemented if status.details().is_empty() => {
            let fault = Fault::new(
                Code::Unimplemented,
                Reason::ContentEncoding,
                status.message(),
            );
            let mut told = fault.status();
            *told.metadata_mut() = status.metadata().clone();
            told
        }
        // Of what is damaged on the way, or by its sender.
        Code::Internal if status.details().is_empty() => {
            Fault::unreadable(status.message()).status()
        }
        _ => status,
    }
}

#[cfg(test)]
mod tests;
