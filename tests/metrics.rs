//! The metrics of the real process: a page that Prometheus takes, that says what docs/METRICS.md
//! says, and counts that agree with what happened.

use crate::support::client::Client;
use crate::support::metrics::{Sample, parse};
use crate::support::metrics_lint::{Family, families, lint};
use crate::support::process::{Gateway, program};
use crate::support::wait::{wait_for, wait_until};
use crate::support::{skip, tools};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: &str = r##"
[destinations.inbox]
type = "stream"

[destinations.slow]
type = "faulty"
script = "SCRIPT"
record = "slow.record"
timeout = "200ms"
retry = { initial = "20ms", max = "50ms" }

[[routes]]
name = "all"
topic = "all/#"
to = ["inbox"]

[[routes]]
name = "once"
topic = "once/#"
guarantee = "at_most_once"
to = ["inbox"]

[[routes]]
name = "odd"
topic = "odd"
when = "payload.n > 1"
on_error = "skip"
to = ["inbox"]

[[routes]]
name = "slow"
topic = "slow/#"
to = ["slow"]
"##;

fn settings(script: &str) -> String {
    SETTINGS.replace("SCRIPT", script)
}

fn started(script: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), &settings(script));
    gateway.start().unwrap();
    gateway
}

fn page(gateway: &Gateway) -> String {
    let answer = gateway.health_client().get("/metrics").expect("it answers");
    assert_eq!(answer.status, 200, "{answer}");
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    String::from_utf8(answer.body).expect("text")
}

struct Page(Vec<Sample>);

impl Page {
    fn of(gateway: &Gateway) -> Self {
        Self(parse(&page(gateway)).unwrap())
    }

    /// The only sample with this name and these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let mut labels = labels.iter();
            sample.name == name
                && labels.all(|(label, v)| sample.labels.get(*label).is_some_and(|l| l == v))
        };
        let found: Vec<_> = self.0.iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].value
    }

    fn of_lane(&self, name: &str, lane: &str) -> f64 {
        self.value(&format!("causeway_lane_{name}"), &[("lane", lane)])
    }
}

fn publish(client: &mut Client, topic: &str, id: &str, body: &str) -> u16 {
    let headers = [("idempotency-key", id), ("content-type", "text/plain")];
    let path = format!("/v1/topics/{topic}");
    let answer = client.post(&path, &headers, body.as_bytes());
    answer.unwrap_or_else(|t| panic!("{topic}: {t}")).status
}

#[test]
fn the_page_is_what_prometheus_wants_and_the_docs_say() {
    let gateway = started("confirm");
    let mut client = gateway.client(PATIENCE);
    for topic in ["all/x", "slow/x"] {
        assert_eq!(publish(&mut client, topic, "1", "x"), 202);
    }
    for topic in ["odd", "nowhere"] {
        assert_eq!(publish(&mut client, topic, "1", "x"), 404);
    }
    wait_until(PATIENCE, "delivered", || {
        Page::of(&gateway).of_lane("delivery_seconds_count", "slow") == 1.0
    });
    let page = page(&gateway);
    assert_eq!(lint(&page), Vec::<String>::new());
    let (shown, told) = (signatures(&families(&page).unwrap()), documented());
    let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
        these.difference(those).cloned().collect::<Vec<_>>()
    };
    assert_eq!(only(&shown, &told), [""; 0], "not in docs/METRICS.md");
    assert_eq!(only(&told, &shown), [""; 0], "only in docs/METRICS.md");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(
        Page::of(&gateway).value("causeway_build_info", &version),
        1.0
    );
    other_opinion(&page);
}

/// Name, type and labels, as a row of the docs has them; help isn't compared.
fn signatures(families: &BTreeMap<String, Family>) -> BTreeSet<String> {
    let row = |(name, family): (&String, &Family)| {
        let labels: BTreeSet<&str> = family
            .samples
            .iter()
            .flat_map(|sample| sample.labels.keys())
            .map(String::as_str)
            .filter(|label| *label != "le")
            .collect();
        let labels: Vec<_> = labels.into_iter().collect();
        format!("{name} | {} | {}", family.kind, labels.join(", "))
    };
    families.iter().map(row).collect()
}

/// Rows of tables: `| name | type | labels | what |`.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string("docs/METRICS.md").expect("the page is there");
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().replace('`', ""));
        cells.collect()
    };
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(cells).map(|cells| {
        let [_, name, kind, labels, what, _] = &cells[..] else {
            panic!("not a row of a metric: {cells:?}");
        };
        assert!(!what.is_empty(), "{name}");
        format!("{name} | {kind} | {labels}")
    });
    rows.collect()
}

/// Prometheus' own reader in Python finds the same.
fn other_opinion(page: &str) {
    const PROGRAM: &str = "import sys, json\n\
        from prometheus_client.parser import text_string_to_metric_families as read\n\
        print(json.dumps({f.name: [f.type, f.documentation, len(f.samples)] for f in read(sys.stdin.read())}))";
    let Some(python) = tools::python() else {
        return skip::skipped("metrics, as Python reads them", tools::MISSING);
    };
    let mut child = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(page.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let found: BTreeMap<String, (String, String, usize)> =
        serde_json::from_slice(&output.stdout).expect("JSON");
    let ours = families(page).unwrap().into_iter().map(|(name, family)| {
        // It names counters without their suffix.
        let name = match family.kind.as_str() {
            "counter" => name.trim_end_matches("_total").to_owned(),
            _ => name,
        };
        (name, (family.kind, family.help, family.samples.len()))
    });
    assert_eq!(found, ours.collect());
}

#[test]
fn counts_agree_with_what_happened() {
    let gateway = started("retry first 1");
    let mut client = gateway.client(PATIENCE);
    for n in 0..20 {
        let (topic, id) = (["all/x", "slow/x"][n % 2], n.to_string());
        assert_eq!(publish(&mut client, topic, &id, "x"), 202);
    }
    for n in 0..5 {
        let id = (2 * n).to_string();
        let again = publish(&mut client, "all/x", &id, "x");
        assert!([200, 202].contains(&again), "a duplicate: {again}");
    }
    assert_eq!(publish(&mut client, "all/x", "0", "y"), 422);
    assert_eq!(publish(&mut client, "nowhere", "0", "y"), 404);
    wait_until(PATIENCE, "all delivered", || {
        let page = Page::of(&gateway);
        ["inbox", "slow"].iter().all(|lane| {
            page.of_lane("pending", lane) == 0.0
                && page.of_lane("delivery_seconds_count", lane) == 10.0
        })
    });
    let page = Page::of(&gateway);
    // What was taken, duplicates too; what is in the journal; what its thread synced.
    assert_eq!(page.value("causeway_accept_seconds_count", &[]), 25.0);
    assert_eq!(page.value("causeway_store_seconds_count", &[]), 20.0);
    assert_eq!(page.value("causeway_dedup_hits_total", &[]), 5.0);
    let batches = page.value("causeway_journal_batches_total", &[]);
    assert_eq!(
        page.value("causeway_journal_sync_seconds_count", &[]),
        batches
    );
    let took = |name: &str| page.value(&format!("causeway_{name}_seconds_sum"), &[]);
    assert!(took("accept") >= took("store"), "a publish waits for it");
    assert!(took("store") > 0.0 && took("journal_sync") > 0.0);
    let refused = |reason| page.value("causeway_refusals_total", &[("reason", reason)]);
    let refused = ["conflict", "no_route", "busy"].map(refused);
    assert_eq!(refused, [1.0, 1.0, 0.0]);
    for lane in ["inbox", "slow"] {
        assert_eq!(page.of_lane("delivered_total", lane), 10.0);
        assert!(page.of_lane("attempt_seconds_count", lane) >= 1.0);
        assert_eq!(page.of_lane("lag_seconds", lane), 0.0);
    }
    assert!(page.of_lane("retries_total", "slow") >= 10.0);
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs_f64();
    let begun = page.value("process_start_time_seconds", &[]);
    assert!(begun < now && begun > now - 600.0, "{begun} at {now}");
    assert!(page.value("process_cpu_seconds_total", &[]) > 0.0);
    assert!(page.value("process_resident_memory_bytes", &[]) > f64::from(1 << 20));
    agrees_with_status(&gateway);
}

/// The same numbers over the control API.
fn agrees_with_status(gateway: &Gateway) {
    let status = Client::new(gateway.admin, PATIENCE).get("/api/v1/status");
    let status: Value = status.expect("it answers").json().expect("JSON");
    let page = Page::of(gateway);
    let lanes = status["lanes"].as_array().expect("lanes");
    for lane in lanes {
        let name = lane["name"].as_str().expect("a name");
        for (member, metric) in [
            ("planned", "planned_total"),
            ("delivered", "delivered_total"),
            ("pending", "pending"),
            ("retries", "retries_total"),
        ] {
            let told = lane[member].as_f64();
            assert_eq!(told, Some(page.of_lane(metric, name)), "{name}: {metric}");
        }
    }
    assert_eq!(
        status["journal"]["batches"].as_f64(),
        Some(page.value("causeway_journal_batches_total", &[]))
    );
    assert_eq!(
        status["dedup"]["hits"].as_f64(),
        Some(page.value("causeway_dedup_hits_total", &[]))
    );
    let begun = page.value("process_start_time_seconds", &[]);
    assert_eq!(
        status["process"]["start_time_seconds"].as_f64(),
        Some(begun)
    );
}

/// Others' messages in the same segments don't make the oldest look younger; a restart neither.
#[test]
fn lag_is_the_age_of_the_oldest_and_ends_with_it() {
    const OWED: u32 = 7;
    let mut gateway = started("hang");
    let mut client = gateway.client(PATIENCE);
    for n in 0..OWED {
        assert_eq!(publish(&mut client, "slow/x", &n.to_string(), "x"), 202);
    }
    let since = Instant::now();
    let mut others = 0;
    while since.elapsed() < Duration::from_secs(2) {
        others += 1;
        let id = format!("other-{others}");
        assert_eq!(publish(&mut client, "all/x", &id, "x"), 202);
        thread::sleep(Duration::from_millis(20));
    }
    let lag = |gateway: &Gateway| {
        let page = Page::of(gateway);
        assert_eq!(page.of_lane("pending", "slow"), f64::from(OWED));
        page.of_lane("lag_seconds", "slow")
    };
    // Of the batch before it that was noted, so perhaps a little more.
    let (least, told, most) = (since.elapsed(), lag(&gateway), since.elapsed());
    let in_doubt = Duration::from_millis(1_500);
    assert!(told >= least.as_secs_f64(), "{told}, not {least:?}");
    assert!(
        told <= (most + in_doubt).as_secs_f64(),
        "{told}, not {most:?}"
    );

    gateway.kill();
    gateway.start().unwrap();
    let mut client = gateway.client(PATIENCE);
    assert_eq!(publish(&mut client, "all/x", "after", "x"), 202);
    let (least, told) = (since.elapsed(), lag(&gateway));
    assert!(
        told >= least.as_secs_f64(),
        "after the kill {told}, not {least:?}"
    );
    assert!(told <= (since.elapsed() + in_doubt).as_secs_f64(), "{told}");

    gateway.configure(&settings("confirm"));
    let json = [("content-type", "application/json")];
    let reload = Client::new(gateway.admin, PATIENCE).post("/api/v1/reload", &json, b"{}");
    assert_eq!(reload.expect("it answers").status, 200);
    let page = wait_for(PATIENCE, || {
        let page = Page::of(&gateway);
        let owed = page.of_lane("pending", "slow");
        let counted = page.of_lane("delivery_seconds_count", "slow");
        match owed == 0.0 && counted == f64::from(OWED) {
            true => Ok(page),
            false => Err(format!("{owed} owed, {counted} counted")),
        }
    });
    assert_eq!(page.of_lane("lag_seconds", "slow"), 0.0);
    let labels = [("lane", "slow"), ("le", "1")];
    let quick = page.value("causeway_lane_delivery_seconds_bucket", &labels);
    assert_eq!(quick, 0.0, "each took as long as the destination hung");
}

/// A lane that is gone takes its series along.
#[test]
fn what_has_no_name_any_more_has_no_series() {
    let gateway = started("confirm");
    let lanes_of = |gateway: &Gateway| -> BTreeSet<String> {
        let samples = Page::of(gateway).0.into_iter();
        samples
            .filter_map(|s| s.labels.get("lane").cloned())
            .collect()
    };
    let kept: BTreeSet<String> = ["$door", "inbox"].map(str::to_owned).into();
    assert!(lanes_of(&gateway).contains("slow"));
    let routes = settings("confirm");
    let (before, rest) = routes.split_once("[destinations.slow]").expect("there");
    let (slow, of_slow) = rest
        .split_once("[[routes]]\nname = \"slow\"")
        .expect("there");
    let (slow, of_all) = slow.split_once("[[routes]]").expect("there");
    assert!(!of_slow.is_empty());
    let json = [("content-type", "application/json")];
    for file in [
        format!("{before}[destinations.slow]{slow}[[routes]]{of_all}"),
        format!("{before}[[routes]]{of_all}"),
    ] {
        gateway.configure(&file);
        let reload = Client::new(gateway.admin, PATIENCE).post("/api/v1/reload", &json, b"{}");
        let reload = reload.expect("it answers");
        assert_eq!(reload.status, 200, "{reload}");
    }
    assert_eq!(lanes_of(&gateway), kept);
}
