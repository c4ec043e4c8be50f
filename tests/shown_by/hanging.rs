//! Two routes, one to a destination that hangs for ever: it is charged for what it owes, refuses
//! for itself alone, and the other goes on at its own rate while the journal stays small.

use super::{ANSWER_LIMIT, counts, full_size, publish, say};
use crate::support::load::{Load, load};
use crate::support::process::{Gateway, folder_bytes, program};
use crate::support::ratio::interleaved;
use crate::support::wait::{wait_for, wait_until};
use std::time::{Duration, Instant};

/// The sizes of one run.
struct Size {
    backlog_bytes: u64,
    /// What goes to the healthy destination, in all rounds together.
    through_bytes: u64,
    /// Of its rate alone. In a small run on a machine that others use, the noise is larger.
    least_rate: f64,
}

const FULL: Size = Size {
    backlog_bytes: 256 << 20,
    through_bytes: 5 << 30,
    least_rate: 0.9,
};
const SMALL: Size = Size {
    backlog_bytes: 256 << 20,
    through_bytes: 1 << 30,
    least_rate: 0.5,
};

const PAYLOAD_BYTES: u64 = 32 * 1024;
/// Short ones, and many at full size: each pair sees the same weather.
const ROUND_BYTES: u64 = 128 << 20;
/// What the journal may hold beyond what is owed: the open segment, the two sealed before it, which
/// are never compacted, two that are ready, two kept for reuse, and one of which a part is owed.
const SLACK_SEGMENTS: u64 = 8;
const SEGMENT_BYTES: u64 = 64 << 20;
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

fn settings(size: &Size) -> String {
    format!(
        r#"
[destinations.healthy]
type = "stream"
retention = {{ max_bytes = "64MiB" }}

[destinations.hung]
type = "faulty"
script = "hang"
record = "hung.record"
backlog = "{backlog}B"

[[routes]]
name = "healthy"
topic = "healthy/#"
to = ["healthy"]

[[routes]]
name = "hung"
topic = "hung/#"
to = ["hung"]
"#,
        backlog = size.backlog_bytes
    )
}

#[test]
fn a_hanging_destination_costs_its_own_backlog_and_no_more() {
    let size = if full_size() { FULL } else { SMALL };
    let gateway = || {
        let mut gateway = Gateway::new(&program(), &settings(&size));
        gateway.start().unwrap();
        gateway
    };
    let (beside, alone) = (gateway(), gateway());
    let owed = fill_hung(&beside, &size);
    assert!(
        owed <= size.backlog_bytes,
        "{owed} bytes taken, more than the backlog"
    );
    assert!(
        owed >= size.backlog_bytes / 10 * 9,
        "refused when it owed {owed} bytes"
    );

    let rounds = size.through_bytes / ROUND_BYTES;
    let ratio = interleaved(
        usize::try_from(rounds).expect("few"),
        || push_through(&beside, ROUND_BYTES),
        || push_through(&alone, ROUND_BYTES),
    );

    let refused = publish(
        &mut beside.client(ANSWER_LIMIT),
        "hung/x",
        "one more",
        &payload(),
    );
    let refused = refused.expect("it goes on answering");
    assert_eq!(
        refused.status, 503,
        "the hung route is still full: {refused}"
    );
    say(&format!(
        "shown by: beside a hung destination that owes {owed} bytes: {} bytes through the other, \
         {ratio}",
        size.through_bytes
    ));
    let journal = wait_for_journal(&beside, owed + SLACK_SEGMENTS * SEGMENT_BYTES);
    let beyond = journal.saturating_sub(owed) as f64 / SEGMENT_BYTES as f64;
    say(&format!(
        "shown by: the journal holds {journal} bytes: what is owed and {beyond:.1} segments"
    ));
    assert!(ratio.rate() >= size.least_rate, "{ratio}");
}

fn payload() -> Vec<u8> {
    vec![b'x'; usize::try_from(PAYLOAD_BYTES).expect("small")]
}

/// The payload bytes that it took before it refused.
fn fill_hung(gateway: &Gateway, size: &Size) -> u64 {
    let mut client = gateway.client(ANSWER_LIMIT);
    let most = size.backlog_bytes / PAYLOAD_BYTES + 1;
    for number in 0..=most {
        let id = format!("hung-{number}");
        let response = publish(&mut client, "hung/x", &id, &payload());
        let response = response.expect("it goes on answering");
        match response.status {
            202 => {}
            503 => return number * PAYLOAD_BYTES,
            _ => panic!("{id}: {response}"),
        }
    }
    most * PAYLOAD_BYTES
}

/// Publishes so many bytes and waits until they are delivered.
fn push_through(gateway: &Gateway, bytes: u64) -> Duration {
    let started = Instant::now();
    let messages = bytes / PAYLOAD_BYTES;
    load(
        gateway,
        &Load {
            messages,
            payload_bytes: PAYLOAD_BYTES,
            ..Load::new("healthy/x")
        },
    );
    wait_until(CATCH_UP_LIMIT, "nothing owed to the healthy lane", || {
        counts(gateway)
            .get("healthy")
            .is_none_or(|counts| counts.pending == 0)
    });
    started.elapsed()
}

/// Waits for compaction: the bytes of the journal once they are within the limit.
fn wait_for_journal(gateway: &Gateway, limit_bytes: u64) -> u64 {
    wait_for(CATCH_UP_LIMIT, || {
        let bytes = folder_bytes(&gateway.data().join("journal"));
        match bytes <= limit_bytes {
            true => Ok(bytes),
            false => {
                let counts = counts(gateway);
                Err(format!(
                    "{limit_bytes} bytes of journal, not {bytes}: {counts:?}"
                ))
            }
        }
    })
}
