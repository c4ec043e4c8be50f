//! What is done to the gateway, and when: all of it follows from the seed.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// After the step before it was done.
    pub after: Duration,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL while deliveries are pending; it is started again after `down`, and with `again`
    /// killed once more.
    Kill {
        down: Duration,
        again: Option<Again>,
    },
    /// SIGSTOP, and SIGCONT after `still`: longer than the publishers wait for an answer, or not.
    Pause { still: Duration },
    /// SIGTERM, wait for the end, start.
    Restart,
}

/// When the second kill of two comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// So long after the start, most likely in the middle of recovery: nobody can ask the gateway
    /// then what is pending.
    InRecovery(Duration),
    /// So long after it is ready, while deliveries are pending.
    Serving(Duration),
}

/// Of so many first kills, one is followed by a second one in recovery, and one by a second one
/// while it serves.
const AGAIN_ONE_IN: u32 = 6;

impl Action {
    pub fn kills(self) -> usize {
        match self {
            Self::Kill { again, .. } => 1 + usize::from(again.is_some()),
            Self::Pause { .. } | Self::Restart => 0,
        }
    }
}

/// Steps that take about `duration`, with `kills` of them kills, in seeded order.
///
/// How many second kills there are follows from `kills` alone: of all kills, fewer than one in
/// seven can be one of which nobody knows what was pending.
pub fn schedule(seed: u64, duration: Duration, kills: u32, pauses: u32) -> Vec<Step> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut actions: Vec<Action> = Vec::new();
    for number in 0..kills {
        let again = match number % AGAIN_ONE_IN {
            1 => Some(Again::InRecovery(millis(&mut random, 0, 40))),
            2 => Some(Again::Serving(millis(&mut random, 0, 40))),
            _ => None,
        };
        actions.push(Action::Kill {
            down: millis(&mut random, 0, 50),
            again,
        });
    }
    for _ in 0..pauses {
        actions.push(Action::Pause {
            still: millis(&mut random, 20, 1_500),
        });
    }
    if kills > 1 {
        actions.push(Action::Restart);
    }
    random.shuffle(&mut actions);
    let count = u32::try_from(actions.len()).expect("few").max(1);
    let mean = u64::try_from((duration / count).as_millis()).expect("a short time");
    actions
        .into_iter()
        .map(|action| Step {
            after: millis(&mut random, mean / 4, mean * 7 / 4),
            action,
        })
        .collect()
}

fn millis(random: &mut fastrand::Rng, from: u64, to: u64) -> Duration {
    // Microseconds: a kill should land anywhere, not on a grid.
    Duration::from_micros(random.u64(from * 1_000..=to * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_schedule_with_the_kills_asked_for() {
        let make = |seed| schedule(seed, Duration::from_secs(20), 6, 2);
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
        for seed in 0..100 {
            let steps = make(seed);
            let total: Duration = steps.iter().map(|s| s.after).sum();
            assert!(total < Duration::from_secs(36), "seed {seed}: {total:?}");
            let kills: usize = steps.iter().map(|s| s.action.kills()).sum();
            assert_eq!(kills, 8, "seed {seed}");
        }
    }
}
