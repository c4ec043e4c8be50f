use super::*;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

const LIMIT: usize = 1_000;

fn message(length: u32) -> Vec<u8> {
    let content = vec![7; length as usize];
    [&[0][..], &length.to_be_bytes(), &content].concat()
}

struct Call {
    data: mpsc::UnboundedSender<Vec<u8>>,
    body: Charged,
    arrived: Arrived,
    in_flight: InFlight,
}

fn call(silence: Silence) -> Call {
    let (data, mut sent) = mpsc::unbounded_channel();
    let stream = futures_util::stream::poll_fn(move |cx| sent.poll_recv(cx));
    let body = Body::from_stream(stream.map(Ok::<_, std::io::Error>));
    let (arrived, in_flight) = (Arrived::default(), InFlight::new(LIMIT));
    Call {
        data,
        body: Charged::new(body, arrived.clone(), in_flight.clone(), silence),
        arrived,
        in_flight,
    }
}

impl Call {
    fn send(&self, bytes: &[u8]) {
        self.data.send(bytes.to_vec()).expect("it is read");
    }

    async fn read(&mut self) -> Result<usize, Status> {
        let frame = self.body.frame().await.expect("no end");
        Ok(frame?.into_data().expect("data").len())
    }

    fn free(&self) -> usize {
        self.in_flight.semaphore().available_permits()
    }
}

#[tokio::test]
async fn each_message_takes_its_own_share() {
    let mut call = call(Silence::BetweenMessages);
    let all = [message(10), message(0), message(20)].concat();
    // Cut within a prefix.
    call.send(&all[..17]);
    call.send(&all[17..]);
    for length in [17, all.len() - 17] {
        assert_eq!(call.read().await.expect("room"), length);
    }
    assert_eq!(call.free(), LIMIT - all.len());
    let first = call.arrived.take(10, &call.in_flight).expect("it came");
    assert_eq!(first.num_permits(), 15);
    drop(first);
    drop(call.arrived.take(0, &call.in_flight));
    drop(call.arrived.take(20, &call.in_flight));
    assert_eq!(call.free(), LIMIT);
    assert!(call.arrived.is_empty());
}

/// Small messages get longer by being compressed: what they took on the way must come back, or a
/// stream eats the room of all, and counts as one that stopped in the middle of a message.
#[tokio::test(start_paused = true)]
async fn a_compressed_message_that_gets_shorter_gives_back_what_it_took() {
    let mut call = call(Silence::BetweenMessages);
    for _ in 0..100 {
        call.send(&message(40));
        call.read().await.expect("room");
        let share = call.arrived.take(10, &call.in_flight).expect("it came");
        assert_eq!((share.num_permits(), call.free()), (15, LIMIT - 15));
    }
    assert_eq!(call.free(), LIMIT);
    let silent = tokio::time::timeout(IDLE_LIMIT * 10, call.read()).await;
    assert!(silent.is_err(), "it may be silent between messages");
}

#[tokio::test]
async fn a_compressed_message_that_gets_longer_needs_more() {
    let mut call = call(Silence::BetweenMessages);
    call.send(&message(40));
    call.read().await.expect("room");
    let share = call.arrived.take(500, &call.in_flight).expect("room");
    assert_eq!((share.num_permits(), call.free()), (505, LIMIT - 505));
    call.send(&message(40));
    call.read().await.expect("room");
    let more = call.arrived.take(900, &call.in_flight);
    let status = more.expect_err("no room").status();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(share);
    assert_eq!(call.free(), LIMIT, "what is refused keeps nothing");
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_waits_a_moment() {
    let mut call = call(Silence::Never);
    let others = call.in_flight.take(LIMIT - 10).expect("free");
    call.send(&message(20));
    let asked = Instant::now();
    let status = call.read().await.expect_err("nobody makes room");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let took = asked.elapsed();
    assert!(
        (ROOM_PATIENCE..ROOM_PATIENCE * 2).contains(&took),
        "{took:?}"
    );
    let details = tonic_types::StatusExt::get_error_details(&status);
    let quota = details.quota_failure().expect("whose");
    assert_eq!(quota.violations[0].subject, "limits.in_flight_bytes");
    assert!(
        details
            .retry_info()
            .is_some_and(|r| r.retry_delay.is_some())
    );
    assert_eq!(details.error_info().expect("why").reason, "IN_FLIGHT_FULL");

    call.send(&message(20));
    let makes_room = async {
        tokio::time::sleep(ROOM_PATIENCE / 2).await;
        drop(others);
    };
    let (read, ()) = tokio::join!(call.read(), makes_room);
    assert_eq!(read.expect("room"), 25);
}

#[tokio::test(start_paused = true)]
async fn half_of_a_message_and_then_silence_is_given_up() {
    for silence in [Silence::Never, Silence::BetweenMessages] {
        let mut call = call(silence);
        call.send(&message(20)[..7]);
        call.read().await.expect("room");
        let asked = Instant::now();
        let status = call.read().await.expect_err("silent");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{silence:?}");
        let took = asked.elapsed();
        assert!((IDLE_LIMIT..IDLE_LIMIT * 2).contains(&took), "{took:?}");
        let Call {
            arrived,
            body,
            in_flight,
            ..
        } = call;
        drop((arrived, body));
        assert_eq!(in_flight.semaphore().available_permits(), LIMIT);
    }
    // A unary call that says nothing at all.
    let mut call = call(Silence::Never);
    let status = call.read().await.expect_err("silent");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}
