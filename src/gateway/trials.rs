//! Users' own cases against what would become of each message: what differs, in words.

use crate::admin::explanation::{Content, Explanation, PlannedTarget, Refused, Unrouted};
use crate::config::cases::{Case, Data, Expected, ExpectedTarget, Sample};
use crate::message::Guarantee;
use serde_json::{Value, json};
use std::fmt::{Debug, Write as _};
use std::time::Duration;

const NO_ROUTE: &str = "no-route";

/// Each difference is a line; none: the case holds.
#[must_use]
pub fn differences(expected: &Expected, found: &Explanation) -> Vec<String> {
    match (expected, &found.refused) {
        (Expected::Refused(kind), Some(refused)) if *kind == refused.kind => Vec::new(),
        (Expected::Refused(kind), Some(refused)) => {
            vec![format!(
                "refused as {kind:?} was expected: {}",
                words(refused)
            )]
        }
        (Expected::Refused(kind), None) => {
            let where_to: Vec<String> = found.targets.iter().map(name_of_found).collect();
            vec![match where_to.is_empty() {
                true => format!("refused as {kind:?} was expected: it is taken and dropped"),
                false => format!(
                    "refused as {kind:?} was expected: it is sent {}",
                    where_to.join(", ")
                ),
            }]
        }
        (Expected::Targets(targets), Some(refused)) => {
            match targets.is_empty() && refused.kind == NO_ROUTE {
                true => Vec::new(),
                false => vec![words(refused)],
            }
        }
        (Expected::Targets(targets), None) => {
            let is_unrouted = found.unrouted == Some(Unrouted::DeadLetter);
            let planned = if is_unrouted { &[] } else { &found.targets[..] };
            compare(targets, planned)
        }
    }
}

fn words(refused: &Refused) -> String {
    format!("it is refused as {:?}: {}", refused.kind, refused.detail)
}

/// Pairs what was expected with what was planned, so that as many as can be are equal.
fn compare(expected: &[ExpectedTarget], planned: &[PlannedTarget]) -> Vec<String> {
    let mut pairs = equal_pairs(expected, planned);
    let mut lines = Vec::new();
    for (at, wanted) in expected.iter().enumerate() {
        if pairs.contains(&Some(at)) {
            continue;
        }
        // Another one of its route and destination is the one that was meant.
        let meant = planned
            .iter()
            .zip(&mut pairs)
            .find(|(found, pair)| pair.is_none() && is_same(wanted, found));
        match meant {
            None => lines.push(format!("missing: {}", name_of_expected(wanted))),
            Some((found, pair)) => {
                *pair = Some(at);
                let name = name_of_expected(wanted);
                lines.extend(fields(wanted, found).map(|line| format!("{name}: {line}")));
            }
        }
    }
    let unexpected = planned
        .iter()
        .zip(&pairs)
        .filter(|(_, pair)| pair.is_none());
    lines.extend(unexpected.map(|(found, _)| format!("not expected: {}", name_of_found(found))));
    lines
}

/// For each planned one, the expected one that it equals: as many pairs as there can be.
fn equal_pairs(expected: &[ExpectedTarget], planned: &[PlannedTarget]) -> Vec<Option<usize>> {
    let equal: Vec<Vec<usize>> = expected
        .iter()
        .map(|wanted| {
            let is_equal = |at: &usize| {
                is_same(wanted, &planned[*at]) && fields(wanted, &planned[*at]).next().is_none()
            };
            (0..planned.len()).filter(is_equal).collect()
        })
        .collect();
    let mut pairs = vec![None; planned.len()];
    for wanted in 0..expected.len() {
        let mut tried = vec![false; planned.len()];
        place(wanted, &equal, &mut pairs, &mut tried);
    }
    pairs
}

/// Finds a partner, moving others to another of theirs where that helps (augmenting paths).
fn place(
    wanted: usize,
    equal: &[Vec<usize>],
    pairs: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &at in &equal[wanted] {
        if std::mem::replace(&mut tried[at], true) {
            continue;
        }
        let is_free = match pairs[at] {
            None => true,
            Some(other) => place(other, equal, pairs, tried),
        };
        if is_free {
            pairs[at] = Some(wanted);
            return true;
        }
    }
    false
}

fn is_same(wanted: &ExpectedTarget, found: &PlannedTarget) -> bool {
    found.route.as_ref() == Some(&wanted.route) && found.destination == wanted.destination
}

fn name_of_expected(target: &ExpectedTarget) -> String {
    format!("{} → {}", target.route, target.destination)
}

fn name_of_found(target: &PlannedTarget) -> String {
    let route = target.route.as_deref().unwrap_or("no route");
    format!("{route} → {}", target.destination)
}

/// The fields that were expected to be otherwise.
fn fields(wanted: &ExpectedTarget, found: &PlannedTarget) -> impl Iterator<Item = String> {
    let text = |content: &Option<Content>| content.as_ref().map(shown);
    let key = wanted.key.as_ref().map(shown_text);
    let millis = |duration: Duration| format!("{}ms", duration.as_millis());
    let lines = [
        differs(
            "guarantee",
            wanted.guarantee.map(Guarantee::as_str),
            Some(found.guarantee.as_str()),
        ),
        differs(
            "topic",
            wanted.topic.as_deref().map(shown_text),
            Some(shown_text(&found.topic)),
        ),
        differs("key", key, text(&found.key)),
        differs(
            "content_type",
            wanted.content_type.as_deref().map(shown_text),
            found.content_type.as_deref().map(shown_text),
        ),
        data(wanted.data.as_ref(), found.payload.as_ref()),
        differs(
            "priority",
            wanted.priority.map(|p| p.to_string()),
            found.priority.map(|p| p.to_string()),
        ),
        differs(
            "delay",
            wanted.delay.map(millis),
            found.delay_ms.map(|ms| format!("{ms}ms")),
        ),
        differs(
            "ttl",
            wanted.ttl.map(millis),
            found.ttl_ms.map(|ms| format!("{ms}ms")),
        ),
        dead_letter(wanted.dead_letter, found.dead_letter.as_deref()),
    ];
    lines.into_iter().flatten().chain(headers(wanted, found))
}

/// What wasn't said isn't compared.
fn differs<T: PartialEq + std::fmt::Display>(
    field: &str,
    wanted: Option<T>,
    found: Option<T>,
) -> Option<String> {
    let wanted = wanted?;
    match found {
        Some(found) if found == wanted => None,
        Some(found) => Some(format!("{field} is {found}, not {wanted}")),
        None => Some(format!("there is no {field}; expected was {wanted}")),
    }
}

fn dead_letter(wanted: Option<bool>, found: Option<&str>) -> Option<String> {
    match (wanted?, found) {
        (true, None) => Some("it is delivered, not dead-lettered".to_owned()),
        (false, Some(why)) => Some(format!("it is dead-lettered: {why}")),
        _ => None,
    }
}

fn data(wanted: Option<&Data>, found: Option<&Content>) -> Option<String> {
    let wanted = wanted?;
    let is_equal = match (wanted, found) {
        (Data::Json(json), Some(Content::Text(text))) => {
            serde_json::from_str::<Value>(text).is_ok_and(|found| found == *json)
        }
        (Data::Text(_) | Data::Bytes(_), Some(found)) => Content::of(&wanted.bytes()) == *found,
        _ => false,
    };
    let found = found.map_or("nothing".to_owned(), shown);
    (!is_equal).then(|| {
        format!(
            "data is {found}, not {}",
            shown(&Content::of(&wanted.bytes()))
        )
    })
}

/// For each name that was said: all its values, in order.
fn headers(wanted: &ExpectedTarget, found: &PlannedTarget) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in &wanted.headers {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let line = |name: &str| {
        let of = wanted.headers.iter().filter(|(other, _)| other == name);
        let wanted: Vec<Content> = of.map(|(_, value)| Content::Text(value.clone())).collect();
        let of = found.headers.iter();
        let of = of.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let found: Vec<Content> = of.map(|(_, value)| value.clone()).collect();
        (wanted != found).then(|| {
            let list = |values: &[Content]| {
                let values: Vec<String> = values.iter().map(shown).collect();
                match values.is_empty() {
                    true => "not there".to_owned(),
                    false => values.join(", "),
                }
            };
            format!("header {name} is {}, not {}", list(&found), list(&wanted))
        })
    };
    names.into_iter().filter_map(line).collect()
}

fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => shown_text(text),
        Content::Bytes { base64 } => format!("base64:{base64}"),
    }
}

fn shown_text(text: impl Debug) -> String {
    format!("{text:?}")
}

/// One case with its outcome.
pub struct Judged<'a> {
    pub file: &'a str,
    pub case: &'a Case,
    pub differences: Vec<String>,
}

impl Judged<'_> {
    #[must_use]
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }

    /// A line, and one for each difference below it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let word = if self.holds() { "ok    " } else { "FAILED" };
        let name = match &self.case.name {
            Some(name) => format!("{name} ({})", self.case.publish.topic),
            None => self.case.publish.topic.clone(),
        };
        let mut text = format!("{word}  {name}  {}:{}\n", self.file, self.case.line);
        for difference in &self.differences {
            writeln!(text, "          {difference}").expect("in memory");
        }
        text
    }

    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "file": self.file,
            "line": self.case.line,
            "name": self.case.name,
            "topic": self.case.publish.topic,
            "ok": self.holds(),
            "differences": self.differences,
        })
    }
}

/// The case that holds for what was found: what a target has of its own is said.
#[must_use]
pub fn case_of(publish: &Sample, found: &Explanation) -> Case {
    let payload = Content::of(&publish.payload());
    let expected = match &found.refused {
        Some(refused) if refused.kind != NO_ROUTE => Expected::Refused(refused.kind.clone()),
        _ if found.unrouted.is_some() => Expected::Targets(Vec::new()),
        _ => {
            let targets = found.targets.iter();
            Expected::Targets(targets.map(|t| expected_of(t, &payload)).collect())
        }
    };
    Case {
        name: None,
        line: 1,
        publish: publish.clone(),
        expected,
    }
}

fn expected_of(found: &PlannedTarget, published: &Content) -> ExpectedTarget {
    let text = |content: &Option<Content>| content.as_ref()?.as_text().map(str::to_owned);
    let own_payload = found.payload.as_ref().filter(|p| *p != published);
    ExpectedTarget {
        route: found.route.clone().unwrap_or_default(),
        destination: found.destination.clone(),
        topic: Some(found.topic.clone()),
        key: text(&found.key),
        data: own_payload.and_then(Content::as_text).map(json_or_text),
        priority: found.priority,
        delay: found.delay_ms.map(Duration::from_millis),
        ttl: found.ttl_ms.map(Duration::from_millis),
        dead_letter: found.dead_letter.as_ref().map(|_| true),
        ..ExpectedTarget::default()
    }
}

fn json_or_text(text: &str) -> Data {
    match serde_json::from_str(text) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => Data::Json(json),
        _ => Data::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
