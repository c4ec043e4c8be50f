//! An explanation as people read it.

use crate::admin::explanation::{
    Content, DeliveryIdAnswer, Explanation, IdFrom, PlannedTarget, RouteAnswer, Unrouted,
};
use crate::cli::text::{CYAN, DIM, GREEN, RED, YELLOW, compact, escaped, paint};
use crate::config::show_duration;
use crate::message::is_json;
use std::fmt::Write as _;
use std::time::Duration;

/// So many routes that don't match are shown, unless all are wanted.
const NEAREST: usize = 5;
/// Longer payloads are cut.
const SHOWN_PAYLOAD_CHARS: usize = 1_000;

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Shown {
    pub colour: bool,
    /// All routes that don't match, however many.
    pub all: bool,
}

/// What becomes of the whole, each target, and why the other routes don't match.
pub(super) fn text(found: &Explanation, shown: Shown) -> String {
    let mut out = String::new();
    head(&mut out, found, shown.colour);
    for target in &found.targets {
        out.push('\n');
        planned(&mut out, target, shown.colour);
    }
    if found.refused.is_some() {
        matched(&mut out, &found.routes);
    }
    silent(&mut out, &found.routes, shown.colour);
    others(&mut out, &found.routes, shown);
    out
}

fn line(out: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(out, "{words}").expect("writing to a String can't fail");
}

fn head(out: &mut String, found: &Explanation, colour: bool) {
    let topic = escaped(&found.topic);
    let (word, code) = match (&found.refused, found.unrouted) {
        (Some(_), _) => ("refused".to_owned(), RED),
        (None, Some(Unrouted::Drop)) => ("no route: taken and dropped".to_owned(), YELLOW),
        (None, Some(_)) => ("no route: into the door's dead letters".to_owned(), YELLOW),
        (None, None) => match found.targets.len() {
            1 => ("1 delivery".to_owned(), GREEN),
            count => (format!("{count} deliveries"), GREEN),
        },
    };
    line(out, format_args!("{topic}: {}", paint(&word, code, colour)));
    if let Some(refused) = &found.refused {
        let detail = escaped(&refused.detail);
        line(
            out,
            format_args!("  {detail} (HTTP {} {})", refused.status, refused.kind),
        );
    }
    let id = match (&found.id, found.id_from) {
        (Some(id), IdFrom::Rule) => format!("{}, by an [[identity]] rule", escaped(id)),
        (Some(id), _) => format!("{}, the publisher's", escaped(id)),
        (None, _) => "none: it gets one of its own, and is never a duplicate".to_owned(),
    };
    line(out, format_args!("  id   {id}"));
    if let Some(ack) = &found.ack {
        let waits = found.ack_timeout_ms.map(|ms| {
            let wait = show_duration(Duration::from_millis(ms));
            format!(", HTTP and gRPC wait up to {wait} for it")
        });
        line(
            out,
            format_args!("  ack  {ack}{}", waits.unwrap_or_default()),
        );
    }
}

fn planned(out: &mut String, target: &PlannedTarget, colour: bool) {
    let route = target.route.as_deref().unwrap_or("(no route)");
    let name = format!("{route} → {}", target.destination);
    line(
        out,
        format_args!(
            "{}  {}, acknowledged when {}",
            paint(&name, CYAN, colour),
            target.guarantee,
            target.ack
        ),
    );
    let mut field = |name: &str, value: String| {
        line(out, format_args!("  {name:<12} {value}"));
    };
    if let Some(why) = &target.dead_letter {
        let why = format!("into the dead letters: {}", escaped(why));
        field("", paint(&why, YELLOW, colour));
    }
    field("topic", escaped(&target.topic));
    if let Some(key) = &target.key {
        field("key", content(key));
    }
    for (at, (name, value)) in target.headers.iter().enumerate() {
        let label = if at == 0 { "headers" } else { "" };
        field(label, format!("{}: {}", escaped(name), content(value)));
    }
    if let Some(content_type) = &target.content_type {
        field("content type", escaped(content_type));
    }
    field("payload", payload(target));
    if let Some(priority) = target.priority {
        field("priority", priority.to_string());
    }
    let duration = |ms| show_duration(Duration::from_millis(ms));
    if let Some(delay) = target.delay_ms {
        field("delay", duration(delay));
    }
    if let Some(ttl) = target.ttl_ms {
        field("ttl", duration(ttl));
    }
    let delivery = match &target.delivery_id {
        DeliveryIdAnswer::Is(id) => id.clone(),
        DeliveryIdAnswer::New => "a new one at each publish: the message has no id".to_owned(),
        DeliveryIdAnswer::Unknown => {
            "not known here: the running gateway tells it (--live)".to_owned()
        }
    };
    field("delivery id", delivery);
}

fn content(content: &Content) -> String {
    match content {
        Content::Text(text) => escaped(text),
        Content::Bytes { base64 } => format!("base64:{base64}"),
    }
}

fn payload(target: &PlannedTarget) -> String {
    let Some(payload) = &target.payload else {
        return "none".to_owned();
    };
    let shown = match payload {
        Content::Text(text) if text.is_empty() => return "empty".to_owned(),
        Content::Text(text) if target.content_type.as_deref().is_some_and(is_json) => {
            escaped(&compact(text))
        }
        other => content(other),
    };
    match shown.char_indices().nth(SHOWN_PAYLOAD_CHARS) {
        None => shown,
        Some((cut, _)) => format!("{} … ({} bytes shown)", &shown[..cut], cut),
    }
}

/// The routes that would have taken what is refused.
fn matched(out: &mut String, routes: &[RouteAnswer]) {
    let matched = routes.iter().filter(|r| r.matched);
    let names: Vec<&str> = matched.map(|r| r.route.as_str()).collect();
    if !names.is_empty() {
        line(out, format_args!("\nmatched: {}", names.join(", ")));
    }
}

/// Routes that match and send nothing.
fn silent(out: &mut String, routes: &[RouteAnswer], colour: bool) {
    let silent = routes.iter().filter(|r| r.matched && r.reason.is_some());
    for (at, route) in silent.enumerate() {
        if at == 0 {
            out.push('\n');
        }
        let why = route.reason.as_deref().unwrap_or_default();
        let name = paint(&route.route, CYAN, colour);
        line(out, format_args!("{name} matches: {}", escaped(why)));
    }
}

/// Why the others don't match, in the order of the file.
fn others(out: &mut String, routes: &[RouteAnswer], shown: Shown) {
    let mut others: Vec<(usize, &RouteAnswer)> =
        routes.iter().filter(|r| !r.matched).enumerate().collect();
    let all = others.len();
    if all == 0 {
        return;
    }
    if !shown.all && all > NEAREST {
        others.sort_by_key(|(at, route)| (route.distance, *at));
        others.truncate(NEAREST);
        others.sort_by_key(|(at, _)| *at);
    }
    let widths = others.iter().map(|(_, r)| r.route.chars().count());
    let width = widths.max().unwrap_or_default();
    out.push_str("\nnot matched:\n");
    for (_, route) in &others {
        let why = route.reason.as_deref().unwrap_or_default();
        line(
            out,
            format_args!("  {:width$}  {}", route.route, escaped(why)),
        );
    }
    if others.len() < all {
        let more = format!("  … and {} more (--all)", all - others.len());
        line(out, format_args!("{}", paint(&more, DIM, shown.colour)));
    }
}
