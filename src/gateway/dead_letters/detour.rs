//! What a destination can't route goes on to its alternate: its letters are redriven there as they come.
//!
//! It remembers nothing that must survive: a letter that went over is gone by the journal's word, in the
//! batch of the record that takes it there. What a kill leaves behind is found again by the next start, as
//! are letters that came before the destination had an alternate.

use super::DeadLetterDesk;
use super::job::{Job, Running};
use super::scan::Letters;
use crate::admin::letters::{Matcher, Redrive, RedriveOrder, RedriveState};
use crate::egress::UNROUTABLE;
use crate::gateway::lanes::Lane;
use crate::message::LaneId;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How often is looked for new letters, and for alternates where there are none.
const LETTERS_EVERY: Duration = Duration::from_millis(50);
const ALTERNATES_EVERY: Duration = Duration::from_secs(1);
/// After one that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Until the gateway stops.
pub async fn run(desk: DeadLetterDesk) {
    let mut stop = desk.stop.clone();
    let mut roads = HashMap::new();
    loop {
        look(&desk, &mut roads).await;
        let every = match roads.is_empty() {
            true => ALTERNATES_EVERY,
            false => LETTERS_EVERY,
        };
        tokio::select! {
            _ = stop.wait_for(|is_told| *is_told) => return,
            () = sleep(every) => {}
        }
    }
}

/// From one lane to its alternate.
struct Road {
    /// A lane that was closed isn't held here.
    lane: Weak<Lane>,
    /// Letters before this one are gone, or stay.
    next: u64,
    under_way: Option<UnderWay>,
    not_before: Instant,
}

struct UnderWay {
    end: u64,
    task: JoinHandle<Redrive>,
}

async fn look(desk: &DeadLetterDesk, roads: &mut HashMap<LaneId, Road>) {
    let from: Vec<LaneId> = {
        let running = desk.door.generations.running();
        running.router.alternates().keys().copied().collect()
    };
    roads.retain(|id, _| from.contains(id));
    for id in from {
        let state = desk.door.journal.shared().lane(id);
        let Some(lane) = state.and_then(|state| desk.lanes.get(&state.name)) else {
            continue;
        };
        let road = roads.entry(id).or_insert_with(|| Road::of(&lane));
        if road.lane.as_ptr() != Arc::as_ptr(&lane) {
            *road = Road::of(&lane);
        }
        road.go(desk, lane).await;
    }
}

impl Road {
    fn of(lane: &Arc<Lane>) -> Self {
        Self {
            lane: Arc::downgrade(lane),
            next: 0,
            under_way: None,
            not_before: Instant::now(),
        }
    }

    async fn go(&mut self, desk: &DeadLetterDesk, lane: Arc<Lane>) {
        if let Some(under_way) = self.under_way.take_if(|it| it.task.is_finished()) {
            self.arrived(&lane.state.name, under_way).await;
        }
        if self.under_way.is_some() || Instant::now() < self.not_before {
            return;
        }
        let end = lane.state.ledger().marks().dead_letters;
        if end > self.next {
            let letters = Letters::of(&lane);
            let order = RedriveOrder::default();
            let job = Job::new(String::new(), lane.state.name.clone(), &order, &letters);
            let matcher = Matcher::beginning(UNROUTABLE).between(self.next, end);
            let running = Running::new(desk, Arc::new(job), lane, order, matcher, end);
            let task = tokio::spawn(running.go_over());
            self.under_way = Some(UnderWay { end, task });
        }
    }

    async fn arrived(&mut self, lane: &str, under_way: UnderWay) {
        let Ok(ended) = under_way.task.await else {
            // The panic was told where it happened.
            self.not_before = Instant::now() + AGAIN_AFTER;
            return;
        };
        if let Some(first) = ended.kept_first.first() {
            let (kept, why) = (ended.kept, &first.why);
            tracing::warn!(lane, kept, why, "unroutable, and stays in the dead letters");
        }
        match ended.state {
            RedriveState::Done => self.next = under_way.end,
            RedriveState::Running | RedriveState::Stopped | RedriveState::Failed => {
                let why = ended.ended_by.unwrap_or_default();
                tracing::warn!(lane, why, "what is unroutable goes over later");
                self.not_before = Instant::now() + AGAIN_AFTER;
            }
        }
    }
}
