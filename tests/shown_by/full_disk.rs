//! A small disk of its own, filled by publishing: 503, reads and settlements go on, nothing is
//! lost, and it works again when space returns.

use super::{ANSWER_LIMIT, counts, insist, pending, publish, say, stream_ids};
use crate::support::client::Client;
use crate::support::process::{Gateway, START_LIMIT, plain_program};
use crate::support::skip::skipped;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const TEST: &str = "shown_by::full_disk";
const PAYLOAD_BYTES: usize = 16 * 1024;
/// Far more than the disk holds.
const MOST_PUBLISHES: usize = 10_000;
/// Refusals in a row that count as full: one may be a moment's.
const REFUSALS: usize = 20;
const REFUSED_WAIT: Duration = Duration::from_millis(50);
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

    let (mut acked, refused) = fill(&gateway);
    assert!(
        !acked.is_empty(),
        "it never took anything: {}",
        gateway.log_tail()
    );
    // Reads go on.
    let mut client = gateway.client(ANSWER_LIMIT);
    let found = client
        .get(&format!("/v1/messages?id={}&topic=all/x", acked[0]))
        .unwrap();
    assert_eq!(found.status, 200, "{found}");
    assert!(
        !stream_ids(&gateway, "inbox").is_empty(),
        "nothing can be read"
    );
    let (taken, pending_when_full) = (acked.len(), pending(&counts(&gateway)));

    fs::write(gateway.folder().join("free"), "").unwrap();
    for id in [
        vec![refused],
        ids().skip(taken + 1).take(AFTERWARDS).collect(),
    ]
    .concat()
    {
        insist(&mut client, "all/x", &id, &payload(&id));
        acked.push(id);
    }
    let deadline = Instant::now() + START_LIMIT;
    while pending(&counts(&gateway)) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    // Without a key there is no order: what the full disk held up comes after its back-off.
    let (mut read, mut expected) = (stream_ids(&gateway, "inbox"), acked);
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected, "each acknowledged id is in the stream once");
    say(&format!(
        "shown by: a disk of 50 MB took {taken} messages of 16 KiB, {pending_when_full} of them \
         pending when it was full, and {AFTERWARDS} more when space returned"
    ));
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

fn ids() -> impl Iterator<Item = String> {
    (0..MOST_PUBLISHES).map(|number| format!("id-{number}"))
}

/// Publishes until it is full: the ids that were acknowledged, and the one that was refused.
fn fill(gateway: &Gateway) -> (Vec<String>, String) {
    let mut client = gateway.client(ANSWER_LIMIT);
    let mut acked = Vec::new();
    for id in ids() {
        if !taken(&mut client, &id) {
            return (acked, id);
        }
        acked.push(id);
    }
    panic!(
        "{MOST_PUBLISHES} publishes of {PAYLOAD_BYTES} bytes on a disk of 50 MB, and no refusal"
    );
}

/// False if it is refused again and again.
fn taken(client: &mut Client, id: &str) -> bool {
    for _ in 0..REFUSALS {
        let response = publish(client, "all/x", id, &payload(id));
        let response = response.expect("it goes on answering");
        match response.status {
            200 | 202 => return true,
            503 => assert!(response.header("retry-after").is_some(), "{id}: {response}"),
            _ => panic!("{id}: {response}"),
        }
        thread::sleep(REFUSED_WAIT);
    }
    false
}
