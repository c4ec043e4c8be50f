//! Raw → settings: defaults filled in, names looked up, and the promises that a configuration can
//! break checked (docs: promises 4, 8 and 10).

use super::document::Focus;
use super::guarantees::{self, Asked, Blame, Sink};
use super::names::nearest;
use super::path::Path;
use super::raw::{
    INGRESSES, Kind, Policies, Raw, RawDestination, RawFrom, RawListener, RawRoute, RawTarget,
};
use super::reader::Reader;
use super::settings::{
    Batch, Breaker, Destination, DestinationKind, LaneSettings, Listen, Retention, Retry, Settings,
};
use crate::expression::Template;
use crate::message::{Ack, Guarantee, TopicNames};
use crate::routing::{OnError, OnFull, OnReject, RouteSpec, Span, TargetSpec};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What a stream keeps where its `retention` doesn't say.
const RETENTION_MAX_BYTES: u64 = 1 << 30;
const RETENTION_MAX_AGE: Duration = Duration::from_secs(7 * 86_400);

/// Settings, or nothing if any error was found, here or while reading.
pub(super) fn resolve(raw: Raw, reader: &Reader<'_>) -> Option<Settings> {
    let context = Context::new(&raw, reader);
    let listen = context.listeners();
    context.route_names();
    let destinations: Vec<_> = raw
        .destinations
        .iter()
        .filter_map(|d| context.destination(d))
        .collect();
    let routes: Vec<_> = raw.routes.iter().filter_map(|r| context.route(r)).collect();
    super::advice::warn_of_routes(&raw, reader);
    if reader.has_errors() {
        return None;
    }
    let settings = Settings {
        gateway: raw.gateway,
        listen,
        anonymous: raw.anonymous,
        limits: raw.limits,
        journal: raw.journal,
        dedup: raw.dedup,
        identities: raw.identities,
        destinations,
        door_dead_letters_max_bytes: raw.defaults.dead_letters_max_bytes?,
        dead_letters: raw.dead_letters,
        routes,
        unrouted: raw.unrouted,
    };
    super::advice::warn(&settings, reader);
    Some(settings)
}

pub(super) fn listen(listeners: &[RawListener]) -> Listen {
    let address = |name: &str| {
        let listener = listeners.iter().find(|listener| listener.name == name);
        listener.map(|listener| listener.address)
    };
    Listen {
        http: address("http"),
        grpc: address("grpc"),
        admin: address("admin"),
        health: address("health"),
    }
}

/// What one part has to know of the others.
struct Context<'a> {
    raw: &'a Raw,
    reader: &'a Reader<'a>,
    /// By name; also those whose type is wrong.
    destinations: BTreeMap<&'a str, &'a RawDestination>,
    /// Those that an exactly_once target makes strict.
    strict: BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    fn new(raw: &'a Raw, reader: &'a Reader<'a>) -> Self {
        let destinations = raw
            .destinations
            .iter()
            .map(|d| (d.name.as_str(), d))
            .collect();
        let mut strict = BTreeSet::new();
        for route in &raw.routes {
            for target in &route.targets {
                if guarantee_of(raw, route, target).0 == Guarantee::ExactlyOnce {
                    strict.extend(target.destination.as_deref());
                }
            }
        }
        Self {
            raw,
            reader,
            destinations,
            strict,
        }
    }

    /// Promise 10: fail closed.
    fn listeners(&self) -> Listen {
        let mut taken = HashMap::new();
        for listener in &self.raw.listen {
            let (name, address) = (listener.name, listener.address);
            if name != "health" && !self.raw.anonymous && !address.ip().to_canonical().is_loopback()
            {
                self.reader.error(
                    &listener.path,
                    format!("without authentication {name} can listen on this machine only"),
                    format!(
                        "write \"127.0.0.1:{}\", or anonymous = true in [auth] to let everybody in",
                        address.port()
                    ),
                );
            }
            if let Some(other) = taken.insert(address, name)
                && address.port() != 0
            {
                self.reader.error(
                    &listener.path,
                    format!("{other} listens on this address too"),
                    "give each listener a port of its own",
                );
            }
        }
        listen(&self.raw.listen)
    }

    fn route_names(&self) {
        let mut seen = BTreeMap::new();
        for route in &self.raw.routes {
            let path = route.path.name("name");
            let Some(name) = &route.name else {
                continue;
            };
            if let Some(first) = seen.get(name) {
                self.reader.error(
                    &path,
                    format!(
                        "another route is named {name:?} too, at {}",
                        self.reader.place(first, Focus::Value)
                    ),
                    "give each route a name of its own: deliveries and metrics are told apart by it",
                );
                continue;
            }
            seen.insert(name, path);
        }
    }

    fn destination(&self, raw: &RawDestination) -> Option<Destination> {
        let kind = match raw.kind.as_ref()? {
            Kind::Stream(retention) => DestinationKind::Stream {
                retention: Retention {
                    max_bytes: retention.max_bytes.unwrap_or(RETENTION_MAX_BYTES),
                    max_age: retention.max_age.unwrap_or(RETENTION_MAX_AGE),
                },
            },
            Kind::Made(kind) => kind.clone(),
            #[cfg(feature = "faults")]
            Kind::Faulty { script, record } => DestinationKind::Faulty {
                script: script.clone(),
                record: record.into(),
            },
        };
        if let DestinationKind::Rabbitmq(rabbitmq) = &kind
            && let Some(alternate) = &rabbitmq.unroutable
        {
            self.check_alternate(raw, alternate);
        }
        let (own, defaults) = (&raw.policies, &self.raw.defaults);
        let lane = LaneSettings {
            backlog_bytes: own.backlog_bytes.or(defaults.backlog_bytes)?,
            memory_bytes: own.memory_bytes.or(defaults.memory_bytes)?,
            timeout: own.timeout.or(defaults.timeout)?,
            retry: self.retry(&raw.path, own)?,
            dead_letters_max_bytes: own
                .dead_letters_max_bytes
                .or(defaults.dead_letters_max_bytes)?,
            batch: Batch {
                count: own.batch_count.or(defaults.batch_count),
                bytes: own.batch_bytes.or(defaults.batch_bytes),
                time: own.batch_time.or(defaults.batch_time).unwrap_or_default(),
            },
            breaker: Breaker {
                failures: own.breaker_failures.or(defaults.breaker_failures)?,
                probe_every: own.breaker_probe_every.or(defaults.breaker_probe_every)?,
            },
            rate: own.rate,
            on_full: own.on_full.or(defaults.on_full)?,
            on_reject: own.on_reject.or(defaults.on_reject)?,
            strict: self.strict.contains(raw.name.as_str()),
        };
        Some(Destination {
            name: raw.name.clone(),
            kind,
            lane,
        })
    }

    /// Where `raw` sends what it can't route: one step, to a place that is known without the route.
    fn check_alternate(&self, raw: &RawDestination, name: &str) {
        let path = raw.path.name("unroutable");
        let Some(alternate) = self.destinations.get(name) else {
            return self.unknown_destination(&path, name);
        };
        match &alternate.kind {
            _ if name == raw.name => self.reader.error(
                &path,
                format!("{name:?} can't be where its own messages go when it can't route them"),
                "name another destination, or take it out: then they go to the dead letters",
            ),
            Some(Kind::Made(DestinationKind::Rabbitmq(next))) if next.unroutable.is_some() => {
                self.reader.error(
                    &path,
                    format!("{name:?} has an `unroutable` of its own: messages could go round"),
                    format!("name one that has none, or take it out of [destinations.{name}]"),
                );
            }
            Some(Kind::Made(DestinationKind::Kafka(kafka))) if kafka.topic.is_none() => {
                self.reader.error(
                    &path,
                    format!("nothing says which topic of {name:?} this goes to"),
                    format!("write topic = \"events\" in [destinations.{name}]"),
                );
            }
            _ => {}
        }
    }

    fn retry(&self, path: &Path, own: &Policies) -> Option<Retry> {
        let defaults = &self.raw.defaults;
        let retry = Retry {
            initial: own.retry_initial.or(defaults.retry_initial)?,
            max: own.retry_max.or(defaults.retry_max)?,
            give_up_after: own.retry_give_up_after.or(defaults.retry_give_up_after)?,
        };
        if retry.initial > retry.max {
            // Where the destination says nothing of its own, `[defaults]` is at fault.
            let written = own.retry_initial.is_some() || own.retry_max.is_some();
            let path = if written {
                path.clone()
            } else {
                Path::root().name("defaults")
            };
            self.reader.error(
                &path.name("retry"),
                "the first wait (`initial`) is longer than the longest (`max`)",
                "write it like retry = { initial = \"100ms\", max = \"30s\" }",
            );
        }
        Some(retry)
    }

    fn route(&self, raw: &RawRoute) -> Option<RouteSpec> {
        let targets: Vec<_> = raw.targets.iter().map(|t| self.target(raw, t)).collect();
        let defaults = &self.raw.defaults;
        Some(RouteSpec {
            name: raw.name.clone()?,
            pattern: raw.pattern.clone()?,
            from: self.from(raw.from.as_deref().unwrap_or_default()),
            headers: raw.headers.clone(),
            headers_any: raw.headers_any.clone(),
            when: raw.when.clone(),
            transform: raw.transform.clone(),
            stop: raw.stop,
            on_error: raw.policies.on_error.or(defaults.on_error)?,
            ack: raw.policies.ack.or(defaults.ack)?,
            ack_timeout: raw.policies.ack_timeout.or(defaults.ack_timeout)?,
            targets: targets.into_iter().collect::<Option<_>>()?,
        })
    }

    /// As envelopes name where they are from.
    fn from(&self, raw: &[RawFrom]) -> Vec<String> {
        let sources: Vec<&str> = self.raw.sources.iter().map(|s| s.name.as_str()).collect();
        let source = |from: &RawFrom| {
            if let Some(origin) = origin(&from.name, &sources) {
                return Some(origin);
            }
            let all = || INGRESSES.into_iter().chain(sources.iter().copied());
            let help = nearest(&from.name, all()).map_or_else(
                || format!("there are: {}", all().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean {near:?}?"),
            );
            let message = format!("messages don't come from {:?}", from.name);
            self.reader.error(&from.path, message, help);
            None
        };
        raw.iter().filter_map(source).collect()
    }

    fn target(&self, route: &RawRoute, raw: &RawTarget) -> Option<TargetSpec> {
        let name = raw.destination.as_deref()?;
        let Some(destination) = self.destinations.get(name) else {
            self.unknown_destination(&raw.destination_path, name);
            return None;
        };
        let (policies, defaults) = (&route.policies, &self.raw.defaults);
        let none = Span::Fixed(Duration::ZERO);
        let delay = raw.delay.clone().filter(|delay| *delay != none);
        // What is filled in where a default is wrong is never handed out: that error is reported.
        let asked = Asked {
            guarantee: guarantee_of(self.raw, route, raw).0,
            ack: policies.ack.or(defaults.ack).unwrap_or(Ack::Stored),
            on_error: policies
                .on_error
                .or(defaults.on_error)
                .unwrap_or(OnError::Reject),
            on_reject: self
                .on_reject(route, destination)
                .map_or(OnReject::Skip, |(word, _)| word),
            on_full: policies
                .on_full
                .or(destination.policies.on_full)
                .or(defaults.on_full)
                .unwrap_or(OnFull::Refuse),
            delayed: delay.is_some(),
            strict: self.strict.contains(name),
        };
        self.check_guarantee(route, raw, destination, asked);
        let names = self.names(raw, destination);
        Some(TargetSpec {
            destination: name.to_owned(),
            guarantee: asked.guarantee,
            names,
            topic: raw.topic.clone().or_else(|| own_topic(destination)),
            key: raw.key.clone(),
            headers: raw.headers.clone(),
            priority: raw.priority.clone(),
            delay,
            ttl: raw.ttl.clone(),
            on_full: asked.on_full,
            on_reject: asked.on_reject,
        })
    }

    /// The names of topics that its destination knows. Kafka knows no `/`: its topics are named in the file.
    fn names(&self, target: &RawTarget, destination: &RawDestination) -> TopicNames {
        let (names, own, help) = match &destination.kind {
            Some(Kind::Made(DestinationKind::Kafka(kafka))) => {
                let help = "write the name of a Kafka topic";
                (TopicNames::Kafka, &kafka.topic, help)
            }
            Some(Kind::Made(DestinationKind::Rabbitmq(rabbitmq))) => {
                let help = "write a shorter routing key";
                (TopicNames::Rabbitmq, &rabbitmq.topic, help)
            }
            _ => return TopicNames::Any,
        };
        let fixed = target.topic.as_ref().and_then(Template::as_plain);
        if let Some(Err(why)) = fixed.map(|topic| names.check(topic)) {
            self.reader.error(&target.path.name("topic"), why, help);
        }
        match (names, &target.topic, own) {
            (TopicNames::Kafka, None, None) => self.nothing_says_which_topic(target, destination),
            // The destination's own was checked where it stands; the envelope's doesn't count.
            (TopicNames::Rabbitmq, None, Some(_)) => return TopicNames::Any,
            _ => {}
        }
        names
    }

    fn nothing_says_which_topic(&self, target: &RawTarget, destination: &RawDestination) {
        let name = &destination.name;
        self.reader.error(
            &target.destination_path,
            format!("nothing says which topic of {name:?} this goes to"),
            format!("write topic = \"events\" in [destinations.{name}], or in this target"),
        );
    }

    fn unknown_destination(&self, path: &Path, name: &str) {
        let names: Vec<&str> = self.destinations.keys().copied().collect();
        let help = match (nearest(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => format!("did you mean {near:?}?"),
            (None, true) => format!("write a table [destinations.{name}] with type = \"stream\""),
            (None, false) => format!("there are: {}", names.join(", ")),
        };
        self.reader
            .error(path, format!("there is no destination {name:?}"), help);
    }

    /// Promise 4: what can't be given is refused, with what to write instead.
    fn check_guarantee(
        &self,
        route: &RawRoute,
        target: &RawTarget,
        destination: &RawDestination,
        asked: Asked,
    ) {
        let Some(sink) = destination.type_name.and_then(Sink::of_type) else {
            return;
        };
        for refused in guarantees::refusals(sink, asked) {
            let path = match refused.blame() {
                Blame::Guarantee => guarantee_of(self.raw, route, target).1,
                Blame::Ack if route.policies.ack.is_some() => route.path.name("ack"),
                Blame::Ack => Path::root().name("defaults").name("ack"),
                Blame::OnReject => match self.on_reject(route, destination) {
                    Some((_, path)) => path,
                    None => route.path.name("on_reject"),
                },
                Blame::Delay => target.path.name("delay"),
            };
            self.reader
                .error(&path, refused.message(&destination.name), refused.instead());
        }
    }

    /// The word that counts for a target, and where it is written.
    fn on_reject(
        &self,
        route: &RawRoute,
        destination: &RawDestination,
    ) -> Option<(OnReject, Path)> {
        let defaults = Path::root().name("defaults");
        let (word, path) = [
            (route.policies.on_reject, &route.path),
            (destination.policies.on_reject, &destination.path),
            (self.raw.defaults.on_reject, &defaults),
        ]
        .into_iter()
        .find_map(|(word, path)| Some((word?, path)))?;
        Some((word, path.name("on_reject")))
    }
}

/// What an envelope's source is called, of an ingress kind or one of these sources.
pub(super) fn origin(name: &str, sources: &[&str]) -> Option<String> {
    if INGRESSES.contains(&name) {
        return Some(name.to_owned());
    }
    sources.contains(&name).then(|| format!("source:{name}"))
}

/// A target's guarantee, and where it is written.
fn guarantee_of(raw: &Raw, route: &RawRoute, target: &RawTarget) -> (Guarantee, Path) {
    let defaults = Path::root().name("defaults");
    let words = [
        (target.guarantee, &target.path),
        (route.policies.guarantee, &route.path),
        (raw.defaults.guarantee, &defaults),
    ];
    let found = words
        .into_iter()
        .find_map(|(word, path)| Some((word?, path.name("guarantee"))));
    found.unwrap_or((Guarantee::AtLeastOnce, defaults))
}
/// In the plan, as if each target had named it: a reload that changes it sends nothing elsewhere that was
/// accepted before.
fn own_topic(destination: &RawDestination) -> Option<Template> {
    let Some(Kind::Made(DestinationKind::Kafka(kafka))) = &destination.kind else {
        return None;
    };
    // What isn't one was reported where it stands.
    let topic = kafka.topic.as_deref()?;
    Template::parse(topic, &[]).ok()
}
