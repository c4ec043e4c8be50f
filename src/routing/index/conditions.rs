//! What routes of one pattern ask of an envelope besides its topic, as a trie: first the source,
//! then the headers that must be equal, in the order of their names, then one of the alternatives
//! of `headers_any`. One look-up a header name (or a header, whichever are fewer) finds the way.

use super::edges::{self, Edges};
use crate::message::{Envelope, Header};
use crate::routing::HeaderMatch;
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
    /// Whether the trie holds all of it: then what it finds fits.
    pub(in crate::routing) fn is_indexed(&self) -> bool {
        self.from.len().max(1) * self.headers_any.len() <= MAX_WAYS
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

#[derive(Clone, Debug)]
pub(super) struct Conditions {
    nodes: Vec<Node>,
    /// The routes that ask for no more, node by node.
    ends: Vec<u32>,
    /// From the numbers of `Branches` by source, by name of a header, by its value.
    steps: Edges,
}

#[derive(Clone, Debug)]
struct Node {
    first_end: u32,
    ends: u32,
    /// Boxed: most nodes have none.
    branches: Option<Box<Branches>>,
}

/// Its numbers are where steps begin.
#[derive(Clone, Debug)]
struct Branches {
    sources: Option<u32>,
    names: u32,
    /// Where the steps by the values of each header begin.
    headers: Vec<(Box<str>, u32)>,
}

impl Conditions {
    /// The route of a group that has no other and asks for no more.
    pub(super) fn sole(&self, at: NodeId) -> Option<u32> {
        let node = &self.nodes[at as usize];
        let is_sole = node.ends == 1 && node.branches.is_none();
        is_sole.then(|| self.ends[node.first_end as usize])
    }

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
        if let Some(sources) = branches.sources
            && let Some(child) = self.steps.get(sources, envelope.source.as_bytes())
        {
            self.find(child, envelope, name, found);
        }
        let mut go = |values: u32, value: &[u8], name: &mut String| {
            if let Some(child) = self.steps.get(values, value) {
                self.find(child, envelope, name, found);
            }
        };
        if branches.headers.len() <= FEW_NAMES {
            for (wanted, values) in &branches.headers {
                if let Some(value) = envelope.header(wanted) {
                    go(*values, value, name);
                }
            }
            return;
        }
        for (number, header) in envelope.headers.iter().enumerate() {
            name.clear();
            name.push_str(&header.name);
            name.make_ascii_lowercase();
            if let Some(values) = self.steps.get(branches.names, name.as_bytes())
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
    steps: edges::Building,
    /// Where steps begin that aren't from `Branches` of before.
    begins: u32,
}

impl Building {
    /// The first node of another pattern.
    pub(super) fn group(&mut self) -> NodeId {
        self.nodes.push((Vec::new(), None));
        self.nodes.len() as NodeId - 1
    }

    pub(super) fn add(&mut self, group: NodeId, route: u32, asked: &Asked) {
        let mut headers: Vec<&HeaderMatch> = asked.headers.iter().collect();
        headers.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
        headers.dedup();
        let from: BTreeSet<Option<&str>> = ways(asked.from.iter().map(String::as_str));
        let mut any = ways(asked.headers_any.iter().map(|h| (&h.name, &h.value)));
        if !asked.is_indexed() {
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

    fn begin(&mut self) -> u32 {
        self.begins += 1;
        self.begins
    }

    fn branches(&mut self, at: NodeId) -> &mut Branches {
        if self.nodes[at as usize].1.is_none() {
            let names = self.begin();
            let branches = Branches {
                sources: None,
                names,
                headers: Vec::new(),
            };
            self.nodes[at as usize].1 = Some(Box::new(branches));
        }
        let branches = self.nodes[at as usize].1.as_mut();
        branches.expect("it was made if there was none")
    }

    fn source(&mut self, at: NodeId, source: &str) -> NodeId {
        let fresh = self.begin();
        let sources = *self.branches(at).sources.get_or_insert(fresh);
        self.child(sources, source.as_bytes())
    }

    fn header(&mut self, at: NodeId, name: &str, value: &str) -> NodeId {
        let names = self.branches(at).names;
        let fresh = self.begin();
        let values = self.steps.step(names, name.as_bytes(), fresh);
        if values == fresh {
            self.branches(at).headers.push((name.into(), values));
        }
        self.child(values, value.as_bytes())
    }

    fn child(&mut self, from: u32, text: &[u8]) -> NodeId {
        let child = self.steps.step(from, text, self.nodes.len() as NodeId);
        if child as usize == self.nodes.len() {
            self.group();
        }
        child
    }

    pub(super) fn build(self) -> Conditions {
        let mut built = Conditions {
            nodes: Vec::with_capacity(self.nodes.len()),
            ends: Vec::new(),
            steps: self.steps.build(),
        };
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

/// Each of some once, or the one way that asks for nothing.
fn ways<T: Ord>(all: impl Iterator<Item = T>) -> BTreeSet<Option<T>> {
    let mut ways: BTreeSet<Option<T>> = all.map(Some).collect();
    if ways.is_empty() {
        ways.insert(None);
    }
    ways
}
