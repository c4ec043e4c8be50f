//! Letters as people read them.

use super::{List, PAGE_LETTERS, Show, path_of};
use crate::admin::letters::Logs;
use crate::cli::client::Server;
use crate::cli::exit::Failure;
use crate::cli::operate::read;
use crate::cli::table::bytes;
use crate::cli::text::{CYAN, escaped, paint};
use crate::gateway::Told;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt::Write;

#[derive(Deserialize)]
struct Page {
    letters: Vec<Value>,
    next: Option<u64>,
}

pub(super) async fn list(list: &List, server: &Server) -> Result<Told, Failure> {
    let Some(name) = &list.name else {
        return logs(server).await;
    };
    let (mut letters, mut next) = (Vec::new(), Some(list.filter.from.unwrap_or(0)));
    while let Some(from) = next.filter(|_| (letters.len() as u64) < list.limit) {
        let limit = (list.limit - letters.len() as u64).min(PAGE_LETTERS);
        let query = list.filter.query();
        let path = format!("{}?from={from}&limit={limit}{query}", path_of(name));
        let page: Page = read(&server.get(&path).await?)?;
        letters.extend(page.letters);
        next = page.next;
    }
    let mut text = String::new();
    for letter in &letters {
        line(&mut text, letter);
    }
    match next {
        Some(next) => writeln!(text, "more: --from {next}").expect("memory takes all"),
        None if letters.is_empty() => text.push_str("none\n"),
        None => {}
    }
    Ok(Told {
        ok: true,
        text,
        json: json!({ "letters": letters, "next": next }),
    })
}

async fn logs(server: &Server) -> Result<Told, Failure> {
    let json = server.get("/api/v1/dead-letters").await?;
    let Logs { logs } = read(&json)?;
    let width = logs.iter().map(|log| log.name.chars().count()).max();
    let width = width.unwrap_or(0).max(4);
    let mut text = format!(
        "{:<width$}  {:>8}  {:>10}  {:>10}\n",
        "NAME", "LETTERS", "BYTES", "OF"
    );
    for log in logs {
        let full = if log.is_full { "  full" } else { "" };
        let (used, most) = (bytes(log.bytes), bytes(log.max_bytes));
        let (name, letters) = (log.name, log.letters);
        writeln!(
            text,
            "{name:<width$}  {letters:>8}  {used:>10}  {most:>10}{full}"
        )
        .expect("memory takes all");
    }
    Ok(Told {
        ok: true,
        text,
        json,
    })
}

/// `12  2026-11-22T00:00:00.000Z  3 attempts  orders/new  order-7  HTTP 422: no`
fn line(text: &mut String, letter: &Value) {
    let facts = &letter["dead_letter"];
    let time = facts["last_attempt"]
        .as_str()
        .or(facts["accepted"].as_str());
    let words = |value: &Value| escaped(value.as_str().unwrap_or_default());
    writeln!(
        text,
        "{}  {}  {} attempts  {}  {}  {}",
        letter["offset"],
        time.unwrap_or_default(),
        facts["attempts"],
        words(&letter["topic"]),
        words(&letter["id"]),
        words(&facts["reason"]),
    )
    .expect("memory takes all");
}

pub(super) async fn one(show: &Show, server: &Server, colour: bool) -> Result<Told, Failure> {
    let path = format!("{}/{}", path_of(&show.name), show.offset);
    let json = server.get(&path).await?;
    let mut text = String::new();
    if let Some(members) = json.as_object() {
        facts(&mut text, members, colour);
    }
    Ok(Told {
        ok: true,
        text,
        json,
    })
}

/// A line a member; the payload last.
fn facts(text: &mut String, members: &Map<String, Value>, colour: bool) {
    let is_payload = |name: &str| matches!(name, "data" | "data_base64");
    let mut row = |name: &str, value: &Value| {
        let shown = match value {
            Value::Null => return,
            Value::String(text) => escaped(text),
            other => escaped(&other.to_string()),
        };
        let name = paint(name, CYAN, colour);
        writeln!(text, "{name}: {shown}").expect("memory takes all");
    };
    for (name, value) in members {
        match value {
            Value::Object(inner) if name == "dead_letter" || name == "headers" => {
                for (part, value) in inner.iter().filter(|(part, _)| *part != "offset") {
                    let name = match name.as_str() {
                        "headers" => format!("header {part}"),
                        _ => part.clone(),
                    };
                    row(&name, value);
                }
            }
            value if !is_payload(name) => row(name, value),
            _ => {}
        }
    }
    for (name, value) in members.iter().filter(|(name, _)| is_payload(name)) {
        row(name, value);
    }
}
