//! Topic patterns: `/` parts levels; `+` matches one level; `{name}` matches one and binds it;
//! `#` matches any number of levels, also none, and may stand anywhere. A leading wildcard never
//! matches a topic that begins with `$`.

mod cover;
mod mismatch;

pub use mismatch::Mismatch;

use std::fmt;

/// A pattern is at most this long, in bytes: it bounds the work of a match.
pub const MAX_PATTERN_BYTES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Literal(String),
    /// `+`
    One,
    /// `{name}`
    Named(String),
    /// `#`
    Many,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern is empty")]
    Empty,
    #[error("the pattern has {bytes} bytes, more than {MAX_PATTERN_BYTES}")]
    TooLong { bytes: usize },
    #[error("the pattern has a NUL character in it")]
    Nul,
    #[error("{wildcard:?} must be a whole level, which {level:?} isn't")]
    PartOfLevel { wildcard: char, level: String },
    #[error(
        "{level:?} is no named level: write {{name}} with letters, digits and `_`, as the whole level"
    )]
    BadName { level: String },
    #[error("the name {{{name}}} stands twice in the pattern")]
    NameTwice { name: String },
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if text.contains('\0') {
            return Err(PatternError::Nul);
        }
        let mut levels = Vec::new();
        for part in text.split('/') {
            let level = parse_level(part)?;
            match &level {
                Level::Named(name) if levels.contains(&level) => {
                    return Err(PatternError::NameTwice { name: name.clone() });
                }
                // `#/#` matches what `#` does: one of them keeps matching linear in the levels.
                Level::Many if levels.last() == Some(&Level::Many) => {}
                _ => levels.push(level),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            levels,
        })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names that a match binds, from left to right.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Named(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// From left to right; never two `Many` side by side.
    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let parts: Vec<&str> = topic.split('/').collect();
        self.matches_levels(&parts)
    }

    /// Like `matches`, for a topic that is split already: many patterns are tried on one topic.
    #[must_use]
    pub fn matches_levels(&self, topic: &[&str]) -> bool {
        !self.hides(topic) && match_levels(&self.levels, topic, |_, _| {})
    }

    /// The named levels and what they bind, from left to right; `None` if the topic doesn't match.
    /// Where several readings are possible every `#` takes as few levels as it can, the leftmost first.
    #[must_use]
    pub fn bind<'a>(&'a self, topic: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let parts: Vec<&str> = topic.split('/').collect();
        let mut taken = vec![0; self.levels.len()];
        let matched = !self.hides(&parts)
            && match_levels(&self.levels, &parts, |level, part| taken[level] = part);
        matched.then(|| {
            self.levels
                .iter()
                .zip(&taken)
                .filter_map(|(level, part)| match level {
                    Level::Named(name) => Some((name.as_str(), parts[*part])),
                    _ => None,
                })
                .collect()
        })
    }

    /// A leading wildcard never matches `$…`.
    fn hides(&self, topic: &[&str]) -> bool {
        !matches!(self.levels[0], Level::Literal(_)) && topic[0].starts_with('$')
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => f.write_str(literal),
            Self::One => f.write_str("+"),
            Self::Named(name) => write!(f, "{{{name}}}"),
            Self::Many => f.write_str("#"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_level(part: &str) -> Result<Level, PatternError> {
    match part {
        "+" => return Ok(Level::One),
        "#" => return Ok(Level::Many),
        _ => {}
    }
    if let Some(wildcard) = part.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(PatternError::PartOfLevel {
            wildcard,
            level: part.to_owned(),
        });
    }
    if !part.contains(['{', '}']) {
        return Ok(Level::Literal(part.to_owned()));
    }
    let name = part
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match name.filter(|name| is_identifier(name)) {
        Some(name) => Ok(Level::Named(name.to_owned())),
        None => Err(PatternError::BadName {
            level: part.to_owned(),
        }),
    }
}

/// What an expression can name.
fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Wildcard matching with one point of return: the last `#` met. An earlier `#` never needs to
/// take more, because what stands between the two has matched as far left as it can. So the work
/// is at most levels of the pattern × levels of the topic.
///
/// `taken` is told which part of the topic each one-level entry took; a later call for the same
/// entry overrides an earlier one.
fn match_levels(levels: &[Level], topic: &[&str], mut taken: impl FnMut(usize, usize)) -> bool {
    let (mut at_level, mut at_part) = (0, 0);
    // (the level after the last `#`, the first part that this `#` doesn't take)
    let mut retry: Option<(usize, usize)> = None;
    while at_part < topic.len() || at_level < levels.len() {
        let step = match (levels.get(at_level), topic.get(at_part)) {
            (Some(Level::Many), _) => {
                at_level += 1;
                retry = Some((at_level, at_part));
                continue;
            }
            (Some(Level::One | Level::Named(_)), Some(_)) => true,
            (Some(Level::Literal(literal)), Some(part)) => literal == part,
            _ => false,
        };
        if step {
            taken(at_level, at_part);
            (at_level, at_part) = (at_level + 1, at_part + 1);
            continue;
        }
        match &mut retry {
            Some((level, part)) if *part < topic.len() => {
                *part += 1;
                (at_level, at_part) = (*level, *part);
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
