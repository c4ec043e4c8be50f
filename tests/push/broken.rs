//! Services that break calls, answer oddly, or are slow.

use super::*;
use crate::support::sink::Manner;
use crate::support::wait::wait_until;
use tonic::Code;

/// What is told of a delivery that nobody knows about, and what a service sees of it.
#[test]
fn a_call_that_breaks_in_the_middle_leaves_some_in_doubt() {
    let sink = Sink::start();
    let gateway = started(&at(&sink));
    publish(&gateway, 0..500);
    wait_settled(&gateway, 500, 0);
    sink.behave(Manner::BreaksAfter(100));
    publish(&gateway, 500..1500);
    wait_until(PATIENCE, "a broken call", || sink.connections() > 2);
    sink.behave(Manner::Takes);
    let lane = wait_settled(&gateway, 1500, 0);
    assert!(lane["unknown"].as_u64() > Some(0), "{lane}");
    let times = times(&sink.took());
    assert_eq!(times.len(), 1500);
    // Each that was sent again is in doubt by then: no more are doubled than that.
    let doubles: usize = times.values().map(|times| times - 1).sum();
    assert!(
        doubles as u64 <= lane["unknown"].as_u64().expect("a count"),
        "{doubles}: {lane}"
    );
}

#[test]
fn answers_come_in_any_order() {
    let sink = Sink::start();
    sink.behave(Manner::Backwards(7));
    let gateway = started(&at(&sink));
    publish(&gateway, 0..1000);
    let lane = wait_settled(&gateway, 1000, 0);
    assert_eq!(lane["retries"], 0, "{lane}");
    assert_eq!(sink.took().len(), 1000, "each once");
    assert_eq!(sink.connections(), 1);
    let requests = sink.requests();
    let sequences: Vec<u64> = requests.iter().map(|request| request.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "they grow");
    let first = requests[0].delivery.clone().expect("it has one");
    assert_eq!(first.topic, "jobs/new");
    assert_eq!((&*first.route, &*first.destination), ("all", "sink"));
    let n = first.publisher_id.strip_prefix("id-").expect("its id");
    assert_eq!(first.key.as_deref(), Some(format!("k{n}").as_bytes()));
    assert_eq!(first.payload.as_deref(), Some(n.as_bytes()));
    assert!(first.accepted.is_some() && requests[0].attempted.is_some());
}

/// The call is ended, nothing is lost, and what is wrong is told.
#[test]
fn answers_that_nobody_asked_for_end_the_call() {
    for manner in [Manner::Confused, Manner::Twice] {
        let sink = Sink::start();
        sink.behave(manner);
        let gateway = started(&at(&sink));
        publish(&gateway, 0..20);
        let lane = wait_settled(&gateway, 20, 0);
        let error = lane["last_error"].as_str().unwrap_or_default();
        assert!(error.contains("which isn't open"), "{manner:?}: {lane}");
        assert_eq!(sink.connections(), 2, "{manner:?}");
        assert_eq!(times(&sink.took()).len(), 20);
    }
}

#[test]
fn what_the_whole_call_ends_with_counts_for_all() {
    for (code, state) in [
        (Code::Unavailable, "running"),
        (Code::ResourceExhausted, "running"),
        (Code::Unimplemented, "stopped"),
        (Code::PermissionDenied, "stopped"),
        (Code::Internal, "running"),
    ] {
        let sink = Sink::start();
        sink.behave(Manner::Ends(code));
        let breaker = "breaker = { failures = 1000, probe_every = \"100ms\" }\n";
        let gateway = started(&(at(&sink) + breaker));
        publish(&gateway, 0..3);
        wait_until(PATIENCE, "some attempts", || sink.asked() > 3);
        let held = wait_error(&gateway, "it says so");
        assert_eq!(held["state"], state, "{code:?}: {held}");
        assert_eq!(held["pending"], 3, "{code:?}: {held}");
        let in_doubt = held["unknown"].as_u64() > Some(0);
        assert_eq!(in_doubt, code == Code::Internal, "{code:?}: {held}");
        sink.behave(Manner::Takes);
        wait_settled(&gateway, 3, 0);
    }
}

#[test]
fn a_service_may_end_its_calls_whenever_it_likes() {
    let sink = Sink::start();
    sink.behave(Manner::EndsAfter(10));
    let gateway = started(&at(&sink));
    publish(&gateway, 0..200);
    wait_settled(&gateway, 200, 0);
    assert_eq!(sink.connections(), 1, "one connection for all calls");
    assert!(sink.calls() >= 20, "{} calls", sink.calls());
}

/// A slow service gets as much as it can answer in time: nothing is sent twice, nothing is in doubt.
#[test]
fn a_slow_service_is_not_flooded() {
    let sink = Sink::start();
    sink.behave(Manner::Slow(Duration::from_millis(100)));
    let gateway = started(&(at(&sink) + "timeout = \"1s\"\n"));
    publish(&gateway, 0..60);
    let lane = wait_settled(&gateway, 60, 0);
    assert_eq!((&lane["retries"], &lane["unknown"]), (&json!(0), &json!(0)));
    assert_eq!(sink.took().len(), 60);
}

/// One that reads slowly: HTTP/2 holds the gateway back, and large messages don't pile up in it.
#[test]
fn a_slow_reader_holds_the_lane() {
    let sink = Sink::start();
    sink.behave(Manner::Slow(Duration::from_millis(30)));
    let gateway = started(&at(&sink));
    let large = "x".repeat(256 << 10);
    for batch in 0..8 {
        let line = |n: usize| {
            let line =
                json!({ "topic": "jobs/new", "id": format!("id-{batch}-{n}"), "data": large });
            format!("{line}\n")
        };
        let body: String = (0..10).map(line).collect();
        publish_lines(&gateway, &body);
    }
    let lane = wait_settled(&gateway, 80, 0);
    assert_eq!((&lane["retries"], &lane["unknown"]), (&json!(0), &json!(0)));
    assert_eq!(sink.took().len(), 80);
}

/// One message that breaks every call with it: the others arrive, and each that was suspected is tried alone.
#[test]
fn a_message_that_its_service_falls_over_holds_nobody() {
    let sink = Sink::start();
    let gateway = started(&at(&sink));
    publish(&gateway, 0..300);
    wait_settled(&gateway, 300, 0);
    sink.behave(Manner::FallsOver);
    let heavy = json!({ "topic": "jobs/new", "id": "heavy", "key": "h", "headers": { "heavy": "1" }, "data": 1 });
    publish_lines(&gateway, &format!("{heavy}\n"));
    publish(&gateway, 300..900);
    wait_for(PATIENCE, || {
        let lane = lane(&gateway);
        match lane["delivered"].as_u64() {
            Some(900) => Ok(()),
            _ => Err(format!("{lane}")),
        }
    });
    let held = lane(&gateway);
    assert_eq!(held["pending"], 1, "{held}");
    assert!(
        held["last_error"]
            .to_string()
            .contains("INTERNAL: it fell over"),
        "{held}"
    );
    sink.behave(Manner::Takes);
    wait_settled(&gateway, 901, 0);
}

/// It goes to the dead letters in the server's words, wherever in a batch it comes.
#[test]
fn a_message_that_is_too_large_is_found_among_others() {
    let sink = Sink::start();
    let gateway = started(&at(&sink));
    publish(&gateway, 0..300);
    wait_settled(&gateway, 300, 0);
    let large = "x".repeat(3 << 20);
    let large = json!({ "topic": "jobs/new", "id": "large", "key": "h", "data": large });
    publish(&gateway, 300..400);
    publish_lines(&gateway, &format!("{large}\n"));
    publish(&gateway, 400..600);
    let lane = wait_settled(&gateway, 600, 1);
    assert!(
        lane["last_error"]
            .to_string()
            .contains("message length too large"),
        "{lane}"
    );
    assert!(!times(&sink.took()).contains_key("large"));
}

#[test]
fn a_reload_takes_another_address_for_what_is_owed() {
    let (before, after) = (Sink::start(), Sink::start());
    before.behave(Manner::Hangs);
    let with = |sink: &Sink| {
        format!(
            "url = \"http://u:hunter2@{}\"\ntimeout = \"2s\"\n",
            sink.address()
        )
    };
    let gateway = started(&with(&before));
    publish(&gateway, 0..100);
    wait_until(PATIENCE, "an attempt", || before.asked() > 0);
    gateway.configure(&settings(&with(&after)));
    let reload = gateway.run(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    wait_settled(&gateway, 100, 0);
    assert_eq!(after.took().len(), 100);
    let shown = gateway.log_tail() + &lane(&gateway).to_string();
    assert!(!shown.contains("hunter2"), "a password is shown: {shown}");
}

/// A call is ended when it is some seconds old: a server that wants to stop need not wait for us.
#[test]
fn calls_are_renewed() {
    let sink = Sink::start();
    let gateway = started(&at(&sink));
    publish(&gateway, 0..10);
    wait_settled(&gateway, 10, 0);
    let mut n = 10;
    wait_until(PATIENCE, "the second call", || {
        publish(&gateway, n..n + 1);
        n += 1;
        sink.calls() == 2
    });
    let lane = wait_settled(&gateway, n, 0);
    assert_eq!(
        (&lane["retries"], sink.connections()),
        (&json!(0), 1),
        "{lane}"
    );
}

/// GOAWAY: the call goes on, is ended by us before long, and the next one is on another connection.
#[test]
fn a_server_that_stops_in_order_gets_its_end() {
    let sink = Sink::start();
    let gateway = started(&at(&sink));
    publish(&gateway, 0..10);
    wait_settled(&gateway, 10, 0);
    sink.stop_connections();
    let mut n = 10;
    wait_until(PATIENCE, "the end of its connection", || {
        publish(&gateway, n..n + 1);
        n += 1;
        sink.ended() == 1 && sink.connections() == 2
    });
    let lane = wait_settled(&gateway, n, 0);
    assert_eq!(
        (&lane["retries"], &lane["unknown"]),
        (&json!(0), &json!(0)),
        "{lane}"
    );
    assert_eq!(sink.took().len(), n);
}
