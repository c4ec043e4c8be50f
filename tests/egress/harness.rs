//! What a kind of destination needs for the contract: a server of its own, which can be made to
//! misbehave and says what it took.

use crate::support::process::Gateway;
use xxhash_rust::xxh3::xxh3_64;

/// One server, and the destination `sink` that leads to it.
///
/// What one can't do it says by `Cannot`, with the reason: the suite prints it and leaves that scenario
/// out. Nothing else is left out.
pub trait Harness: Sized {
    /// Starts the server. `scenario` is unique in the run: a name for topics, queues, folders.
    ///
    /// # Errors
    /// Why there can be none here (then all its tests are skipped, which fails where `CI=true`).
    fn start(scenario: &str) -> Result<Self, String>;

    /// What stands in `[destinations.sink]`, `type` included; sub-tables at the end. `retry` and `timeout` are
    /// written before it. If a mood changes it the gateway reloads.
    fn settings(&self) -> String;

    /// What else stands in the file: connections.
    fn more_settings(&self) -> String {
        String::new()
    }

    /// A route's target: `"sink"`, or a table that names it.
    fn target(&self) -> String {
        "\"sink\"".to_owned()
    }

    /// How the server behaves from now on, until it is told otherwise. It starts `Well`. What it took is kept.
    ///
    /// # Errors
    /// If it can't be made to.
    fn be(&mut self, mood: Mood) -> Result<(), Cannot>;

    /// All that it took so far, in its order; doubles too. Called while the gateway runs.
    fn took(&mut self, gateway: &Gateway) -> Vec<Taken>;

    /// Makes of a message one that this server refuses for good, and a part of the words that it then says.
    ///
    /// # Errors
    /// If it refuses none.
    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot>;

    /// Makes of a message one that is too large for this server, if it has a limit of its own (`limits.payload`
    /// is 4 MiB): it is refused at the door or goes to the dead letters.
    ///
    /// # Errors
    /// If it has none.
    fn oversize(&self, message: Message) -> Result<Message, Cannot>;

    /// Whether headers of this name reach the server at all.
    fn travels(&self, _header: &str) -> bool {
        true
    }

    /// Whether what was sent before nobody answered any more waits in its client until somebody does, rather
    /// than being tried again by the lane.
    fn waits_in_its_client(&self) -> bool {
        false
    }

    /// What becomes of messages while our credentials are wrong.
    fn locked_out(&self) -> LockedOut {
        LockedOut::Held
    }
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes all but poison.
    Well,
    /// It takes nothing and says so; it may later.
    Fails,
    /// It takes nothing and says nothing. When it is `Well` again it may take what was sent meanwhile.
    Hangs,
    /// It takes what comes, and its answer is lost.
    Forgets,
    /// Nobody is there.
    Gone,
    /// It takes nothing because we aren't who we should be (or `settings` says so).
    Locked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockedOut {
    /// They wait and are tried again now and then; the lane is shown as stopped.
    Held,
    /// They go to the dead letters.
    #[cfg_attr(
        not(feature = "faults"),
        allow(dead_code, reason = "only the faulty one does")
    )]
    Rejected,
}

/// What a harness can't do, and why.
#[derive(Clone, Debug)]
pub struct Cannot(pub &'static str);

/// A message as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub id: String,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub content_type: Option<String>,
    pub payload: Vec<u8>,
}

/// A message as the server took it. What is `None` it doesn't keep: nothing is asked of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The same for every attempt of one delivery, and for no other.
    pub delivery_id: String,
    /// The publisher's.
    pub id: String,
    pub key: Option<Vec<u8>>,
    pub payload_hash: u64,
    pub headers: Option<Vec<(String, Vec<u8>)>>,
    pub content_type: Option<String>,
}

impl Message {
    /// The nth of its name: each has its own id and payload.
    pub fn new(name: &str, n: usize) -> Self {
        Self {
            topic: "t/contract".to_owned(),
            id: format!("{name}-{n}"),
            payload: format!("{name} {n}").into_bytes(),
            content_type: Some("text/plain".to_owned()),
            ..Self::default()
        }
    }

    pub fn keyed(self, key: &str) -> Self {
        Self {
            key: Some(key.as_bytes().to_vec()),
            ..self
        }
    }

    /// Under a route whose ack is `delivered`.
    pub fn awaited(self) -> Self {
        Self {
            topic: "sure/contract".to_owned(),
            ..self
        }
    }

    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.to_owned(), value.to_vec()));
        self
    }
}

pub fn hash(payload: &[u8]) -> u64 {
    xxh3_64(payload)
}
