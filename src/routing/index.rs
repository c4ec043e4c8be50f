//! From a topic, a source and headers to the routes that may match, at a cost that hangs on the
//! message and not on how many routes there are.
//!
//! What lives here: a trie over the levels of patterns; where a pattern ends, a trie over the other
//! conditions of its routes (`conditions`). What must not: what a route does.
//!
//! A topic is walked level by level with the set of all nodes that are reached: a `#` in the middle
//! costs a place in that set and no backtracking. Invariant: what is found are all routes whose
//! topic, source and headers fit; conditions that the index doesn't hold may make it more.

mod conditions;

use super::pattern::{Level, Pattern};
use crate::message::Envelope;
use conditions::Conditions;
pub(super) use conditions::{Asked, Unmet, first_unmet};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

#[derive(Clone, Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    hasher: DefaultHashBuilder,
    conditions: Conditions,
}

type NodeId = u32;
const ROOT: NodeId = 0;

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashTable<(Box<str>, NodeId)>,
    /// Behind `+` or `{name}`.
    one: Option<NodeId>,
    /// Behind `#`.
    many: Option<NodeId>,
    /// Stands behind a `#`, which takes any number of levels more.
    is_many: bool,
    /// This node or one above it `is_many`: it may be reached in several ways.
    below_many: bool,
    /// The routes whose patterns end here.
    group: Option<conditions::NodeId>,
}

/// Reused from plan to plan, so that finding allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    reached: Vec<NodeId>,
    next: Vec<NodeId>,
    /// By node: the last level at which it was reached. Levels of all topics are counted through.
    seen: Vec<u64>,
    level: u64,
    /// Room for a header's name in lower case.
    name: String,
    /// The routes' numbers, in the order of the file.
    pub(super) found: Vec<u32>,
}

impl Index {
    /// A route's number is its place.
    pub(super) fn new<'a>(routes: impl Iterator<Item = (&'a Pattern, &'a Asked)>) -> Self {
        let mut index = Self {
            nodes: vec![Node::default()],
            hasher: DefaultHashBuilder::default(),
            conditions: Conditions::default(),
        };
        let mut building = conditions::Building::default();
        for (number, (pattern, asked)) in routes.enumerate() {
            let end = index.path(pattern);
            let group = &mut index.nodes[end as usize].group;
            let group = *group.get_or_insert_with(|| building.group());
            building.add(group, number as u32, asked);
        }
        index.conditions = building.build();
        index
    }

    /// Leaves the numbers of the routes in `scratch.found`.
    pub(super) fn find(&self, envelope: &Envelope, scratch: &mut Scratch) {
        scratch.found.clear();
        self.walk(&envelope.topic, scratch);
        let Scratch {
            reached,
            name,
            found,
            ..
        } = scratch;
        for node in reached.iter() {
            if let Some(group) = self.nodes[*node as usize].group {
                self.conditions.find(group, envelope, name, found);
            }
        }
        // Each group gives its own in order, and some of them twice.
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
    }

    /// Leaves the nodes that the whole topic reaches in `scratch.reached`.
    fn walk(&self, topic: &str, scratch: &mut Scratch) {
        if scratch.seen.len() < self.nodes.len() {
            scratch.seen.resize(self.nodes.len(), 0);
        }
        let hides = topic.starts_with('$');
        scratch.reached.clear();
        scratch.reached.push(ROOT);
        scratch.reached.extend(self.root().many.filter(|_| !hides));
        for (depth, part) in topic.split('/').enumerate() {
            scratch.level += 1;
            scratch.next.clear();
            let hash = self.hasher.hash_one(part);
            for at in 0..scratch.reached.len() {
                let reached = scratch.reached[at];
                let node = &self.nodes[reached as usize];
                if node.is_many {
                    self.enter(reached, scratch);
                }
                let literal = node.literals.find(hash, |(literal, _)| **literal == *part);
                if let Some((_, child)) = literal {
                    self.enter(*child, scratch);
                }
                // A leading wildcard never matches `$…`.
                if let Some(child) = node.one.filter(|_| depth > 0 || !hides) {
                    self.enter(child, scratch);
                }
            }
            std::mem::swap(&mut scratch.reached, &mut scratch.next);
        }
    }

    fn root(&self) -> &Node {
        &self.nodes[ROOT as usize]
    }

    /// Adds a node to the next level's, once, and with it the `#` behind it, which may take nothing.
    fn enter(&self, id: NodeId, scratch: &mut Scratch) {
        let node = &self.nodes[id as usize];
        if node.below_many {
            let seen = &mut scratch.seen[id as usize];
            if *seen == scratch.level {
                return;
            }
            *seen = scratch.level;
        }
        scratch.next.push(id);
        if let Some(many) = node.many {
            self.enter(many, scratch);
        }
    }

    /// The node where a pattern ends; made if it isn't there.
    fn path(&mut self, pattern: &Pattern) -> NodeId {
        let levels = pattern.levels().iter();
        levels.fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&mut self, parent: NodeId, level: &Level) -> NodeId {
        let fresh = self.nodes.len() as NodeId;
        let Self { nodes, hasher, .. } = self;
        let is_many = *level == Level::Many;
        let node = &mut nodes[parent as usize];
        let below_many = node.below_many || is_many;
        let child = match level {
            Level::One | Level::Named(_) => *node.one.get_or_insert(fresh),
            Level::Many => *node.many.get_or_insert(fresh),
            Level::Literal(literal) => {
                let entry = node.literals.entry(
                    hasher.hash_one(literal.as_str()),
                    |(known, _)| **known == **literal,
                    |(known, _)| hasher.hash_one(&**known),
                );
                entry
                    .or_insert_with(|| (literal.as_str().into(), fresh))
                    .get()
                    .1
            }
        };
        if child == fresh {
            nodes.push(Node {
                is_many,
                below_many,
                ..Node::default()
            });
        }
        child
    }
}

#[cfg(test)]
mod tests;
