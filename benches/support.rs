//! What the tests drive the process with, as far as it is needed here.

#[path = "../tests/support/brokers.rs"]
pub mod brokers;
#[path = "../tests/support/client.rs"]
pub mod client;
#[path = "../tests/support/kafka.rs"]
pub mod kafka;
#[path = "../tests/support/load.rs"]
pub mod load;
#[path = "../tests/support/metrics.rs"]
pub mod metrics;
#[path = "../tests/support/process.rs"]
pub mod process;
#[path = "../tests/support/ratio.rs"]
pub mod ratio;
#[path = "../tests/support/skip.rs"]
pub mod skip;
