use super::*;
use crate::clock::{Clock, Wall};
use crate::journal::tests::house;
use crate::log::disk::RealDisk;

/// A short batch behind a long one must not overtake it: whose answer it is hangs on that.
#[test]
fn answers_of_a_mailbox_keep_their_order() {
    let mailbox = Arc::new(Mailbox::default());
    let mut replies = Replies::default();
    replies.push(Reply::Run(Run::new(&mailbox, 6)));
    let (sender, mut receipts) = mpsc::unbounded_channel();
    let accepted = |position| {
        Ok(crate::journal::Accepted {
            position: Position(position),
            original: None,
        })
    };
    for positions in [0..5, 5..6] {
        let step = Step {
            answers: positions.map(accepted).collect(),
            ..Step::default()
        };
        send(step, &mut replies, &sender);
    }
    while let Ok((batch, _)) = receipts.try_recv() {
        batch.into_iter().for_each(Outgoing::send);
    }
    let mut heard = VecDeque::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(mailbox.poll_take(&mut cx, &mut heard).is_ready());
    assert_eq!(heard, (0..6).map(accepted).collect::<VecDeque<Answer>>());
}

#[test]
fn above_its_limit_the_queue_refuses() {
    let dir = tempfile::tempdir().expect("temp dir");
    let house = house(dir.path(), &Clock::manual(Wall(1_000_000)));
    // Nobody takes anything of it.
    let handle = Handle {
        threads: Arc::new(Threads {
            queue: Mutex::default(),
            journal_wakes: Condvar::new(),
            keeper_wakes: Condvar::new(),
            settle_room: Notify::new(),
        }),
        shared: Arc::clone(house.journal.shared()),
        disk: Arc::new(RealDisk),
        faults: Faults::none(),
    };
    let submission = house.submission(None, "x");
    for _ in 0..MAX_QUEUED {
        let queued = handle.submit(submission.clone());
        assert!(queued.is_ok());
    }
    let refused = handle.submit(submission.clone()).err();
    assert_eq!(refused, Some(Refusal::Busy));
    drop(handle.threads.lock().publishes.pop_front());
    handle.threads.lock().replies.pop();
    // Of those that come together it takes what there is room for.
    let mut together = vec![submission.clone(); 3];
    let mailbox = Arc::new(Mailbox::default());
    let refused = handle.submit_all(&mut together, &mailbox);
    assert_eq!((refused, together.len()), (Err(Refusal::Busy), 2));
    assert_eq!(handle.threads.lock().replies.len(), MAX_QUEUED);

    // While steps have no room what waits doesn't grow behind the queue's back.
    let mut work = Work::default();
    for round in 0..3 {
        work.stalled = true;
        take_work(&handle.threads, &mut work);
        assert_eq!(work.publishes.len(), MAX_QUEUED, "round {round}");
        assert_eq!(work.replies.len(), MAX_QUEUED, "round {round}");
        while handle.submit(submission.clone()).is_ok() {}
    }
    assert_eq!(handle.threads.lock().publishes.len(), MAX_QUEUED);
}
