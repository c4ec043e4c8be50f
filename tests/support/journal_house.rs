//! A journal with two lanes and its keeper, stepped by hand, on any disk.

use causeway::clock::{Clock, Wall};
use causeway::faults::Faults;
use causeway::journal::{
    Accepted, Journal, JournalError, JournalOptions, Keeper, Opened, SettleGroup, SinkMarks,
    Submission, WindowLimits, fingerprint, open,
};
use causeway::log::disk::Disk;
use causeway::log::{SEGMENT_HEADER_BYTES, Sizes};
use causeway::message::{
    Ack, DeliveryId, Envelope, Fingerprint, Guarantee, LaneId, Message, MessageId, Outcome, Plan,
    Position, RouteId, Settlement, Target, record,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const SEGMENT_BYTES: u64 = 16 * 1024;

pub struct House {
    pub journal: Journal,
    pub keeper: Keeper,
    pub lanes: [LaneId; 2],
    route: RouteId,
}

/// Where a position's batch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: PathBuf,
    pub bytes: Range<u64>,
}

pub fn options(dir: &Path, clock: &Clock) -> JournalOptions {
    JournalOptions {
        dir: dir.to_path_buf(),
        sizes: Sizes {
            min_segment_bytes: SEGMENT_BYTES,
            max_segment_bytes: SEGMENT_BYTES,
            reserve_segments: 1,
        },
        max_bytes: 1024 * SEGMENT_BYTES,
        keep_free_bytes: 0,
        window: WindowLimits {
            window: Duration::from_secs(600),
            max_entries: 100_000,
        },
        clock: clock.clone(),
        seed: 3,
        faults: Faults::none(),
        progress: Arc::default(),
    }
}

pub fn manual_clock() -> Clock {
    Clock::manual(Wall(1_700_000_000_000))
}

impl House {
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, clock: &Clock) -> Result<Self, JournalError> {
        let Opened {
            mut journal,
            mut keeper,
            ..
        } = open(Arc::clone(disk), options(dir, clock))?;
        let lanes = [journal.intern_lane("inbox"), journal.intern_lane("copy")];
        let route = journal.intern_route("all");
        keeper.step();
        Ok(Self {
            journal,
            keeper,
            lanes,
            route,
        })
    }

    /// For the first lane, or for both.
    pub fn submission(
        &self,
        id: Option<&str>,
        payload: &[u8],
        lanes: usize,
        guarantee: Guarantee,
    ) -> Submission {
        let envelope = Envelope {
            principal: "anonymous".into(),
            source: "http".into(),
            topic: "orders/7".into(),
            id: id.map_or(MessageId::None, |id| MessageId::Publisher(id.into())),
            key: Some("key".into()),
            headers: Vec::new(),
            content_type: Some("text/plain".into()),
            payload: Ok(payload.to_vec().into()),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        };
        let targets = self.lanes[..lanes].iter();
        let plan = Plan {
            ack: Ack::Stored,
            ack_timeout: Duration::from_secs(30),
            targets: targets
                .map(|lane| Target::to(self.route, *lane, guarantee))
                .collect(),
        };
        let hasher = &self.journal.shared().hasher;
        let fingerprint = id.map(|id| Fingerprint {
            key: hasher.fingerprint(fingerprint::Identity {
                principal: Some("anonymous"),
                topic: Some("orders/7"),
                id,
            }),
            content: hasher.content(&envelope),
            derived: false,
        });
        Submission::new(Arc::new(Message { envelope, plan }), fingerprint)
    }

    /// In a batch of its own.
    pub fn publish(&mut self, submission: Submission) -> Accepted {
        let mut queue = VecDeque::from([submission]);
        for _ in 0..10 {
            let mut step = self.journal.step(&mut queue, &mut VecDeque::new());
            if let Some(answer) = step.answers.pop() {
                return answer.expect("it is accepted");
            }
            self.keeper.step();
        }
        panic!("the journal found no room");
    }

    pub fn settle(&mut self, lane: usize, at: &[DeliveryId], outcome: Outcome, marks: SinkMarks) {
        let lane = self.lanes[lane];
        let settlement = |at: &DeliveryId| Settlement {
            lane,
            at: *at,
            outcome,
            size_bytes: self.size_of(at.position),
        };
        let group = SettleGroup {
            lane,
            settlements: at.iter().map(settlement).collect(),
            marks,
        };
        let mut groups = VecDeque::from([group]);
        for _ in 0..10 {
            self.journal.step(&mut VecDeque::new(), &mut groups);
            if groups.is_empty() {
                return;
            }
            self.keeper.step();
        }
        panic!("the journal found no room");
    }

    pub fn checkpoint(&mut self) {
        let image = self.journal.checkpoint_image();
        self.keeper.checkpoint(&image);
        self.keeper.step();
        assert_eq!(self.keeper.problem(), None);
    }

    fn size_of(&self, position: Position) -> u32 {
        let stored = self.journal.shared().reader.read(position);
        let body = stored.expect("reads").expect("is there").body;
        (body.len() + causeway::log::RECORD_HEADER_BYTES) as u32
    }

    pub fn payload(&self, position: u64) -> Option<Vec<u8>> {
        let stored = self.journal.shared().reader.read(Position(position));
        let body = stored.expect("reads")?.body;
        let (message, _) = record::decode(&body).expect("decodes");
        Some(message.envelope.payload.expect("has one").to_vec())
    }

    /// Where each position's batch is.
    pub fn places(&self) -> Vec<(u64, Place)> {
        let mut places = Vec::new();
        for segment in self.journal.shared().reader.shared().segments() {
            let end = segment.with_extent(|e| e.data_end);
            let mut scanner = segment.scan(SEGMENT_HEADER_BYTES, end);
            while let Some(found) = scanner.next().expect("reads") {
                let bytes = found.offset..found.offset + found.header.disk_bytes();
                let place = Place {
                    segment: segment.path.clone(),
                    bytes,
                };
                let first = found.header.first_position.0;
                let count = u64::from(found.header.positioned);
                places.extend((first..first + count).map(|p| (p, place.clone())));
            }
        }
        places
    }
}
