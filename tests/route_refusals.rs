//! What `on_error` makes of a publish, on the real process: the refusal over HTTP and in a batch,
//! what is skipped and counted, what is held; and that nothing of a payload gets into answers or logs.

use crate::support::client::{Client, Response};
use crate::support::metrics;
use crate::support::process::{Gateway, program};
use crate::support::streams::stream_ids;
use crate::support::wait::wait_until;
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// In every payload here: a password that nobody may see again.
const SECRET: &str = "hunter2";

const SETTINGS: &str = r##"
[destinations.inbox]
type = "stream"

[destinations.side]
type = "stream"

[[routes]]
name = "refuses"
topic = "refuses"
when = "payload.n > 1"
to = ["inbox"]

[[routes]]
name = "skips"
topic = "skips"
on_error = "skip"
to = ["side", { destination = "inbox", priority = "${payload.n}" }]

[[routes]]
name = "holds"
topic = "holds"
on_error = "dead_letter"
to = [{ destination = "inbox", topic = "${'+/' + payload.password}" }]
"##;

fn started() -> (Gateway, Client) {
    let mut gateway = Gateway::new(&program(), SETTINGS);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    let client = gateway.client(PATIENCE);
    (gateway, client)
}

fn post(client: &mut Client, target: &str, body: &str) -> Response {
    let got = client.post(target, &[], body.as_bytes());
    got.unwrap_or_else(|why| panic!("{target}: {why}"))
}

fn metric(gateway: &Gateway, name: &str, (label, value): (&str, &str)) -> f64 {
    let page = gateway.health_client().get("/metrics").expect("health");
    let samples = metrics::parse(&String::from_utf8_lossy(&page.body)).expect("metrics");
    let mut of_name = samples.iter().filter(|s| s.name == name);
    let found = of_name.find(|s| s.labels.get(label).is_some_and(|found| found == value));
    found.map_or(0.0, |s| s.value)
}

fn is_route_refused(problem: &Value) -> bool {
    let detail = problem["detail"].as_str().unwrap_or_default();
    problem["type"] == "urn:causeway:problem:route-refused"
        && problem["status"] == 422
        && problem["route"] == "refuses"
        && detail.starts_with("the route \"refuses\" refuses it: `when`: ")
}

#[test]
fn a_route_refuses_a_publish_and_lines_of_a_batch() {
    let (gateway, mut client) = started();
    for body in [
        "{\"password\":\"hunter2\"}",
        "hunter2",
        "",
        "{\"n\":\"hunter2\"}",
    ] {
        let got = post(&mut client, "/v1/topics/refuses", body);
        assert_eq!(got.status, 422, "{got}");
        let problem = got.json().expect("a problem");
        assert!(is_route_refused(&problem), "{problem}");
        assert!(!problem.to_string().contains(SECRET), "{problem}");
    }
    let lines = [
        "{\"topic\":\"refuses\",\"key\":\"a\",\"data\":{}}\n",
        "{\"topic\":\"refuses\",\"key\":\"a\",\"data\":{\"n\":2}}\n",
        "{\"topic\":\"refuses\",\"key\":\"b\",\"id\":\"taken\",\"data\":{\"n\":2}}\n",
    ];
    let got = post(&mut client, "/v1/batch", &lines.concat());
    assert_eq!(got.status, 200, "{got}");
    let text = String::from_utf8(got.body).expect("results are JSON");
    let results = text.lines().map(serde_json::from_str);
    let results: Vec<Value> = results.collect::<Result<_, _>>().expect("a result a line");
    assert_eq!(results.len(), lines.len(), "{text}");
    assert!(is_route_refused(&results[0]), "{}", results[0]);
    // Its key's order has no hole when they are sent again.
    assert_eq!(results[1]["type"], "urn:causeway:problem:earlier-refused");
    assert_eq!(results[1]["status"], 422);
    assert_eq!(results[2]["status"], 202);

    wait_until(PATIENCE, "a message in inbox", || {
        !stream_ids(&gateway, "inbox").is_empty()
    });
    assert_eq!(stream_ids(&gateway, "inbox"), ["taken"]);
    let name = "causeway_http_problems_total";
    assert_eq!(metric(&gateway, name, ("type", "route-refused")), 5.0);
    assert_eq!(metric(&gateway, name, ("type", "earlier-refused")), 1.0);
}

#[test]
fn what_is_skipped_is_counted_and_the_rest_is_sent() {
    let (gateway, mut client) = started();
    for body in ["{}", "{\"n\":256}", "{\"n\":9}"] {
        let got = post(&mut client, "/v1/topics/skips", body);
        let targets = got.json().expect("a receipt")["targets"].clone();
        let count = if body.contains(":9") { 2 } else { 1 };
        assert_eq!(targets.as_array().map(Vec::len), Some(count), "{targets}");
        assert_eq!(targets[0]["destination"], "side", "{targets}");
    }
    wait_until(PATIENCE, "three in side", || {
        stream_ids(&gateway, "side").len() == 3
    });
    wait_until(PATIENCE, "one in inbox", || {
        stream_ids(&gateway, "inbox").len() == 1
    });
    let skipped = metric(&gateway, "causeway_route_skipped_total", ("route", "skips"));
    assert_eq!(skipped, 2.0);
}

/// The reason is in the log, for there is nobody else to read it yet; the payload isn't.
#[test]
fn what_is_held_says_why_and_nothing_of_the_payload() {
    let (gateway, mut client) = started();
    let body = format!("{{\"password\":\"{SECRET}\"}}");
    let got = post(&mut client, "/v1/topics/holds", &body);
    assert_eq!(got.status, 202, "{got}");
    wait_until(PATIENCE, "the reason in the log", || {
        gateway
            .log_tail()
            .contains("the topic for \\\"inbox\\\": it has a wildcard in it")
    });
    assert!(
        !gateway.log_tail().contains(SECRET),
        "{}",
        gateway.log_tail()
    );
    let name = "causeway_lane_dead_lettered_total";
    wait_until(PATIENCE, "one dead letter", || {
        metric(&gateway, name, ("lane", "inbox")) == 1.0
    });
    assert!(stream_ids(&gateway, "inbox").is_empty());
}
