//! A newcomer's path of docs/routes.md, pasted line by line: an empty folder, and the program in
//! the path.

use crate::support::process::program;
use crate::support::skip::skipped;
use crate::support::tour::{PROBE, Start, Tour, commands, script, shell};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const TEST: &str = "routes_tour";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/routes.md");
const START: Start<'_> = Start {
    typed: "causeway",
    runs: "causeway",
};

#[test]
fn the_path_does_what_the_page_says() {
    if let Err(why) = shell(Path::new("/"), PROBE) {
        skipped(TEST, &format!("no shell with a network of its own: {why}"));
        return;
    }
    let page = fs::read_to_string(PAGE).expect("the repository has the page");
    let folder = tempfile::tempdir().expect("a folder");
    let clone = folder.path();
    fs::create_dir_all(clone.join("target/release")).expect("the folder is writable");
    symlink(program(), clone.join("target/release/causeway")).expect("the folder is writable");
    fs::write(clone.join(".curlrc"), "silent\nshow-error\n").expect("the folder is writable");

    let commands = commands(&page, "## A newcomer's path");
    let said = shell(clone, &script(&commands, START));
    let log = fs::read_to_string(clone.join("shop/gateway.log")).unwrap_or_default();
    let said = said.unwrap_or_else(|why| panic!("{why}\n{log}"));
    let mut tour = Tour::of(commands, &said);
    write_and_test(&mut tour);
    run_and_change(&mut tour);
    assert!(tour.has_ended(), "the page's path goes on");
}

/// Up to the gateway's start: nothing runs.
fn write_and_test(tour: &mut Tour) {
    tour.next("PATH=").expect(0, &[]);
    tour.next("mkdir shop").expect(0, &[]);
    tour.next("cat > routes.toml").expect(0, &[]);
    tour.next("causeway check")
        .expect(0, &["routes.toml: no problems"]);
    let words = ["1 delivery", "orders → inbox", "north", r#"{"total":12}"#];
    tour.next("causeway explain orders/north/created")
        .expect(0, &words);
    let refused = tour.next("causeway explain orders/north/paid");
    refused.expect(
        1,
        &["refused", "no route matches", "not matched:", "orders"],
    );
    let saved = tour.next("--save");
    saved.expect(0, &["saved as a case in ./routes.test.toml"]);
    tour.next("cat >> routes.test.toml").expect(0, &[]);
    tour.next("causeway test").expect(
        0,
        &["2 passed, 0 failed", "what isn't created has no route"],
    );
}

/// From the start on.
fn run_and_change(tour: &mut Tour) {
    tour.next("causeway").expect(0, &[]);
    let stored = tour.next("causeway publish orders/north/created");
    stored.expect(0, &["delivered", "order-1", "position 0"]);
    let read = tour.next("causeway tail inbox");
    read.expect(0, &["order-1", "north", r#"{"total":12}"#]);
    tour.next("cat >> routes.toml").expect(0, &[]);
    tour.next("causeway check").expect(0, &["no problems"]);
    let large = tour.next(r#"{"total": 5000}"#);
    large.expect(0, &["2 deliveries", "large → review", "review/north"]);
    let missing = tour.next(r#"{"totl": 5000}"#);
    missing.expect(1, &["refused", "payload.total", "route-refused"]);
    let live = tour.next("--live");
    let live = live.expect(0, &["1 delivery", "orders → inbox"]);
    assert!(!live.said.contains("large"), "{}", live.said);
    reload(tour);
}

fn reload(tour: &mut Tour) {
    tour.next("causeway reload").expect(0, &["review", "large"]);
    let stored = tour.next("causeway publish orders/north/created");
    stored.expect(0, &["delivered", "order-2"]);
    let read = tour.next("causeway tail review");
    read.expect(0, &["review/north", r#"{"shop":"north","total":5000}"#]);
}
