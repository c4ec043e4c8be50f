//! What publishers send: identities, keys and payloads from small sets, so that duplicates,
//! conflicts and shared keys happen all the time.

use super::shape::{DOOR, FAULTY, HANGING, STREAM, STRICT, Shape};
use bytes::Bytes;
use causeway::clock::Wall;
use causeway::journal::fingerprint::{Hasher, Identity};
use causeway::journal::{DOOR_ROUTE, Submission};
use causeway::message::{
    Ack, Envelope, Fingerprint, Guarantee, Header, LaneId, Message, MessageId, Plan, RouteId,
    Target,
};
use std::sync::Arc;
use std::time::Duration;

pub const ROUTE: RouteId = RouteId(1);
const NUMBER: &str = "number";

/// An identity as the publisher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident {
    topic: u8,
    id: u8,
}

/// What the model knows of a submission.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Unlike the id it is never sent twice. It travels as a header, which is no part of the content.
    pub number: u64,
    pub message: Arc<Message>,
    pub ident: Option<Ident>,
    pub derived: bool,
    /// Of an identity: another one is another content.
    pub variant: u8,
    pub size_bytes: u32,
    pub dead_letter_when_full: Vec<bool>,
}

impl Sent {
    pub fn is_exactly_once(&self) -> bool {
        self.message.plan.is_exactly_once()
    }
}

/// The number that a stored message was sent with.
pub fn number_of(message: &Message) -> Option<u64> {
    let header = message.envelope.headers.iter().find(|h| h.name == NUMBER)?;
    std::str::from_utf8(&header.value).ok()?.parse().ok()
}

pub struct Publisher<'a> {
    pub shape: &'a Shape,
    pub rng: &'a mut fastrand::Rng,
    pub wall: Wall,
}

impl Publisher<'_> {
    pub fn make(&mut self, number: u64, hasher: &Hasher) -> (Submission, Sent) {
        let ident = (self.rng.u8(..4) != 0).then(|| Ident {
            topic: self.rng.u8(..2),
            id: self.rng.u8(..self.shape.ids),
        });
        let derived = self.rng.u8(..4) == 0;
        let variant = u8::from(self.rng.u8(..6) == 0);
        let envelope = self.envelope(number, ident, derived, variant);
        let plan = self.plan(ident.is_some());
        self.submission(number, ident, derived, variant, envelope, plan, hasher)
    }

    /// One that is surely accepted where there is room: without identity, to one lane.
    pub fn plain(&mut self, number: u64, lane: LaneId, hasher: &Hasher) -> (Submission, Sent) {
        let envelope = self.envelope(number, None, false, 0);
        let plan = plan_of(vec![Target::to(ROUTE, lane, Guarantee::AtLeastOnce)]);
        self.submission(number, None, false, 0, envelope, plan, hasher)
    }

    #[expect(clippy::too_many_arguments, reason = "they are the parts of one value")]
    fn submission(
        &mut self,
        number: u64,
        ident: Option<Ident>,
        derived: bool,
        variant: u8,
        envelope: Envelope,
        plan: Plan,
        hasher: &Hasher,
    ) -> (Submission, Sent) {
        let fingerprint = envelope.id.as_str().map(|id| Fingerprint {
            key: hasher.fingerprint(Identity {
                principal: Some(&envelope.principal),
                topic: Some(&envelope.topic),
                id,
            }),
            content: hasher.content(&envelope),
            derived,
        });
        let dead_letter_when_full: Vec<bool> = if self.rng.u8(..3) == 0 {
            plan.targets.iter().map(|_| self.rng.bool()).collect()
        } else {
            Vec::new()
        };
        let message = Arc::new(Message { envelope, plan });
        let mut submission = Submission::new(Arc::clone(&message), fingerprint);
        submission.dead_letter_when_full = dead_letter_when_full.clone();
        let sent = Sent {
            number,
            message,
            ident,
            derived,
            variant,
            size_bytes: submission.size_bytes(),
            dead_letter_when_full,
        };
        (submission, sent)
    }

    fn envelope(
        &mut self,
        number: u64,
        ident: Option<Ident>,
        derived: bool,
        variant: u8,
    ) -> Envelope {
        // What is sent again under an identity is the same again.
        let mut content = match ident {
            Some(Ident { topic, id }) => {
                let seed = u64::from_le_bytes([topic, id, variant, 0, 0, 0, 0, 0]);
                fastrand::Rng::with_seed(seed)
            }
            None => self.rng.fork(),
        };
        let len = match content.u8(..12) {
            0 => 0,
            1 => content.usize(..self.shape.large_bytes),
            _ => content.usize(..200),
        };
        let payload: Vec<u8> = std::iter::repeat_with(|| content.u8(..))
            .take(len)
            .collect();
        let key = (content.u8(..5) != 0).then(|| Bytes::from(vec![content.u8(..self.shape.keys)]));
        let id = ident.map(|i| format!("id-{}", i.id));
        let topic = ident.map_or(0, |i| i.topic);
        Envelope {
            principal: "anonymous".into(),
            source: "http".into(),
            topic: format!("topic/{topic}"),
            id: match id {
                None => MessageId::None,
                Some(id) if derived => MessageId::Derived(id),
                Some(id) => MessageId::Publisher(id),
            },
            key,
            headers: vec![Header {
                name: NUMBER.into(),
                value: Bytes::from(number.to_string()),
            }],
            content_type: None,
            payload: Ok(Bytes::from(payload)),
            priority: None,
            deliver_at: None,
            expires_at: None,
            extensions: Vec::new(),
        }
    }

    fn plan(&mut self, has_identity: bool) -> Plan {
        if self.rng.u8(..40) == 0 {
            let mut target = Target::to(DOOR_ROUTE, DOOR, Guarantee::AtLeastOnce);
            target.dead_letter = Some("no route matches".into());
            return plan_of(vec![target]);
        }
        let count = [1, 1, 1, 2, 2, 3][self.rng.usize(..6)];
        plan_of((0..count).map(|_| self.target(has_identity)).collect())
    }

    fn target(&mut self, has_identity: bool) -> Target {
        let lane = [STREAM, STRICT, FAULTY, HANGING][self.rng.usize(..4)];
        let exactly_once = lane == STRICT && has_identity && self.rng.u8(..4) != 0;
        let guarantee = if exactly_once {
            Guarantee::ExactlyOnce
        } else {
            Guarantee::AtLeastOnce
        };
        let mut target = Target::to(ROUTE, lane, guarantee);
        if self.rng.u8(..6) == 0 {
            target.key = Some(Bytes::from(vec![self.rng.u8(..self.shape.keys)]));
        }
        if self.rng.u8(..10) == 0 {
            target.payload = Some(Bytes::from(vec![self.rng.u8(..); 20]));
        }
        match self.rng.u8(..30) {
            0 | 1 if lane != STRICT => {
                let delay = Duration::from_millis(self.rng.u64(1..30_000));
                target.not_before = Some(self.wall.plus(delay));
            }
            2 => {
                let ttl = Duration::from_millis(self.rng.u64(1..10_000));
                target.expires_at = Some(self.wall.plus(ttl));
            }
            3 if lane != STRICT => target.priority = Some(4),
            _ => {}
        }
        target
    }
}

fn plan_of(targets: Vec<Target>) -> Plan {
    Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::from_secs(30),
        targets,
    }
}
