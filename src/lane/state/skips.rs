//! One delivery that fails, and holds others or not, is given up by an operator.

use super::{Lane, Phase, Timer, Turn, Why};
use crate::lane::retry::Retry;
use crate::message::{Delivery, DeliveryId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const SKIPPED: &str = "skipped by an operator";

/// What is on its way to the dead letters by an operator's word.
#[derive(Debug, Default)]
pub(super) struct Skips {
    /// Positions to be read for it, with what is known of their attempts and the key that waits.
    wanted: HashMap<DeliveryId, (Retry, Option<u64>)>,
    /// In flight, or being read: it goes if it isn't delivered now.
    marked: HashSet<DeliveryId>,
}

/// What an operator's skip came upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub at: DeliveryId,
    /// That failed, in this run.
    pub attempts: u32,
    pub last_error: Option<Arc<str>>,
    /// It is in flight: it is skipped if that attempt fails.
    pub in_flight: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipError {
    #[error("no delivery of the lane fails now")]
    NothingFails,
    #[error("delivery {0} neither fails nor is it being tried now")]
    NotFailing(DeliveryId),
    #[error("the lane drops all that it owes")]
    Dropping,
}

impl Skips {
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether an operator wants this one skipped; it is asked once.
    pub fn take_mark(&mut self, at: DeliveryId) -> bool {
        !self.marked.is_empty() && self.marked.remove(&at)
    }

    /// Up to so many, to be read.
    fn page(&self, count: usize) -> Vec<DeliveryId> {
        self.wanted.keys().copied().take(count).collect()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Lane {
    /// Gives one up that fails: this one, or the oldest.
    pub fn skip(&mut self, which: Option<DeliveryId>) -> Result<Skipped, SkipError> {
        if self.control.dropping.is_some() {
            return Err(SkipError::Dropping);
        }
        let at = match which {
            Some(at) => at,
            None => self.oldest_that_fails().ok_or(SkipError::NothingFails)?,
        };
        let of_key = self.keys.iter().find_map(|(hash, key)| {
            let retry = key.retry.as_deref().filter(|retry| retry.at == at)?;
            Some((Some(*hash), retry.clone()))
        });
        let free = || Some((None, self.retrying.get(&at)?.clone()));
        let known = of_key.or_else(free);
        let in_flight = self.is_in_flight(at);
        if known.is_none() && !in_flight {
            return Err(SkipError::NotFailing(at));
        }
        let retry = known.as_ref().map(|(_, retry)| retry);
        let skipped = Skipped {
            at,
            attempts: retry.map_or(0, |retry| retry.attempts),
            last_error: retry.map(|retry| retry.reason.clone()),
            in_flight,
        };
        match known {
            Some((key, retry)) if !in_flight => self.skip_waiting(at, key, retry),
            _ => drop(self.skips.marked.insert(at)),
        }
        Ok(skipped)
    }

    fn oldest_that_fails(&self) -> Option<DeliveryId> {
        let of_keys = self.keys.values().filter_map(|key| key.retry.as_ref());
        let of_keys = of_keys.map(|retry| retry.at);
        let on_its_way =
            |at: &DeliveryId| self.skips.wanted.contains_key(at) || self.skips.marked.contains(at);
        of_keys
            .chain(self.retrying.keys().copied())
            .filter(|at| !on_its_way(at))
            .min()
    }

    fn is_in_flight(&self, at: DeliveryId) -> bool {
        let mut flying = self.flights.values().flat_map(|f| f.deliveries.iter());
        flying.any(|delivery| delivery.at == at)
    }

    fn skip_waiting(&mut self, at: DeliveryId, key: Option<u64>, retry: Retry) {
        if self.ready.get(at).is_some_and(|turn| match turn {
            Turn::Free(_) => key.is_none(),
            Turn::Key(hash) => key == Some(*hash),
        }) {
            return self.bury_ready(at, key, Some(SKIPPED));
        }
        if self.reading.contains_key(&at) {
            self.skips.marked.insert(at);
            return;
        }
        let timer = key.map_or(Timer::Free(at), Timer::Key);
        self.timers.retain(|(_, other)| *other != timer);
        match key {
            Some(hash) => {
                let held = self.key_mut(hash);
                let before = held.held.cost_bytes();
                held.held.remove(at);
                let freed = before - held.held.cost_bytes();
                (held.phase, held.retry) = (Phase::Dying, None);
                self.parked_bytes -= freed;
            }
            None => {
                self.retrying.remove(&at);
                self.wants
                    .retain(|want| !matches!(want, super::Want::Free(other) if *other == at));
            }
        }
        self.skips.wanted.insert(at, (retry, key));
    }

    /// Those that are to be read for it; nothing else keeps them back.
    pub(super) fn want_skipped(&mut self, ids: &mut Vec<DeliveryId>, count: usize) {
        for at in self.skips.page(count) {
            self.reading.insert(at, Why::Skip);
            ids.push(at);
        }
    }

    pub(super) fn skip_read(&mut self, delivery: Delivery) {
        match self.skips.wanted.remove(&delivery.at) {
            Some((retry, key)) => self.bury(delivery, SKIPPED.into(), Some(&retry), key),
            None => self.leave_memory(delivery.size_bytes),
        }
    }

    /// All that an operator gave up one by one, where now everything is dropped.
    pub(super) fn give_back_skips(&mut self) -> Vec<DeliveryId> {
        let wanted = std::mem::take(&mut self.skips.wanted);
        self.skips.clear();
        let give_back = |(at, (retry, _)): (DeliveryId, (Retry, Option<u64>))| {
            self.retrying.insert(at, retry);
            at
        };
        wanted.into_iter().map(give_back).collect()
    }
}
