//! CloudEvents 1.0: read, checked and written in each mode, and what an event is as an envelope.
//!
//! What lives here: attributes and their rules, the JSON format, attributes as headers, an event's identity.
//! Pure. What must not: any protocol's own types, where an event came from or goes to. docs/CLOUDEVENTS.md
//! says what users see.

mod envelope;
mod error;
mod event;
mod headers;
mod identity;
mod json;
mod mode;
#[cfg(test)]
mod tests;
mod uri;
mod value;

pub use envelope::{Made, of_record, take_in};
pub use error::EventError;
pub use event::{Attribute, Event, MAX_NAME_CHARS};
pub use headers::{HEADER_PREFIX, Plain, Quoting, is_event};
pub use identity::message_id;
pub use json::{Draft, write_batch};
pub use mode::{BATCH, Mode, STRUCTURED};
pub use value::Value;
