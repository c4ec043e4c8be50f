use super::*;
use crate::egress::grpc::v1::deliver_response::Outcome;
use tokio::sync::oneshot::Receiver;

const TIMEOUT: Duration = Duration::from_secs(8);
const CALL: CallId = CallId(1);
const NEXT: CallId = CallId(2);

struct World {
    desk: Desk,
    now: Instant,
    told: Vec<Receiver<Verdict>>,
}

impl World {
    /// With so many that wait to be sent.
    fn with(count: u64) -> Self {
        let mut desk = Desk::new(TIMEOUT);
        desk.begin(CALL);
        let mut world = Self {
            desk,
            now: Instant::now(),
            told: Vec::new(),
        };
        world.push(count);
        world
    }

    fn push(&mut self, count: u64) {
        for _ in 0..count {
            let (tell, told) = oneshot::channel();
            let at = DeliveryId::new(self.told.len() as u64, 0);
            let delivery = v1::Delivery {
                position: at.position.0,
                ..v1::Delivery::default()
            };
            self.told.push(told);
            self.desk.push(vec![Item { at, delivery, tell }]);
        }
    }

    /// All that may be sent now: sequences and positions.
    fn send(&mut self, call: CallId) -> Vec<(u64, u64)> {
        let mut sent = Vec::new();
        while let Some(request) = self.desk.next(call, self.now, Wall(1500)) {
            sent.push((
                request.sequence,
                request.delivery.expect("it has one").position,
            ));
        }
        sent
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn answer(&mut self, call: CallId, sequence: u64) -> Result<(), String> {
        let answer = v1::DeliverResponse {
            sequence,
            outcome: Some(Outcome::Delivered(v1::Delivered {})),
        };
        self.desk.answered(call, answer, self.now)
    }

    /// Answers all of them after so long.
    fn answer_all(&mut self, sent: &[(u64, u64)], took: Duration) {
        self.pass(took);
        for (sequence, _) in sent {
            self.answer(CALL, *sequence).expect("it is open");
        }
    }

    fn verdict(&mut self, position: usize) -> Option<Verdict> {
        self.told[position].try_recv().ok()
    }

    fn kind(&mut self, position: usize) -> String {
        match self.verdict(position) {
            None => "pending".to_owned(),
            Some(verdict) => verdict.failure().map_or("delivered", |of| of.0).to_owned(),
        }
    }
}

#[test]
fn as_many_are_open_as_are_answered_soon() {
    let mut world = World::with(100_000);
    let (mut size, mut turns) = (0, 0);
    while size < MAX_WINDOW {
        let sent = world.send(CALL);
        assert!(
            size < sent.len() && sent.len() <= 2 * size.max(1),
            "{} after {size}",
            sent.len()
        );
        size = sent.len();
        world.answer_all(&sent, Duration::from_millis(1));
        turns += 1;
    }
    assert!(turns < 30, "{turns}");
    // Neither soon nor late.
    let sent = world.send(CALL);
    world.answer_all(&sent, TIMEOUT / 3);
    assert_eq!(world.send(CALL).len(), MAX_WINDOW);
    let late: Vec<(u64, u64)> = world.desk.open.keys().map(|n| (*n, 0)).collect();
    world.answer_all(&late, TIMEOUT * 3 / 4);
    assert_eq!(world.send(CALL).len(), 1, "all of them were late");
}

#[test]
fn one_that_takes_long_is_alone_and_waited_for() {
    let mut world = World::with(3);
    for n in 1..=3 {
        assert_eq!(world.send(CALL), [(n, n - 1)]);
        world.pass(TIMEOUT - Duration::from_millis(1));
        assert_eq!(world.desk.expire(world.now), None);
        world.answer(CALL, n).expect("it is open");
    }
}

#[test]
fn answers_come_in_any_order_and_once() {
    let mut world = World::with(1);
    let sent = world.send(CALL);
    world.answer_all(&sent, Duration::ZERO);
    world.push(2);
    assert_eq!(world.send(CALL), [(2, 1), (3, 2)]);
    world.answer(CALL, 3).expect("it is open");
    assert_eq!(world.verdict(2), Some(Verdict::Delivered));
    assert_eq!(world.verdict(1), None);
    for sequence in [3, 4, 0] {
        let why = world.answer(CALL, sequence).expect_err("it isn't open");
        assert!(why.contains(&format!("sequence {sequence}")), "{why}");
    }
    assert!(world.answer(NEXT, 2).is_err(), "it is another call's");
    world.answer(CALL, 2).expect("it is open");
}

#[test]
fn a_slow_one_is_given_up_and_may_be_answered_later() {
    let mut world = World::with(1);
    let sent = world.send(CALL);
    world.answer_all(&sent, Duration::ZERO);
    world.push(2);
    assert_eq!(world.send(CALL).len(), 2);
    assert_eq!(world.desk.deadline(), Some(world.now + TIMEOUT));
    world.pass(TIMEOUT / 2);
    world.answer(CALL, 3).expect("it is open");
    world.pass(TIMEOUT / 2);
    assert_eq!(world.desk.expire(world.now), None, "the others go on");
    assert_eq!(world.kind(1), "unknown");
    world.answer(CALL, 2).expect("late");
    assert!(world.answer(CALL, 2).is_err(), "twice");
}

#[test]
fn a_service_that_answers_nothing_more_is_left() {
    let mut world = World::with(2);
    world.send(CALL);
    world.pass(TIMEOUT);
    assert_eq!(world.desk.expire(world.now), Some(CALL));
    assert_eq!(world.kind(0), "pending", "whoever breaks the call tells it");
    world.desk.ended(CALL, End::broken("hung"), true);
    assert_eq!([world.kind(0), world.kind(1)], ["unknown", "retry"]);
    assert_eq!(world.desk.deadline(), None);
}

#[test]
fn one_that_leaves_out_too_many_is_left() {
    let mut world = World::with(100_000);
    let mut turns = 0;
    while world.desk.late.len() < MAX_LATE {
        turns += 1;
        assert!(turns < 100_000);
        let sent = world.send(CALL);
        world.pass(TIMEOUT / 8);
        // Of two the first is left out, and the second answered.
        let answered = sent.iter().filter(|(sequence, _)| sequence % 2 == 0);
        for (sequence, _) in answered {
            world.answer(CALL, *sequence).expect("it is open");
        }
        if world.desk.expire(world.now).is_some() {
            break;
        }
    }
    for _ in 0..100_000 {
        world.pass(TIMEOUT / 8);
        let Some(sequence) = world.desk.open.keys().next_back().copied() else {
            world.send(CALL);
            continue;
        };
        if world.desk.open.len() > 1 {
            world.answer(CALL, sequence).expect("it is open");
        }
        world.send(CALL);
        if world.desk.expire(world.now) == Some(CALL) {
            return;
        }
    }
    panic!("it is never left");
}

#[test]
fn what_never_left_goes_first_with_the_next_call() {
    let mut world = World::with(1);
    let sent = world.send(CALL);
    world.answer_all(&sent, Duration::ZERO);
    world.push(3);
    let first = world.desk.next(CALL, world.now, Wall(0)).expect("one");
    let second = world.desk.next(CALL, world.now, Wall(0)).expect("two");
    assert_eq!((first.sequence, second.sequence), (2, 3));
    world.desk.put_back([second].into());
    let course = world.desk.course(CALL);
    assert!(course.has_answered && course.was_alone);
    world.desk.ended(CALL, End::of_ok(course), true);
    assert_eq!(world.kind(1), "unknown");
    world.desk.begin(NEXT);
    assert_eq!(world.send(NEXT), [(4, 2)], "the one that was taken back");
    assert_eq!([world.kind(2), world.kind(3)], ["pending", "pending"]);
}

#[test]
fn suspects_go_alone() {
    let mut world = World::with(1);
    let sent = world.send(CALL);
    world.answer_all(&sent, Duration::ZERO);
    world.push(4);
    assert_eq!(world.send(CALL), [(2, 1), (3, 2)]);
    let status = tonic::Status::internal("it fell over");
    let end = End::of(&status, world.desk.course(CALL));
    world.desk.ended(CALL, end, true);
    assert_eq!([world.kind(1), world.kind(2)], ["unknown", "unknown"]);
    world.desk.begin(NEXT);
    // Two that nobody suspects, and the two again.
    for (at, position) in [(1, 5), (2, 6)] {
        let (tell, told) = oneshot::channel();
        world.told.push(told);
        assert_eq!(world.told.len() - 1, position);
        let delivery = v1::Delivery {
            position: at,
            ..v1::Delivery::default()
        };
        let at = DeliveryId::new(at, 0);
        world.desk.push(vec![Item { at, delivery, tell }]);
    }
    assert_eq!(world.send(NEXT), [(4, 3)]);
    world.answer(NEXT, 4).expect("open");
    assert_eq!(
        world.send(NEXT),
        [(5, 4)],
        "the next is a suspect: it waits"
    );
    world.answer(NEXT, 5).expect("open");
    assert_eq!(world.send(NEXT), [(6, 1)], "alone");
    world.answer(NEXT, 6).expect("open");
    assert_eq!(world.send(NEXT), [(7, 2)]);
    let large = tonic::Status::resource_exhausted("received message larger than max");
    let end = End::of(&large, world.desk.course(NEXT));
    world.desk.ended(NEXT, end, true);
    assert_eq!([world.kind(5), world.kind(6)], ["delivered", "reject"]);
    assert!(world.desk.suspects.is_empty());
}

#[test]
fn who_does_not_wait_any_more_is_not_sent() {
    let mut world = World::with(3);
    world.told.drain(..2);
    assert_eq!(world.send(CALL), [(1, 2)]);
}

#[test]
fn a_call_that_was_old_does_not_fail_what_waits() {
    let mut world = World::with(2);
    world.send(CALL);
    world.desk.begin(NEXT);
    world.desk.ended(CALL, End::broken("gone"), false);
    assert_eq!([world.kind(0), world.kind(1)], ["unknown", "pending"]);
    assert_eq!(world.send(NEXT).len(), 1);
}
