//! Publishes that are to keep their order among themselves: the lines of one key in one batch.

use super::Refusal;
use std::sync::{Arc, OnceLock};

/// Shared by all of them. After one is refused, those behind it are refused too, so that a key's
/// order has no hole that a resend would fill too late.
///
/// What is refused before it is handed to the journal says nothing of those that wait there, so the
/// two are remembered apart.
#[derive(Clone, Debug, Default)]
pub struct Chain(Arc<Links>);

#[derive(Debug, Default)]
struct Links {
    at_hand_over: OnceLock<Broken>,
    in_journal: OnceLock<Broken>,
}

/// Whether the same publishes may succeed later.
#[derive(Clone, Copy, Debug)]
struct Broken {
    is_retriable: bool,
}

impl Chain {
    /// A publish was refused before it reached the journal.
    pub fn break_at_hand_over(&self, is_retriable: bool) {
        self.0.at_hand_over.get_or_init(|| Broken { is_retriable });
    }

    /// Why nothing more of it is to be handed over.
    #[must_use]
    pub fn broken_at_hand_over(&self) -> Option<Refusal> {
        refusal(&self.0.at_hand_over)
    }

    /// The journal refused a publish.
    pub fn break_in_journal(&self, refusal: &Refusal) {
        let is_retriable = refusal.is_retriable();
        self.0.in_journal.get_or_init(|| Broken { is_retriable });
    }

    /// Why the journal takes nothing more of it.
    #[must_use]
    pub fn broken_in_journal(&self) -> Option<Refusal> {
        refusal(&self.0.in_journal)
    }

    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.at_hand_over.get().is_some() || self.0.in_journal.get().is_some()
    }

    /// Whether nobody else holds it: what was handed over has its answer.
    #[must_use]
    pub fn is_sole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

fn refusal(link: &OnceLock<Broken>) -> Option<Refusal> {
    link.get().map(|broken| Refusal::EarlierRefused {
        is_retriable: broken.is_retriable,
    })
}
