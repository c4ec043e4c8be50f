//! When each request is due, and which of them count. Pure.

use std::time::Duration;

/// When the measured part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    After(Duration),
    Messages(u64),
}

/// All times are from the start of the warm-up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub warm_up: Duration,
    pub until: Until,
    /// Messages of one request.
    pub batch: u64,
    /// Messages a second, due whatever becomes of earlier ones; without, each connection sends when
    /// its last request is answered.
    pub rate: Option<f64>,
}

/// A request of the open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Due {
    pub at: Duration,
    pub messages: u64,
    pub is_measured: bool,
}

impl Schedule {
    /// The request of that number; `None`: it isn't due any more.
    pub fn due(&self, number: u64, rate: f64) -> Option<Due> {
        let at = self.at(number, rate);
        let first = self.first_measured(rate);
        if number < first {
            return Some(Due {
                at,
                messages: self.batch,
                is_measured: false,
            });
        }
        let messages = match self.until {
            Until::After(duration) if at >= self.warm_up + duration => return None,
            Until::After(_) => self.batch,
            Until::Messages(all) => {
                let before = (number - first).saturating_mul(self.batch);
                all.checked_sub(before)?.min(self.batch)
            }
        };
        (messages > 0).then_some(Due {
            at,
            messages,
            is_measured: true,
        })
    }

    fn at(&self, number: u64, rate: f64) -> Duration {
        Duration::from_secs_f64(number as f64 * self.batch as f64 / rate)
    }

    fn first_measured(&self, rate: f64) -> u64 {
        (self.warm_up.as_secs_f64() * rate / self.batch as f64).ceil() as u64
    }

    /// Of the measured requests from that number on, those that were due before `end` and weren't sent:
    /// how long some of them had waited by `now`, each for so many messages. A million of them are
    /// told in a thousand steps.
    pub fn overdue(
        &self,
        from: u64,
        end: Duration,
        now: Duration,
        rate: f64,
    ) -> Vec<(Duration, u64)> {
        const STEPS: u64 = 1_000;
        let from = from.max(self.first_measured(rate));
        let until = (end.as_secs_f64() * rate / self.batch as f64).ceil() as u64;
        let requests = until.saturating_sub(from);
        let width = requests.div_ceil(STEPS).max(1);
        let mut waited = Vec::new();
        let mut number = from;
        while number < until {
            let Some(due) = self.due(number, rate) else {
                break;
            };
            let count = width.min(until - number);
            // All of a step as its first, the longest.
            waited.push((now.saturating_sub(due.at), count * due.messages));
            number += count;
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn schedule(until: Until) -> Schedule {
        Schedule {
            warm_up: Duration::from_secs(1),
            until,
            batch: 10,
            rate: Some(100.0),
        }
    }

    #[test]
    fn requests_are_due_by_the_clock_alone() {
        let timed = schedule(Until::After(Duration::from_secs(2)));
        let due = |number, at_ms, is_measured| {
            let at = Duration::from_millis(at_ms);
            assert_eq!(
                timed.due(number, 100.0),
                Some(Due {
                    at,
                    messages: 10,
                    is_measured
                })
            );
        };
        due(0, 0, false);
        due(9, 900, false);
        due(10, 1_000, true);
        due(29, 2_900, true);
        assert_eq!(timed.due(30, 100.0), None);
    }

    #[test]
    fn so_many_messages_are_measured() {
        let counted = schedule(Until::Messages(25));
        let messages = |number| counted.due(number, 100.0).map(|due| due.messages);
        let all: Vec<_> = (10..14).map(messages).collect();
        assert_eq!(all, [Some(10), Some(10), Some(5), None]);
        assert_eq!(counted.due(u64::MAX / 100, 100.0), None);
    }

    #[test]
    fn what_was_due_and_never_sent_is_told_with_its_wait() {
        let timed = schedule(Until::After(Duration::from_secs(2)));
        let end = Duration::from_secs(3);
        let now = Duration::from_secs(4);
        let waited = timed.overdue(28, end, now, 100.0);
        let ms = Duration::from_millis;
        assert_eq!(waited, [(ms(1_200), 10), (ms(1_100), 10)]);
        assert_eq!(timed.overdue(30, end, now, 100.0), []);
        // Those of the warm-up don't count.
        let messages: u64 = timed
            .overdue(0, end, now, 100.0)
            .iter()
            .map(|(_, n)| n)
            .sum();
        assert_eq!(messages, 200);
        let fast = timed.overdue(0, end, now, 1e6);
        assert!(fast.len() <= 1_000, "{}", fast.len());
        let messages: u64 = fast.iter().map(|(_, n)| n).sum();
        assert_eq!(messages, 2_000_000);
    }
}
