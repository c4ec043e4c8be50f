//! An envelope's one identity, fixed before routing, from what was received: by the first
//! matching `[[identity]]` rule (if that fails or is empty: refused), else the publisher's id,
//! else none.
//!
//! What lives here: the rules and how they read a payload. Pure. What must not: the dedup window.

mod payload;

use crate::message::{Envelope, MessageId, Refusal};
use crate::routing::Pattern;
pub use payload::{PathError, PayloadPath};

/// An id is at most this long, in bytes, whoever gave it: the window keeps millions.
pub const MAX_ID_BYTES: usize = 256;

/// Within what an id is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub principal: bool,
    pub topic: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            principal: true,
            topic: true,
        }
    }
}

/// One `[[identity]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityRule {
    pub topic: Pattern,
    pub id: PayloadPath,
    pub scope: Scope,
}

/// The rules, in the order of the file; the first whose topic matches decides.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    rules: Vec<IdentityRule>,
}

impl Identities {
    #[must_use]
    pub fn new(rules: Vec<IdentityRule>) -> Self {
        Self { rules }
    }

    /// Within what an id of this topic is unique.
    #[must_use]
    pub fn scope_of(&self, topic: &str) -> Scope {
        let levels: Vec<&str> = topic.split('/').collect();
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.topic.matches_levels(&levels));
        rule.map_or_else(Scope::default, |rule| rule.scope)
    }

    /// The identity of an envelope whose `id` is still the publisher's word, or `None`.
    pub fn identify(&self, envelope: &Envelope) -> Result<(MessageId, Scope), Refusal> {
        let rule = match &self.rules[..] {
            [] => None,
            rules => {
                let levels: Vec<&str> = envelope.topic.split('/').collect();
                rules.iter().find(|rule| rule.topic.matches_levels(&levels))
            }
        };
        match rule {
            None => Ok((envelope.id.clone(), Scope::default())),
            Some(rule) => Ok((MessageId::Derived(derive(rule, envelope)?), rule.scope)),
        }
    }
}

fn derive(rule: &IdentityRule, envelope: &Envelope) -> Result<String, Refusal> {
    let path = &rule.id;
    let Ok(payload) = &envelope.payload else {
        return Err(Refusal::IdNeeded(format!(
            "it is {path}, and there is no payload"
        )));
    };
    let id = path.find(payload).map_err(|error| refusal(path, &error))?;
    if id.is_empty() {
        return Err(Refusal::IdNeeded(format!("it is {path}, which is empty")));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(too_long(id.len()));
    }
    Ok(id)
}

fn refusal(path: &PayloadPath, error: &PathError) -> Refusal {
    let words = format!("it is {path}, {error}");
    match error {
        PathError::Absent | PathError::Null => Refusal::IdNeeded(words),
        _ => Refusal::Malformed(format!("an id is needed: {words}")),
    }
}

/// The refusal of an id that is too long, whoever gave it.
pub(super) fn too_long(actual: usize) -> Refusal {
    Refusal::TooLarge {
        what: "the id",
        actual,
        limit: MAX_ID_BYTES,
        setting: "fixed",
    }
}

#[cfg(test)]
mod tests;
