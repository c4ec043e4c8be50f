//! What the processes of a history do: append, prepare, index, checkpoint, retire, compact, read.

use super::model::{Model, Written};
use super::world::{Placed, Style, World, encode_checkpoint};
use causeway::clock::Wall;
use causeway::log::{
    AppendError, BATCH_HEADER_BYTES, Batch, Keep, RECORD_HEADER_BYTES, Record, Segment, Stamp,
    Urgency, compact, write_index,
};
use causeway::message::{Epoch, Position};
use std::sync::Arc;

impl World {
    fn body(&mut self) -> Vec<u8> {
        self.bodies += 1;
        let len = match self.rng.u8(0..10) {
            0 => 0,
            1 => self.rng.usize(0..5000),
            _ => self.rng.usize(0..300),
        };
        let mut body = self.bodies.to_le_bytes().to_vec();
        body.resize(8 + len, self.bodies as u8);
        body
    }

    pub fn append(&mut self, urgency: Urgency) {
        let first_position = self.model.next_position();
        let mut batch = Batch::new(self.log().end().position);
        let mut written = Written {
            first_position,
            records: Vec::new(),
        };
        for _ in 0..self.rng.usize(1..6) {
            let record = Record::new(self.body());
            let position = if self.rng.u8(0..5) == 0 {
                batch.push_unpositioned(&record);
                None
            } else {
                Some(batch.push(&record).0)
            };
            written.records.push((position, record.body().to_vec()));
        }
        self.clock_ms += self.rng.u64(1..400);
        let stamp = Stamp {
            running_ms: self.clock_ms,
            wall: Wall(1_000_000 + self.clock_ms),
            epoch: Epoch(1),
        };
        let (hits, changes) = (self.disk.faults_hit(), self.disk.changes());
        let bytes = batch.disk_bytes();
        let was_failed = self.log().failure().is_some();
        let fits = bytes <= self.log().room(urgency);
        let log = &mut self.run.as_mut().expect("a process runs").log;
        let result = log.append(&mut batch, stamp, urgency);
        let is_untouched = self.disk.changes() == changes;
        match result {
            Ok(_) if was_failed || !fits => self.fail("an append worked that mustn't"),
            Ok(appended) => {
                self.note(format!(
                    "batch {} at {}",
                    self.model.batch_count(),
                    appended.offset
                ));
                self.place(&written, appended.offset);
                self.model.acknowledge(written);
            }
            Err(AppendError::NoRoom) => {
                if fits || was_failed || !is_untouched {
                    self.fail("NoRoom, where there is room, or something was written");
                }
            }
            Err(AppendError::Failed(e)) if was_failed => {
                if !is_untouched {
                    self.fail(&format!("a failed log wrote: {e}"));
                }
            }
            Err(AppendError::Failed(e)) => {
                self.model.fail(written);
                if e.contains("no storage space") {
                    self.fail("an append needed space");
                }
                self.check_scripted(hits, "append", &e);
            }
        }
    }

    fn place(&mut self, written: &Written, offset: u64) {
        let records = written
            .records
            .iter()
            .map(|(_, body)| RECORD_HEADER_BYTES + body.len());
        let len = BATCH_HEADER_BYTES + records.sum::<usize>();
        let path = self.log().active().path.clone();
        let positions = written.first_position..written.end_position();
        self.placed.push(Placed {
            path,
            bytes: offset..offset + len as u64,
            positions,
        });
    }

    pub fn prepare(&mut self) {
        if self.log().shared().ready() >= 4 {
            return;
        }
        let hits = self.disk.faults_hit();
        let ready = self.log().shared().ready();
        let result = self.log().shared().prepare();
        let gained = self.log().shared().ready() - ready;
        match result {
            Ok(()) => self.note("prepared"),
            Err(e) => self.check_scripted(hits, "prepare", &e),
        }
        if gained > 1 {
            self.fail("prepare made more than one segment ready");
        }
    }

    /// All but the active one.
    fn sealed(&self) -> Vec<Arc<Segment>> {
        let mut segments = self.log().shared().segments();
        segments.pop();
        segments
    }

    /// Those that a durable checkpoint covers, or all if there are none.
    fn covered(&self) -> Vec<Arc<Segment>> {
        let mut sealed = self.sealed();
        if self.style == Style::Journal {
            let segment = self.checkpoint.1.map_or(0, |c| c.segment);
            sealed.retain(|s| s.header.last_seq < segment);
        }
        sealed
    }

    pub fn write_index(&mut self) {
        let sealed = self.sealed();
        if sealed.is_empty() {
            return;
        }
        let segment = &sealed[self.rng.usize(0..sealed.len())];
        let blob = vec![7; self.rng.usize(0..3000)];
        let hits = self.disk.faults_hit();
        match write_index(&self.disk, segment, &blob) {
            Ok(()) => self.note(format!("index of {}", segment.path.display())),
            Err(e) => self.check_scripted(hits, "write_index", &e),
        }
    }

    pub fn write_checkpoint(&mut self) {
        let cursor = self.log().end();
        let number = self.attempts.last().map_or(self.checkpoint.0, |a| a.0) + 1;
        let content = encode_checkpoint(number, &cursor, self.rng.usize(0..6000));
        let hits = self.disk.faults_hit();
        let run = self.run.as_mut().expect("a process runs");
        let Some(checkpoints) = &mut run.checkpoints else {
            return;
        };
        match checkpoints.write(&content) {
            Ok(()) => {
                self.checkpoint = (number, Some(cursor));
                self.attempts.clear();
                self.note(format!("checkpoint {number} at {cursor:?}"));
            }
            Err(e) if e.to_string().contains("earlier checkpoint write failed") => {}
            Err(e) => {
                self.attempts.push((number, cursor));
                self.check_scripted(hits, "checkpoint", &e);
            }
        }
    }

    pub fn retire(&mut self) {
        let mut gone = self.covered();
        gone.truncate(self.rng.usize(0..=gone.len()));
        for segment in &gone {
            let (first, end) = segment.with_extent(|e| (e.first_position.0, e.end_position.0));
            self.model.release(first..end);
        }
        let names: Vec<_> = gone.iter().map(|s| s.path.display().to_string()).collect();
        let hits = self.disk.faults_hit();
        match self.log().shared().retire(&gone) {
            Ok(()) => self.note(format!("retired {names:?}")),
            Err(e) => self.check_scripted(hits, &format!("retire {names:?}"), &e),
        }
    }

    pub fn compact(&mut self) {
        let covered = self.covered();
        if covered.is_empty() {
            return;
        }
        let from = self.rng.usize(0..covered.len());
        let to = self.rng.usize(from..covered.len().min(from + 3));
        let run = covered[from..=to].to_vec();
        drop(covered);
        let (drops_all, says_instead) = (self.rng.u8(0..4) == 0, self.rng.bool());
        for segment in &run {
            let (first, end) = segment.with_extent(|e| (e.first_position.0, e.end_position.0));
            for position in first..end {
                if drops_all || self.rng.bool() {
                    self.model.release([position]);
                }
            }
        }
        let names: Vec<_> = run.iter().map(|s| s.path.display().to_string()).collect();
        let hits = self.disk.faults_hit();
        let mut keep = Unsettled {
            model: &self.model,
            says_instead,
            wrong: None,
        };
        let result = compact(self.log().shared(), &run, &mut keep);
        if let Some(wrong) = keep.wrong {
            self.fail(&wrong);
        }
        match result {
            Ok(new) => self.note(format!("compacted {names:?}, left: {}", new.is_some())),
            Err(e) => self.check_scripted(hits, &format!("compact {names:?}"), &e),
        }
    }

    pub fn drop_spares(&mut self) {
        let hits = self.disk.faults_hit();
        match self.log().shared().drop_spares() {
            Ok(()) => self.note("dropped spares"),
            Err(e) => self.check_scripted(hits, "drop_spares", &e),
        }
    }

    pub fn read_all(&mut self) {
        let reader = self.log().reader();
        if let Err(e) = self.model.check_all(&reader) {
            self.accept_read_error(&e);
        }
    }

    pub fn read_some(&mut self) {
        let end = self.model.next_position();
        // The position after the last may be one whose append failed.
        for position in [self.rng.u64(0..=end), end] {
            let got = self.log().reader().read(Position(position));
            let judged = match &got {
                Ok(got) => self.model.check_read(position, got.as_ref()),
                Err(e) => Err(e.to_string()),
            };
            if let Err(e) = judged {
                self.accept_read_error(&e);
            }
        }
    }
}

/// Keeps what the model doesn't say is released.
struct Unsettled<'a> {
    model: &'a Model,
    says_instead: bool,
    wrong: Option<String>,
}

impl Keep for Unsettled<'_> {
    fn keeps(&mut self, position: Position, body: &[u8]) -> bool {
        if self.model.body(position.0) != Some(body) {
            self.wrong = Some(format!("compaction was shown another body at {position}"));
        }
        !self.model.is_released(position.0)
    }

    fn instead(&mut self) -> Vec<Record> {
        let record = || Record::new(b"what was dropped".to_vec());
        self.says_instead.then(record).into_iter().collect()
    }
}
