//! The values that flow through the house: envelopes, plans, deliveries, settlements, receipts.
//!
//! What lives here: plain data, open to every room, and its byte encodings.
//! What must not: I/O, clocks, policies, anything that knows a protocol or a file.

mod chain;
mod content_type;
mod delivery;
mod delivery_id;
mod envelope;
mod generated_id;
mod headers;
mod ids;
mod plan;
mod receipt;
pub mod record;
mod set;
pub mod text;
mod topic_names;
pub mod trace;
pub mod wire;

pub use chain::Chain;
pub use content_type::{JSON, guess_content_type, is_json};
pub use delivery::{Delivery, DiscardReason, Message, Outcome, Settlement};
pub use delivery_id::{Origin, delivery_id};
pub use envelope::{
    Envelope, Extension, Header, MAX_ID_BYTES, MAX_KEY_BYTES, MessageId, RedriveNames, Tombstone,
};
pub use generated_id::{generated_id, parse_generated, uuid_prefix};
pub use headers::Headers;
pub use ids::{DeliveryId, Epoch, LaneId, LogUuid, Ordinal, Position, RouteId};
pub use plan::{Ack, Guarantee, Plan, Target};
pub use receipt::{DeliveryState, Receipt, Refusal, TargetState};
pub use record::Fingerprint;
pub use set::DeliverySet;
pub use topic_names::TopicNames;
pub use trace::{TraceContext, TraceParent};
