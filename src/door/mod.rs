//! Where every ingress hands envelopes over and waits for receipts.

pub mod identity;
pub mod limits;
