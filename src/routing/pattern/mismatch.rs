//! Why a pattern doesn't match a topic: the first level that differs, as far as there is one.

use super::{Level, Pattern};
use crate::routing::words::quoted;
use std::fmt;

/// Levels are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// A leading wildcard never matches `$…`.
    Hidden,
    Level {
        level: usize,
        found: String,
        wanted: String,
    },
    Length {
        found: usize,
        wanted: usize,
        /// The pattern has a `#`.
        or_more: bool,
    },
    /// What stands between the first and the last `#` is nowhere in the topic.
    Middle { wanted: String },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden => {
                f.write_str("the topic begins with `$`, which a leading wildcard doesn't match")
            }
            Self::Level {
                level,
                found,
                wanted,
            } => {
                write!(f, "the topic's level {level} is ")?;
                match found.as_str() {
                    "" => f.write_str("empty")?,
                    found => f.write_str(&quoted(found))?,
                }
                match wanted.as_str() {
                    "" => f.write_str(", the pattern wants it empty"),
                    wanted => write!(f, ", the pattern wants {}", quoted(wanted)),
                }
            }
            Self::Length {
                found,
                wanted,
                or_more,
            } => {
                let plural = if *found == 1 { "" } else { "s" };
                let more = if *or_more { " or more" } else { "" };
                write!(
                    f,
                    "the topic has {found} level{plural}, the pattern wants {wanted}{more}"
                )
            }
            Self::Middle { wanted } => {
                let wanted = quoted(wanted);
                write!(f, "the topic has no {wanted} where the pattern wants it")
            }
        }
    }
}

impl Pattern {
    /// `None` if it matches.
    #[must_use]
    pub fn mismatch(&self, topic: &str) -> Option<Mismatch> {
        let parts: Vec<&str> = topic.split('/').collect();
        if self.hides(&parts) {
            return Some(Mismatch::Hidden);
        }
        if self.matches_levels(&parts) {
            return None;
        }
        let levels = &self.levels;
        let is_many = |level: &Level| *level == Level::Many;
        let head = levels.iter().position(is_many).unwrap_or(levels.len());
        if let Some(found) = first_difference(&levels[..head], &parts, 0) {
            return Some(found);
        }
        let wanted = levels.iter().filter(|level| !is_many(level)).count();
        let or_more = head < levels.len();
        if parts.len() < wanted || !or_more {
            return Some(Mismatch::Length {
                found: parts.len(),
                wanted,
                or_more,
            });
        }
        let tail = levels.iter().rposition(is_many).map_or(0, |at| at + 1);
        // The topic has at least as many levels as the pattern wants.
        let behind = parts.len() - (levels.len() - tail);
        first_difference(&levels[tail..], &parts[behind..], behind).or_else(|| {
            let middle = levels.get(head..tail)?;
            let words: Vec<String> = middle.iter().map(ToString::to_string).collect();
            Some(Mismatch::Middle {
                wanted: words.join("/"),
            })
        })
    }
}

/// The first level that differs, of those that both have; `before` levels of the topic precede.
fn first_difference(levels: &[Level], parts: &[&str], before: usize) -> Option<Mismatch> {
    let pairs = levels.iter().zip(parts).enumerate();
    let mut differing = pairs.filter_map(|(at, (level, part))| match level {
        Level::Literal(literal) if literal != part => Some((at, literal, part)),
        _ => None,
    });
    differing.next().map(|(at, wanted, found)| Mismatch::Level {
        level: before + at + 1,
        found: (*found).to_owned(),
        wanted: wanted.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pattern: &str, topic: &str) -> String {
        let pattern = Pattern::parse(pattern).expect("a good pattern");
        let mismatch = pattern.mismatch(topic);
        mismatch.map_or_else(String::new, |why| why.to_string())
    }

    #[test]
    fn the_first_level_that_differs_is_named() {
        for (pattern, topic, expected) in [
            (
                "a/b",
                "a/c/d",
                "the topic's level 2 is `c`, the pattern wants `b`",
            ),
            (
                "a/b",
                "a/",
                "the topic's level 2 is empty, the pattern wants `b`",
            ),
            (
                "a/",
                "a/b",
                "the topic's level 2 is `b`, the pattern wants it empty",
            ),
            ("a/+", "a", "the topic has 1 level, the pattern wants 2"),
            (
                "a/{x}",
                "a/b/c",
                "the topic has 3 levels, the pattern wants 2",
            ),
            (
                "a/#/+/z",
                "a/z",
                "the topic has 2 levels, the pattern wants 3 or more",
            ),
            (
                "a/#/z",
                "b/z",
                "the topic's level 1 is `b`, the pattern wants `a`",
            ),
            (
                "a/#/y/z",
                "a/x/y/y/x",
                "the topic's level 5 is `x`, the pattern wants `z`",
            ),
            (
                "#/m/{n}/#/z",
                "a/b/c/z",
                "the topic has no `#/m/{n}/#` where the pattern wants it",
            ),
            (
                "+/a",
                "$a/a",
                "the topic begins with `$`, which a leading wildcard doesn't match",
            ),
            ("a/#", "a/b", ""),
        ] {
            assert_eq!(words(pattern, topic), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn long_levels_are_cut() {
        let told = words("a", &"ä".repeat(200));
        assert!(told.len() < 200 && told.contains("…`"), "{told}");
    }
}
