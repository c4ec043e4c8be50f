use super::*;
use std::sync::Arc;
use tonic_types::ErrorDetails;

const FRESH: Course = Course {
    has_answered: false,
    was_alone: false,
};
const ALONE: Course = Course {
    has_answered: true,
    was_alone: true,
};
const BUSY: Course = Course {
    has_answered: true,
    was_alone: false,
};

fn kinds(end: &End) -> (&str, Option<&str>, bool) {
    let kind = |verdict: &Verdict| {
        verdict
            .failure()
            .map_or("delivered", |(kind, _)| match kind {
                "retry" => "retry",
                "reject" => "reject",
                "unknown" => "unknown",
                "fatal" => "fatal",
                other => panic!("{other}"),
            })
    };
    (
        kind(&end.sent),
        end.queued.as_ref().map(kind),
        end.is_suspicious,
    )
}

#[test]
fn an_outcome_is_a_verdict_in_its_own_words() {
    let second = prost_types::Duration {
        seconds: 1,
        nanos: 500_000_000,
    };
    let retry = |reason: &str, delay| {
        verdict(Some(Outcome::Retry(v1::Retry {
            reason: reason.to_owned(),
            delay,
        })))
    };
    assert_eq!(
        verdict(Some(Outcome::Delivered(v1::Delivered {}))),
        Verdict::Delivered
    );
    let after = retry("no\n  room", Some(second));
    assert_eq!(after.failure(), Some(("retry", "no room")));
    assert_eq!(after.after(), Duration::from_millis(1500));
    let below = prost_types::Duration {
        seconds: -1,
        nanos: 0,
    };
    assert_eq!(
        retry("", Some(below)),
        Verdict::retry("the service gave no reason")
    );
    let ages = prost_types::Duration {
        seconds: i64::MAX,
        nanos: 0,
    };
    assert_eq!(retry("x", Some(ages)).after(), MAX_DELAY);
    let reject = verdict(Some(Outcome::Reject(v1::Reject {
        reason: "é".repeat(1000),
    })));
    let expected = format!("{}…", "é".repeat(MAX_WORDS_CHARS));
    assert_eq!(reject, Verdict::reject(expected));
    assert_eq!(verdict(None).failure().map(|of| of.0), Some("unknown"));
}

/// docs/destinations/grpc.md has the same table.
#[test]
fn each_status_means_what_the_page_says() {
    use Code::{Internal, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable};
    for code in (0..17).map(Code::from_i32).filter(|code| *code != Code::Ok) {
        let status = Status::new(code, "words");
        let first = match code {
            Code::Unimplemented | Unauthenticated | PermissionDenied => {
                ("fatal", Some("fatal"), false)
            }
            Unavailable | ResourceExhausted => ("retry", Some("retry"), false),
            Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
                ("unknown", Some("retry"), false)
            }
            _ => ("unknown", None, true),
        };
        assert_eq!(kinds(&End::of(&status, FRESH)), first, "{code:?}");
        // Something of what was sent may have been applied by then.
        let later = match first.0 {
            "fatal" | "retry" => ("unknown", Some("retry"), false),
            _ => first,
        };
        assert_eq!(kinds(&End::of(&status, BUSY)), later, "{code:?}");
        assert_eq!(kinds(&End::of(&status, ALONE)), later, "{code:?}");
    }
    let end = End::of(&Status::new(Internal, "a\nb"), BUSY);
    assert_eq!(end.sent.failure().map(|of| of.1), Some("INTERNAL: a b"));
    let end = End::of(&Status::new(Unauthenticated, ""), FRESH);
    assert_eq!(end.sent, Verdict::fatal("UNAUTHENTICATED"));
}

#[test]
fn a_message_that_is_too_large_is_rejected_when_it_is_surely_the_one() {
    for (code, words) in [
        (
            Code::ResourceExhausted,
            "grpc: received message larger than max (5 vs. 4)",
        ),
        (
            Code::ResourceExhausted,
            "CLIENT: Received message larger than max (5 vs. 4)",
        ),
        (
            Code::ResourceExhausted,
            "gRPC message exceeds maximum size 4: 5",
        ),
        (
            Code::ResourceExhausted,
            "Received message exceeds the maximum configured message size.",
        ),
        (
            Code::OutOfRange,
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
        ),
    ] {
        let status = Status::new(code, words);
        let end = End::of(&status, ALONE);
        assert_eq!(kinds(&end), ("reject", None, true), "{words}");
        let (_, reason) = end.sent.failure().expect("a failure");
        assert!(reason.contains(words), "{reason}");
        assert_eq!(
            kinds(&End::of(&status, BUSY)),
            ("unknown", None, true),
            "{words}"
        );
    }
}

#[test]
fn what_we_do_not_read_is_no_fault_of_a_message() {
    let words = format!(
        "Error, decoded message length too large: found 9999999 bytes, the limit is: {MAX_ANSWER_BYTES} bytes"
    );
    let end = End::of(&Status::new(Code::OutOfRange, words), ALONE);
    assert_eq!(kinds(&end), ("unknown", Some("retry"), false));
    let mut broken = Status::new(Code::Unauthenticated, "x");
    broken.set_source(Arc::new(std::io::Error::other("reset")));
    let end = End::of(&broken, FRESH);
    assert_eq!(kinds(&end), ("unknown", Some("retry"), false));
    assert_eq!(end.sent, Verdict::unknown("reset"));
}

#[test]
fn a_service_says_when_to_try_again() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
    let status = Status::with_error_details(Code::Unavailable, "busy", details);
    let end = End::of(&status, FRESH);
    assert_eq!(end.sent.after(), Duration::from_secs(7));
    assert_eq!(end.sent, end.queued.expect("all of them"));
}

#[test]
fn a_call_that_ends_well_leaves_the_rest_to_the_next() {
    assert_eq!(kinds(&End::of_ok(BUSY)), ("unknown", None, false));
    assert_eq!(kinds(&End::of_ok(FRESH)), ("unknown", Some("retry"), false));
}
