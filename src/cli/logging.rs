//! Log lines go to stderr: for people on a terminal, as JSON otherwise.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing::level_filters::LevelFilter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// For the whole process; a second call changes nothing. True: people read it.
pub(super) fn init(level: Level, force_json: bool) -> bool {
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_max_level(level.filter());
    let is_plain = terminal && !force_json;
    let set = if is_plain {
        lines.with_ansi(super::colours_wanted()).try_init()
    } else {
        lines.json().flatten_event(true).try_init()
    };
    // It fails only where somebody has set up logging before.
    drop(set);
    is_plain && level.filter() >= LevelFilter::INFO
}

impl Level {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}
