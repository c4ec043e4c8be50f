//! What routes of one pattern ask of an envelope besides its topic, as a trie: first the source,
//! then the headers that must be equal, in the order of their names, then one of the alternatives
//! of `headers_any`. One look-up a header name (or a header, whichever are fewer) finds the way.

use crate::message::{Envelope, Header};
use crate::routing::HeaderMatch;
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// The conditions of a route that need no expression.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::routing) struct Asked {
    pub(in crate::routing) from: Vec<String>,
    /// Names in lower case.
    pub(in crate::routing) headers: Vec<HeaderMatch>,
    pub(in crate::routing) headers_any: Vec<HeaderMatch>,
}

/// The first condition that an envelope doesn't meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::routing) enum Unmet<'a> {
    From,
    Header(&'a HeaderMatch),
    HeadersAny,
}

impl Asked {
    pub(in crate::routing) fn is_nothing(&self) -> bool {
        self.from.is_empty() && self.headers.is_empty() && self.headers_any.is_empty()
    }
}

/// The plain meaning: what the trie is there to find faster.
pub(in crate::routing) fn first_unmet<'a>(
    asked: &'a Asked,
    envelope: &Envelope,
) -> Option<Unmet<'a>> {
    let is_met = |wanted: &HeaderMatch| {
        envelope
            .header(&wanted.name)
            .is_some_and(|value| value[..] == *wanted.value.as_bytes())
    };
    if !asked.from.is_empty() && !asked.from.iter().any(|from| **from == *envelope.source) {
        return Some(Unmet::From);
    }
    if let Some(wanted) = asked.headers.iter().find(|wanted| !is_met(wanted)) {
        return Some(Unmet::Header(wanted));
    }
    let any = &asked.headers_any;
    (!any.is_empty() && !any.iter().any(is_met)).then_some(Unmet::HeadersAny)
}

pub(super) type NodeId = u32;

/// A route stands in the trie once for each of its sources and alternatives; with more ways than
/// this its alternatives aren't in it.
const MAX_WAYS: usize = 64;
/// With more names of headers than this behind a node the envelope's headers are looked up instead.
const FEW_NAMES: usize = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    nodes: Vec<Node>,
    /// The routes that ask for no more, node by node.
    ends: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Node {
    first_end: u32,
    ends: u32,
    /// Boxed: most nodes have none.
    branches: Option<Box<Branches>>,
}

#[derive(Clone, Debug, Default)]
struct Branches {
    sources: HashMap<Box<str>, NodeId>,
    headers: HashMap<Box<str>, Values>,
}

type Values = HashMap<Box<[u8]>, NodeId>;

impl Conditions {
    /// Adds the routes of a group that an envelope fits. `name` is room to work in.
    pub(super) fn find(
        &self,
        at: NodeId,
        envelope: &Envelope,
        name: &mut String,
        found: &mut Vec<u32>,
    ) {
        let node = &self.nodes[at as usize];
        let first_end = node.first_end as usize;
        found.extend_from_slice(&self.ends[first_end..first_end + node.ends as usize]);
        let Some(branches) = &node.branches else {
            return;
        };
        if let Some(child) = branches.sources.get(&*envelope.source) {
            self.find(*child, envelope, name, found);
        }
        let mut go = |values: &Values, value: &[u8], name: &mut String| {
            if let Some(child) = values.get(value) {
                self.find(*child, envelope, name, found);
            }
        };
        if branches.headers.len() <= FEW_NAMES {
            for (wanted, values) in &branches.headers {
                if let Some(value) = envelope.header(wanted) {
                    go(values, value, name);
                }
            }
            return;
        }
        for (number, header) in envelope.headers.iter().enumerate() {
            name.clear();
            name.push_str(&header.name);
            name.make_ascii_lowercase();
            if let Some(values) = branches.headers.get(name.as_str())
                && is_first(&envelope.headers, number)
            {
                go(values, &header.value, name);
            }
        }
    }
}

/// Whether no header before it has its name.
fn is_first(headers: &[Header], number: usize) -> bool {
    let (before, rest) = headers.split_at(number);
    let alike = |h: &Header| h.name.eq_ignore_ascii_case(&rest[0].name);
    !before.iter().any(alike)
}

/// The trie in the making: ends aren't side by side yet.
#[derive(Default)]
pub(super) struct Building {
    nodes: Vec<(Vec<u32>, Option<Box<Branches>>)>,
}

impl Building {
    /// The first node of another pattern.
    pub(super) fn group(&mut self) -> NodeId {
        fresh(&mut self.nodes)
    }

    pub(super) fn add(&mut self, group: NodeId, route: u32, asked: &Asked) {
        let mut headers: Vec<&HeaderMatch> = asked.headers.iter().collect();
        headers.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
        headers.dedup();
        let from: BTreeSet<Option<&str>> = ways(asked.from.iter().map(String::as_str));
        let mut any = ways(asked.headers_any.iter().map(|h| (&h.name, &h.value)));
        if from.len() * any.len() > MAX_WAYS {
            any = BTreeSet::from([None]);
        }
        for source in from {
            let node = source.map_or(group, |source| self.source(group, source));
            let node = headers.iter().fold(node, |node, header| {
                self.header(node, &header.name, &header.value)
            });
            for alternative in &any {
                let end = alternative.map_or(node, |(name, value)| self.header(node, name, value));
                self.nodes[end as usize].0.push(route);
            }
        }
    }

    fn source(&mut self, at: NodeId, source: &str) -> NodeId {
        let next = self.nodes.len() as NodeId;
        let branches = self.nodes[at as usize].1.get_or_insert_default();
        let child = *branches.sources.entry(source.into()).or_insert(next);
        self.made(child)
    }

    fn header(&mut self, at: NodeId, name: &str, value: &str) -> NodeId {
        let next = self.nodes.len() as NodeId;
        let branches = self.nodes[at as usize].1.get_or_insert_default();
        let values = branches.headers.entry(name.into()).or_default();
        let child = *values.entry(value.as_bytes().into()).or_insert(next);
        self.made(child)
    }

    /// A child that has the next number is there from now on.
    fn made(&mut self, child: NodeId) -> NodeId {
        if child as usize == self.nodes.len() {
            fresh(&mut self.nodes);
        }
        child
    }

    pub(super) fn build(self) -> Conditions {
        let mut built = Conditions::default();
        for (ends, branches) in self.nodes {
            built.nodes.push(Node {
                first_end: built.ends.len() as u32,
                ends: ends.len() as u32,
                branches,
            });
            built.ends.extend(ends);
        }
        built
    }
}

fn fresh(nodes: &mut Vec<(Vec<u32>, Option<Box<Branches>>)>) -> NodeId {
    nodes.push((Vec::new(), None));
    nodes.len() as NodeId - 1
}

/// Each of some once, or the one way that asks for nothing.
fn ways<T: Ord>(all: impl Iterator<Item = T>) -> BTreeSet<Option<T>> {
    let mut ways: BTreeSet<Option<T>> = all.map(Some).collect();
    if ways.is_empty() {
        ways.insert(None);
    }
    ways
}
