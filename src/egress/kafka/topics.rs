//! What is known of the topics that records are for. Pure.
//!
//! Nothing is handed over for a topic before the brokers said that it is there: a client that waits for a
//! topic holds up all that was sent along with it. Of a topic for which a call said `Retry` nothing is
//! handed over before that call returned, so that no later record of a key overtakes an earlier one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Templates make names of what publishers send.
const MAX_TOPICS: usize = 10_000;
/// For so long it counts that a topic is refused.
const REFUSED_FOR: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
    asked: Vec<Arc<str>>,
}

#[derive(Default)]
struct Topic {
    standing: Standing,
    is_asked: bool,
    /// Calls that said `Retry` of it and haven't returned.
    held: usize,
}

/// What the brokers say of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// They haven't been asked.
    #[default]
    Unknown,
    There,
    /// Not there, or not known for a reason that may pass.
    Missing(Arc<str>),
    /// Not for us.
    Refused(Arc<str>, Instant),
}

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    HandOver,
    /// `hold` it, and say so.
    Wait(Arc<str>),
    Refuse(Arc<str>),
}

impl Topics {
    pub fn word(&mut self, name: &str, now: Instant) -> Word {
        if !self.by_name.contains_key(name) {
            self.make_room();
            self.by_name.insert(name.into(), Topic::default());
        }
        let Some((name, topic)) = self.by_name.get_key_value(name) else {
            return Word::Wait("a bug: a topic is gone".into());
        };
        let name = Arc::clone(name);
        let word = match &topic.standing {
            Standing::There if topic.held == 0 => return Word::HandOver,
            Standing::There => {
                return Word::Wait("not sent: an earlier one is to be sent again".into());
            }
            Standing::Refused(why, at) if now.duration_since(*at) < REFUSED_FOR => {
                return Word::Refuse(Arc::clone(why));
            }
            Standing::Missing(why) => Word::Wait(Arc::clone(why)),
            Standing::Unknown | Standing::Refused(..) => Word::Wait(
                format!("the brokers are asked whether there is a topic {name:?}").into(),
            ),
        };
        self.ask(&name);
        word
    }

    fn ask(&mut self, name: &Arc<str>) {
        if let Some(topic) = self.by_name.get_mut(name)
            && !topic.is_asked
        {
            topic.is_asked = true;
            self.asked.push(Arc::clone(name));
        }
    }

    /// Those that are gone are asked for again.
    fn make_room(&mut self) {
        if self.by_name.len() < MAX_TOPICS {
            return;
        }
        let is_needed = |topic: &Topic| topic.held > 0 || topic.is_asked;
        self.by_name
            .retain(|_, topic| is_needed(topic) || topic.standing == Standing::There);
        if self.by_name.len() >= MAX_TOPICS {
            self.by_name.retain(|_, topic| is_needed(topic));
        }
    }

    /// A call says `Retry` of it; it gives it back by `release`.
    pub fn hold(&mut self, name: &str) -> Option<Arc<str>> {
        let name = self
            .by_name
            .get_key_value(name)
            .map(|(name, _)| Arc::clone(name))?;
        self.by_name.get_mut(&name)?.held += 1;
        Some(name)
    }

    pub fn release(&mut self, name: &str) {
        if let Some(topic) = self.by_name.get_mut(name) {
            topic.held = topic.held.saturating_sub(1);
        }
    }

    /// It was there and isn't any more: the next record for it asks.
    pub fn forget(&mut self, name: &str) {
        if let Some(topic) = self.by_name.get_mut(name) {
            topic.standing = Standing::Unknown;
        }
    }

    /// Other brokers may say otherwise.
    pub fn forget_all(&mut self) {
        for topic in self.by_name.values_mut() {
            topic.standing = Standing::Unknown;
        }
    }

    pub fn set(&mut self, name: &str, standing: Standing) {
        if let Some(topic) = self.by_name.get_mut(name) {
            (topic.standing, topic.is_asked) = (standing, false);
        }
    }

    #[must_use]
    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    pub fn take_asked(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.asked)
    }

    /// Those that couldn't be asked for.
    pub fn put_back(&mut self, names: Vec<Arc<str>>) {
        self.asked.extend(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(topics: &mut Topics, name: &str) {
        let now = Instant::now();
        assert!(matches!(topics.word(name, now), Word::Wait(_)));
        topics.take_asked();
        topics.set(name, Standing::There);
        assert_eq!(topics.word(name, now), Word::HandOver);
    }

    #[test]
    fn a_topic_is_asked_for_once_and_then_known() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        for _ in 0..3 {
            assert!(matches!(topics.word("a", now), Word::Wait(_)));
        }
        let asked = topics.take_asked();
        assert_eq!(asked, ["a".into()]);
        topics.set("a", Standing::Missing("it isn't there".into()));
        assert_eq!(topics.word("a", now), Word::Wait("it isn't there".into()));
        assert_eq!(topics.take_asked(), asked, "whoever tries again asks again");
        topics.set("a", Standing::There);
        assert_eq!(topics.word("a", now), Word::HandOver);
        topics.forget("a");
        assert!(matches!(topics.word("a", now), Word::Wait(_)));
    }

    #[test]
    fn nothing_overtakes_what_a_call_gives_back() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        there(&mut topics, "a");
        there(&mut topics, "b");
        let held = topics.hold("a").unwrap();
        let again = topics.hold("a").unwrap();
        assert!(matches!(topics.word("a", now), Word::Wait(_)));
        assert_eq!(topics.word("b", now), Word::HandOver);
        topics.release(&held);
        assert!(matches!(topics.word("a", now), Word::Wait(_)));
        topics.release(&again);
        assert_eq!(topics.word("a", now), Word::HandOver);
        assert!(!topics.is_asked());
    }

    #[test]
    fn a_refusal_is_asked_for_again_after_a_while() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        there(&mut topics, "a");
        topics.set("a", Standing::Refused("not for you".into(), now));
        assert_eq!(topics.word("a", now), Word::Refuse("not for you".into()));
        assert!(!topics.is_asked());
        assert!(matches!(topics.word("a", now + REFUSED_FOR), Word::Wait(_)));
        assert!(topics.is_asked());
    }

    #[test]
    fn names_of_publishers_fill_no_memory() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        there(&mut topics, "known");
        there(&mut topics, "held");
        topics.hold("held").unwrap();
        for n in 0..3 * MAX_TOPICS {
            let name = format!("t{n}");
            topics.word(&name, now);
            topics.take_asked();
            topics.set(&name, Standing::Missing("no".into()));
            assert!(topics.by_name.len() <= MAX_TOPICS);
        }
        assert_eq!(topics.word("known", now), Word::HandOver);
        for n in 0..3 * MAX_TOPICS {
            there(&mut topics, &format!("u{n}"));
            assert!(topics.by_name.len() <= MAX_TOPICS);
        }
        assert_eq!(topics.by_name["held"].held, 1);
    }
}
