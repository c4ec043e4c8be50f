//! `kill -9` in the middle of publishes from 50 clients that retry with the same ids, restarted
//! ten times: the stream holds every acknowledged id once.

use super::{ANSWER_LIMIT, full_size, insist, say, stream_ids};
use crate::support::process::{ALL_TO_INBOX, Gateway, plain_program, program};
use crate::support::wait::wait_for;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 50;
const KILLS: usize = 10;
const FULL_MESSAGES: usize = 100_000;
const SMALL_MESSAGES: usize = 5_500;
/// Between two kills.
const PROGRESS_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn every_acknowledged_id_is_in_the_stream_once() {
    let messages = if full_size() {
        FULL_MESSAGES
    } else {
        SMALL_MESSAGES
    };
    let program = plain_program().unwrap_or_else(program);
    let mut gateway = Gateway::new(&program, ALL_TO_INBOX);
    gateway.start().unwrap();
    let started = Instant::now();
    let acked = AtomicUsize::new(0);
    let mut kills_in_the_middle = 0;
    thread::scope(|scope| {
        for first in 0..CLIENTS {
            let mut client = gateway.client(ANSWER_LIMIT);
            let acked = &acked;
            scope.spawn(move || {
                for number in (first..messages).step_by(CLIENTS) {
                    let body = format!("message {number}");
                    insist(&mut client, "all/x", &number.to_string(), body.as_bytes());
                    acked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for kill in 1..=KILLS {
            wait_for_acks(&acked, messages * kill / (KILLS + 1));
            gateway.kill();
            kills_in_the_middle += usize::from(acked.load(Ordering::SeqCst) < messages);
            gateway.start().unwrap();
        }
    });
    assert_eq!(
        kills_in_the_middle, KILLS,
        "a kill came when all was acknowledged"
    );
    wait_until_delivered(&gateway, messages);
    let ids = stream_ids(&gateway, "inbox");
    let distinct: HashSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "doubles in the stream");
    let lost: Vec<usize> = (0..messages)
        .filter(|number| !distinct.contains(&number.to_string()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} acknowledged ids are lost: {lost:.0?}",
        lost.len()
    );
    assert_eq!(
        ids.len(),
        messages,
        "the stream holds what nobody published"
    );
    say(&format!(
        "shown by: {messages} publishes from {CLIENTS} clients, {KILLS} times kill -9 in the middle, \
         {:.1} s: every id once",
        started.elapsed().as_secs_f64()
    ));
}

fn wait_for_acks(acked: &AtomicUsize, target: usize) {
    wait_for(PROGRESS_LIMIT, || match acked.load(Ordering::SeqCst) {
        now if now < target => Err(format!("{target} acknowledged, not {now}")),
        _ => Ok(()),
    });
}

/// The acks say "stored"; the lane may need a moment more. What is missing after that is lost.
fn wait_until_delivered(gateway: &Gateway, messages: usize) {
    let deadline = Instant::now() + PROGRESS_LIMIT;
    while stream_ids(gateway, "inbox").len() < messages && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
}
