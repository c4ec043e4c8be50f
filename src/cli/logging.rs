//! Log lines go to stderr: for people on a terminal, as JSON otherwise.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Their lines have whole messages in them, and at the finest level passwords. What they say as errors
/// is told by who calls them.
const SILENCED: [&str; 2] = ["lapin", "amq_protocol"];

/// Whom the lines are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    People { colours: bool },
    Programs,
}

impl Form {
    const fn of(is_terminal: bool, force_json: bool, colours: bool) -> Self {
        match is_terminal && !force_json {
            true => Self::People { colours },
            false => Self::Programs,
        }
    }
}

/// For the whole process; a second call changes nothing. True: people read it.
pub(super) fn init(level: Level, force_json: bool) -> bool {
    let is_terminal = std::io::stderr().is_terminal();
    let form = Form::of(is_terminal, force_json, super::colours_wanted());
    // It fails only where somebody has set up logging before.
    drop(tracing::subscriber::set_global_default(lines(
        form,
        level,
        std::io::stderr,
    )));
    form != Form::Programs && level.filter() >= LevelFilter::INFO
}

fn lines<W>(form: Form, level: Level, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_writer(to)
        .with_max_level(level.filter());
    let ours = Targets::new()
        .with_default(level.filter())
        .with_targets(SILENCED.map(|target| (target, LevelFilter::OFF)));
    match form {
        Form::People { colours } => {
            let lines = lines.with_target(false).with_ansi(colours).finish();
            Box::new(lines.with(ours))
        }
        Form::Programs => Box::new(lines.json().flatten_event(true).finish().with(ours)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one event at info and one at debug become.
    fn written(form: Form, level: Level) -> String {
        let page = Page::default();
        let to = page.clone();
        tracing::subscriber::with_default(lines(form, level, move || to.clone()), || {
            tracing::info!(position = 7, lane = "inbox", "a word");
            tracing::debug!("another");
            tracing::error!(target: "lapin::io_loop", "a whole message");
        });
        let bytes = page.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn people_are_at_terminals_and_nowhere_else() {
        let people = Form::People { colours: true };
        for (is_terminal, force_json, form) in [
            (true, false, people),
            (true, true, Form::Programs),
            (false, false, Form::Programs),
            (false, true, Form::Programs),
        ] {
            assert_eq!(Form::of(is_terminal, force_json, true), form);
        }
        assert_eq!(
            Form::of(true, false, false),
            Form::People { colours: false }
        );
    }

    #[test]
    fn people_get_words_and_colours_if_they_want_them() {
        let plain = written(Form::People { colours: false }, Level::Info);
        assert_eq!(plain.lines().count(), 1, "{plain}");
        assert!(
            plain.ends_with("INFO a word position=7 lane=\"inbox\"\n"),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(written(Form::People { colours: true }, Level::Info).contains('\u{1b}'));
        assert_eq!(written(Form::People { colours: true }, Level::Warn), "");
    }

    #[test]
    fn programs_get_json_with_level_target_and_fields() {
        let lines = written(Form::Programs, Level::Debug);
        let lines: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let first = &lines[0];
        assert_eq!(first["level"], "INFO");
        assert_eq!(first["target"], "causeway::cli::logging::tests");
        assert_eq!(first["message"], "a word");
        assert_eq!(
            (&first["position"], &first["lane"]),
            (&7.into(), &"inbox".into())
        );
        assert!(first["timestamp"].is_string(), "{first}");
    }
}
