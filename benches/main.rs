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

mod bare;
mod broker;
mod child;
mod expressions;
mod grpc;
mod house;
mod http;
mod journal;
mod kafka;
mod log;
mod memory;
mod rabbitmq;
mod receipts;
mod recovery;
mod report;
mod routes;

use report::{Row, Size};
use std::env;
use std::time::Instant;

type Bench = (&'static str, fn(Size) -> Vec<Row>);

const BENCHES: [Bench; 13] = [
    ("log", log::log),
    ("journal", journal::journal),
    ("receipts", receipts::receipts),
    ("recovery-after-kill", recovery::after_kill),
    ("recovery-after-stop", recovery::after_stop),
    ("routes", routes::routes),
    ("http", http::http),
    ("grpc", grpc::grpc),
    ("kafka", kafka::kafka),
    ("rabbitmq", rabbitmq::rabbitmq),
    ("expressions", expressions::expressions),
    ("rss-ids", memory::ids),
    ("rss-stuck-key", memory::stuck_key),
];

fn main() {
    match env::args().nth(1).as_deref() {
        Some(http::null::SERVE) => return http::null::serve(),
        Some(grpc::null::SERVE) => return grpc::null::serve(),
        Some(grpc::bare::SERVE) => return grpc::bare::serve(),
        _ => {}
    }
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
