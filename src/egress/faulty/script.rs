//! What a faulty destination is told, as text:
//!
//! ```text
//! seed 7; delay 1..20; header=poison reject; key=a hang 3%; retry every 5; unknown 2%
//! ```
//!
//! Rules are parted by `;` or line ends. A rule is an optional selector (`key=`, `topic=` exact or
//! a prefix with `#` at its end, `header=NAME` or `header=NAME:VALUE`, `payload=` a part of it), an
//! action, and how often: always, `every N` (of what the rule meets), `N%`, or `first N` (attempts
//! of each delivery). The first rule that fires decides, only `delay` lets later ones decide too
//! (the last delay counts); what no rule decides is confirmed.
//!
//! Actions: `confirm`; `retry`; `reject`; `unknown` (it is applied); `lost` (unknown, and it isn't
//! applied); `hang` (no answer, not applied); `fatal`; `halt`; `delay MS` or `delay MS..MS`.

use crate::message::Delivery;
use std::str::FromStr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub(super) seed: u64,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub selector: Selector,
    pub action: Action,
    pub frequency: Frequency,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    All,
    Key(String),
    Topic(String),
    TopicPrefix(String),
    Header(String, Option<String>),
    Payload(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Confirm,
    Retry,
    Reject,
    Unknown,
    Lost,
    Hang,
    Fatal,
    Halt,
    /// Milliseconds, at least and at most.
    Delay(u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frequency {
    Always,
    Every(u64),
    Percent(u8),
    First(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule:?} of a faulty destination's script: {problem}")]
pub struct ScriptError {
    pub rule: String,
    pub problem: String,
}

impl Selector {
    pub fn matches(&self, delivery: &Delivery) -> bool {
        let (target, envelope) = (delivery.target(), &delivery.message.envelope);
        let topic = target.topic.as_ref().unwrap_or(&envelope.topic);
        match self {
            Self::All => true,
            Self::Key(key) => delivery.key().is_some_and(|k| **k == *key.as_bytes()),
            Self::Topic(wanted) => topic == wanted,
            Self::TopicPrefix(prefix) => topic.starts_with(prefix),
            Self::Header(name, value) => {
                let headers = target.headers.as_ref().unwrap_or(&envelope.headers);
                headers.iter().any(|header| {
                    let same = value
                        .as_ref()
                        .is_none_or(|v| *header.value == *v.as_bytes());
                    header.name.eq_ignore_ascii_case(name) && same
                })
            }
            Self::Payload(part) => {
                let payload = target.payload.as_ref().or(envelope.payload.as_ref().ok());
                let found = |p: &[u8]| {
                    p.windows(part.len())
                        .any(|window| window == part.as_bytes())
                };
                payload.is_some_and(|payload| found(payload))
            }
        }
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self::default();
        for rule in text
            .split([';', '\n'])
            .map(str::trim)
            .filter(|rule| !rule.is_empty())
        {
            let error = |problem| ScriptError {
                rule: rule.to_owned(),
                problem,
            };
            match rule.strip_prefix("seed ") {
                Some(seed) => script.seed = number(seed.trim()).map_err(error)?,
                None => script.rules.push(parse_rule(rule).map_err(error)?),
            }
        }
        Ok(script)
    }
}

fn parse_rule(rule: &str) -> Result<Rule, String> {
    let mut words = rule.split_whitespace().peekable();
    let selector = match words.peek().filter(|word| word.contains('=')) {
        Some(word) => {
            let selector = parse_selector(word)?;
            words.next();
            selector
        }
        None => Selector::All,
    };
    let action = match words.next() {
        Some("confirm") => Action::Confirm,
        Some("retry") => Action::Retry,
        Some("reject") => Action::Reject,
        Some("unknown") => Action::Unknown,
        Some("lost") => Action::Lost,
        Some("hang") => Action::Hang,
        Some("fatal") => Action::Fatal,
        Some("halt") => Action::Halt,
        Some("delay") => parse_delay(words.next().ok_or("delay needs milliseconds")?)?,
        Some(other) => return Err(format!("no action is named {other:?}")),
        None => return Err("it has no action".into()),
    };
    let frequency = match words.next() {
        None => Frequency::Always,
        Some(word @ ("every" | "first")) => {
            let n = number(
                words
                    .next()
                    .ok_or_else(|| format!("{word} needs a number"))?,
            )?;
            match (word, n) {
                ("every", 0) => return Err("every 0 is never: leave the rule out".into()),
                ("every", n) => Frequency::Every(n),
                (_, n) => Frequency::First(n),
            }
        }
        Some(word) => parse_percent(word)?,
    };
    match words.next() {
        None => Ok(Rule {
            selector,
            action,
            frequency,
        }),
        Some(word) => Err(format!("nothing may follow here, but {word:?} does")),
    }
}

fn parse_selector(word: &str) -> Result<Selector, String> {
    let (kind, value) = word.split_once('=').ok_or("a selector needs a =")?;
    if value.is_empty() {
        return Err(format!("{kind}= needs a value"));
    }
    Ok(match kind {
        "key" => Selector::Key(value.into()),
        "topic" => match value.strip_suffix('#') {
            Some(prefix) => Selector::TopicPrefix(prefix.into()),
            None => Selector::Topic(value.into()),
        },
        "header" => match value.split_once(':') {
            Some((name, value)) => Selector::Header(name.into(), Some(value.into())),
            None => Selector::Header(value.into(), None),
        },
        "payload" => Selector::Payload(value.into()),
        other => return Err(format!("no selector is named {other:?}")),
    })
}

fn parse_delay(word: &str) -> Result<Action, String> {
    let (from, to) = word.split_once("..").unwrap_or((word, word));
    let (from, to) = (number(from)?, number(to)?);
    if from > to {
        return Err(format!("{from} is more than {to}"));
    }
    Ok(Action::Delay(from, to))
}

fn parse_percent(word: &str) -> Result<Frequency, String> {
    let number = word
        .strip_suffix('%')
        .and_then(|n| n.parse().ok())
        .filter(|n| *n <= 100);
    number
        .map(Frequency::Percent)
        .ok_or_else(|| format!("{word:?} is not how often: every N, first N, or N%"))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a number"))
}
