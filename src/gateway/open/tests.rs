//! What a start finds is what the runs before it left: without lanes that would settle anything.

use super::*;
use crate::config::{self, Sources};
use crate::journal::{Submission, fingerprint};
use crate::message::{Ack, Envelope, Fingerprint, Guarantee, Message, MessageId, Plan, Target};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Starts with one stream, whose lane is strict or not by its route's guarantee.
    fn start(&self, guarantee: &str) -> House {
        let file = self.folder.path().join("routes.toml");
        let data = self.folder.path().join("data");
        let text = format!(
            "version = 1\n[gateway]\ndata_dir = {data:?}\n[listen]\nhttp = \"127.0.0.1:0\"\n\
             [destinations.inbox]\ntype = \"stream\"\n\
             [[routes]]\nname = \"all\"\ntopic = \"#\"\n\
             to = [{{ destination = \"inbox\", guarantee = \"{guarantee}\" }}]\n"
        );
        std::fs::write(&file, text).expect("the test's folder is writable");
        let sources = Sources {
            file,
            environment: Vec::new(),
            flags: Vec::new(),
        };
        let (settings, _) = config::load(&sources).expect("the file is right");
        open(&settings, &Clock::system(), Arc::default()).expect("it opens")
    }
}

fn submission(house: &House, id: &str, guarantee: Guarantee) -> Submission {
    let shared = house.journal.shared();
    let (lane, route) = shared.read_catalog(|catalog| {
        let lane = catalog.lane_named("inbox").expect("is interned").id;
        (lane, catalog.route_named("all").expect("is interned").id)
    });
    let envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "a".into(),
        id: MessageId::Publisher(id.into()),
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Ok("payload".into()),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let identity = fingerprint::Identity {
        principal: Some("anonymous"),
        topic: Some("a"),
        id,
    };
    let fingerprint = Fingerprint {
        key: shared.hasher.fingerprint(identity),
        content: shared.hasher.content(&envelope),
        derived: false,
    };
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: std::time::Duration::ZERO,
        targets: vec![Target::to(route, lane, guarantee)],
    };
    Submission::new(Arc::new(Message { envelope, plan }), Some(fingerprint))
}

/// Accepts one message, which nobody settles: its position.
fn accept(house: &mut House, id: &str, guarantee: Guarantee) -> Position {
    let mut queue = VecDeque::from([submission(house, id, guarantee)]);
    let shared = Arc::clone(house.journal.shared());
    for lane in shared.lanes() {
        let limit = std::sync::atomic::Ordering::Relaxed;
        lane.backlog_bytes.store(u64::MAX, limit);
    }
    let mut step = house.journal.step(&mut queue, &mut VecDeque::new());
    let answer = step.answers.pop().expect("there is room for it");
    answer.expect("it is accepted").position
}

fn modes(house: &House) -> (Mode, Vec<(Mode, Position)>) {
    let mut inbox = house.destinations.iter().filter(|d| &*d.name == "inbox");
    let inbox = inbox.next().expect("is configured");
    (inbox.lane.mode, inbox.changes.clone())
}

/// Promise 5: the mode changes only when the lane owes nothing of the old one, however often it
/// is started until then.
#[test]
fn the_barrier_of_a_change_of_mode_outlives_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { folder };
    let mut house = place.start("at_least_once");
    assert_eq!(modes(&house), (Mode::Keyed, vec![]));
    let first = accept(&mut house, "keyed", Guarantee::AtLeastOnce);
    drop(house);

    let mut house = place.start("exactly_once");
    let barrier = Position(first.0 + 1);
    assert_eq!(modes(&house), (Mode::Keyed, vec![(Mode::Strict, barrier)]));
    let second = accept(&mut house, "strict", Guarantee::ExactlyOnce);
    assert_eq!(second, barrier);
    drop(house);

    let mut house = place.start("exactly_once");
    assert_eq!(
        modes(&house),
        (Mode::Keyed, vec![(Mode::Strict, barrier)]),
        "what was accepted as strict is to be settled as strict"
    );
    accept(&mut house, "strict too", Guarantee::ExactlyOnce);
    drop(house);

    let house = place.start("at_least_once");
    let back = Position(second.0 + 2);
    let changes = vec![(Mode::Strict, barrier), (Mode::Keyed, back)];
    assert_eq!(modes(&house), (Mode::Keyed, changes));
}

/// Nothing owed: nothing waits.
#[test]
fn the_mode_changes_at_once_while_nothing_is_owed() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { folder };
    for (guarantee, mode) in [
        ("at_least_once", Mode::Keyed),
        ("exactly_once", Mode::Strict),
        ("at_least_once", Mode::Keyed),
    ] {
        assert_eq!(modes(&place.start(guarantee)), (mode, vec![]));
    }
}
