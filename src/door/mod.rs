//! Where every ingress hands envelopes over and waits for receipts.

use crate::message::{Ack, Receipt};

/// What the door says of a publish that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub receipt: Receipt,
    /// What the plan's routes ask for: the strongest of them.
    pub ack: Ack,
    pub outcome: Awaited,
}

/// Whether all that `ack` asks for is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// With `Ack::Delivered` only: `ack_timeout` passed, and some target isn't settled.
    Pending,
    Settled,
}
