//! A small disk of its own, filled by publishing: 503, reads go on, what was taken is settled while
//! it is full, nothing is lost, and it works again when space returns.

use super::{ANSWER_LIMIT, counts, insist, pending, publish, say, stream_ids};
use crate::support::client::Client;
use crate::support::process::{Gateway, START_LIMIT, plain_program};
use crate::support::skip::skipped;
use crate::support::wait::wait_for;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const TEST: &str = "shown_by::full_disk";
const PAYLOAD_BYTES: usize = 16 * 1024;
/// Far more than the disk holds.
const MOST_PUBLISHES: usize = 10_000;
/// More than the stream's first segment of 4 MiB has: it needed more of the disk when that was short.
const LEAST_TAKEN: usize = 6 * 1024 * 1024 / PAYLOAD_BYTES;
/// At once, so that most often something is owed at the moment when it is full.
const PUBLISHERS: usize = 8;
/// Refusals in a row that count as full for good: compaction may give back room.
const REFUSALS: usize = 20;
const POLL: Duration = Duration::from_millis(50);
/// More often than this compaction can't give back room: the stream keeps all that it gets.
const MOST_ROUNDS: usize = 20;
/// Published once space has returned.
const AFTERWARDS: usize = 50;

/// In a mount namespace of its own: a disk of 50 MB with a ballast on it, which goes when the file
/// `free` appears beside it. The gateway keeps the shell's process id.
const MOUNT: &str = r#"
set -e
mount -t tmpfs -o size=50m tmpfs disk
head -c 10485760 /dev/zero > disk/ballast
(while kill -0 $$ 2> /dev/null; do
    if [ -e free ]; then rm disk/ballast; exit; fi
    sleep 0.05
done) &
exec "$@"
"#;

const SETTINGS: &str = r#"
[journal]
max_bytes = "1GiB"

[defaults]
dead_letters = { max_bytes = "1MiB" }

[destinations.inbox]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]
"#;

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let Some(program) = plain_program() else {
        skipped(
            TEST,
            "needs the plain build, which `cargo xtask test` makes",
        );
        return;
    };
    if !mounting_works() {
        skipped(TEST, "unshare -rm and mount aren't permitted here");
        return;
    }
    let mut gateway = Gateway::new(&program, SETTINGS);
    gateway.started_by(&["unshare", "-rm", "sh", "-c", MOUNT, "sh"]);
    gateway.start().unwrap();

    let full = fill_and_settle(&gateway);
    // Reads go on.
    let mut client = gateway.client(ANSWER_LIMIT);
    let found = client
        .get(&format!("/v1/messages?id={}&topic=all/x", full.acked[0]))
        .unwrap();
    assert_eq!(found.status, 200, "{found}");
    let (mut read, mut expected) = (stream_ids(&gateway, "inbox"), full.acked);
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected, "all that was taken is in the stream");
    let taken = expected.len();

    fs::write(gateway.folder().join("free"), "").unwrap();
    let afterwards = (0..AFTERWARDS).map(|number| format!("afterwards-{number}"));
    for id in full.refused.into_iter().chain(afterwards) {
        insist(&mut client, "all/x", &id, &payload(&id));
        expected.push(id);
    }
    wait_settled(&gateway);
    let ready = gateway.ready().expect("health goes on answering");
    assert_eq!(ready.status, 200, "it is taken again: {ready}");
    // Without a key there is no order.
    read = stream_ids(&gateway, "inbox");
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected, "each acknowledged id is in the stream once");
    say(&format!(
        "shown by: a disk of 50 MB took {taken} messages of 16 KiB until it was full, and settled \
         them all while it was ({} times; up to {} were owed), and {AFTERWARDS} more when space \
         returned",
        full.rounds, full.most_held_up
    ));
}

const FLOOD: &str = r#"
[journal]
max_bytes = "1GiB"

[defaults]
dead_letters = { max_bytes = "1MiB" }

[destinations.inbox]
type = "stream"

[destinations.kept]
type = "stream"

[[routes]]
name = "all"
topic = "all/#"
to = ["kept"]

[[routes]]
name = "once"
topic = "once/#"
guarantee = "at_most_once"
ack = "received"
to = ["inbox"]
"#;
/// Owed while the disk fills: more than a stream's first segments hold.
const OWED: usize = 20 * 1024 * 1024 / PAYLOAD_BYTES;
/// At_most_once, of 16 KiB each: more than the disk holds.
const FLOODED: usize = 160 * 1024 * 1024 / PAYLOAD_BYTES;

/// What is at_most_once takes no room that what was stored needs.
#[test]
fn what_lives_in_memory_fills_no_disk_that_others_are_owed() {
    let Some(program) = plain_program() else {
        skipped(
            TEST,
            "needs the plain build, which `cargo xtask test` makes",
        );
        return;
    };
    if !mounting_works() {
        skipped(TEST, "unshare -rm and mount aren't permitted here");
        return;
    }
    let mut gateway = Gateway::new(&program, FLOOD);
    // Two streams need more of it.
    let mount = MOUNT.replace("size=50m", "size=160m");
    gateway.started_by(&["unshare", "-rm", "sh", "-c", &mount, "sh"]);
    gateway.start().unwrap();
    let order = |what: &str| {
        let output = gateway.run(&["lane", what, "kept"]);
        assert_eq!(output.status.code(), Some(0), "{what}: {output:?}");
    };
    order("pause");
    let mut client = gateway.client(ANSWER_LIMIT);
    let ids: Vec<_> = (0..OWED).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        assert!(is_taken(&mut client, id), "{id}: {OWED} of them find room");
    }
    for number in 0..FLOODED {
        let id = format!("flood-{number}");
        let response = publish(&mut client, "once/x", &id, &payload(&id));
        let response = response.expect("it goes on answering");
        assert_eq!(response.status, 202, "{id}: {response}");
    }
    let admin = Client::new(gateway.admin, ANSWER_LIMIT).get("/api/v1/status");
    let status = admin.unwrap().json().expect("JSON");
    let lanes = status["lanes"].as_array().expect("lanes").iter();
    let mut inbox = lanes.filter(|lane| lane["name"] == "inbox");
    let memory = &inbox.next().expect("it is configured")["memory"];
    assert!(memory["discarded"]["full"].as_u64() > Some(0), "{memory}");
    assert!(memory["delivered"].as_u64() > Some(0), "{memory}");

    order("resume");
    wait_settled(&gateway);
    let mut read = stream_ids(&gateway, "kept");
    let mut expected = ids;
    // Without a key there is no order.
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected, "all that was stored is in its stream");
}

fn mounting_works() -> bool {
    let mount = "mount -t tmpfs -o size=1m tmpfs /tmp";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-rm", "sh", "-c", mount])
        .stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success()) && Path::new("/proc/self/ns/mnt").exists()
}

fn payload(id: &str) -> Vec<u8> {
    let mut payload = id.as_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, b'.');
    payload
}

/// What a disk took that is full for good.
#[derive(Default)]
struct Full {
    acked: Vec<String>,
    refused: Vec<String>,
    /// So often it was full.
    rounds: usize,
    /// Owed at such a moment.
    most_held_up: u64,
}

/// Fills it. Each time that it refuses, all that it took must be settled while it does: until
/// compaction gives back no more room, so that it refuses though nothing is owed.
fn fill_and_settle(gateway: &Gateway) -> Full {
    let mut full = Full::default();
    let next = AtomicUsize::new(0);
    for _ in 0..MOST_ROUNDS {
        let (acked, refused, held_up) = fill(gateway, &next);
        full.most_held_up = full.most_held_up.max(held_up);
        full.rounds += 1;
        full.acked.extend(acked);
        full.refused.extend(refused);
        wait_settled(gateway);
        if is_refused(gateway, &full.refused[0]) {
            assert_eq!(pending(&counts(gateway)), 0);
            let reasons = gateway.unready().unwrap();
            assert!(reasons.contains("the disk is nearly full"), "{reasons}");
            let (taken, tail) = (full.acked.len(), gateway.log_tail());
            assert!(taken >= LEAST_TAKEN, "it took only {taken}: {tail}");
            return full;
        }
        full.acked.push(full.refused.swap_remove(0));
    }
    panic!("it refused {MOST_ROUNDS} times, and then took more");
}

/// Publishes until it refuses: the ids that were acknowledged, those that were not, and how much
/// was owed at the first refusal.
fn fill(gateway: &Gateway, next: &AtomicUsize) -> (Vec<String>, Vec<String>, u64) {
    let held_up = OnceLock::new();
    let publisher = || {
        let mut client = gateway.client(ANSWER_LIMIT);
        let mut acked = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            assert!(
                number < MOST_PUBLISHES,
                "{number} publishes of {PAYLOAD_BYTES} bytes on a disk of 50 MB, and no refusal"
            );
            let id = format!("id-{number}");
            if !is_taken(&mut client, &id) {
                held_up.get_or_init(|| pending(&counts(gateway)));
                return (acked, id);
            }
            acked.push(id);
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publisher)).collect();
        let (mut all, mut refused) = (Vec::new(), Vec::new());
        for publisher in running {
            let (acked, id) = publisher.join().expect("it goes on answering");
            all.extend(acked);
            refused.push(id);
        }
        let held_up = held_up.get().copied().unwrap_or(0);
        (all, refused, held_up)
    })
}

/// Whether it takes the message, which else is refused for now.
fn is_taken(client: &mut Client, id: &str) -> bool {
    let response = publish(client, "all/x", id, &payload(id));
    let response = response.expect("it goes on answering");
    match response.status {
        200 | 202 => true,
        503 => {
            assert!(response.header("retry-after").is_some(), "{id}: {response}");
            false
        }
        _ => panic!("{id}: {response}"),
    }
}

/// Whether it refuses again and again.
fn is_refused(gateway: &Gateway, id: &str) -> bool {
    let mut client = gateway.client(ANSWER_LIMIT);
    (0..REFUSALS).all(|_| {
        thread::sleep(POLL);
        !is_taken(&mut client, id)
    })
}

/// Waits until nothing is owed any more.
fn wait_settled(gateway: &Gateway) {
    wait_for(START_LIMIT, || match pending(&counts(gateway)) {
        0 => Ok(()),
        left => Err(format!("nothing owed, not {left}")),
    });
}
