//! A case as TOML: what `explain --save` appends.

use super::{Case, Data, Expected, ExpectedTarget, Sample};
use crate::config::units::show_duration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::fmt::Write as _;

/// Ends with a newline; `read` gives the same case again.
#[must_use]
pub fn to_toml(case: &Case) -> String {
    let mut out = "[[test]]\n".to_owned();
    if let Some(name) = &case.name {
        line(&mut out, "name", &quoted(name));
    }
    line(&mut out, "publish", &sample(&case.publish));
    match &case.expected {
        Expected::Refused(kind) => line(&mut out, "refused", &quoted(kind)),
        Expected::Targets(targets) => match &targets[..] {
            [] => line(&mut out, "expect", "[]"),
            targets => {
                let targets: String = targets
                    .iter()
                    .map(|target| format!("    {},\n", expected(target)))
                    .collect();
                line(&mut out, "expect", &format!("[\n{targets}]"));
            }
        },
    }
    out
}

fn line(out: &mut String, key: &str, value: &str) {
    writeln!(out, "{key} = {value}").expect("in memory");
}

/// `{ key = value, … }` of what is there.
fn inline<const N: usize>(entries: [(&str, Option<String>); N]) -> String {
    let entries: Vec<String> = entries
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", value?)))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

fn sample(sample: &Sample) -> String {
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    let (data, base64) = data(sample.data.as_ref());
    inline([
        ("topic", Some(quoted(&sample.topic))),
        ("data", data),
        ("data_base64", base64),
        ("id", text(&sample.id)),
        ("key", text(&sample.key)),
        ("headers", headers(&sample.headers)),
        ("content_type", text(&sample.content_type)),
        ("from", text(&sample.from)),
    ])
}

fn expected(target: &ExpectedTarget) -> String {
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    let duration = |duration: Option<_>| duration.map(|d| quoted(&show_duration(d)));
    let (data, base64) = data(target.data.as_ref());
    inline([
        ("route", Some(quoted(&target.route))),
        ("destination", Some(quoted(&target.destination))),
        ("guarantee", target.guarantee.map(|g| quoted(g.as_str()))),
        ("topic", text(&target.topic)),
        ("key", text(&target.key)),
        ("headers", headers(&target.headers)),
        ("content_type", text(&target.content_type)),
        ("data", data),
        ("data_base64", base64),
        ("priority", target.priority.map(|p| p.to_string())),
        ("delay", duration(target.delay)),
        ("ttl", duration(target.ttl)),
        ("dead_letter", target.dead_letter.map(|d| d.to_string())),
    ])
}

/// As `data`, or as `data_base64`.
fn data(data: Option<&Data>) -> (Option<String>, Option<String>) {
    match data {
        None => (None, None),
        Some(Data::Text(text)) => (Some(quoted(text)), None),
        // TOML has no null, and other numbers than JSON: as text it stays what it is.
        Some(Data::Json(json)) => match value(json) {
            Some(value) if !json.is_string() => (Some(value), None),
            _ => (Some(quoted(&json.to_string())), None),
        },
        Some(Data::Bytes(bytes)) => (None, Some(quoted(&STANDARD.encode(bytes)))),
    }
}

fn value(json: &Json) -> Option<String> {
    match json {
        Json::Null => None,
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Number(number) if number.is_i64() => Some(number.to_string()),
        // Written with a point or an exponent, so that TOML reads the same.
        Json::Number(number) if number.is_f64() => Some(number.to_string()),
        Json::Number(_) => None,
        Json::String(text) => Some(quoted(text)),
        Json::Array(list) => {
            let values: Option<Vec<String>> = list.iter().map(value).collect();
            Some(format!("[{}]", values?.join(", ")))
        }
        Json::Object(members) => {
            let members: Option<Vec<String>> = members
                .iter()
                .map(|(name, json)| Some(format!("{} = {}", key(name), value(json)?)))
                .collect();
            match &members?[..] {
                [] => Some("{}".to_owned()),
                members => Some(format!("{{ {} }}", members.join(", "))),
            }
        }
    }
}

/// A name that stands twice gets a list.
fn headers(headers: &[(String, String)]) -> Option<String> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in headers {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let entry = |name: &&String| {
        let values: Vec<String> = headers
            .iter()
            .filter(|(other, _)| other == *name)
            .map(|(_, value)| quoted(value))
            .collect();
        match &values[..] {
            [one] => format!("{} = {one}", key(name)),
            many => format!("{} = [{}]", key(name), many.join(", ")),
        }
    };
    let entries: Vec<String> = names.iter().map(entry).collect();
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// As a literal where that is plainer, else with escapes.
fn quoted(text: &str) -> String {
    let has_control = text.chars().any(|c| c.is_control());
    if text.contains(['"', '\\']) && !text.contains('\'') && !has_control {
        return format!("'{text}'");
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\u{:04X}", u32::from(c)).expect("in memory");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
