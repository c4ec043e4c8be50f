//! Random histories of a lane against what a lane promises, and single cases by name.

mod cases;
mod checks;
mod circuit;
mod world;

use crate::faults::Faults;
use world::{Shape, World};

const HISTORIES: u64 = 2000;

/// Runs one history; what it broke, with the seed.
fn run(seed: u64, faults: Faults) -> Result<(), String> {
    let mut world = World::new(seed, faults);
    let broken = |what| format!("seed {seed}: {what}");
    world.live().map_err(broken)?;
    world
        .finish()
        .map_err(|what| format!("seed {seed}, at the end: {what}"))
}

#[test]
fn random_histories_keep_every_promise() {
    for seed in 0..HISTORIES {
        run(seed, Faults::none()).unwrap_or_else(|what| panic!("{what}"));
    }
}

/// The histories are worth something only if they visit the places that matter.
#[test]
fn random_histories_go_everywhere() {
    let mut seen = checks::Seen::default();
    for seed in 0..600 {
        let mut world = World::new(seed, Faults::none());
        world.live().expect("kept, as the test above shows");
        world.finish().expect("kept, as the test above shows");
        seen.add(&world);
    }
    let never = seen.never();
    assert!(never.is_empty(), "never happened: {never:?}");
}

#[cfg(feature = "faults")]
#[test]
fn planted_faults_are_seen() {
    use crate::faults::Fault;
    for (fault, word) in [
        (Fault::SettleBeforeDelivery, "not delivered"),
        (Fault::ReorderOnRetry, "before its"),
    ] {
        let first = (0..100).find_map(|seed| run(seed, Faults::only(fault)).err());
        let what = first.unwrap_or_else(|| panic!("{fault} was not seen in 100 histories"));
        assert!(what.contains(word), "{fault}: {what}");
    }
}

/// Whatever the fault, the histories see it soon, and they see nothing of those that sit elsewhere.
#[cfg(feature = "faults")]
#[test]
fn faults_of_other_rooms_change_nothing_here() {
    use crate::faults::Fault;
    for fault in [Fault::AckBeforeFsync, Fault::DropWhenFull, Fault::ForgetId] {
        for seed in 0..100 {
            run(seed, Faults::only(fault)).unwrap_or_else(|what| panic!("{fault}: {what}"));
        }
    }
}

#[test]
fn histories_are_reproducible() {
    let trace = |seed| {
        let mut world = World::new(seed, Faults::none());
        world.live().expect("kept, as the test above shows");
        world.trace
    };
    for seed in [1, 77, 4242] {
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(trace(1), trace(77));
}

/// Small shapes and large ones: see `Shape`.
#[test]
fn a_shape_has_room_for_its_largest_delivery() {
    for seed in 0..200 {
        let shape = Shape::random(&mut fastrand::Rng::with_seed(seed));
        assert!(shape.limits.memory_count >= 4 && shape.limits.keys >= 2);
    }
}
