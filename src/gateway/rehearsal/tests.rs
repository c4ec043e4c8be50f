//! What is explained is what a publish then leaves in the journal: random routes, random messages,
//! a real door.

use super::*;
use crate::clock::Clock;
use crate::config::{self, Sources};
use crate::door::{Door, Generations};
use crate::egress::NameBook;
use crate::gateway::open;
use crate::journal::{self, Shared};
use crate::message::{Delivery, DeliveryId, Position, record};
use crate::spans::Spans;
use fastrand::Rng;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ROUND_SEEDS: std::ops::Range<u64> = 0..12;
const MESSAGES_A_ROUND: usize = 60;

fn pick<'a>(random: &mut Rng, words: &[&'a str]) -> &'a str {
    words[random.usize(0..words.len())]
}

/// A file of random routes, each of which alone is legal.
fn routes_toml(random: &mut Rng, data: &std::path::Path) -> String {
    let action = pick(random, &["reject", "dead_letter", "drop"]);
    let mut text = format!(
        "version = 1\n[gateway]\ndata_dir = {data:?}\n[listen]\nhttp = \"127.0.0.1:0\"\n\
         [unrouted]\naction = \"{action}\"\n"
    );
    for name in ["d0", "d1", "strict"] {
        writeln!(text, "[destinations.{name}]\ntype = \"stream\"").expect("in memory");
    }
    if random.bool() {
        let topic = pick(random, &["a/#", "#/b", "+/+"]);
        let id = pick(
            random,
            &["payload.id", "hash(payload)", "topic + '-' + key"],
        );
        let scope = pick(random, &["[]", "[\"topic\"]", "[\"principal\", \"topic\"]"]);
        writeln!(
            text,
            "[[identity]]\ntopic = \"{topic}\"\nid = \"{id}\"\nscope = {scope}"
        )
        .expect("in memory");
    }
    for number in 0..random.usize(1..8) {
        route_toml(random, number, &mut text);
    }
    text
}

fn route_toml(random: &mut Rng, number: usize, text: &mut String) {
    let pattern = pick(
        random,
        &["#", "a/#", "{x}/b", "+/{x}", "a/{x}/#", "#/c", "a", "b/b"],
    );
    let has_x = pattern.contains("{x}");
    let mut line = |words: String| writeln!(text, "{words}").expect("in memory");
    line(format!(
        "[[routes]]\nname = \"r{number}\"\ntopic = \"{pattern}\""
    ));
    let on_error = pick(random, &["reject", "skip", "dead_letter"]);
    line(format!("on_error = \"{on_error}\""));
    line(format!(
        "ack = \"{}\"",
        pick(random, &["stored", "delivered"])
    ));
    line("ack_timeout = \"1ms\"".to_owned());
    if random.u8(0..4) == 0 {
        line(format!("from = [\"{}\"]", pick(random, &["http", "mqtt"])));
    }
    if random.u8(0..4) == 0 {
        line("headers = { kind = \"pdf\" }".to_owned());
    }
    if random.u8(0..4) == 0 {
        line("headers_any = { kind = \"pdf\", urgent = \"1\" }".to_owned());
    }
    if random.u8(0..3) == 0 {
        let when = pick(
            random,
            &[
                "payload.n > 5",
                "'urgent' in headers",
                "topic != 'a'",
                "headers['kind'] == 'pdf'",
            ],
        );
        line(format!("when = \"{when}\""));
    }
    let transformed = random.u8(0..3) == 0;
    if transformed {
        line("transform = \"{'n': payload.n, 'was': topic}\"".to_owned());
    }
    if random.u8(0..5) == 0 {
        line("stop = true".to_owned());
    }
    for _ in 0..random.usize(1..4) {
        target_toml(random, text, has_x, on_error);
    }
}

fn target_toml(random: &mut Rng, text: &mut String, has_x: bool, on_error: &str) {
    let mut line = |words: String| writeln!(text, "{words}").expect("in memory");
    let strict = on_error != "skip" && random.u8(0..4) == 0;
    line("[[routes.to]]".to_owned());
    let destination = if strict {
        "strict"
    } else {
        pick(random, &["d0", "d1"])
    };
    line(format!("destination = \"{destination}\""));
    if strict {
        line("guarantee = \"exactly_once\"".to_owned());
    } else if random.u8(0..4) == 0 {
        line("delay = \"5s\"".to_owned());
    }
    let level = if has_x { "${x}" } else { "${levels[0]}" };
    match random.u8(0..5) {
        0 => line(format!("topic = \"out/{level}\"")),
        1 => line("topic = \"out/${payload.name}\"".to_owned()),
        _ => {}
    }
    match random.u8(0..5) {
        0 => line("key = \"${payload.n}\"".to_owned()),
        1 => line(format!("key = \"{level}\"")),
        _ => {}
    }
    if random.u8(0..4) == 0 {
        line("headers = { from = \"${source}\", n = \"${payload.n}\" }".to_owned());
    }
    if random.u8(0..5) == 0 {
        line("priority = \"${'urgent' in headers ? 9 : 1}\"".to_owned());
    }
    if random.u8(0..5) == 0 {
        line(format!(
            "ttl = \"{}\"",
            pick(random, &["1h", "${payload.name}"])
        ));
    }
}

fn envelope(random: &mut Rng, number: usize) -> Envelope {
    let topic = pick(random, &["a", "a/b", "b/b", "b/c", "a/b/c", "a//b", "z"]);
    let mut headers = Vec::new();
    if random.bool() {
        headers.push(("kind", pick(random, &["pdf", "png"])));
    }
    if random.u8(0..3) == 0 {
        headers.push(("urgent", "1"));
    }
    let headers = headers.into_iter().map(|(name, value)| Header {
        name: name.to_owned(),
        value: value.as_bytes().to_vec().into(),
    });
    let payload = match random.u8(0..6) {
        0 => "not JSON".to_owned(),
        1 => "{}".to_owned(),
        2 => format!("{{\"n\": {}, \"name\": \"a/+\"}}", random.u8(..)),
        _ => format!(
            "{{\"n\": {}, \"name\": \"{}h\", \"id\": \"i{number}\"}}",
            random.u8(0..10),
            random.u8(1..9)
        ),
    };
    Envelope {
        principal: "anonymous".into(),
        source: pick(random, &["http", "mqtt"]).into(),
        topic: topic.to_owned(),
        id: match random.u8(0..3) {
            0 => MessageId::None,
            _ => MessageId::Publisher(format!("m{number}")),
        },
        key: random.bool().then(|| format!("k{number}").into()),
        headers: headers.collect(),
        content_type: random
            .bool()
            .then(|| pick(random, &["application/json", "text/plain"]).to_owned()),
        payload: Ok(payload.into()),
        priority: (random.u8(0..5) == 0).then_some(3),
        deliver_at: None,
        expires_at: (random.u8(0..5) == 0).then_some(Wall(10_000_000)),
        extensions: Vec::new(),
    }
}

/// What the journal holds of a message, told as an explanation.
struct Recorded<'a> {
    shared: &'a Shared,
    now: Wall,
}

impl Recorded<'_> {
    fn explanation(&self, position: Position) -> Explanation {
        let stored = self.shared.reader.read(position).expect("it can be read");
        let stored = stored.expect("the record is there");
        let (message, fingerprint) = record::decode(&stored.body).expect("it is whole");
        let identity = fingerprint.map(|fingerprint| fingerprint.key);
        let message = Arc::new(message);
        let plan = &message.plan;
        let targets = (0..plan.targets.len()).map(|ordinal| {
            let delivery = Delivery {
                at: DeliveryId::new(position.0, ordinal as u16),
                known_as: None,
                accepted: self.now,
                epoch: self.shared.epoch,
                identity,
                size_bytes: 0,
                dead_letter: None,
                message: Arc::clone(&message),
            };
            self.target(&delivery)
        });
        let targets: Vec<PlannedTarget> = targets.collect();
        Explanation {
            unrouted: targets
                .iter()
                .all(|target| target.route.is_none())
                .then_some(Unrouted::DeadLetter),
            ack: Some(plan.ack.as_str().to_owned()),
            ack_timeout_ms: (plan.ack == Ack::Delivered).then(|| millis(plan.ack_timeout)),
            targets,
            ..unanswered(&message.envelope)
        }
    }

    /// As a destination would get it, by the accessors that destinations use.
    fn target(&self, delivery: &Delivery) -> PlannedTarget {
        let (target, envelope) = (delivery.target(), &delivery.message.envelope);
        let (routes, lane) = self.shared.read_catalog(|catalog| {
            let routes = catalog.routes().iter();
            let routes: Vec<Arc<str>> = routes.map(|r| Arc::clone(&r.name)).collect();
            let lane = catalog.lane(target.lane).expect("it has a name");
            (routes, lane.name.to_string())
        });
        let is_door = target.route == journal::DOOR_ROUTE;
        let route = routes[target.route.0 as usize].to_string();
        let book = NameBook::new(self.shared.reader.uuid(), routes);
        let names = book.of(delivery, &lane);
        let payload = target.payload.as_ref().or(envelope.payload.as_ref().ok());
        let headers = target.headers.as_ref().unwrap_or(&envelope.headers);
        let from_now = |time: Wall| time.0.saturating_sub(self.now.0);
        PlannedTarget {
            route: (!is_door).then_some(route),
            destination: lane,
            guarantee: target.guarantee.as_str().to_owned(),
            ack: delivery.message.plan.ack.as_str().to_owned(),
            topic: target.topic.as_ref().unwrap_or(&envelope.topic).clone(),
            key: delivery.key().map(|key| Content::of(key)),
            headers: headers
                .iter()
                .map(|h| (h.name.clone(), Content::of(&h.value)))
                .collect(),
            content_type: delivery.content_type().map(str::to_owned),
            payload: payload.map(|payload| Content::of(payload)),
            priority: target.priority.or(envelope.priority),
            delay_ms: target.not_before.map(from_now),
            ttl_ms: target.expires_at.map(from_now),
            delivery_id: match delivery.identity {
                Some(_) => DeliveryIdAnswer::Is(names.borrowed().delivery_id.to_owned()),
                None => DeliveryIdAnswer::New,
            },
            dead_letter: target.dead_letter.clone(),
        }
    }
}

/// What was met on the way, so that nothing is true only because nothing happened.
#[derive(Debug, Default)]
struct Met {
    planned: usize,
    refused: usize,
    dropped: usize,
    dead_lettered: usize,
    transformed: usize,
    not_matched: usize,
}

#[tokio::test]
async fn what_is_explained_is_what_the_journal_then_holds() {
    let mut met = Met::default();
    for seed in ROUND_SEEDS {
        round(seed, &mut met).await;
    }
    let counts = [
        met.planned,
        met.refused,
        met.dropped,
        met.dead_lettered,
        met.transformed,
        met.not_matched,
    ];
    assert!(counts.iter().all(|count| *count >= 5), "{met:?}");
}

async fn round(seed: u64, met: &mut Met) {
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("routes.toml");
    let text = routes_toml(&mut random, &folder.path().join("data"));
    std::fs::write(&file, &text).expect("the folder is writable");
    let (settings, _) = config::load(&Sources::file(&file))
        .unwrap_or_else(|report| panic!("seed {seed}:\n{text}\n{}", report.to_text()));
    let clock = Clock::manual(Wall(1_000_000));
    let house = open::open(&settings, &clock, Arc::default()).expect("it opens");
    let started = journal::start(house.journal, house.keeper, Arc::clone(&house.site.disk));
    let (running, handle, receipts) = started.expect("its threads start");
    let receipts = tokio::spawn(journal::send_receipts(receipts));
    for lane in handle.shared().lanes() {
        lane.backlog_bytes.store(u64::MAX, Ordering::Relaxed);
    }
    let first = Generations::new(house.first);
    let door = Arc::new(Door::new(handle, first, clock.clone(), Spans::default()));
    for number in 0..MESSAGES_A_ROUND {
        let envelope = envelope(&mut random, number);
        let found = compare(&door, envelope.clone(), clock.wall()).await;
        let found = found.unwrap_or_else(|(said, held)| {
            panic!("seed {seed}, {envelope:?}:\n{text}\nsaid {said:#?}\nheld {held:#?}")
        });
        count(met, &found);
    }
    drop(door);
    tokio::task::spawn_blocking(move || running.stop())
        .await
        .expect("it stops in order");
    receipts.abort();
}

fn count(met: &mut Met, found: &Explanation) {
    met.planned += found.targets.len();
    met.refused += usize::from(found.refused.is_some());
    met.dropped += usize::from(found.unrouted == Some(Unrouted::Drop));
    let targets = || found.targets.iter();
    met.dead_lettered += targets().filter(|t| t.dead_letter.is_some()).count();
    let is_made = |t: &&PlannedTarget| {
        let payload = t.payload.as_ref().and_then(Content::as_text);
        payload.is_some_and(|text| text.contains("was"))
    };
    met.transformed += targets().filter(is_made).count();
    met.not_matched += found.routes.iter().filter(|r| !r.matched).count();
}

/// Explains, publishes, and compares; what differs if it does.
async fn compare(
    door: &Arc<Door>,
    envelope: Envelope,
    now: Wall,
) -> Result<Explanation, (Explanation, Explanation)> {
    let shared = Arc::clone(door.journal.shared());
    let said = Rehearsal {
        rules: door.generations.running().rules(),
        hasher: Some(shared.hasher),
        now,
    }
    .explain(envelope.clone());
    let held = match Arc::clone(door).publish(envelope.clone(), None).await {
        Err(refusal) => Explanation {
            unrouted: matches!(refusal, Refusal::NoRoute { .. }).then_some(Unrouted::Reject),
            refused: Some(refused(refusal)),
            // Which identity a refused envelope would have had isn't told.
            id: said.id.clone(),
            id_from: said.id_from,
            ..unanswered(&envelope)
        },
        Ok(published) => match published.receipt.position {
            None => Explanation {
                unrouted: Some(Unrouted::Drop),
                ack: Some("received".to_owned()),
                id: published.receipt.id,
                id_from: said.id_from,
                ..unanswered(&envelope)
            },
            Some(position) => {
                let shared = &shared;
                // A duplicate has the first one's plan, which its own explanation can't know.
                if published.receipt.duplicate {
                    return Ok(said);
                }
                Recorded { shared, now }.explanation(position)
            }
        },
    };
    let held = Explanation {
        routes: said.routes.clone(),
        ..held
    };
    match said == held {
        true => Ok(said),
        false => Err((said, held)),
    }
}
