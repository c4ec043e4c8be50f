//! `publish`: one message, or each line of the input as one.

mod form;
mod input;
mod lines;
mod progress;
mod tally;

use super::ServerArg;
use super::client::{Answer, Ask, ClientError, Server};
use super::exit::{Code, EXIT_CODES, Failure, Reply, say};
use super::receipt::{Receipt, reply};
use super::retry::Patience;
use crate::message::guess_content_type;
use bytes::Bytes;
use clap::Args;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longer than a route's `ack_timeout` usually is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);
const FIRST_LOOK: Duration = Duration::from_millis(10);
const MAX_LOOK_PAUSE: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Without --content-type, -d is application/json if it is a JSON object or list, else text/plain if it
is UTF-8, else application/octet-stream; lines are text/plain.

What the gateway refuses for now is sent again, and so is what no gateway answered to. A connection
that breaks in the middle leaves it open whether the message was stored: with an id it is sent again
(the gateway stores it once), without one the command fails and says so. An upload of lines that was
interrupted is completed by the same command with the same --id-prefix, as long as the gateway
remembers the ids ([dedup] window).";

#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub(super) struct Publish {
    /// Where to: levels parted by '/'
    topic: String,
    /// The payload: as it stands here, a file's content (@FILE), or what comes on stdin (-)
    #[arg(
        short,
        long,
        value_name = "DATA",
        required_unless_present = "lines",
        conflicts_with = "lines",
        allow_negative_numbers = true
    )]
    data: Option<String>,
    /// Publish each line of stdin as one message
    #[arg(long)]
    lines: bool,
    /// The message's id: the same id is stored once
    #[arg(long, conflicts_with = "lines")]
    id: Option<String>,
    /// With --lines: each line's id is PREFIX-NUMBER, counted from 1
    #[arg(
        long,
        value_name = "PREFIX",
        requires = "lines",
        conflicts_with_all = ["data", "id"]
    )]
    id_prefix: Option<String>,
    /// Messages of one key keep their order
    #[arg(long)]
    key: Option<String>,
    /// A header of the message; may repeat
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// What the payload is
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Wait until it is known what became of the message
    #[arg(long, conflicts_with = "lines")]
    wait: bool,
    /// How long to go on when the gateway can't be reached or refuses for now, and with --wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    give_up_after: Duration,
    #[command(flatten)]
    pub server: ServerArg,
}

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("write NAME=VALUE")?;
    // As HTTP has it, whichever way it is sent.
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text).ok_or_else(|| "write 500ms, 30s or 10m".to_owned())
}

pub(super) async fn run(
    publish: &Publish,
    server: &Server,
    colour: bool,
) -> Result<Reply, Failure> {
    if publish.lines {
        return lines::run(publish, server).await;
    }
    let ask = publish.ask()?;
    let (receipt, json, code) = send(publish, server, &ask).await?;
    if !publish.wait || receipt.is_settled() || receipt.position.is_none() {
        let code = if publish.wait { receipt.code() } else { code };
        return Ok(reply(code, &receipt, json, colour));
    }
    let (receipt, json) = outcome(server, receipt, json, publish.give_up_after).await?;
    Ok(reply(receipt.code(), &receipt, json, colour))
}

impl Publish {
    fn ask(&self) -> Result<Ask, Failure> {
        let data = self.data.as_deref().unwrap_or_default();
        let body = read_data(data)?;
        let content_type = match &self.content_type {
            Some(given) => given.as_str(),
            None => guess_content_type(&body),
        };
        let mut headers = vec![(CONTENT_TYPE, value("--content-type", content_type)?)];
        if let Some(id) = &self.id {
            let name = HeaderName::from_static("idempotency-key");
            headers.push((name, value("--id", &quoted(id))?));
        }
        if let Some(key) = &self.key {
            headers.push((
                HeaderName::from_static("causeway-key"),
                value("--key", key)?,
            ));
        }
        for (name, text) in &self.headers {
            let full = format!("causeway-header-{name}");
            let full = HeaderName::from_bytes(full.as_bytes())
                .ok()
                .filter(|_| !name.is_empty())
                .ok_or_else(|| {
                    Failure::usage(
                        format!("-H: {name:?} is no name of a header"),
                        "write letters, digits and -",
                    )
                })?;
            headers.push((full, value("-H", text)?));
        }
        Ok(Ask {
            method: Method::POST,
            path: path(&self.topic),
            headers,
            body,
            patience: ANSWER_PATIENCE,
        })
    }
}

/// Where messages of a topic are published; its levels are percent-encoded one by one.
pub(super) fn path(topic: &str) -> String {
    let level = |level| utf8_percent_encode(level, UNRESERVED).to_string();
    let levels: Vec<String> = topic.split('/').map(level).collect();
    format!("/v1/topics/{}", levels.join("/"))
}

const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

pub(super) fn read_data(data: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = match data.strip_prefix('@') {
        Some(file) => std::fs::read(file)
            .map(|read| bytes = read)
            .map_err(|error| {
                let text = format!("can't read {file}: {error}");
                Failure::input(text, "name a file that is there and may be read: -d @FILE")
            }),
        None if data == "-" => {
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map(drop)
                .map_err(|error| {
                    let text = format!("can't read stdin: {error}");
                    Failure::input(
                        text,
                        "pipe something into it, or give the payload with -d DATA",
                    )
                })
        }
        None => {
            bytes.extend_from_slice(data.as_bytes());
            Ok(())
        }
    };
    read?;
    Ok(bytes.into())
}

/// A string of RFC 8941 where it can be one; the gateway takes other text as it stands.
fn quoted(id: &str) -> String {
    if !id.chars().all(|c| matches!(c, ' '..='~')) {
        return id.to_owned();
    }
    format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""))
}

/// HTTP can't carry control characters in a header, and loses white space around a value.
fn value(option: &str, text: &str) -> Result<HeaderValue, Failure> {
    let header = HeaderValue::from_bytes(text.as_bytes()).ok();
    header
        .filter(|_| text.trim_matches([' ', '\t']) == text)
        .ok_or_else(|| {
            Failure::usage(
                format!(
                    "{option}: HTTP can't carry {text:?} in a header: it has control characters, \
                     or white space at its ends"
                ),
                "write it without them, or put it into the payload",
            )
        })
}

/// What is known after one try.
enum Tried {
    Taken(Receipt, Value, Code),
    /// Nothing was taken: later, perhaps after so long.
    Later(Failure, Option<Duration>),
    InDoubt(Failure),
    Refused(Failure),
}

/// Sends it until it is taken or refused for good, or the patience ends.
async fn send(
    publish: &Publish,
    server: &Server,
    ask: &Ask,
) -> Result<(Receipt, Value, Code), Failure> {
    let mut patience = Patience::new(Some(publish.give_up_after));
    loop {
        let (failure, asked) = match tried(server, server.ask(ask.clone()).await) {
            Tried::Taken(receipt, json, code) => return Ok((receipt, json, code)),
            Tried::Refused(failure) => return Err(failure),
            Tried::Later(failure, asked) => (failure, asked),
            Tried::InDoubt(failure) if publish.id.is_some() => (failure, None),
            Tried::InDoubt(failure) => return Err(in_doubt(failure)),
        };
        note_retry(&patience, &failure);
        if !patience.pause(asked).await {
            return Err(failure);
        }
    }
}

fn in_doubt(failure: Failure) -> Failure {
    Failure {
        code: Code::Failed,
        text: format!(
            "{}\nit is unknown whether the message is stored",
            failure.text
        ),
        help: "with --id it is sent again, and stored once".to_owned(),
        ..failure
    }
}

/// Once for each time that things went wrong.
fn note_retry(patience: &Patience, failure: &Failure) {
    if !patience.is_failing() {
        let first = failure.text.lines().next().unwrap_or_default();
        say(&format!("note: {first}; trying again"));
    }
}

fn tried(server: &Server, answer: Result<Answer, ClientError>) -> Tried {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ ClientError::Unreachable { .. }) => return Tried::Later(error.into(), None),
        Err(error @ ClientError::Broken { .. }) => return Tried::InDoubt(error.into()),
        Err(error) => return Tried::Refused(error.into()),
    };
    if answer.is_success() {
        let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let read = json.and_then(|json| Some((Receipt::read(&json)?, json)));
        return match read {
            Some((receipt, json)) => Tried::Taken(receipt, json, Code::Done),
            None => Tried::Refused(server.foreign("it has no state").into()),
        };
    }
    let problem = answer.problem();
    let code = match (problem.status, problem.kind.as_str()) {
        (504, "outcome-pending") => Some(Code::Pending),
        (422, "dead-lettered") => Some(Code::Held),
        (422, "discarded") => Some(Code::Failed),
        _ => None,
    };
    let stored = code.and_then(|code| {
        let json = problem.json.clone()?;
        Some((Receipt::read(&json)?, json, code))
    });
    if let Some((receipt, json, code)) = stored {
        return Tried::Taken(receipt, json, code);
    }
    let (status, asked) = (problem.status, problem.retry_after);
    let mut failure = Failure::from(ClientError::Refused(problem));
    match status {
        429 | 503 => Tried::Later(failure, asked),
        500 | 502 | 504 => Tried::InDoubt(failure),
        _ => {
            // Not to be found is what was to be published to: that is a refusal.
            failure.code = Code::Failed;
            Tried::Refused(failure)
        }
    }
}

/// Looks the message up until its outcome is known, or the time is over: then it is `stored`.
async fn outcome(
    server: &Server,
    mut receipt: Receipt,
    mut json: Value,
    limit: Duration,
) -> Result<(Receipt, Value), Failure> {
    let Some(position) = receipt.position else {
        return Ok((receipt, json));
    };
    let duplicate = receipt.duplicate;
    let path = format!("/v1/messages/{position}");
    let until = Instant::now() + limit;
    let mut pause = FIRST_LOOK;
    while !receipt.is_settled() && Instant::now() < until {
        sleep(pause.min(until - Instant::now())).await;
        pause = (pause * 2).min(MAX_LOOK_PAUSE);
        match server.get(&path).await {
            Ok(found) => {
                receipt = Receipt::read(&found).ok_or_else(|| server.foreign("it has no state"))?;
                // A look-up doesn't know who asks.
                receipt.duplicate = duplicate;
                json = found;
                json["duplicate"] = duplicate.into();
            }
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => {}
            Err(ClientError::Refused(problem)) if problem.is_for_now() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((receipt, json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::client::SAY_SERVER;
    use clap::Parser;

    fn parsed(words: &[&str]) -> Result<Publish, clap::Error> {
        let words = ["causeway", "publish"].iter().chain(words);
        match Cli::try_parse_from(words)?.command {
            Some(crate::cli::Command::Publish(publish)) => Ok(publish),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_is_a_request() {
        let publish = parsed(&[
            "orders/nörth",
            "-d",
            "{\"n\": 1}",
            "--id",
            "a \"b\\",
            "--key",
            "ann",
            "-H",
            "Kind=x=y",
            "-H",
            "kind=z",
        ]);
        let ask = publish.expect("understood").ask().expect("legal");
        assert_eq!(ask.path, "/v1/topics/orders/n%C3%B6rth");
        assert_eq!(ask.body, "{\"n\": 1}");
        let headers: Vec<(&str, &str)> = ask
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
            .collect();
        assert_eq!(
            headers,
            [
                ("content-type", "application/json"),
                ("idempotency-key", r#""a \"b\\""#),
                ("causeway-key", "ann"),
                ("causeway-header-kind", "x=y"),
                ("causeway-header-kind", "z"),
            ]
        );
    }

    #[test]
    fn what_http_cannot_carry_is_a_mistake_of_the_caller() {
        for words in [
            ["a", "-d", "x", "--key", "a\nb"],
            ["a", "-d", "x", "--key", " a"],
            ["a", "-d", "x", "-H", "a b=c"],
        ] {
            let failure = parsed(&words).expect("understood").ask();
            assert_eq!(
                failure.expect_err("no header").code,
                Code::Usage,
                "{words:?}"
            );
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_not_understood() {
        for words in [
            &["a"][..],
            &["a", "-d", "x", "--lines"],
            &["a", "--lines", "--id", "x"],
            &["a", "--lines", "--wait"],
            &["a", "-d", "x", "--id-prefix", "p"],
            &["a", "-d", "x", "-H", "novalue"],
            &["a", "-d", "x", "-H", "=noname"],
            &["a", "-d", "x", "--give-up-after", "soon"],
        ] {
            let code = parsed(words).expect_err("not understood").exit_code();
            assert_eq!(code, 2, "{words:?}");
        }
        assert!(parsed(&["a", "-d", "-5"]).is_ok());
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let server = Server::parse("localhost:1", SAY_SERVER).expect("an address");
        let receipt = r#""id":"i","position":3,"duplicate":false,"targets":[]"#;
        let meaning = |status: u16, body: &str| {
            let answer = Answer {
                status,
                retry_after: Some(Duration::from_secs(2)),
                body: Bytes::from(body.to_owned()),
            };
            match tried(&server, Ok(answer)) {
                Tried::Taken(_, _, code) => format!("taken {code:?}"),
                Tried::Later(failure, after) => format!("later {:?} {after:?}", failure.code),
                Tried::InDoubt(_) => "in doubt".to_owned(),
                Tried::Refused(failure) => format!("refused {:?}", failure.code),
            }
        };
        let problem = |kind: &str, state: &str| {
            format!(r#"{{"type":"urn:causeway:problem:{kind}","state":"{state}",{receipt}}}"#)
        };
        for (status, body, expected) in [
            (
                202,
                format!(r#"{{"state":"stored",{receipt}}}"#),
                "taken Done",
            ),
            (200, "{}".to_owned(), "refused Failed"),
            (504, problem("outcome-pending", "stored"), "taken Pending"),
            (422, problem("dead-lettered", "dead_lettered"), "taken Held"),
            (422, problem("discarded", "discarded"), "taken Failed"),
            (422, problem("id-conflict", "stored"), "refused Failed"),
            (404, "{}".to_owned(), "refused Failed"),
            (429, "{}".to_owned(), "later TryAgain Some(2s)"),
            (503, String::new(), "later TryAgain Some(2s)"),
            (500, "{}".to_owned(), "in doubt"),
        ] {
            assert_eq!(meaning(status, &body), expected, "{status} {body}");
        }
    }
}
