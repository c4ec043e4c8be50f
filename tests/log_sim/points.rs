//! Short histories, cut or failed at each call in turn: random ones, and housekeeping alone.

use super::world::{End, Style, Trouble, World};
use super::{STYLES, seeds};
use std::io::ErrorKind;

const NO_TROUBLE: Trouble = Trouble {
    faults: false,
    full: false,
};
#[derive(Clone, Copy, Debug)]
enum Script {
    Random,
    Housekeeping,
}

impl Script {
    fn play(self, world: &mut World) {
        match self {
            Self::Random => world.work(25),
            Self::Housekeeping => world.keep_house(),
        }
    }
}

fn world(seed: u64, style: Style) -> World {
    World::new(seed, style, NO_TROUBLE)
}

/// How many changes the undisturbed history makes. The first ones were made with the disk.
fn changes(seed: u64, style: Style, script: Script) -> std::ops::Range<u64> {
    let mut world = world(seed, style);
    let first = world.disk.changes();
    world.recover();
    script.play(&mut world);
    first..world.disk.changes()
}

/// The history up to this change, and how its process ends there.
fn cut_at(seed: u64, style: Style, script: Script, change: u64, draw: u64) -> World {
    let mut world = world(seed, style);
    world.disk.crash_at(change);
    world.recover();
    script.play(&mut world);
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
            for change in changes(seed, style, Script::Random) {
                for draw in 0..6 {
                    cut_at(seed, style, Script::Random, change, draw).finish();
                }
            }
        }
    }
}

#[test]
fn the_power_goes_at_each_change_of_the_housekeeper() {
    for seed in seeds(8) {
        for change in changes(seed, Style::Journal, Script::Housekeeping) {
            for draw in 0..12 {
                cut_at(seed, Style::Journal, Script::Housekeeping, change, draw).finish();
            }
        }
    }
}

#[test]
fn the_power_goes_at_each_change_of_the_recovery() {
    for seed in seeds(4) {
        for style in STYLES {
            for change in changes(seed, style, Script::Random).step_by(7) {
                for draw in 0..6 {
                    let mut undisturbed = cut_at(seed, style, Script::Random, change, draw);
                    undisturbed.recover();
                    for at in 0..undisturbed.disk.changes() {
                        let world = cut_at(seed, style, Script::Random, change, draw);
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
            for change in changes(seed, style, Script::Random) {
                for error in [ErrorKind::Other, ErrorKind::StorageFull] {
                    let mut world = world(seed, style);
                    world.disk.fail_change(change, error);
                    world.recover();
                    Script::Random.play(&mut world);
                    world.end_anyhow();
                    world.finish();
                }
            }
        }
    }
}

#[test]
fn each_change_of_the_housekeeper_fails() {
    for seed in seeds(8) {
        for change in changes(seed, Style::Journal, Script::Housekeeping) {
            let mut world = world(seed, Style::Journal);
            world.disk.fail_change(change, ErrorKind::Other);
            world.recover();
            Script::Housekeeping.play(&mut world);
            world.end_anyhow();
            world.finish();
        }
    }
}
