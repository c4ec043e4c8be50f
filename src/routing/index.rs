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
mod edges;

use super::pattern::{Level, Pattern};
use crate::message::Envelope;
use conditions::Conditions;
pub(super) use conditions::{Asked, Unmet, first_unmet};
use edges::Edges;

#[derive(Clone, Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    literals: Edges,
    conditions: Conditions,
}

type NodeId = u32;
const ROOT: NodeId = 0;

/// Small: of a large table every plan meets others.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Behind `+` or `{name}`. The root is behind nothing: 0 is none.
    one: NodeId,
    /// Behind `#`.
    many: NodeId,
    end: End,
    /// Stands behind a `#`, which takes any number of levels more.
    is_many: bool,
    /// This node or one above it `is_many`: it may be reached in several ways.
    below_many: bool,
}

/// The routes whose patterns end at a node.
#[derive(Clone, Copy, Debug, Default)]
enum End {
    #[default]
    Nothing,
    /// The only one, which asks for no more.
    Route(u32),
    Group(conditions::NodeId),
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
        let mut building = Building {
            nodes: vec![Node::default()],
            literals: edges::Building::default(),
        };
        let mut conditions = conditions::Building::default();
        for (number, (pattern, asked)) in routes.enumerate() {
            let at = building.path(pattern);
            let end = &mut building.nodes[at as usize].end;
            let group = match *end {
                End::Group(group) => group,
                _ => conditions.group(),
            };
            *end = End::Group(group);
            conditions.add(group, number as u32, asked);
        }
        let conditions = conditions.build();
        for node in &mut building.nodes {
            if let End::Group(group) = node.end
                && let Some(route) = conditions.sole(group)
            {
                node.end = End::Route(route);
            }
        }
        Self {
            nodes: building.nodes,
            literals: building.literals.build(),
            conditions,
        }
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
            match self.nodes[*node as usize].end {
                End::Nothing => {}
                End::Route(route) => found.push(route),
                End::Group(group) => self.conditions.find(group, envelope, name, found),
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
        let root = &self.nodes[ROOT as usize];
        scratch.reached.clear();
        scratch.reached.push(ROOT);
        if root.many != ROOT && !hides {
            scratch.reached.push(root.many);
        }
        for (depth, part) in topic.split('/').enumerate() {
            scratch.level += 1;
            scratch.next.clear();
            let hashed = self.literals.hashed(part.as_bytes());
            for at in 0..scratch.reached.len() {
                let reached = scratch.reached[at];
                let node = &self.nodes[reached as usize];
                if node.is_many {
                    self.enter(reached, scratch);
                }
                if let Some(child) = self.literals.find(reached, hashed) {
                    self.enter(child, scratch);
                }
                // A leading wildcard never matches `$…`.
                if node.one != ROOT && (depth > 0 || !hides) {
                    self.enter(node.one, scratch);
                }
            }
            std::mem::swap(&mut scratch.reached, &mut scratch.next);
        }
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
        if node.many != ROOT {
            self.enter(node.many, scratch);
        }
    }
}

/// The trie in the making.
struct Building {
    nodes: Vec<Node>,
    literals: edges::Building,
}

impl Building {
    /// The node where a pattern ends; made if it isn't there.
    fn path(&mut self, pattern: &Pattern) -> NodeId {
        let levels = pattern.levels().iter();
        levels.fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&mut self, parent: NodeId, level: &Level) -> NodeId {
        let fresh = self.nodes.len() as NodeId;
        let is_many = *level == Level::Many;
        let node = &mut self.nodes[parent as usize];
        let below_many = node.below_many || is_many;
        let only = |child: &mut NodeId| {
            if *child == ROOT {
                *child = fresh;
            }
            *child
        };
        let child = match level {
            Level::One | Level::Named(_) => only(&mut node.one),
            Level::Many => only(&mut node.many),
            Level::Literal(literal) => self.literals.step(parent, literal.as_bytes(), fresh),
        };
        if child == fresh {
            self.nodes.push(Node {
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
