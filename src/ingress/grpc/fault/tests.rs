use super::*;
use crate::message::Position;

fn has(status: &Status) -> String {
    let details = status.get_error_details();
    let mut has = String::new();
    for (letter, is_there) in [
        ('B', details.bad_request().is_some()),
        ('Q', details.quota_failure().is_some()),
        ('R', details.retry_info().is_some()),
    ] {
        has.extend(is_there.then_some(letter));
    }
    has
}

fn facts(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let info = details.error_info().expect("always");
    assert_eq!(info.domain, DOMAIN);
    let mut names: Vec<_> = info.metadata.keys().cloned().collect();
    names.sort();
    names
}

/// The code, the reason, which of BadRequest, QuotaFailure and RetryInfo, and the names of the metadata.
type Row = (Code, Reason, &'static str, &'static [&'static str]);

/// As docs/GRPC.md has it, in the order of its table.
fn refusals() -> Vec<(Refusal, Row)> {
    use Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument};
    use Code::{NotFound, ResourceExhausted, Unavailable};
    const LIMIT: &[&str] = &["actual", "limit", "setting", "what"];
    let text = || "why".to_owned();
    let (what, actual, limit, setting) = ("the payload", 2, 1, "limits.payload");
    vec![
        (
            Refusal::Malformed(text()),
            (InvalidArgument, Reason::Malformed, "", &[]),
        ),
        (
            Refusal::IdNeeded(text()),
            (InvalidArgument, Reason::IdNeeded, "B", &[]),
        ),
        (
            Refusal::TooLarge {
                what,
                actual,
                limit,
                setting,
            },
            (InvalidArgument, Reason::TooLarge, "", LIMIT),
        ),
        (
            Refusal::TooMany {
                what,
                actual,
                limit,
                setting,
            },
            (InvalidArgument, Reason::TooMany, "", LIMIT),
        ),
        (
            Refusal::NoRoute { topic: text() },
            (NotFound, Reason::NoRoute, "", &["topic"]),
        ),
        (
            Refusal::RouteRefused {
                route: text(),
                reason: text(),
            },
            (FailedPrecondition, Reason::RouteRefused, "", &["route"]),
        ),
        (
            Refusal::Conflict {
                id: text(),
                position: Position(7),
            },
            (AlreadyExists, Reason::IdConflict, "", &["id", "position"]),
        ),
        (
            Refusal::BacklogFull {
                lane: text(),
                limit_bytes: 1,
            },
            (
                ResourceExhausted,
                Reason::BacklogFull,
                "QR",
                &["destination", "limit", "setting"],
            ),
        ),
        (
            Refusal::DedupFull { entries: 1 },
            (
                ResourceExhausted,
                Reason::DedupFull,
                "QR",
                &["entries", "setting"],
            ),
        ),
        (
            Refusal::JournalFull(text()),
            (Unavailable, Reason::JournalFull, "R", &[]),
        ),
        (Refusal::Busy, (Unavailable, Reason::Busy, "R", &[])),
        (Refusal::Stopping, (Unavailable, Reason::Stopping, "R", &[])),
        (
            Refusal::JournalFailed(text()),
            (Unavailable, Reason::JournalFailed, "R", &[]),
        ),
        (
            Refusal::EarlierRefused { is_retriable: true },
            (Aborted, Reason::EarlierRefused, "R", &[]),
        ),
        (
            Refusal::EarlierRefused {
                is_retriable: false,
            },
            (Aborted, Reason::EarlierRefused, "", &[]),
        ),
    ]
}

#[test]
fn each_refusal_has_its_code_and_details() {
    for (refusal, (code, reason, details, names)) in refusals() {
        let is_retriable = refusal.is_retriable();
        let fault = Fault::from(refusal.clone());
        assert_eq!(fault.is_retriable(), is_retriable, "{refusal:?}");
        let of_stream = fault.clone().rpc_status();
        let status = fault.status();
        let info = status.get_error_details();
        let info = info.error_info().expect("always");
        assert_eq!(status.code(), code, "{refusal:?}");
        assert_eq!(info.reason, reason.as_str(), "{refusal:?}");
        assert_eq!(has(&status), details, "{refusal:?}");
        assert_eq!(facts(&status), names, "{refusal:?}");
        assert_eq!(status.message(), refusal.to_string());
        // The same in an answer to one of many.
        assert_eq!(of_stream.encode_to_vec(), status.details());
    }
}

#[test]
fn each_refusal_stands_in_the_page_as_it_is() {
    let page = std::fs::read_to_string("docs/GRPC.md").expect("the page is there");
    let (_, page) = page.split_once("## Status codes").expect("a part of it");
    for (_, (code, reason, details, names)) in refusals() {
        let reason = format!("`{}`", reason.as_str());
        let code = format!("{code:?}").to_uppercase();
        let is_row = |line: &&str| line.split('|').nth(2).is_some_and(|r| r.contains(&reason));
        let row = page.lines().find(is_row);
        let row = row.unwrap_or_else(|| panic!("no row of {reason}"));
        let coded = row.split('|').nth(1).unwrap_or_default().replace('_', "");
        assert_eq!(coded.trim(), code, "{row}");
        for (letter, name) in [
            ('B', "BadRequest"),
            ('Q', "QuotaFailure"),
            ('R', "RetryInfo"),
        ] {
            if details.contains(letter) {
                assert!(row.contains(name), "{name}: {row}");
            }
        }
        for name in names {
            assert!(row.contains(&format!("`{name}`")), "{name}: {row}");
        }
    }
}

#[test]
fn what_the_library_says_is_told_in_our_words() {
    let too_long = Status::out_of_range(
        "Error, decoded message length too large: found 9 bytes, the limit is: 1 bytes",
    );
    let bomb = Status::resource_exhausted(
        "Error decompressing: size limit, of 1 bytes, exceeded while decompressing message",
    );
    for status in [too_long, bomb] {
        let told = of_decoding(status, 1);
        assert_eq!(told.code(), Code::InvalidArgument);
        assert_eq!(facts(&told), ["limit", "setting", "what"]);
    }
    let damaged = of_decoding(Status::internal("Unexpected EOF decoding stream."), 1);
    assert_eq!(damaged.code(), Code::InvalidArgument);
    let mut unknown = Status::unimplemented("Content is compressed with `br`");
    let ours = "gzip,zstd".parse().expect("ASCII");
    unknown.metadata_mut().insert("grpc-accept-encoding", ours);
    let told = of_decoding(unknown, 1);
    assert_eq!(told.code(), Code::Unimplemented);
    assert!(told.metadata().contains_key("grpc-accept-encoding"));
    // Our own pass as they are.
    let ours = Fault::in_flight_full().status();
    assert_eq!(of_decoding(ours, 1).code(), Code::ResourceExhausted);
}
