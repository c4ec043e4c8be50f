//! An envelope's one identity, fixed before routing, from what was received: by the first
//! matching `[[identity]]` rule (if that fails or is empty: refused), else the publisher's id,
//! else none.
//!
//! What lives here: the rules and what their failures mean. Pure. What must not: the dedup window.

use crate::expression::{self, EvalError, Program};
use crate::message::{Envelope, MAX_ID_BYTES, MessageId, Refusal};
use crate::routing::Pattern;

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
    /// It knows the levels that the topic names.
    pub id: Program,
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

    /// The identity of an envelope whose `id` is still the publisher's word, or `None`. What is
    /// evaluated and read for it is shared with whoever evaluates in the same scope.
    pub fn identify(
        &self,
        envelope: &Envelope,
        evaluation: &expression::Scope<'_>,
    ) -> Result<(MessageId, Scope), Refusal> {
        let rule = match &self.rules[..] {
            [] => None,
            rules => {
                let levels: Vec<&str> = envelope.topic.split('/').collect();
                rules.iter().find(|rule| rule.topic.matches_levels(&levels))
            }
        };
        match rule {
            None => Ok((envelope.id.clone(), Scope::default())),
            Some(rule) => {
                let id = derive(rule, &envelope.topic, evaluation)?;
                Ok((MessageId::Derived(id), rule.scope))
            }
        }
    }
}

fn derive(
    rule: &IdentityRule,
    topic: &str,
    evaluation: &expression::Scope<'_>,
) -> Result<String, Refusal> {
    let source = rule.id.source();
    let bound = match rule.topic.names().next() {
        Some(_) => rule.topic.bind(topic).unwrap_or_default(),
        None => Vec::new(),
    };
    let id = rule.id.id(&evaluation.with_levels(&bound));
    let id = id.map_err(|error| refusal(source, &error))?;
    if id.is_empty() {
        return Err(Refusal::IdNeeded(format!("it is {source}, which is empty")));
    }
    if id.len() > MAX_ID_BYTES {
        return Err(too_long(id.len()));
    }
    Ok(id)
}

/// What is missing is the publisher's to add; anything else is wrong as it is.
fn refusal(source: &str, error: &EvalError) -> Refusal {
    let words = format!("it is {source}; {error}");
    if error.is_absence() {
        Refusal::IdNeeded(words)
    } else {
        Refusal::Malformed(format!("an id is needed: {words}"))
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
