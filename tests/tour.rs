//! The README's tour, pasted line by line, in a folder that holds what a fresh clone does after
//! the build: `cargo run --release` starts the program that it would have built.

use crate::support::metrics;
use crate::support::process::program;
use crate::support::skip::skipped;
use crate::support::tour::{PROBE, Start, Tour, commands, script, shell};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const TEST: &str = "tour";
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const ROUTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml");
const START: Start<'_> = Start {
    typed: "cargo run --release",
    runs: "target/release/causeway",
};

#[test]
fn the_tour_does_what_the_readme_says() {
    if let Err(why) = shell(Path::new("/"), PROBE) {
        skipped(TEST, &format!("no shell with a network of its own: {why}"));
        return;
    }
    let readme = fs::read_to_string(README).expect("the repository has a README");
    let folder = tempfile::tempdir().expect("a folder");
    let clone = folder.path();
    fs::copy(README, clone.join("README.md")).expect("the folder is writable");
    fs::copy(ROUTES, clone.join("routes.toml")).expect("the folder is writable");
    fs::create_dir_all(clone.join("target/release")).expect("the folder is writable");
    symlink(program(), clone.join("target/release/causeway")).expect("the folder is writable");
    // On a terminal curl shows no progress.
    fs::write(clone.join(".curlrc"), "silent\nshow-error\n").expect("the folder is writable");

    let commands = commands(&readme, "## Five minutes");
    let said = shell(clone, &script(&commands, START));
    let file = |name: &str| fs::read_to_string(clone.join(name)).unwrap_or_default();
    let log = file("gateway.log");
    let said = said.unwrap_or_else(|why| panic!("{why}\n{log}"));
    let mut tour = Tour::of(commands, &said);
    judge(&mut tour, readme.lines().count());
    let follower = file("follower.log");
    let last = format!("readme-{}", readme.lines().count());
    assert!(follower.contains("connected again"), "{follower}");
    assert!(follower.contains(&last), "{follower}");
    for address in ["127.0.0.1:8080", "127.0.0.1:9190", "127.0.0.1:9191"] {
        assert!(log.contains(address), "{address}: {log}");
    }
    assert!(log.contains("causeway tail inbox"), "what to try: {log}");
}

/// What the README says about each.
fn judge(tour: &mut Tour, lines: usize) {
    tour.next("cargo run --release").expect(0, &[]);
    tour.next("PATH=").expect(0, &[]);
    let stored = tour.next("causeway publish orders/north");
    stored.expect(0, &["delivered", "order-1", "position 0"]);
    let read = tour.next("causeway tail inbox");
    let read = read.expect(0, &["order-1", "ann", r#"{"total":12}"#]);
    assert_eq!(read.said.lines().count(), 1);
    let again = tour.next("curl localhost:8080/v1/topics/orders/north");
    again.expect(0, &[r#""duplicate":true"#, r#""position":0,"#]);
    tour.next("causeway publish orders/north")
        .expect(1, &["422"]);

    tour.next("tail inbox --follow").expect(0, &[]);
    tour.next("pkill -9").expect(0, &[]);
    tour.next("cargo run --release").expect(0, &[]);
    let traced = tour.next("causeway trace order-1");
    let traced = traced.expect(0, &["delivered", "order-1", "position 0"]);
    assert_eq!(traced.said.lines().count(), 2, "one target");

    let first = format!("{lines} lines: {lines} stored, 0 duplicates, 0 refused");
    tour.next("causeway publish readme").expect(0, &[&first]);
    let second = format!("{lines} lines: 0 stored, {lines} duplicates, 0 refused");
    tour.next("causeway publish readme").expect(0, &[&second]);

    tour.next("causeway status").expect(0, &["inbox"]);
    let page = tour.next("curl localhost:9191/metrics").expect(0, &[]);
    tour.next("pkill -TERM").expect(0, &[]);
    let verified = tour.next("causeway journal verify");
    let verified = verified.expect(0, &["Everything adds up."]);
    let counts = &metrics::counts(&page.said).expect("metrics")["inbox"];
    assert_eq!(counts.planned, lines as u64 + 1, "each line once");
    let walked = format!("inbox: {0} planned = {0} delivered", counts.planned);
    assert!(verified.said.contains(&walked), "{walked}");
    assert!(tour.has_ended(), "the README's tour goes on");
}
