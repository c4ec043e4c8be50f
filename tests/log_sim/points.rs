//! Short histories, cut or failed at each call in turn.

use super::world::{End, Style, Trouble, World};
use super::{STYLES, seeds};
use std::io::ErrorKind;

const NO_TROUBLE: Trouble = Trouble {
    faults: false,
    full: false,
};
const STEPS: usize = 25;

fn world(seed: u64, style: Style) -> World {
    World::new(seed, style, NO_TROUBLE)
}

/// How many changes the undisturbed history makes. The first ones were made with the disk.
fn changes(seed: u64, style: Style) -> std::ops::Range<u64> {
    let mut world = world(seed, style);
    let first = world.disk.changes();
    world.recover();
    world.work(STEPS);
    first..world.disk.changes()
}

/// The history up to this change, and how its process ends there.
fn cut_at(seed: u64, style: Style, change: u64, draw: u64) -> World {
    let mut world = world(seed, style);
    world.disk.crash_at(change);
    world.recover();
    world.work(STEPS);
    world.rng = fastrand::Rng::with_seed(draw);
    world.end(if draw.is_multiple_of(3) {
        End::Kill
    } else {
        End::PowerCut
    });
    world
}

#[test]
fn the_power_goes_at_each_change() {
    for seed in seeds(4) {
        for style in STYLES {
            for change in changes(seed, style) {
                for draw in 0..6 {
                    cut_at(seed, style, change, draw).finish();
                }
            }
        }
    }
}

#[test]
fn the_power_goes_at_each_change_of_the_recovery() {
    for seed in seeds(4) {
        for style in STYLES {
            for change in changes(seed, style).step_by(7) {
                for draw in 0..6 {
                    let mut undisturbed = cut_at(seed, style, change, draw);
                    undisturbed.recover();
                    for at in 0..undisturbed.disk.changes() {
                        let world = cut_at(seed, style, change, draw);
                        world.disk.crash_at(at);
                        world.finish();
                    }
                }
            }
        }
    }
}

#[test]
fn each_change_fails() {
    for seed in seeds(4) {
        for style in STYLES {
            for change in changes(seed, style) {
                for error in [ErrorKind::Other, ErrorKind::StorageFull] {
                    let mut world = world(seed, style);
                    world.disk.fail_change(change, error);
                    world.recover();
                    world.work(STEPS);
                    world.end_anyhow();
                    world.finish();
                }
            }
        }
    }
}
