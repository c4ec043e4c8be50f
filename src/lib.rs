//! Causeway, a message gateway that promises, and proves it. See docs/ARCHITECTURE.md.
//!
//! One way: ingress → door → routing → journal → lane → egress. Foundations (`message`, `clock`,
//! `histogram`, `log`, `expression`, `cloudevents`) are open to all rooms; otherwise imports go right only, and a test
//! checks it.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod cloudevents;
pub mod config;
pub mod door;
pub mod egress;
pub mod expression;
pub mod faults;
pub mod gateway;
pub mod histogram;
pub mod ingress;
pub mod journal;
pub mod lane;
pub mod log;
pub mod message;
pub mod routing;
pub mod spans;
