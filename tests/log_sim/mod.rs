//! The log under everything that a disk can do to it, against a plain model. Promises 2 and 11.

mod model;
mod points;
mod rot;
mod steps;
mod world;

use world::{Style, Trouble, World};

const STYLES: [Style; 3] = [
    Style::Journal,
    Style::Stream {
        skip_indexed: false,
    },
    Style::Stream { skip_indexed: true },
];

/// `CAUSEWAY_SIM_SEED` plays one seed alone, `CAUSEWAY_SIM_SEEDS` as many as it says.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|s| s.parse::<u64>().expect(name))
    };
    match number("CAUSEWAY_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CAUSEWAY_SIM_SEEDS").unwrap_or(usual),
    }
}

fn play_all(usual: u64, trouble: Trouble) {
    for seed in seeds(usual) {
        for style in STYLES {
            World::new(seed, style, trouble).play(4, 40);
        }
    }
}

#[test]
fn histories_with_power_cuts_and_kills_alone() {
    play_all(
        150,
        Trouble {
            faults: false,
            full: false,
        },
    );
}

#[test]
fn histories_with_failing_calls() {
    play_all(
        300,
        Trouble {
            faults: true,
            full: false,
        },
    );
}

#[test]
fn histories_on_a_disk_that_is_full_now_and_then() {
    play_all(
        150,
        Trouble {
            faults: false,
            full: true,
        },
    );
}

#[test]
fn histories_with_all_kinds_of_trouble() {
    play_all(
        300,
        Trouble {
            faults: true,
            full: true,
        },
    );
}
