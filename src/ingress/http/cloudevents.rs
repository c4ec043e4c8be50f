//! What a publish's body is: a payload, an event's data, an event, or a list of them.

use super::problem::Problem;
use super::{Kind, request};
use crate::cloudevents::{
    self, BATCH, Event, EventError, HEADER_PREFIX, Mode, Quoting, STRUCTURED,
};
use crate::message::Envelope;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;

pub(super) enum Form {
    Payload,
    /// The data of an event whose attributes are the request's headers.
    Data(Box<Event>),
    /// An event; and its attributes once more, if headers have them.
    Event(Vec<(String, Bytes)>),
    Events,
}

impl Form {
    /// By the request's headers, and its content type if it has one.
    pub(super) fn of(headers: &HeaderMap, content_type: Option<&str>) -> Result<Self, Problem> {
        let mode = content_type.map_or(Ok(None), Mode::of)?;
        let form = match mode {
            Some(Mode::Structured) => {
                let pair =
                    |(name, value): (&str, &[u8])| (name.to_owned(), Bytes::copy_from_slice(value));
                Self::Event(attributes(headers).map(pair).collect())
            }
            Some(Mode::Batch) => {
                if let Some((name, _)) = attributes(headers).next() {
                    return Err(two_modes(name));
                }
                Self::Events
            }
            None if cloudevents::is_event(headers.keys().map(|name| name.as_str())) => {
                let content_type = content_type.map(str::to_owned);
                let event = Event::of_headers(attributes(headers), Quoting::Percent, content_type)?;
                Self::Data(Box::new(event))
            }
            None => return Ok(Self::Payload),
        };
        if headers.contains_key(request::IDEMPOTENCY_KEY) {
            let why = "an event's id is made of its source and id: leave this one out";
            return Err(Problem::bad_header(request::IDEMPOTENCY_KEY, why));
        }
        Ok(form)
    }

    /// The envelope, with what the body holds.
    pub(super) fn filled(self, mut rest: Envelope, body: Bytes) -> Result<Envelope, Problem> {
        match self {
            Self::Payload | Self::Events => {
                rest.payload = Ok(body);
                Ok(rest)
            }
            Self::Data(event) => {
                // Nothing of which nothing is said is no data.
                let is_none = body.is_empty() && event.content_type().is_none();
                let event = event.with_data((!is_none).then_some(body));
                Ok(event.into_envelope(rest)?)
            }
            Self::Event(headers) => {
                let event = Event::read(&body)?;
                let headers = headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), &value[..]));
                event.agrees_with(headers, Quoting::Percent)?;
                Ok(event.into_envelope(rest)?)
            }
        }
    }
}

fn attributes(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| name.starts_with(HEADER_PREFIX))
}

fn two_modes(header: &str) -> Problem {
    let attribute = header.trim_start_matches(HEADER_PREFIX);
    let why = "the events of a list have attributes of their own: leave out this header";
    Problem::bad_header(header, why).with("attribute", attribute)
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        let detail = error.to_string();
        match error {
            EventError::Attribute { name, .. } => Self::malformed(detail).with("attribute", name),
            EventError::Malformed(_) => Self::malformed(detail),
            EventError::ContentType { .. } => {
                const ACCEPTED: [&str; 2] = [STRUCTURED, BATCH];
                let accepted = HeaderValue::from_str(&ACCEPTED.join(", "));
                Self::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    Kind::ContentType,
                    "Events of this form can't be read",
                    detail,
                )
                .with("header", "content-type")
                .with_header(header::ACCEPT, accepted.expect("plain text"))
            }
        }
    }
}
