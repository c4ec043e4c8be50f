//! Apache Kafka in KRaft mode: nodes, and the commands that come with it.

mod dist;
mod node;

pub use dist::{Dist, VERSION};
pub use node::{Kafka, PORTS, Ports};
pub(crate) use node::{Size, plan};

/// A user of the SASL listener, by PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
pub const USER: (&str, &str) = ("causeway", "causeway-secret");
/// A user of the SASL listener, by PLAIN, whom nothing is refused.
pub const ADMIN: (&str, &str) = ("admin", "admin-secret");
