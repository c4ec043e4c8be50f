//! How a plan came about, in words: which routes matched, and why the others don't.
//!
//! What lives here: the explanation as a value. What must not: another way to a plan; it hears what
//! happens on the one that there is.

use super::compile::Label;
use super::index::{Unmet, first_unmet};
use super::pattern::Mismatch;
use super::router::{Arrival, Routed, Router, Skip, Witness};
use super::{HeaderMatch, words};
use crate::message::{Envelope, Refusal, Target};
use std::collections::HashMap;
use std::fmt;

/// What both the route and the destination of the door's own dead letters are called.
pub const DOOR_NAME: &str = "$door";

#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// What `Router::plan` gives.
    pub routed: Result<Routed, Refusal>,
    /// The plan's targets, in its order; empty if there is no plan.
    pub targets: Vec<NamedTarget>,
    /// The routes that matched, in the order of the file.
    pub matched: Vec<String>,
    /// What `on_error = "skip"` passed over.
    pub skipped: Vec<Skip>,
    /// The other routes in the order of the file, each with the first reason.
    pub unmatched: Vec<(String, Why)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NamedTarget {
    pub route: String,
    pub destination: String,
    pub target: Target,
}

/// Why a route doesn't match. Its words are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Topic(Mismatch),
    From {
        source: String,
        wanted: Vec<String>,
    },
    Header {
        wanted: HeaderMatch,
        found: Found,
    },
    /// None of `headers_any`.
    HeadersAny {
        wanted: Vec<HeaderMatch>,
    },
    WhenFalse,
    WhenFailed(String),
    /// It would be looked at, but an earlier route matched and stops the search.
    Stopped {
        by: String,
    },
    /// It would be looked at, but at an earlier route the message was refused.
    Refused {
        by: String,
    },
}

/// What there is of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Missing,
    Value(String),
    /// Long, or not text.
    Other,
}

impl Found {
    fn of(envelope: &Envelope, name: &str) -> Self {
        let Some(value) = envelope.header(name) else {
            return Self::Missing;
        };
        match str::from_utf8(value) {
            Ok(text) if !words::is_long(text.len()) => Self::Value(text.to_owned()),
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(mismatch) => mismatch.fmt(f),
            Self::From { source, wanted } => {
                let source = words::quoted(source);
                write!(
                    f,
                    "it comes from {source}, the route takes {}",
                    list(wanted)
                )
            }
            Self::Header { wanted, found } => {
                let (name, value) = (words::quoted(&wanted.name), words::quoted(&wanted.value));
                match found {
                    Found::Missing => write!(f, "the header {name} is missing, it must be {value}"),
                    Found::Value(found) => {
                        let found = words::quoted(found);
                        write!(f, "the header {name} is {found}, it must be {value}")
                    }
                    Found::Other => write!(f, "the header {name} isn't {value}"),
                }
            }
            Self::HeadersAny { wanted } => {
                let of = |h: &HeaderMatch| format!("{} = {}", h.name, h.value);
                let wanted: Vec<String> = wanted.iter().map(of).collect();
                write!(f, "none of the headers is there: {}", list(&wanted))
            }
            Self::WhenFalse => f.write_str("`when` is false"),
            Self::WhenFailed(reason) => f.write_str(reason),
            Self::Stopped { by } => {
                write!(f, "the route {by:?} before it matched and stops the search")
            }
            Self::Refused { by } => {
                write!(f, "the message was refused before, at the route {by:?}")
            }
        }
    }
}

/// More than these of a list are counted.
const LISTED: usize = 5;

fn list(items: &[String]) -> String {
    let shown = items.iter().take(LISTED).map(|item| words::quoted(item));
    let shown: Vec<String> = shown.collect();
    match items.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Router {
    /// The plan, as `plan` makes it, and how it came about. Costs as much as there are routes.
    #[must_use]
    pub fn explain(&self, arrival: &Arrival<'_, '_>) -> Explanation {
        let mut notes = Notes::default();
        let routed = self.decide(arrival, &mut notes);
        let unmatched = self.unmatched(arrival, &notes, &routed);
        let name = |number: &u32| self.labels[*number as usize].name.clone();
        Explanation {
            targets: self.named_targets(&routed, &notes),
            matched: notes.matched.iter().map(name).collect(),
            skipped: notes.skipped,
            unmatched,
            routed,
        }
    }

    fn unmatched(
        &self,
        arrival: &Arrival<'_, '_>,
        notes: &Notes,
        routed: &Result<Routed, Refusal>,
    ) -> Vec<(String, Why)> {
        let is_refused = !matches!(routed, Ok(_) | Err(Refusal::NoRoute { .. }));
        let last = notes.last.map(|last| &self.labels[last as usize].name);
        let behind = || {
            let by = last.expect("the index offers a route whose topic, source and headers fit");
            let by = by.clone();
            if is_refused {
                Why::Refused { by }
            } else {
                Why::Stopped { by }
            }
        };
        let routes = self.labels.iter().zip(0..);
        let others = routes.filter(|(_, number)| notes.matched.binary_search(number).is_err());
        let told = others.map(|(label, number)| {
            let mismatch = label.pattern.mismatch(&arrival.envelope.topic);
            let why = mismatch
                .map(Why::Topic)
                .or_else(|| why_not(label, arrival.envelope))
                .or_else(|| notes.unmatched.get(&number).cloned())
                .unwrap_or_else(behind);
            (label.name.clone(), why)
        });
        told.collect()
    }

    fn named_targets(&self, routed: &Result<Routed, Refusal>, notes: &Notes) -> Vec<NamedTarget> {
        let Ok(Routed::To(planned)) = routed else {
            return Vec::new();
        };
        let named = |target: &Target| {
            let mut matched = notes.matched.iter().map(|number| *number as usize);
            let number = matched.find(|number| self.routes[*number].id == target.route);
            let of_route = number.and_then(|number| {
                let mut targets = self.routes[number].targets();
                let nth = targets.position(|of_route| of_route.lane == target.lane)?;
                let label = &self.labels[number];
                Some((&*label.name, &*label.destinations[nth]))
            });
            let (route, destination) = of_route.unwrap_or((DOOR_NAME, DOOR_NAME));
            NamedTarget {
                route: route.to_owned(),
                destination: destination.to_owned(),
                target: target.clone(),
            }
        };
        planned.plan.targets.iter().map(named).collect()
    }
}

fn why_not(label: &Label, envelope: &Envelope) -> Option<Why> {
    let asked = &label.asked;
    Some(match first_unmet(asked, envelope)? {
        Unmet::From => Why::From {
            source: envelope.source.to_string(),
            wanted: asked.from.clone(),
        },
        Unmet::Header(wanted) => Why::Header {
            wanted: wanted.clone(),
            found: Found::of(envelope, &wanted.name),
        },
        Unmet::HeadersAny => Why::HeadersAny {
            wanted: asked.headers_any.clone(),
        },
    })
}

#[derive(Default)]
struct Notes {
    /// In order.
    matched: Vec<u32>,
    unmatched: HashMap<u32, Why>,
    skipped: Vec<Skip>,
    /// The route that the search came to last.
    last: Option<u32>,
}

impl Witness for Notes {
    fn begun(&mut self, route: u32) {
        self.last = Some(route);
    }

    fn matched(&mut self, route: u32) {
        self.matched.push(route);
    }

    fn unmatched(&mut self, route: u32, why: Why) {
        self.unmatched.insert(route, why);
    }

    fn skipped(&mut self, skip: Skip) {
        self.skipped.push(skip);
    }
}

#[cfg(test)]
mod tests;
