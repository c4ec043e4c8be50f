//! `tap`: shows live copies of what passes a running gateway.

mod line;

use super::Admin;
use super::client::{Ask, ClientError, Lines, Server};
use super::exit::{EXIT_CODES, Failure, say};
use super::retry::Patience;
use super::tail::{Style, cannot_write};
use crate::door::taps::{DEFAULT_RATE, MAX_RATE, Share};
use crate::routing::Pattern;
use clap::Args;
use line::{Counts, Line};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::{self, Write};
use std::time::Duration;

/// The gateway says something at least every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

const AFTER_HELP: &str = "\
It shows what the gateway takes (with --refused also what it doesn't) while it runs, and slows no
publisher down: what is beyond --rate, or comes faster than it is read, is left out and counted. The
counts are told on stderr; with --json they are lines of their own.

The pattern is that of a route's topic: + is one level, # any number, {name} one level. Everybody
who may reach the admin listener sees headers and payloads; --no-payload keeps payloads out.";

#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub(super) struct Tap {
    /// Which topics: a pattern, as a route has it
    #[arg(value_parser = parse_pattern)]
    pattern: String,
    /// Show a random part of what matches: 1/N, or 0.01
    #[arg(long, value_name = "PART", value_parser = parse_sample)]
    sample: Option<String>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Show at most so many messages a second
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_RATE, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RATE)))]
    rate: u32,
    /// Show the first so many bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    max_bytes: u32,
    /// Show no payloads, only their sizes
    #[arg(long, conflicts_with = "max_bytes")]
    no_payload: bool,
    /// Also show what the gateway refuses, and why
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    pub admin: Admin,
}

fn parse_pattern(text: &str) -> Result<String, String> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_sample(text: &str) -> Result<String, String> {
    match Share::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write 1/N, or a part of 1 such as 0.01".to_owned()),
    }
}

impl Tap {
    fn path(&self, left: Option<u64>) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut path = format!(
            "/api/v1/tap?pattern={}&rate={}&max_bytes={}&payload={}&refused={}",
            encoded(&self.pattern),
            self.rate,
            self.max_bytes,
            !self.no_payload,
            self.refused
        );
        if let Some(sample) = &self.sample {
            path.push_str(&format!("&sample={}", encoded(sample)));
        }
        if let Some(left) = left {
            path.push_str(&format!("&limit={left}"));
        }
        path
    }
}

/// Until the limit, Ctrl-C, or a reader that went away (`| head`). A gateway that goes away once it was
/// there is waited for: nobody says what passed meanwhile, so that is told.
pub(super) async fn run(
    tap: &Tap,
    server: &Server,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut watch = Watch {
        tap,
        server,
        style,
        shown: 0,
        counts: Counts::default(),
        told: Counts::default(),
    };
    tokio::select! {
        ended = watch.until_end(out) => ended?,
        // An error means that no signal can be heard: then nothing ends it but a signal's default.
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
    watch.tell_counts(true);
    Ok(())
}

struct Watch<'a> {
    tap: &'a Tap,
    server: &'a Server,
    style: Style,
    /// Over all connections.
    shown: u64,
    /// Of this connection.
    counts: Counts,
    told: Counts,
}

/// How a connection ended.
enum Ended {
    /// There is nothing more to show, or nobody to show it to.
    Done,
    Lost(ClientError),
}

impl Watch<'_> {
    async fn until_end(&mut self, out: &mut impl Write) -> Result<(), Failure> {
        let mut patience = Patience::new(None);
        let mut was_there = false;
        loop {
            let left = self.tap.limit.map(|limit| limit.saturating_sub(self.shown));
            let opened = self.server.lines(self.ask(left)).await;
            let error = match opened {
                Ok(lines) => {
                    if patience.is_failing() {
                        say("note: connected again; what passed meanwhile is not shown");
                    }
                    patience.succeeded();
                    was_there = true;
                    match self.show(lines, out).await? {
                        Ended::Done => return Ok(()),
                        Ended::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            let asked = match &error {
                ClientError::Refused(problem) if was_there && problem.is_for_now() => {
                    problem.retry_after
                }
                ClientError::Unreachable { .. } | ClientError::Broken { .. } if was_there => None,
                _ => return Err(error.into()),
            };
            if !patience.is_failing() {
                let words = error.to_string();
                let first = words.lines().next().unwrap_or_default();
                say(&format!("note: {first}; trying again"));
            }
            patience.pause(asked).await;
        }
    }

    fn ask(&self, left: Option<u64>) -> Ask {
        Ask {
            patience: SILENCE,
            ..Ask::get(self.tap.path(left))
        }
    }

    async fn show(&mut self, mut lines: Lines, out: &mut impl Write) -> Result<Ended, Failure> {
        self.counts = Counts::default();
        self.told = Counts::default();
        loop {
            let batch = match lines.next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Ended::Lost(self.server.broken("it ended".to_owned()))),
                Err(error) => return Ok(Ended::Lost(error)),
            };
            let mut text = String::new();
            let mut end = None;
            for raw in batch.lines() {
                end = self.take(raw, &mut text)?.or(end);
            }
            match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(Ended::Done);
                }
                Err(error) => return Err(cannot_write(&error)),
            }
            self.tell_counts(false);
            match end.as_deref() {
                None => {}
                Some("limit") => return Ok(Ended::Done),
                Some(why) => return Ok(Ended::Lost(self.server.broken(format!("it is {why}")))),
            }
        }
    }

    /// One line of the gateway's; why it was the last, if it was.
    fn take(&mut self, raw: &str, text: &mut String) -> Result<Option<String>, Failure> {
        let line = Line::read(raw).ok_or_else(|| self.server.foreign("it is no line of a tap"))?;
        let mut end = None;
        match line {
            Line::Message(message) => {
                self.shown += 1;
                if !self.style.json {
                    text.push_str(&message.render(self.style.colour));
                    text.push('\n');
                }
            }
            Line::Counts(counts) => self.counts = counts,
            Line::End { why, counts } => {
                self.counts = counts;
                end = Some(why);
            }
        }
        if self.style.json {
            text.push_str(raw);
            text.push('\n');
        }
        Ok(end)
    }

    /// On stderr: what was left out, when that is more than was told; at the end in any case.
    fn tell_counts(&mut self, is_end: bool) {
        let has_news = self.counts.left_out != self.told.left_out;
        if self.style.json || !(is_end || has_news) {
            return;
        }
        self.told = self.counts.clone();
        say(&format!("note: {}", self.counts.words(self.shown)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parsed(words: &str) -> Result<Tap, clap::Error> {
        let words = format!("causeway tap {words}");
        match Cli::try_parse_from(words.split(' '))?.command {
            Some(Command::Tap(tap)) => Ok(tap),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_stands_in_the_query() {
        let tap = parsed("a/# --sample 1/5 --rate 9 --no-payload --refused").expect("understood");
        assert_eq!(
            tap.path(Some(3)),
            "/api/v1/tap?pattern=a%2F%23&rate=9&max_bytes=4096&payload=false&refused=true\
             &sample=1%2F5&limit=3"
        );
        let tap = parsed("{shop}").expect("understood");
        assert_eq!(
            tap.path(None),
            "/api/v1/tap?pattern=%7Bshop%7D&rate=1000&max_bytes=4096&payload=true&refused=false"
        );
    }

    #[test]
    fn what_cannot_be_asked_is_said_before_anybody_is() {
        for words in [
            "a#",
            "",
            "a --sample 0",
            "a --sample 2",
            "a --rate 0",
            "a --rate 10001",
            "a --limit x",
            "a --no-payload --max-bytes 3",
        ] {
            let code = parsed(words).expect_err("not understood").exit_code();
            assert_eq!(code, 2, "{words}");
        }
    }
}
