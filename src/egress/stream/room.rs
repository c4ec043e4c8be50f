//! Room: segments made ready before they are needed, limits asked before anything is written, and
//! retention.

use super::StreamLog;
use super::error::StreamError;
use crate::clock::Wall;
use crate::log::{LogKind, Segment, Urgency};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A log is allowed so many segments whatever its limit: one that is written, and the next.
const LEAST_SEGMENTS: u64 = 2;

/// Why no segment was made ready.
enum Refused {
    /// There may be room later.
    NoRoom(String),
    Io(io::Error),
}

impl StreamLog {
    /// Sees to it that a batch of so many bytes fits. Whatever it takes of the disk it takes here,
    /// so that a full disk is met before the batch is written.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), StreamError> {
        // A recycled file may be too small; then the second is a new one.
        for _ in 0..2 {
            if bytes <= self.log.room(Urgency::Essential) {
                return Ok(());
            }
            self.discard_small()
                .map_err(Refused::Io)
                .and_then(|()| self.prepare(self.options.keep_free_bytes))
                .map_err(|refused| self.refuse(refused))?;
        }
        if bytes <= self.log.room(Urgency::Essential) {
            return Ok(());
        }
        Err(self.no_room(format!("no segment takes a batch of {bytes} bytes")))
    }

    /// What is ready and yet doesn't fit is from a time of smaller segments.
    fn discard_small(&self) -> io::Result<()> {
        let shared = self.log.shared();
        if shared.ready() == 0 {
            return Ok(());
        }
        shared.drop_spares()?;
        shared.discard_ready()
    }

    /// Makes one segment ready and leaves `keep_free` bytes of the disk to others.
    fn prepare(&self, keep_free: u64) -> Result<(), Refused> {
        let shared = self.log.shared();
        let wanted = shared.next_segment_bytes();
        let least = self.options.sizes.min_segment_bytes;
        if wanted > least && self.refusal(keep_free).is_some() {
            shared.set_next_segment_bytes(least);
        }
        if let Some(reason) = self.refusal(keep_free) {
            return Err(Refused::NoRoom(reason));
        }
        shared.prepare().map_err(|e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Refused::NoRoom(e.to_string()),
            _ => Refused::Io(e),
        })
    }

    /// Why no segment is to be made ready, if there is a reason. A file that was kept needs no room.
    fn refusal(&self, keep_free: u64) -> Option<String> {
        let shared = self.log.shared();
        if shared.has_fitting_spare() {
            return None;
        }
        let bytes = shared.next_segment_bytes();
        let total = shared.total_bytes();
        let least = LEAST_SEGMENTS * self.options.sizes.min_segment_bytes;
        if let Some(max_bytes) = self.options.max_bytes
            && total + bytes > max_bytes.max(least)
        {
            return Some(format!("it has {total} bytes of at most {max_bytes}"));
        }
        match self.disk.free_bytes(&self.options.dir) {
            Ok(free) if free < keep_free.saturating_add(bytes) => Some(format!(
                "the disk has {free} bytes free; a segment takes {bytes}, {keep_free} are kept free"
            )),
            Ok(_) => None,
            Err(e) => Some(format!("free space unknown: {e}")),
        }
    }

    /// An I/O error while a segment is made is as final as one while it is written: the same disk
    /// has both.
    fn refuse(&mut self, refused: Refused) -> StreamError {
        match refused {
            Refused::NoRoom(reason) => self.no_room(reason),
            Refused::Io(e) => {
                let reason = format!("cannot prepare a segment: {e}");
                self.failed = Some(reason.clone());
                self.failed(reason)
            }
        }
    }

    /// A dead-letter log has the next segment ready while it still can, so that dead letters fit
    /// when the disk is full later.
    pub(super) fn refill_reserve(&mut self, keep_free: u64) {
        if self.options.kind == LogKind::DeadLetters {
            self.try_prepare(keep_free);
        }
    }

    /// Tells who watches the disk what it takes without more of it.
    pub(super) fn tell_room(&self) {
        if let Some(told) = &self.options.room_told {
            let here = self.log.active().file_bytes - self.log.end().offset;
            let room = here + self.log.shared().ready_bytes();
            told.store(room, Ordering::Relaxed);
        }
    }

    /// Makes the next segment ready outside of any append, where the disk has room to spare. Call it
    /// after answering a batch.
    pub fn prepare_ahead(&mut self) {
        self.try_prepare(self.options.keep_free_bytes.saturating_mul(2));
        self.tell_room();
    }

    fn try_prepare(&mut self, keep_free: u64) {
        if self.log.shared().ready() > 0 || self.failure().is_some() {
            return;
        }
        if let Err(refused) = self.prepare(keep_free) {
            let error = self.refuse(refused);
            tracing::debug!(%error, "no segment is ready");
        }
    }

    /// Drops whole segments that are past the retention, oldest first; returns how many. Never one
    /// that reaches the mark, and never the last with records. A failure ends all trimming until
    /// the log is opened anew: trimming on would leave a gap in the files.
    pub fn retain(&mut self, now: Wall) -> usize {
        if self.trim_failed.is_some() || self.failure().is_some() {
            return 0;
        }
        let gone = self.outlived(now);
        if gone.is_empty() {
            return 0;
        }
        let before = self.log.shared().segments().len();
        if let Err(e) = self.log.shared().retire(&gone) {
            let dir = self.options.dir.display();
            tracing::error!(%dir, error = %e, "retention stopped until a restart");
            self.trim_failed = Some(e.to_string());
        }
        before - self.log.shared().segments().len()
    }

    fn outlived(&self, now: Wall) -> Vec<Arc<Segment>> {
        let segments = self.log.shared().segments();
        let mut bytes: u64 = segments.iter().map(|s| s.file_bytes).sum();
        let retention = self.options.retention;
        let mut gone = Vec::new();
        for segment in segments {
            let (end, wall) = segment.with_extent(|e| (e.end_position.0, Wall(e.wall_ms)));
            let needed = end > self.journal.mark || end >= self.next_offset();
            let too_many = retention.max_bytes.is_some_and(|max| bytes > max);
            let too_old = retention.max_age.is_some_and(|max| wall.plus(max) < now);
            if needed || !(too_many || too_old) {
                break;
            }
            bytes -= segment.file_bytes;
            gone.push(segment);
        }
        gone
    }
}
