//! What is published: each message follows from (seed, publisher, number), so that a reader can
//! tell what it should have got without anything being kept.

/// Topics below these go to different destinations; see `settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// All of: `inbox`, `exact`, `flaky`.
    Orders,
    /// `inbox` alone.
    Notes,
    /// `inbox` alone, acknowledged when delivered.
    Sure,
    /// `slow` alone, whose backlog is small.
    Slow,
}

/// The file of the test's folder in which the faulty destination `name` writes what it received.
pub fn record_file(name: &str) -> String {
    format!("{name}.record")
}

/// Destinations and routes of every oracle run.
pub fn settings(seed: u64) -> String {
    let [flaky, slow] = FAULTY.map(record_file);
    format!(
        "{ROUTES}
[destinations.flaky]
type = \"faulty\"
record = \"{flaky}\"
timeout = \"200ms\"
script = \"seed {seed}; delay 0..3; header={POISON} reject; retry 8%; unknown 4%; lost 3%; hang 1%\"

[destinations.slow]
type = \"faulty\"
record = \"{slow}\"
backlog = \"64KiB\"
script = \"delay 30..60\"
"
    )
}

const ROUTES: &str = r#"
[limits]
payload = "64KiB"

[journal]
max_bytes = "1GiB"

[dedup]
window = "1h"

[defaults]
retry = { initial = "5ms", max = "50ms", give_up_after = "24h" }

[destinations.inbox]
type = "stream"

[destinations.exact]
type = "stream"

[[routes]]
name = "orders"
topic = "orders/{shop}"
to = ["inbox", { destination = "exact", guarantee = "exactly_once" }, "flaky"]

[[routes]]
name = "notes"
topic = "notes/#"
to = ["inbox"]

[[routes]]
name = "sure"
topic = "sure/#"
ack = "delivered"
to = ["inbox"]

[[routes]]
name = "slow"
topic = "slow/#"
to = ["slow"]
"#;

pub const STREAMS: [&str; 2] = ["inbox", "exact"];
pub const FAULTY: [&str; 2] = ["flaky", "slow"];
/// A header that `flaky` rejects.
pub const POISON: &str = "poison";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub family: Family,
    pub topic: String,
    pub key: Option<String>,
    /// `flaky` rejects it, so that it ends in the dead letters.
    pub poisoned: bool,
    pub content_type: &'static str,
    pub payload: Vec<u8>,
}

/// Which message of whom: what an id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub publisher: u32,
    pub number: u32,
}

/// The publisher whose messages all go to the slow destination.
pub const SLOW_PUBLISHER: u32 = 0;
const KEYS: u32 = 4;
/// Publishers from here on send batches.
pub const FIRST_BATCHER: u32 = 1_000;
/// Publishers from here on call over gRPC.
pub const FIRST_CALLER: u32 = 2_000;
/// One sends more than others, so it has more keys.
const BATCHER_KEYS: u32 = 24;
/// Of its messages, one of so many goes to the slow destination: when that is full, messages of
/// the same key that would go elsewhere have to wait for it.
const BATCHER_SLOW_ONE_IN: u32 = 6;
const LARGE_BYTES: usize = 60_000;

/// In which way of gRPC a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Publish.
    One,
    /// PublishBatch.
    Batch,
    /// PublishStream.
    Ordered,
    /// The same without order. Nothing there waits for what was refused, so its messages have no keys.
    Unordered,
}

impl How {
    pub fn of(number: u32) -> Self {
        [Self::Ordered, Self::Unordered, Self::Batch, Self::One][number as usize % 4]
    }
}

impl Name {
    pub fn id(self) -> String {
        format!("{}-{}", self.publisher, self.number)
    }

    pub fn parse(id: &str) -> Option<Self> {
        let (publisher, number) = id.split_once('-')?;
        Some(Self {
            publisher: publisher.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl Family {
    const fn topic(self) -> &'static str {
        match self {
            Self::Orders => "orders/north",
            Self::Notes => "notes/a/b",
            Self::Sure => "sure/x",
            Self::Slow => "slow/1",
        }
    }

    /// Where its deliveries go.
    pub const fn destinations(self) -> &'static [&'static str] {
        match self {
            Self::Orders => &["inbox", "exact", "flaky"],
            Self::Notes | Self::Sure => &["inbox"],
            Self::Slow => &["slow"],
        }
    }
}

impl Message {
    /// Whether the destination must have got it in the end.
    pub fn arrives_at(&self, destination: &str) -> bool {
        let rejected = self.poisoned && destination == "flaky";
        self.family.destinations().contains(&destination) && !rejected
    }
}

pub fn message(seed: u64, name: Name) -> Message {
    let mix = (u64::from(name.publisher) << 32) | u64::from(name.number);
    let mut random = fastrand::Rng::with_seed(seed ^ mix.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let is_batcher = name.publisher >= FIRST_BATCHER;
    let keys = if is_batcher { BATCHER_KEYS } else { KEYS };
    let family = match random.u8(..10) {
        _ if name.publisher == SLOW_PUBLISHER => Family::Slow,
        _ if is_batcher && random.u32(..BATCHER_SLOW_ONE_IN) == 0 => Family::Slow,
        0..7 => Family::Orders,
        7..9 => Family::Notes,
        _ => Family::Sure,
    };
    let key =
        (random.u8(..8) > 0).then(|| format!("{}-key-{}", name.publisher, random.u32(..keys)));
    let is_unordered =
        name.publisher >= FIRST_CALLER && How::of(name.publisher - FIRST_CALLER) == How::Unordered;
    let key = key.filter(|_| !is_unordered);
    let poisoned = random.u8(..50) == 0;
    let length = match random.u8(..100) {
        0 => LARGE_BYTES,
        1 => 0,
        _ => random.usize(1..800),
    };
    let letters: String = std::iter::repeat_with(|| random.alphanumeric())
        .take(length)
        .collect();
    let (content_type, payload) = match random.u8(..3) {
        0 => ("text/plain", format!("{letters}é").into_bytes()),
        1 => (
            "application/json",
            format!("{{\"n\":{},\"x\":\"{letters}\"}}", name.number).into(),
        ),
        _ => {
            let mut bytes = letters.into_bytes();
            bytes.push(0xff);
            ("application/octet-stream", bytes)
        }
    };
    let topic = family.topic().to_owned();
    Message {
        id: name.id(),
        poisoned,
        family,
        topic,
        key,
        content_type,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_follows_from_its_name_and_seed() {
        let name = Name {
            publisher: 3,
            number: 9,
        };
        assert_eq!(message(1, name), message(1, name));
        assert_ne!(message(1, name).payload, message(2, name).payload);
        assert_eq!(Name::parse(&name.id()), Some(name));
        assert_eq!(Name::parse("x"), None);
        let slow = Name {
            publisher: SLOW_PUBLISHER,
            number: 1,
        };
        assert_eq!(message(1, slow).family, Family::Slow);
    }
}
