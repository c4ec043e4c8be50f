//! Bytes that change on the platter: damage in the middle refuses the start and says where; a
//! damaged tail is cut; nothing is ever silently missing.

use super::world::{DIR, End, Opened, Placed, Style, Trouble, World};
use super::{STYLES, seeds};
use causeway::log::{BATCH_HEADER_BYTES, Keep, OpenError, Record, Urgency, compact};
use causeway::message::Position;
use std::path::{Path, PathBuf};

const NO_TROUBLE: Trouble = Trouble {
    faults: false,
    full: false,
};

/// A log of a few segments, its process gone.
fn world(seed: u64, style: Style, checkpoint_after: Option<usize>) -> World {
    let mut world = World::new(seed, style, NO_TROUBLE);
    world.recover();
    for i in 0..40 {
        while world.log().shared().ready() < 3 {
            world.prepare();
        }
        world.append(Urgency::Normal);
        if checkpoint_after == Some(i) {
            world.write_checkpoint();
        }
    }
    assert!(world.log().shared().segments().len() > 2, "seed {seed}");
    world
}

fn flip(world: &mut World, path: &Path, bytes: std::ops::Range<u64>) -> u64 {
    let at = world.rng.u64(bytes);
    world.disk.rot(path, at, 1 << world.rng.u8(0..8));
    world.note(format!("byte {at} of {} rots", path.display()));
    at
}

fn content(world: &World) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let files = world.disk.files().into_iter();
    files
        .map(|(path, _)| (path.clone(), world.disk.durable(&path)))
        .collect()
}

#[test]
fn damage_in_the_middle_refuses_the_start_and_says_where() {
    for seed in seeds(60) {
        for style in STYLES {
            let mut world = world(seed, style, None);
            world.end(End::PowerCut);
            let i = world.rng.usize(0..world.placed.len() - 1);
            let (bad, after) = (world.placed[i].clone(), world.placed[i + 1].clone());
            flip(&mut world, &bad.path, bad.bytes.clone());
            let before = content(&world);
            match world.open().map(|o| o.recovered.log.end()) {
                Err(OpenError::Corrupt {
                    path,
                    offset,
                    good_until,
                    valid_from,
                }) => {
                    let found = (path, offset, good_until.0, valid_from.0);
                    let wanted = (
                        bad.path,
                        bad.bytes.start,
                        bad.positions.start,
                        after.positions.start,
                    );
                    assert_eq!(found, wanted, "seed {seed}, {style:?}");
                }
                other => world.fail(&format!("opening gave {other:?}")),
            }
            assert!(
                content(&world) == before,
                "seed {seed}: a refused start changed files"
            );
        }
    }
}

#[test]
fn a_damaged_tail_is_cut_and_reported() {
    for seed in seeds(60) {
        for style in STYLES {
            let mut world = world(seed, style, None);
            world.end_anyhow();
            let last = world.placed.last().expect("batches were written").clone();
            let at = flip(&mut world, &last.path, last.bytes.clone());
            world.model.forget_last();
            world.recover();
            let cut = world.cut.as_ref().map(|c| (c.path.clone(), c.offset));
            // Without its header a batch can't be told from what a file held in a former life.
            let has_header = at >= last.bytes.start + BATCH_HEADER_BYTES as u64;
            let wanted = has_header.then(|| (last.path.clone(), last.bytes.start));
            assert_eq!(cut, wanted, "seed {seed}, {style:?}");
            world.end(End::PowerCut);
            world.finish();
        }
    }
}

#[test]
fn a_damaged_segment_header_refuses_the_start() {
    for seed in seeds(30) {
        for style in STYLES {
            let mut world = world(seed, style, None);
            world.end(End::PowerCut);
            let i = world.rng.usize(0..world.placed.len());
            let path = world.placed[i].path.clone();
            flip(&mut world, &path, 0..64);
            let error = world.open().map(|o| o.recovered.log.end());
            let is_named = matches!(&error, Err(OpenError::Format { path: p, .. }) if *p == path);
            assert!(is_named, "seed {seed}, {style:?}: opening gave {error:?}");
        }
    }
}

#[test]
fn damage_that_touches_no_data_does_no_harm() {
    for seed in seeds(30) {
        for style in STYLES {
            let mut world = world(seed, style, None);
            world.end(End::PowerCut);
            let i = world.rng.usize(0..world.placed.len());
            let path = world.placed[i].path.clone();
            flip(&mut world, &path, 64..4096);
            world.finish();
        }
    }
}

/// A journal whose checkpoint stands in its last segment but one or further on.
fn checkpointed(seed: u64) -> World {
    let world = world(seed, Style::Journal, Some(38));
    let cursor = world.checkpoint.1.expect("a checkpoint was written");
    assert!(cursor.segment > 2, "seed {seed}");
    world
}

/// A batch of a segment that the checkpoint covers whole.
fn covered_batch(world: &mut World) -> Placed {
    let cursor = world.checkpoint.1.expect("a checkpoint was written");
    let log = world.log().shared();
    let covered: Vec<_> = log
        .segments()
        .into_iter()
        .filter(|s| s.header.last_seq < cursor.segment)
        .map(|s| s.path.clone())
        .collect();
    let batches: Vec<_> = world
        .placed
        .iter()
        .filter(|p| covered.contains(&p.path))
        .cloned()
        .collect();
    batches[world.rng.usize(0..batches.len())].clone()
}

#[test]
fn damage_before_the_checkpoint_in_its_segment_refuses_the_start() {
    for seed in seeds(30) {
        let mut world = checkpointed(seed);
        let cursor = world.checkpoint.1.expect("a checkpoint was written");
        world.end(End::PowerCut);
        let number = usize::try_from(cursor.batch).expect("few batches") - 1;
        let bad = world.placed[number].clone();
        flip(&mut world, &bad.path, bad.bytes.clone());
        let error = world.open().map(|o| o.recovered.log.end());
        let is_named =
            matches!(&error, Err(OpenError::BehindCheckpoint { path, .. }) if *path == bad.path);
        assert!(is_named, "seed {seed}: opening gave {error:?}");
    }
}

/// Nobody reads what a checkpoint covers at start if there is an index. When it is read: an error.
#[test]
fn damage_in_what_an_index_covers_shows_when_it_is_read() {
    for seed in seeds(30) {
        let mut world = checkpointed(seed);
        let bad = covered_batch(&mut world);
        for _ in 0..200 {
            world.write_index();
        }
        world.end(End::PowerCut);
        flip(&mut world, &bad.path, bad.bytes.clone());
        let opened = world.open();
        let Ok(Opened { recovered, .. }) = opened else {
            world.fail(&format!("opening gave {:?}", opened.err()));
        };
        let reader = recovered.log.reader();
        for position in bad.positions.clone() {
            let got = reader.read(Position(position));
            assert!(got.is_err(), "seed {seed}: position {position}: {got:?}");
        }
        let shared = recovered.log.shared();
        let segments = shared.segments();
        let hurt = segments
            .iter()
            .find(|s| s.path == bad.path)
            .expect("it is in the log");
        let compacted = compact(shared, std::slice::from_ref(hurt), &mut All);
        assert!(
            compacted.is_err(),
            "seed {seed}: compaction dropped what it couldn't read"
        );
        assert_eq!(shared.segments().len(), segments.len(), "seed {seed}");
    }
}

struct All;

impl Keep for All {
    fn keeps(&mut self, _: Position, _: &[u8]) -> bool {
        true
    }
    fn instead(&mut self) -> Vec<Record> {
        Vec::new()
    }
}

#[test]
fn damage_in_what_has_no_index_refuses_the_start() {
    for seed in seeds(30) {
        let mut world = checkpointed(seed);
        let bad = covered_batch(&mut world);
        world.end(End::PowerCut);
        flip(&mut world, &bad.path, bad.bytes.clone());
        let error = world.open().map(|o| o.recovered.log.end());
        let is_named = matches!(
            &error,
            Err(OpenError::Corrupt { path, offset, good_until, .. }) if *path == bad.path
                && *offset == bad.bytes.start && good_until.0 == bad.positions.start
        );
        assert!(is_named, "seed {seed}: opening gave {error:?}");
    }
}

#[test]
fn a_damaged_index_is_not_used() {
    for seed in seeds(30) {
        let mut world = checkpointed(seed);
        for _ in 0..60 {
            world.write_index();
        }
        world.end(End::PowerCut);
        let indexes: Vec<_> = world
            .disk
            .files()
            .into_iter()
            .filter(|(p, _)| p.extension() == Some("idx".as_ref()))
            .collect();
        let (path, len) = indexes[world.rng.usize(0..indexes.len())].clone();
        flip(&mut world, &path, 0..len);
        world.finish();
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    for seed in seeds(30) {
        let mut world = checkpointed(seed);
        let first = world.checkpoint;
        world.write_checkpoint();
        world.end(End::PowerCut);
        // The second generation is written to the first file.
        let path = Path::new(DIR).join("checkpoint.a");
        flip(&mut world, &path, 0..80);
        world.checkpoint = first;
        world.finish();
    }
}
