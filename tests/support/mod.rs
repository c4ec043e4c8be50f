//! What the scenario families share.

pub mod sim_disk;
