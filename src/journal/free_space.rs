//! Who stops first when the disk runs full. One rule, by numbers; no I/O.
//!
//! From the first to the last, each leaving room for those below it (m is the smallest segment):
//!
//! | who | goes on while the disk has |
//! | --- | --- |
//! | publishes | what compaction needs and what streams leave, and room for all that streams are owed |
//! | streams: a segment ahead of need | 4 m after it |
//! | streams: a segment that is needed | 2 m after it |
//! | dead-letter logs: a segment beyond their reserve | m after it |
//! | the journal's settlements, compaction, index files, checkpoints | anything |
//!
//! So what was accepted is delivered and settled while publishes are refused.

use crate::log::SEGMENT_HEADER_BYTES;

/// What a record has in a stream and not in the journal, at most: names, ids, a batch of its own.
const STREAM_RECORD_EXTRA_BYTES: u64 = 256;

/// What a lane owes to a sink on this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Deliveries.
    pub owed: u64,
    pub owed_bytes: u64,
    /// What it takes without more of the disk.
    pub room_bytes: u64,
}

/// The journal's segments, as far as the rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSizes {
    /// Of the next one that is made from nothing.
    pub next_bytes: u64,
    /// Of the largest there is.
    pub largest_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct FreeSpace {
    min_segment_bytes: u64,
    least_bytes: u64,
}

impl FreeSpace {
    /// For a journal and streams whose smallest segment has this size. Publishes are refused below
    /// `least_bytes` in any case.
    #[must_use]
    pub const fn new(min_segment_bytes: u64, least_bytes: u64) -> Self {
        Self {
            min_segment_bytes,
            least_bytes,
        }
    }

    /// Enough for a segment of settlements.
    #[must_use]
    pub const fn dead_letters_leave(self) -> u64 {
        self.min_segment_bytes
    }

    /// One more: for compaction, and the reserves of dead-letter logs.
    #[must_use]
    pub const fn streams_leave(self) -> u64 {
        2 * self.min_segment_bytes
    }

    /// Publishes are accepted while so much is free.
    #[must_use]
    pub fn accepting_needs(
        self,
        segments: SegmentSizes,
        sinks: impl IntoIterator<Item = Sink>,
    ) -> u64 {
        let for_sinks = sinks
            .into_iter()
            .map(|sink| self.sink_needs(sink, segments.next_bytes))
            .fold(0, u64::saturating_add);
        let compaction = compaction_bytes(segments).max(self.min_segment_bytes);
        let needed = (self.dead_letters_leave() + compaction).saturating_add(for_sinks);
        needed.max(self.least_bytes)
    }

    /// What a sink has still to take of the disk, in whole segments, for what it is owed and for
    /// what may be accepted until the housekeeper looks again.
    fn sink_needs(self, sink: Sink, accepted_meanwhile: u64) -> u64 {
        let extra = sink.owed.saturating_mul(STREAM_RECORD_EXTRA_BYTES);
        let owed = sink.owed_bytes.saturating_add(extra);
        // A record may be half a segment: then up to half of each stays empty.
        let owed = owed.saturating_mul(2).saturating_add(accepted_meanwhile);
        let missing = owed.saturating_sub(sink.room_bytes);
        let in_each = self
            .min_segment_bytes
            .saturating_sub(SEGMENT_HEADER_BYTES)
            .max(1);
        missing
            .div_ceil(in_each)
            .saturating_mul(self.min_segment_bytes)
    }

    /// What compaction may put into one new segment. Half of what is free: it is only an estimate
    /// that it has to go by, and others write meanwhile.
    #[must_use]
    pub fn compaction_target(self, segments: SegmentSizes, free_bytes: u64) -> u64 {
        let wanted = segments.next_bytes.max(compaction_bytes(segments));
        wanted.min(free_bytes / 2)
    }
}

/// A segment is rewritten once no more than half of it is needed.
const fn compaction_bytes(segments: SegmentSizes) -> u64 {
    segments.largest_bytes / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 4 << 20;
    const RULE: FreeSpace = FreeSpace::new(M, 3 * M);

    const fn segments(next: u64, largest: u64) -> SegmentSizes {
        SegmentSizes {
            next_bytes: next * M,
            largest_bytes: largest * M,
        }
    }

    const fn sink(owed: u64, room: u64) -> Sink {
        Sink {
            owed,
            owed_bytes: owed * M,
            room_bytes: room * M,
        }
    }

    #[test]
    fn each_leaves_room_for_those_after_it() {
        assert!(RULE.dead_letters_leave() > 0);
        assert!(RULE.streams_leave() > RULE.dead_letters_leave());
        for largest in [1, 2, 16] {
            let publishes = RULE.accepting_needs(segments(1, largest), []);
            assert!(publishes > RULE.streams_leave(), "{largest}");
        }
    }

    #[test]
    fn what_streams_are_owed_fits_before_they_stop() {
        for (owed, room) in [(0, 0), (0, 1), (1, 0), (7, 3), (100, 2)] {
            let needs = RULE.accepting_needs(segments(2, 2), [sink(owed, room), sink(owed, room)]);
            // Publishes stop at `needs`; what was owed and one more segment goes to both.
            let written = 2 * (owed + 2).saturating_sub(room) * M;
            assert!(needs - written >= RULE.streams_leave(), "{owed} {room}");
        }
    }

    #[test]
    fn a_sink_elsewhere_needs_nothing_here() {
        let elsewhere = Sink {
            owed: 1 << 30,
            owed_bytes: 1 << 40,
            room_bytes: u64::MAX,
        };
        assert_eq!(RULE.accepting_needs(segments(1, 1), [elsewhere]), 3 * M);
    }

    #[test]
    fn a_sink_takes_whole_segments() {
        // Its own rest takes what may come until the next look, but for the header.
        let fresh = Sink {
            owed: 0,
            owed_bytes: 0,
            room_bytes: M - SEGMENT_HEADER_BYTES,
        };
        assert_eq!(RULE.accepting_needs(segments(1, 1), [fresh]), (2 + 1) * M);
        let level = Sink {
            room_bytes: M,
            ..fresh
        };
        assert_eq!(RULE.sink_needs(level, M), 0);
        // Many small ones take more of a stream than of the journal.
        let small = Sink {
            owed: M / 256,
            owed_bytes: M / 4,
            room_bytes: M,
        };
        assert_eq!(RULE.sink_needs(small, M), 3 * M);
    }

    #[test]
    fn large_segments_need_room_to_be_compacted() {
        assert_eq!(RULE.accepting_needs(segments(16, 16), []), (1 + 8) * M);
        assert_eq!(RULE.compaction_target(segments(1, 16), 1 << 40), 8 * M);
        assert_eq!(RULE.compaction_target(segments(16, 1), 1 << 40), 16 * M);
        // At the point where publishes stop a half-empty segment of the usual sizes can go.
        assert_eq!(RULE.compaction_target(segments(1, 2), 3 * M), M);
        assert_eq!(RULE.compaction_target(segments(1, 1), 1000), 500);
    }

    #[test]
    fn nothing_overflows() {
        let endless = Sink {
            owed: u64::MAX,
            owed_bytes: u64::MAX,
            room_bytes: 0,
        };
        let needs = RULE.accepting_needs(segments(1, 1), [endless, endless]);
        assert_eq!(needs, u64::MAX);
    }
}
