//! What one history is made of: sizes, limits and odds, small enough that everything happens soon.

use causeway::egress::KeyOrder;
use causeway::egress::stream::Retention;
use causeway::journal::WindowLimits;
use causeway::lane::{
    BreakerPolicy, LaneSettings, Limits, Mode, OnReject, RatePolicy, RetryPolicy,
};
use causeway::log::Sizes;
use causeway::message::LaneId;
use std::collections::HashMap;
use std::time::Duration;

/// Lanes by their number in the journal's catalog.
pub const DOOR: LaneId = LaneId(0);
/// To an embedded stream, order by key.
pub const STREAM: LaneId = LaneId(1);
/// To an embedded stream that exactly-once targets made strict.
pub const STRICT: LaneId = LaneId(2);
/// To a destination that fails now and then.
pub const FAULTY: LaneId = LaneId(3);
/// To one that also hangs for ever.
pub const HANGING: LaneId = LaneId(4);
pub const LANES: usize = 5;
pub const LANE_NAMES: [&str; LANES] = ["$door", "stream", "strict", "faulty", "hanging"];

/// What the disk does to a history besides power cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Calls fail now and then.
    pub failing: bool,
    /// The disk is full now and then.
    pub full: bool,
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub sizes: Sizes,
    pub max_bytes: u64,
    pub keep_free_bytes: u64,
    pub window: WindowLimits,
    /// Each sync of the journal.
    pub sync_takes: Duration,
    /// How many identities publishers use, in each of two topics.
    pub ids: u8,
    pub keys: u8,
    /// Publishes at once, at most.
    pub burst: u8,
    /// Of the payloads that are large.
    pub large_bytes: usize,
    /// By lane.
    pub backlog_bytes: [u64; LANES],
    /// Percent of the attempts at the faulty destinations.
    pub failures: u8,
    pub hangs: bool,
    pub key_order: KeyOrder,
    pub on_reject: OnReject,
    pub give_up_after: Duration,
    /// Of the streams: smaller than some records.
    pub stream_segment_bytes: u64,
    pub retention: Retention,
    pub breaker: BreakerPolicy,
    pub rate: Option<RatePolicy>,
    pub batch_time: Duration,
    pub limits: Limits,
    pub processes: usize,
    pub steps: usize,
}

impl Shape {
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let min = [8, 12, 16, 32][rng.usize(..4)] * 1024;
        let max = min << rng.u32(0..3);
        Self {
            sizes: Sizes {
                min_segment_bytes: min,
                max_segment_bytes: max,
                reserve_segments: rng.usize(1..3),
            },
            max_bytes: if rng.u8(..5) == 0 { max * 8 } else { max * 100 },
            keep_free_bytes: min * 3,
            window: WindowLimits {
                window: Duration::from_millis(rng.u64(2_000..60_000)),
                max_entries: if rng.u8(..5) == 0 {
                    rng.usize(3..12)
                } else {
                    1000
                },
            },
            ids: rng.u8(2..12),
            keys: rng.u8(1..6),
            burst: [3, 6, 20][rng.usize(..3)],
            sync_takes: Duration::from_millis(if rng.bool() { 0 } else { rng.u64(1..1_500) }),
            // With its plan a record is at most half of what the smallest segment takes.
            large_bytes: rng.usize(400..(min as usize - 4096) / 3),
            backlog_bytes: std::array::from_fn(|_| match rng.u8(..3) {
                0 => rng.u64(2_000..20_000),
                _ => 1 << 30,
            }),
            failures: rng.u8(0..60),
            hangs: rng.bool(),
            key_order: [
                KeyOrder::OneAtATime,
                KeyOrder::PrefixPerKey,
                KeyOrder::Pipelined,
            ][rng.usize(..3)],
            on_reject: if rng.u8(..4) == 0 {
                OnReject::Block
            } else {
                OnReject::Skip
            },
            give_up_after: Duration::from_millis(rng.u64(500..60_000)),
            stream_segment_bytes: ([8, 16, 32][rng.usize(..3)] * 1024).min(min),
            retention: Retention {
                max_bytes: (rng.u8(..3) == 0).then(|| rng.u64(10_000..80_000)),
                max_age: None,
            },
            breaker: BreakerPolicy {
                failures: rng.u32(1..8),
                probe_every: Duration::from_millis(rng.u64(10..4_000)),
            },
            rate: (rng.u8(..4) == 0).then(|| RatePolicy {
                per_second: rng.u32(5..100),
                burst: rng.u32(1..20),
            }),
            batch_time: Duration::from_millis([0, 0, rng.u64(1..2_000)][rng.usize(..3)]),
            limits: limits(rng),
            processes: rng.usize(2..6),
            steps: rng.usize(20..300),
        }
    }

    pub fn settings(&self, lane: LaneId) -> LaneSettings {
        LaneSettings {
            lane,
            mode: if lane == STRICT {
                Mode::Strict
            } else {
                Mode::Keyed
            },
            key_order: match lane {
                STREAM | STRICT => KeyOrder::PrefixPerKey,
                _ => self.key_order,
            },
            on_reject: self.on_reject,
            on_reject_of: HashMap::new(),
            retry: RetryPolicy {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(3),
                give_up_after: self.give_up_after,
            },
            breaker: self.breaker,
            rate: self.rate,
            batch_time: self.batch_time,
            limits: self.limits,
            volatile: false,
        }
    }
}

fn limits(rng: &mut fastrand::Rng) -> Limits {
    Limits {
        batch_count: rng.usize(1..12),
        batch_bytes: rng.u64(200..6_000),
        flights: rng.usize(1..4),
        memory_count: rng.usize(4..40),
        memory_bytes: rng.u64(1_000..40_000),
        keys: rng.usize(2..10),
        retrying: rng.usize(2..20),
        parked_bytes: rng.u64(700..8_000),
    }
}
