//! A journal without a gateway, opened as the gateway would: to measure it, and to make in a minute
//! what would take a daemon hours to be given.

use bytes::Bytes;
use causeway::clock::Clock;
use causeway::faults::Faults;
use causeway::journal::fingerprint::Identity;
use causeway::journal::{self, Journal, JournalOptions, Keeper, SettleGroup, Submission};
use causeway::journal::{SinkMarks, WindowLimits};
use causeway::log::Sizes;
use causeway::log::disk::RealDisk;
use causeway::message::{
    Ack, DeliveryId, Envelope, Fingerprint, Guarantee, LaneId, Message, MessageId, Outcome, Plan,
    Position, RouteId, Settlement, Target,
};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const LANE: &str = "inbox";
pub const ROUTE: &str = "all";
const TOPIC: &str = "all/x";
/// Submissions that are made before they are taken.
const CHUNK: u64 = 4096;

pub struct House {
    pub journal: Journal,
    pub keeper: Keeper,
    pub lane: LaneId,
    pub route: RouteId,
}

/// One message as a publisher would have sent it.
#[derive(Clone, Default)]
pub struct Sort {
    pub payload: Bytes,
    /// Each gets an id of its own.
    pub with_id: bool,
    pub key: Option<Bytes>,
}

impl Sort {
    pub fn of(payload_bytes: usize) -> Self {
        Self {
            payload: vec![b'x'; payload_bytes].into(),
            ..Self::default()
        }
    }

    pub fn with_id(self) -> Self {
        Self {
            with_id: true,
            ..self
        }
    }

    pub fn key(self, key: &'static str) -> Self {
        let key = Some(Bytes::from_static(key.as_bytes()));
        Self { key, ..self }
    }
}

pub fn options(data_dir: &Path, max_ids: usize) -> JournalOptions {
    JournalOptions {
        dir: data_dir.join("journal"),
        sizes: Sizes {
            min_segment_bytes: 4 << 20,
            max_segment_bytes: 64 << 20,
            reserve_segments: 1,
        },
        max_bytes: 64 << 30,
        keep_free_bytes: 64 << 20,
        window: WindowLimits {
            window: Duration::from_secs(24 * 3600),
            max_entries: max_ids,
        },
        clock: Clock::system(),
        seed: 1,
        faults: Faults::none(),
        progress: Arc::default(),
    }
}

impl House {
    pub fn new(data_dir: &Path, max_ids: usize) -> Self {
        let opened = journal::open(Arc::new(RealDisk), options(data_dir, max_ids));
        let opened = opened.expect("a journal");
        let (mut journal, mut keeper) = (opened.journal, opened.keeper);
        let (lane, route) = (journal.intern_lane(LANE), journal.intern_route(ROUTE));
        keeper.step();
        Self {
            journal,
            keeper,
            lane,
            route,
        }
    }

    /// The `number`-th message, as the door makes it.
    pub fn message(&self, sort: &Sort, number: u64) -> (Arc<Message>, Option<Fingerprint>) {
        let id = sort.with_id.then(|| format!("message-{number:010}"));
        message(self.journal.shared(), self.lane, self.route, sort, id)
    }

    pub fn submission(&self, sort: &Sort, number: u64) -> Submission {
        let (message, print) = self.message(sort, number);
        Submission::new(message, print)
    }

    /// Accepts messages `first..first + count`; with a checkpoint for each segment that was filled.
    pub fn publish(&mut self, sort: &Sort, first: u64, count: u64) {
        self.accept(sort, first, count, true);
    }

    /// The same without checkpoints.
    pub fn publish_unchecked(&mut self, sort: &Sort, first: u64, count: u64) {
        self.accept(sort, first, count, false);
    }

    fn accept(&mut self, sort: &Sort, first: u64, count: u64, checkpoints: bool) {
        let mut queue = VecDeque::new();
        let (mut next, end) = (first, first + count);
        while next < end || !queue.is_empty() {
            while next < end && (queue.len() as u64) < CHUNK {
                queue.push_back(self.submission(sort, next));
                next += 1;
            }
            let step = self.journal.step(&mut queue, &mut VecDeque::new());
            assert!(step.answers.iter().all(Result::is_ok), "all are accepted");
            if step.sealed || step.stalled {
                self.keeper.step();
            }
            if step.sealed && checkpoints {
                self.checkpoint();
            }
        }
    }

    /// The lane has delivered these.
    pub fn settle(&mut self, first: u64, end: u64, size_bytes: u32) {
        let group = delivered(self.lane, first, end, size_bytes);
        self.journal
            .step(&mut VecDeque::new(), &mut VecDeque::from([group]));
    }

    pub fn checkpoint(&mut self) {
        self.keeper.checkpoint(&self.journal.checkpoint_image());
    }

    pub fn next_position(&self) -> u64 {
        self.journal.next_position().0
    }
}

pub fn message(
    shared: &journal::Shared,
    lane: LaneId,
    route: RouteId,
    sort: &Sort,
    id: Option<String>,
) -> (Arc<Message>, Option<Fingerprint>) {
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: TOPIC.to_owned(),
        id: id.map_or(MessageId::None, MessageId::Publisher),
        key: sort.key.clone(),
        headers: Vec::new(),
        content_type: Some("text/plain".to_owned()),
        payload: Ok(sort.payload.clone()),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let print = envelope.id.as_str().map(|id| Fingerprint {
        key: shared.hasher.fingerprint(Identity {
            principal: Some("anonymous"),
            topic: Some(TOPIC),
            id,
        }),
        content: shared.hasher.content(&envelope),
        derived: false,
    });
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets: vec![Target::to(route, lane, Guarantee::AtLeastOnce)],
    };
    (Arc::new(Message { envelope, plan }), print)
}

/// What the lane says of positions `first..end`.
pub fn delivered(lane: LaneId, first: u64, end: u64, size_bytes: u32) -> SettleGroup {
    let settlement = |position| Settlement {
        lane,
        at: DeliveryId::new(position, 0),
        outcome: Outcome::Delivered,
        size_bytes,
    };
    SettleGroup {
        lane,
        settlements: (first..end).map(settlement).collect(),
        marks: SinkMarks {
            sink: Position(end).0,
            dead_letters: 0,
        },
    }
}
