//! `tail`: reads a stream page by page, and follows it across restarts of the gateway.

mod line;

use super::ServerArg;
use super::client::{Answer, Ask, ClientError, Server};
use super::exit::{Code, EXIT_CODES, Failure, Kind, say};
use super::retry::Patience;
use clap::Args;
use line::Message;
pub(super) use line::shown_data;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, Write};
use std::time::Duration;

/// The most that the gateway gives.
const PAGE_MESSAGES: u64 = 1_000;
/// How long the gateway holds an answer back while there is nothing new.
const WAIT: Duration = Duration::from_secs(30);
/// Without --follow: how long a page is tried for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

const AFTER_HELP: &str = "\
Where it starts, unless --from says so: with -n at the last COUNT messages, with --follow at the
end, else at the earliest message.";

#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub(super) struct Tail {
    /// The stream: the name of its destination
    stream: String,
    /// Start at the earliest message, at the end (latest), or at an offset
    #[arg(long, value_name = "earliest|latest|N", value_parser = parse_from)]
    from: Option<From>,
    /// Wait for what comes; goes on after the gateway was restarted
    #[arg(short, long)]
    follow: bool,
    /// With --from: stop after so many messages. Without: start at the last so many
    #[arg(short = 'n', value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    pub server: ServerArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Earliest,
    Latest,
    Offset(u64),
}

fn parse_from(text: &str) -> Result<From, String> {
    match text {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        offset => offset
            .parse()
            .map(From::Offset)
            .map_err(|_| "write earliest, latest or an offset".to_owned()),
    }
}

/// How messages are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub json: bool,
    pub colour: bool,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    next: u64,
}

/// A reader that went away (`| head`) ends it quietly.
pub(super) async fn run(
    tail: &Tail,
    server: &Server,
    style: Style,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut reader = Reader {
        server,
        stream: &tail.stream,
        follow: tail.follow,
        patience: Patience::new((!tail.follow).then_some(GIVE_UP_AFTER)),
        has_read: false,
    };
    let end = reader.end().await?;
    let (mut from, mut left) = match (tail.from, tail.count) {
        (Some(From::Latest), count) => (From::Offset(end), count),
        (Some(from), count) => (from, count),
        (None, Some(count)) => (
            reader.last(count, end).await,
            (!tail.follow).then_some(count),
        ),
        (None, None) if tail.follow => (From::Offset(end), None),
        (None, None) => (From::Earliest, None),
    };
    while left != Some(0) {
        let limit = left.unwrap_or(PAGE_MESSAGES).min(PAGE_MESSAGES);
        let body = reader.page(from, limit).await?.body;
        let page = parse(server, &body)?;
        let text = render(server, &page, style)?;
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(cannot_write(&error)),
        }
        left = left.map(|left| left.saturating_sub(page.messages.len() as u64));
        // What came since it started is for those who follow: else it might never end.
        if !tail.follow && (page.messages.is_empty() || page.next >= end) {
            break;
        }
        from = From::Offset(page.next);
    }
    Ok(())
}

/// Whoever reads the messages doesn't take them.
pub(super) fn cannot_write(error: &io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        Kind::Output,
        format!("can't write the messages: {error}"),
        "see that what the output goes to takes it: its disk may be full",
    )
}

fn parse<'a>(server: &Server, body: &'a [u8]) -> Result<Page<'a>, Failure> {
    serde_json::from_slice(body).map_err(|_| server.foreign("it is no page of a stream").into())
}

/// A line a message.
fn render(server: &Server, page: &Page<'_>, style: Style) -> Result<String, Failure> {
    let mut text = String::new();
    for raw in &page.messages {
        if style.json {
            text.push_str(&line::json(raw.get()));
        } else {
            let message: Message<'_> = serde_json::from_str(raw.get())
                .map_err(|_| server.foreign("it is no message of a stream"))?;
            text.push_str(&message.render(style.colour));
        }
        text.push('\n');
    }
    Ok(text)
}

struct Reader<'a> {
    server: &'a Server,
    stream: &'a str,
    follow: bool,
    patience: Patience,
    /// A gateway that was never there is an error at once; one that went away comes back.
    has_read: bool,
}

impl Reader<'_> {
    /// After the last message.
    async fn end(&mut self) -> Result<u64, Failure> {
        let body = self.page(From::Latest, 1).await?.body;
        Ok(parse(self.server, &body)?.next)
    }

    /// Where the last messages start.
    async fn last(&self, count: u64, end: u64) -> From {
        let start = From::Offset(end.saturating_sub(count));
        match self.try_page(start, 1, Duration::ZERO).await {
            Err(ClientError::Refused(problem)) if problem.status == 410 => From::Earliest,
            // Whatever else is wrong shows at the first page.
            _ => start,
        }
    }

    /// Tries again, and says so, until the patience ends.
    async fn page(&mut self, from: From, limit: u64) -> Result<Answer, Failure> {
        loop {
            // Only an offset is waited at: whoever waits at the end doesn't know where that was if
            // the connection breaks. And not at first after a failure: it is to be seen that it works.
            let wait = match from {
                From::Offset(_) if self.follow && !self.patience.is_failing() => WAIT,
                _ => Duration::ZERO,
            };
            let error = match self.try_page(from, limit, wait).await {
                Ok(answer) => {
                    if self.patience.is_failing() {
                        say(&format!(
                            "note: connected again, going on at {}",
                            word(from)
                        ));
                    }
                    self.patience.succeeded();
                    self.has_read = true;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let asked = match &error {
                ClientError::Refused(problem) if problem.status == 410 => {
                    return Err(self.gone(from, problem));
                }
                ClientError::Refused(problem) if problem.is_for_now() => problem.retry_after,
                ClientError::Unreachable { .. } | ClientError::Broken { .. } if self.has_read => {
                    None
                }
                _ => return Err(error.into()),
            };
            if !self.patience.is_failing() {
                let what = error.to_string();
                let what = what.lines().next().unwrap_or_default();
                say(&format!("note: {what}; trying again"));
            }
            if !self.patience.pause(asked).await {
                return Err(error.into());
            }
        }
    }

    async fn try_page(
        &self,
        from: From,
        limit: u64,
        wait: Duration,
    ) -> Result<Answer, ClientError> {
        let stream = utf8_percent_encode(self.stream, NON_ALPHANUMERIC);
        let path = format!(
            "/v1/streams/{stream}?from={}&limit={limit}&wait={}s",
            word(from),
            wait.as_secs()
        );
        let mut ask = Ask::get(path);
        ask.patience += wait;
        let answer = self.server.ask(ask).await?;
        match answer.is_success() {
            true => Ok(answer),
            false => Err(ClientError::Refused(answer.problem())),
        }
    }

    fn gone(&self, from: From, problem: &super::client::Problem) -> Failure {
        let earliest = problem
            .json
            .as_ref()
            .and_then(|json| json["earliest"].as_u64());
        let go_on = earliest.map_or_else(
            || "--from earliest".to_owned(),
            |earliest| format!("--from {earliest}"),
        );
        let text = format!(
            "stream {:?}, offset {}: {}",
            self.stream,
            word(from),
            problem.detail
        );
        let help = format!("its retention has let them go; go on with {go_on}");
        Failure {
            problem: problem.json.clone(),
            ..Failure::new(Code::NotFound, Kind::Refused, text, help)
        }
    }
}

fn word(from: From) -> String {
    match from {
        From::Earliest => "earliest".to_owned(),
        From::Latest => "latest".to_owned(),
        From::Offset(offset) => offset.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::SAY_SERVER;
    use crate::cli::{Cli, Command};
    use axum::Router;
    use axum::extract::Query;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use clap::Parser;
    use serde_json::json;
    use std::collections::HashMap;

    const EARLIEST: u64 = 4;
    const END: u64 = 9;

    /// A stream of the offsets 4 to 8, two a page.
    async fn stream(Query(query): Query<HashMap<String, String>>) -> Response {
        let from = match query["from"].as_str() {
            "earliest" => EARLIEST,
            "latest" => END,
            offset => offset.parse().expect("an offset"),
        };
        if from < EARLIEST {
            let problem = json!({"type": "urn:causeway:problem:offset-gone", "earliest": EARLIEST,
                "detail": "the records before offset 4 are gone"});
            return (StatusCode::GONE, problem.to_string()).into_response();
        }
        let limit: u64 = query["limit"].parse().expect("a number");
        let next = END.min(from + limit.min(2)).max(from);
        let message = |offset| json!({"offset": offset, "id": "i", "topic": "t", "time": "now"});
        let messages: Vec<_> = (from..next).map(message).collect();
        json!({"messages": messages, "next": next})
            .to_string()
            .into_response()
    }

    async fn tail(words: &str) -> Result<String, Failure> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let router = Router::new().fallback(stream);
        let serving = tokio::spawn(async { axum::serve(listener, router).await });
        let server = Server::parse(&address, SAY_SERVER).expect("an address");
        let words = format!("causeway tail s{words}");
        let cli = Cli::try_parse_from(words.split(' ')).expect("understood");
        let Some(Command::Tail(tail)) = cli.command else {
            panic!("{words}");
        };
        let style = Style {
            json: false,
            colour: false,
        };
        let mut out = Vec::new();
        let end = run(&tail, &server, style, &mut out).await;
        serving.abort();
        let text = String::from_utf8(out).expect("text");
        let offsets: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        end.map(|()| offsets.join(" "))
    }

    #[tokio::test]
    async fn it_starts_and_stops_where_it_is_told() {
        for (words, offsets) in [
            ("", "4 5 6 7 8"),
            (" -n 2", "7 8"),
            (" -n 100", "4 5 6 7 8"),
            (" -n 0", ""),
            (" --from latest", ""),
            (" --from earliest -n 3", "4 5 6"),
            (" --from 6", "6 7 8"),
            (" --from 6 -n 1", "6"),
            (" --from 6 -n 3 --follow", "6 7 8"),
        ] {
            assert_eq!(tail(words).await.as_deref(), Ok(offsets), "{words}");
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_said_with_how_to_go_on() {
        for words in [" --from 3", " --from 0 --follow"] {
            let failure = tail(words).await.expect_err("it is gone");
            assert_eq!(failure.code, Code::NotFound);
            assert!(
                failure.text.contains("before offset 4 are gone")
                    && failure.help.ends_with("go on with --from 4"),
                "{}",
                failure.text
            );
        }
    }

    #[test]
    fn a_start_is_a_word_or_an_offset() {
        assert_eq!(parse_from("earliest"), Ok(From::Earliest));
        assert_eq!(parse_from("latest"), Ok(From::Latest));
        assert_eq!(parse_from("17"), Ok(From::Offset(17)));
        for bad in ["", "-1", "first", "1.5"] {
            assert!(parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
