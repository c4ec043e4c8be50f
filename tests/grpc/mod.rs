//! gRPC from outside: the real process, the generated client, and what others wrote. docs/GRPC.md says
//! what they see.

mod calls;
mod ends;
mod hostile;
mod kills;
mod limits;
mod reading;
mod streams;
mod tools;

use crate::support::process::{Gateway, program};

/// Destinations that take, that never answer, and that refuse; `sure/…` are acknowledged when delivered.
const SETTINGS: &str = r##"
[limits]
payload = "64KiB"

[destinations.inbox]
type = "stream"

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"

[destinations.picky]
type = "faulty"
script = "reject"
record = "picky.record"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "refused"
topic = "refused"
on_error = "reject"
when = "payload.n > 0"
to = ["inbox"]

[[routes]]
name = "sure"
topic = "sure/taken"
ack = "delivered"
to = ["inbox"]

[[routes]]
name = "hung"
topic = "sure/hung/#"
ack = "delivered"
to = ["hung"]

[[routes]]
name = "short"
topic = "sure/short"
ack = "delivered"
ack_timeout = "50ms"
to = ["hung"]

[[routes]]
name = "second"
topic = "sure/second"
ack = "delivered"
ack_timeout = "1s"
to = ["hung"]

[[routes]]
name = "picky"
topic = "sure/picky"
ack = "delivered"
to = ["picky"]
"##;

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}
