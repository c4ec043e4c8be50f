//! `causeway journal repair`: makes a damaged journal start again, without what can't be read.
//!
//! What lives here: what is damaged, what that loses, and the order of writes that repairs it.
//! What must not: finding whole batches (`log::salvage`), the ledgers' arithmetic.
//!
//! Positions never change and are never given twice. The journal keeps its uuid, by which streams
//! know what they hold of it: with a new one they would take everything again. So where it can't
//! be known which positions were given, `POSITION_GAP` of them are left out.

mod apply;
mod rebuild;
mod report;

pub use report::{RepairReport, Span};

use super::JournalError;
use super::snapshot::Snapshot;
use crate::log::disk::Disk;
use crate::log::salvage::{self, Survey, Surveyed};
use crate::log::{CheckpointCopy, Checkpoints, Cursor, LogKind, OpenError};
use crate::message::{LogUuid, Position};
use rebuild::Rebuild;
use roaring::RoaringTreemap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Left out after the highest known position if the end of the log is lost: a checkpoint is never
/// older than seconds, and nothing accepts so many messages in that time.
pub const POSITION_GAP: u64 = 1 << 28;

/// How to repair. The caller holds the data folder's lock.
pub struct RepairOptions {
    pub dir: PathBuf,
    /// Without it nothing is changed, and the report says what would be.
    pub accept_loss: bool,
    /// Of the one segment that is added.
    pub segment_bytes: u64,
    pub seed: u64,
}

/// Looks for damage, and with `accept_loss` repairs it. What isn't damage is an error: another
/// program's version, files of another journal, a disk that fails.
pub fn repair(disk: &Arc<dyn Disk>, options: &RepairOptions) -> Result<RepairReport, JournalError> {
    let dir = &options.dir;
    let copies = Checkpoints::inspect(&**disk, dir)?;
    let snapshot = newest(&copies, dir)?;
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut state = Rebuild::new(snapshot.as_ref(), rng.u128(..).to_le_bytes());
    let uuid = snapshot.as_ref().map(|s| s.uuid);
    let survey = salvage::survey(&**disk, dir, LogKind::Journal, uuid, &mut |file, found| {
        state.batch(file.last_seq, found);
    })?;
    let cursor = snapshot.as_ref().map(|s| s.cursor);
    let tail = Tail::of(&survey, cursor);
    let mut report = RepairReport::default();
    find_damage(&survey, &state, &copies, cursor, &tail, &mut report);
    find_losses(&survey, &mut state, cursor, &mut report);
    report.is_healthy = report.damage.is_empty();
    if report.is_healthy {
        return Ok(report);
    }
    let end = next_cursor(&survey, cursor, &tail);
    report.next_position = end.position.0;
    report.left_out = if tail.is_unknown { POSITION_GAP } else { 0 };
    report.checkpoint_is_lost = snapshot.is_none();
    report.has_new_uuid = survey.uuid.is_none();
    report.is_new_journal = survey.uuid.is_none() && !survey.has_batches();
    let uuid = survey.uuid.unwrap_or_else(|| LogUuid(rng.u128(..)));
    let charges = charges(&**disk, &survey, &state)?;
    let rebuilt = state.finish(&charges, uuid, end, survey.seen);
    let new = rebuilt.map_err(|e| JournalError::Record {
        dir: dir.clone(),
        detail: e.to_string(),
    })?;
    report.pending = new.pending();
    report.unnamed_lanes.clone_from(&new.unnamed_lanes);
    let changes = apply::Changes::new(&survey, &new.unreadable_segments, &copies);
    if options.accept_loss {
        report.kept_in = Some(changes.apply(disk, options, &survey, &new.snapshot)?);
        report.is_applied = true;
    }
    report.files = changes.names();
    Ok(report)
}

/// The newest checkpoint that can be read. One that a newer program wrote is no damage.
fn newest(copies: &[CheckpointCopy; 2], dir: &Path) -> Result<Option<Snapshot>, JournalError> {
    let readable = copies.iter().filter_map(|c| c.content.as_ref());
    let Some((_, bytes)) = readable.max_by_key(|(generation, _)| *generation) else {
        return Ok(None);
    };
    Snapshot::read(bytes, dir).map(Some)
}

/// What is known of the log's end.
struct Tail {
    /// The log ends before the checkpoint.
    is_behind: bool,
    /// Positions may have been given that no header tells of.
    is_unknown: bool,
}

impl Tail {
    fn of(survey: &Survey, cursor: Option<Cursor>) -> Self {
        let is_behind = cursor.is_some_and(|cursor| {
            let file = survey.files.iter().find(|f| f.last_seq == cursor.segment);
            file.is_none_or(|f| f.whole_until() < cursor.offset)
        });
        let data = survey.files.iter().rposition(|f| !f.whole.is_empty());
        let after = &survey.files[data.unwrap_or(0)..];
        let end_is_unread = after
            .iter()
            .any(|f| f.is_unreadable() || f.torn.as_ref().is_some_and(|torn| !torn.is_usual));
        let ends_behind = is_behind && cursor.is_some_and(|c| survey.end().0 < c.batch);
        Self {
            is_behind,
            is_unknown: ends_behind || end_is_unread,
        }
    }
}

fn find_damage(
    survey: &Survey,
    state: &Rebuild,
    copies: &[CheckpointCopy; 2],
    cursor: Option<Cursor>,
    tail: &Tail,
    report: &mut RepairReport,
) {
    let has_data = |f: &Surveyed| f.is_damaged() || !f.whole.is_empty();
    let has_batches = survey.files.iter().any(has_data);
    if cursor.is_none() && has_batches {
        report.damage.push("no checkpoint can be read".to_owned());
    }
    for copy in copies {
        if copy.content.is_none() && copy.file_bytes > 0 {
            let name = copy.path.display();
            report.notes.push(format!(
                "{name} can't be read: a power cut may leave one of the two so"
            ));
        }
    }
    let mut before = None;
    for file in &survey.files {
        let expected = before.replace(file.last_seq).map_or(0, |seq: u64| seq + 1);
        let must_be_there = cursor.is_some_and(|c| file.first_seq > c.segment);
        if expected > 0 && expected != file.first_seq {
            let last = file.first_seq - 1;
            let gap = format!("segments {expected} to {last} aren't there");
            if must_be_there {
                report.damage.push(gap);
            } else if cursor.is_none() {
                let note = format!("{gap}: given back, or lost; no checkpoint tells which");
                report.notes.push(note);
            }
        }
        report.file(file, apply::is_left_torn(file, cursor));
    }
    if tail.is_behind {
        report.damage.push(match cursor {
            Some(c) => format!(
                "the log ends before the checkpoint: {}, byte {}",
                c.segment, c.offset
            ),
            None => "the log ends before the checkpoint".to_owned(),
        });
    }
    report.damage.extend(state.problems.iter().cloned());
}

/// Positions whose records should be there and aren't: what is owed of them is settled as lost.
fn find_losses(
    survey: &Survey,
    state: &mut Rebuild,
    cursor: Option<Cursor>,
    report: &mut RepairReport,
) {
    let mut gone = RoaringTreemap::new();
    for range in &survey.missing {
        gone.insert_range(range.clone());
    }
    gone |= &state.unreadable;
    let mut lost = match cursor {
        // Accepted since then: what became of it is told by nothing but the log.
        Some(cursor) => {
            let end = known_end(survey).max(cursor.position.0);
            let mut since = RoaringTreemap::new();
            since.insert_range(cursor.position.0..end);
            since
        }
        None => gone.clone(),
    };
    lost -= &state.present;
    lost |= &(&state.owed_positions() - &state.present);
    gone -= &state.present;
    gone -= &lost;
    report.lost = Span::of(&lost);
    report.settled_and_gone = Span::of(&gone);
    report.discarded = state.lose(&report.lost);
    if report.damage.is_empty() && !lost.is_empty() {
        let count = lost.len();
        report
            .damage
            .push(format!("the records of {count} positions are nowhere"));
    }
    if report.damage.is_empty() && state.unowed > 0 {
        let count = state.unowed;
        report
            .damage
            .push(format!("{count} deliveries are settled that nobody owes"));
    }
}

/// The position after the last one that was given. What a crash left torn was given to nobody.
fn known_end(survey: &Survey) -> u64 {
    let mut torn = survey.files.iter().filter_map(|f| f.torn.as_ref());
    if torn.any(|torn| torn.is_usual) {
        survey.end().1
    } else {
        survey.seen.next_position
    }
}

/// Where the log goes on: in a segment of its own. It leaves one number out, so that nobody expects
/// its batches to follow those of the segment before.
fn next_cursor(survey: &Survey, cursor: Option<Cursor>, tail: &Tail) -> Cursor {
    let seen = &survey.seen;
    let from = cursor.unwrap_or(Cursor {
        segment: 0,
        offset: 0,
        batch: 0,
        position: Position(0),
        running_ms: 0,
        wall_ms: 0,
    });
    let gap = if tail.is_unknown { POSITION_GAP } else { 0 };
    Cursor {
        segment: survey.last_seq().max(from.segment) + 2,
        offset: crate::log::SEGMENT_HEADER_BYTES,
        batch: seen.next_batch.max(from.batch) + gap,
        position: Position(seen.next_position.max(from.position.0) + gap),
        running_ms: seen.running_ms.max(from.running_ms),
        wall_ms: seen.wall_ms.max(from.wall_ms),
    }
}

/// What each lane's backlog is to be charged: the records of what it owes.
fn charges(disk: &dyn Disk, survey: &Survey, state: &Rebuild) -> Result<Vec<u64>, OpenError> {
    let mut charges = state.no_charges();
    let uuid = survey.uuid;
    salvage::survey(
        disk,
        &survey.dir,
        LogKind::Journal,
        uuid,
        &mut |_, found| {
            state.charge(found, &mut charges);
        },
    )?;
    Ok(charges)
}

/// What a person can do about a journal that doesn't open.
#[must_use]
pub fn advice(error: &JournalError) -> Option<String> {
    use crate::log::FormatError;
    let repair = "`causeway journal repair` says what is damaged and what would be lost; with \
                  `--accept-loss` it makes the journal start without that, and keeps the damaged \
                  files aside. If the disk may recover, or there is a copy, try that first.";
    let text = match error {
        JournalError::Log(OpenError::Format {
            source: FormatError::Version { .. },
            ..
        })
        | JournalError::NewerCheckpoint { .. } => {
            "A newer version of causeway wrote it: use that one."
        }
        JournalError::Log(OpenError::ForeignSegment { .. }) => {
            "Files of two journals are in one folder: move those of the other one away."
        }
        JournalError::Log(OpenError::Io { .. })
        | JournalError::Io { .. }
        | JournalError::FirstCheckpoint { .. } => return None,
        JournalError::Log(
            OpenError::Format { .. }
            | OpenError::Corrupt { .. }
            | OpenError::Gap { .. }
            | OpenError::BehindCheckpoint { .. },
        )
        | JournalError::Checkpoint { .. }
        | JournalError::Record { .. } => repair,
    };
    Some(text.to_owned())
}
