//! The figures of docs/BENCHMARKS.md: `cargo xtask bench [--small] [NAME]` prints its rows.
//!
//! What lives here: one function a figure, and how it is taken. Two rates are compared turn about,
//! in one run (`support::ratio`). What must not: pass or fail; a figure is read by people.

#[allow(
    dead_code,
    unused_imports,
    reason = "shared with the tests, which use the rest"
)]
mod support;

mod process;

use std::env;
use std::time::Instant;

/// One row of the table.
pub struct Row {
    pub what: String,
    pub figure: String,
    pub aim: &'static str,
}

/// A hundredth of the size, to see that a bench runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Full,
    Small,
}

impl Size {
    pub fn of(self, full: u64) -> u64 {
        match self {
            Self::Full => full,
            Self::Small => full.div_ceil(100),
        }
    }
}

type Bench = (&'static str, fn(Size) -> Vec<Row>);

const BENCHES: [Bench; 4] = [
    ("recovery-after-kill", process::recovery_after_kill),
    ("recovery-after-stop", process::recovery_after_stop),
    ("rss-ids", process::rss_ids),
    ("rss-stuck-key", process::rss_stuck_key),
];

fn main() {
    // Cargo adds `--bench`.
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let size = if args.iter().any(|arg| arg == "--small") {
        Size::Small
    } else {
        Size::Full
    };
    let name = args
        .iter()
        .find(|arg| !arg.starts_with("--"))
        .map_or("", String::as_str);
    let chosen: Vec<&Bench> = BENCHES
        .iter()
        .filter(|bench| bench.0.contains(name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.0).collect();
        eprintln!(
            "no bench is named {name:?}; there are: {}",
            names.join(", ")
        );
        std::process::exit(2);
    }
    println!("| bench | what | figure | aim |\n|---|---|---|---|");
    for (name, bench) in chosen {
        let started = Instant::now();
        for Row { what, figure, aim } in bench(size) {
            println!("| {name} | {what} | {figure} | {aim} |");
        }
        eprintln!("{name}: {size:?} size, {:.0?}", started.elapsed());
    }
}
