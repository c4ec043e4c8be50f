//! Data folders that the gateway can't use: it says which, why and what to do, ends with exit code 1,
//! and what is in them stays as it is.

use crate::support::process::{ALL_TO_INBOX, Gateway, START_LIMIT, plain_program, program};
use crate::support::skip::skipped;
use crate::support::wait::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const MESSAGES: usize = 5;

/// The machine's own disk, where there is a build for it.
fn gateway() -> Gateway {
    Gateway::new(&plain_program().unwrap_or_else(program), ALL_TO_INBOX)
}

/// Starts it and waits for its end; what it said at last, and not before.
fn refusal(gateway: &mut Gateway) -> String {
    let log = gateway.folder().join("log");
    let before = fs::read(&log).map_or(0, |bytes| bytes.len());
    gateway.spawn();
    let ended = || gateway.ended().ok_or_else(|| "its end".to_owned());
    let status = wait_for(START_LIMIT, ended);
    let said = fs::read(&log).expect("it said something");
    let said = String::from_utf8_lossy(&said[before..]).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    let error = said
        .find("error: ")
        .unwrap_or_else(|| panic!("no error: {said}"));
    said[error..].trim_end().to_owned()
}

/// One line says what and where, one what to do.
fn assert_says(said: &str, words: &[&str]) {
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[1].starts_with("help: "), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

fn publish(gateway: &Gateway, count: usize) {
    let mut client = gateway.client(PATIENCE);
    for number in 0..count {
        let got = client.post("/v1/topics/a", &[], number.to_string().as_bytes());
        let status = got.expect("an answer").status;
        assert!(matches!(status, 200 | 202), "{status}");
    }
}

/// How many messages the stream has.
fn kept(gateway: &Gateway) -> usize {
    let mut client = gateway.client(PATIENCE);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = client
            .get("/v1/streams/inbox?limit=1000")
            .expect("an answer");
        let page = page.json().expect("a page");
        let count = page["messages"].as_array().expect("messages").len();
        if count >= MESSAGES || Instant::now() > deadline {
            return count;
        }
        thread::sleep(POLL);
    }
}

/// A gateway that has taken messages and was stopped.
fn used() -> Gateway {
    let mut gateway = gateway();
    gateway.start().unwrap();
    publish(&gateway, MESSAGES);
    assert_eq!(kept(&gateway), MESSAGES);
    gateway.terminate(PATIENCE).unwrap();
    gateway
}

fn assert_nothing_is_lost(mut gateway: Gateway) {
    gateway.start().unwrap();
    assert_eq!(kept(&gateway), MESSAGES);
    publish(&gateway, 1);
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("the folder is there");
    let mut all: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    all.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    all.sort();
    all
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_file_in_the_folders_place() {
    let mut gateway = gateway();
    fs::write(gateway.data(), "mine").expect("writable");
    let said = refusal(&mut gateway);
    assert_says(
        &said,
        &["disk/data", "[gateway] data_dir", "no folder stands there"],
    );
    assert_eq!(fs::read(gateway.data()).expect("it is there"), b"mine");

    // On the way to it.
    fs::remove_file(gateway.data()).expect("ours");
    fs::remove_dir(gateway.disk()).expect("ours");
    fs::write(gateway.disk(), "mine").expect("writable");
    let said = refusal(&mut gateway);
    assert_says(
        &said,
        &["disk/data", "[gateway] data_dir", "no folder stands there"],
    );
}

/// Runs as its own root where mounts aren't anybody's but its own.
fn mounting_works(test: &str) -> bool {
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let works = unshare.status().is_ok_and(|status| status.success());
    if !works {
        skipped(test, "unshare -rm and mount aren't permitted here");
    }
    works
}

#[test]
fn a_folder_that_cannot_be_written() {
    if !mounting_works("bad_folder::a_folder_that_cannot_be_written") {
        return;
    }
    const READ_ONLY: &str =
        r#"mount --bind disk disk && mount -o remount,bind,ro disk && exec "$@""#;
    let words = ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh"];
    // Not there yet, and there.
    let mut new = gateway();
    new.started_by(&words);
    let said = refusal(&mut new);
    assert_says(
        &said,
        &[
            "disk/data",
            "Read-only file system",
            "must be able to write",
        ],
    );
    let mut used = used();
    used.started_by(&words);
    let said = refusal(&mut used);
    assert_says(
        &said,
        &[
            "disk/data",
            "Read-only file system",
            "must be able to write",
        ],
    );
    used.started_by(&[]);
    assert_nothing_is_lost(used);
}

#[test]
fn a_folder_on_a_full_disk() {
    if !mounting_works("bad_folder::a_folder_on_a_full_disk") {
        return;
    }
    // Too small for the folders, the first segment, the first checkpoint, the dead letters' reserve.
    for size in ["4k", "1m", "4136k", "4300k", "6m"] {
        let mut gateway = gateway();
        let script = format!("mount -t tmpfs -o size={size} tmpfs disk && exec \"$@\"");
        gateway.started_by(&["unshare", "-rm", "sh", "-c", &script, "sh"]);
        let said = refusal(&mut gateway);
        assert_says(&said, &["disk/data", "No space left", "make room"]);
    }
}

#[test]
fn a_folder_that_another_process_has() {
    let mut first = gateway();
    first.start().unwrap();
    publish(&first, MESSAGES);
    let mut second = gateway();
    let settings = fs::read_to_string(second.config()).expect("it is there");
    let data = first.data().display().to_string();
    let settings = settings.replace(
        "data_dir = \"disk/data\"",
        &format!("data_dir = \"{data}\""),
    );
    fs::write(second.config(), settings).expect("writable");
    let said = refusal(&mut second);
    let process = format!("(process {})", first.pid().expect("it runs"));
    assert_says(
        &said,
        &[
            &data,
            "[gateway] data_dir",
            "another process holds it",
            &process,
            "of its own",
        ],
    );
    // Nor do commands touch it, and the first goes on.
    let verify = second.run(&["journal", "verify"]);
    assert_eq!(verify.status.code(), Some(1), "{verify:?}");
    let words = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert_says(words.trim_end(), &[&data, &process]);
    assert_eq!(kept(&first), MESSAGES);
    // Its lock goes with its process.
    first.kill();
    second.start().unwrap();
    assert!(kept(&second) >= MESSAGES);
}

/// As an unfinished copy, or a restore over what was there, leaves it.
#[test]
fn files_of_another_gateway_among_ones_own() {
    let (mut ours, theirs) = (used(), used());
    for (folder, what) in [
        ("journal", "the journal"),
        ("streams/inbox", "the stream inbox"),
        ("dead/inbox", "the dead letters of inbox"),
    ] {
        let dir = ours.data().join(folder);
        let foreign = segments(&theirs.data().join(folder)).remove(0);
        let ours_first = segments(&dir).remove(0);
        let aside = ours.folder().join("aside");
        // In the place of one of ours: where there is only one nothing else tells that it isn't ours.
        let next = segments(&dir).last().cloned().expect("one");
        if folder == "journal" {
            fs::rename(&ours_first, &aside).expect("ours");
            fs::copy(&foreign, &ours_first).expect("copied");
        } else {
            let name = next
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let seq: u64 = name[..10].parse().expect("a number");
            let seq = seq + 1;
            fs::copy(&next, &aside).expect("copied");
            let mut bytes = fs::read(&foreign).expect("it is there");
            renumber(&mut bytes, seq);
            fs::write(dir.join(format!("{seq:010}-{seq:010}.seg")), bytes).expect("writable");
        }
        let said = refusal(&mut ours);
        assert_says(
            &said,
            &[what, folder, "it belongs to log", "move those of the other"],
        );
        if folder == "journal" {
            fs::rename(&aside, &ours_first).expect("ours");
        } else {
            let added = segments(&dir).last().cloned().expect("one");
            fs::remove_file(added).expect("ours");
        }
    }
    assert_nothing_is_lost(ours);
}

/// The header's own numbers and its checksum (docs/JOURNAL.md).
fn renumber(segment: &mut [u8], seq: u64) {
    segment[32..40].copy_from_slice(&seq.to_le_bytes());
    segment[40..48].copy_from_slice(&seq.to_le_bytes());
    seal_header(segment);
}

fn seal_header(segment: &mut [u8]) {
    let crc = crc32c::crc32c(&segment[..60]);
    segment[60..64].copy_from_slice(&crc.to_le_bytes());
}

/// A whole copy is a gateway of its own: it may run beside its original, and no id is made twice.
#[test]
fn a_copied_folder_makes_ids_of_its_own() {
    let mut original = used();
    let mut copy = gateway();
    copy_folder(&original.data(), &copy.data());
    original.start().unwrap();
    copy.start().unwrap();
    let id = |gateway: &Gateway| {
        let got = gateway.client(PATIENCE).post("/v1/topics/a", &[], b"x");
        let got = got.expect("an answer").json().expect("a receipt");
        (got["id"].clone(), got["position"].clone())
    };
    let (of_original, of_copy) = (id(&original), id(&copy));
    assert_eq!(of_original.1, of_copy.1, "both are at the same position");
    assert_ne!(of_original.0, of_copy.0);
}

#[test]
fn a_folder_of_a_newer_version() {
    let mut gateway = used();
    let newer_segment = |bytes: &mut Vec<u8>| {
        bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
        seal_header(bytes);
    };
    for (folder, what) in [
        ("journal", "the journal"),
        ("streams/inbox", "the stream inbox"),
        ("dead/inbox", "the dead letters of inbox"),
    ] {
        let dir = gateway.data().join(folder);
        let changed = changed(segments(&dir), newer_segment);
        let said = refusal(&mut gateway);
        let words = [
            what,
            folder,
            "format version 2",
            "this program knows version 1",
        ];
        assert_says(&said, &words);
        assert!(
            said.to_lowercase().contains("newer version of causeway"),
            "{said}"
        );
        restore(changed);
    }
    // Of the checkpoint alone.
    let journal = gateway.data().join("journal");
    let copies = ["checkpoint.a", "checkpoint.b"].map(|name| journal.join(name));
    let changed = changed(copies.to_vec(), |bytes| {
        if bytes.len() <= 32 {
            return;
        }
        bytes[32] = 2;
        let length = u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes"));
        let end = 32 + usize::try_from(length).expect("small");
        let content = crc32c::crc32c(&bytes[32..end]);
        bytes[24..28].copy_from_slice(&content.to_le_bytes());
        let head = crc32c::crc32c(&bytes[..28]);
        bytes[28..32].copy_from_slice(&head.to_le_bytes());
    });
    let said = refusal(&mut gateway);
    assert_says(&said, &["the journal", "its checkpoint has version 2"]);
    assert!(said.contains("newer version of causeway"), "{said}");
    assert!(!said.contains("repair"), "{said}");
    let repair = gateway.run(&["journal", "repair", "--accept-loss"]);
    assert_eq!(repair.status.code(), Some(1), "{repair:?}");
    restore(changed);
    assert_nothing_is_lost(gateway);
}

type Originals = Vec<(PathBuf, Vec<u8>)>;

fn changed(paths: Vec<PathBuf>, change: impl Fn(&mut Vec<u8>)) -> Originals {
    assert!(!paths.is_empty());
    let change_one = |path: PathBuf| {
        let original = fs::read(&path).expect("it is there");
        let mut bytes = original.clone();
        change(&mut bytes);
        fs::write(&path, bytes).expect("writable");
        (path, original)
    };
    paths.into_iter().map(change_one).collect()
}

fn restore(originals: Originals) {
    for (path, bytes) in originals {
        fs::write(path, bytes).expect("writable");
    }
}
