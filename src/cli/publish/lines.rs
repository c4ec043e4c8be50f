//! `publish --lines`: batches of lines, one request at a time, each line until it is settled.

use super::form::{Form, Open};
use super::input::{InputError, Line, Lines};
use super::progress::Progress;
use super::tally::{Fate, Tally};
use super::{ANSWER_PATIENCE, Publish, note_retry};
use crate::cli::client::{Answer, Ask, ClientError, Problem, Server};
use crate::cli::exit::{Code, Failure, Kind, Reply, say};
use crate::cli::no_threads;
use crate::cli::retry::Patience;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use std::time::Duration;
use tokio::sync::mpsc;

/// Of one request; a single line may be longer.
const BODY_BYTES: usize = 512 << 10;
/// Chunks that are read ahead.
const READ_AHEAD: usize = 2;

pub(super) async fn run(publish: &Publish, server: &Server) -> Result<Reply, Failure> {
    let mut upload = Upload {
        progress: Progress::of_stdin(),
        ..Upload::new(server, Form::of(publish)?, publish.give_up_after)
    };
    let mut chunks = read_beside()?;
    let end = tokio::select! {
        end = upload.all(&mut chunks) => end,
        // Without a handler for the signal it ends as it always does.
        Ok(()) = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    upload.clear_progress();
    say(&upload.tally.text());
    match end {
        Ok(()) => Ok(upload.tally.reply()),
        Err(failure) => Err(upload.explained(failure)),
    }
}

/// stdin blocks: it is read by a thread, which ends with the program.
fn read_beside() -> Result<mpsc::Receiver<Result<Vec<Line>, InputError>>, Failure> {
    let (chunks, receiver) = mpsc::channel(READ_AHEAD);
    let read = move || {
        let mut lines = Lines::new(std::io::stdin());
        loop {
            let chunk = lines.chunk();
            let is_last = !chunk.as_ref().is_ok_and(|chunk| !chunk.is_empty());
            if chunks.blocking_send(chunk).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(read)
        .map_err(|error| no_threads(&error))?;
    Ok(receiver)
}

struct Upload<'a> {
    server: &'a Server,
    form: Form,
    patience: Patience,
    progress: Option<Progress>,
    tally: Tally,
    /// Of the chunk at hand, in order: what isn't settled.
    open: Vec<Open>,
    /// Less, if the gateway takes less.
    body_bytes: usize,
}

/// How things are after a request.
enum Round {
    /// At once the next.
    Went,
    /// A pause first.
    Later(Problem),
    Unreachable(Failure),
    /// The lines that are in doubt.
    InDoubt(Failure),
}

impl<'a> Upload<'a> {
    fn new(server: &'a Server, form: Form, give_up_after: Duration) -> Self {
        Self {
            server,
            form,
            patience: Patience::new(Some(give_up_after)),
            progress: None,
            tally: Tally::default(),
            open: Vec::new(),
            body_bytes: BODY_BYTES,
        }
    }

    async fn all(
        &mut self,
        chunks: &mut mpsc::Receiver<Result<Vec<Line>, InputError>>,
    ) -> Result<(), Failure> {
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.map_err(|error| Failure::input(error.to_string(), error.help()))?;
            self.open = chunk.iter().map(|line| self.form.open(line)).collect();
            self.settle().await?;
        }
        Ok(())
    }

    /// Sends what is open until nothing is.
    async fn settle(&mut self) -> Result<(), Failure> {
        while !self.open.is_empty() {
            let before = self.open.len();
            let round = self.round().await?;
            if self.open.len() < before {
                self.patience.succeeded();
            }
            let (failure, asked) = match round {
                Round::Went => continue,
                Round::Later(problem) => {
                    let asked = problem.retry_after;
                    (ClientError::Refused(problem).into(), asked)
                }
                Round::Unreachable(failure) => (failure, None),
                Round::InDoubt(failure) if self.form.id_prefix.is_some() => (failure, None),
                // To send them again may store them twice, not to send them may lose them.
                Round::InDoubt(failure) => {
                    return Err(Failure {
                        code: Code::Failed,
                        ..failure
                    });
                }
            };
            self.clear_progress();
            note_retry(&self.patience, &failure);
            if !self.patience.pause(asked).await {
                return Err(failure);
            }
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<Round, Failure> {
        let (sent, body) = self.body();
        let were_in_doubt: Vec<bool> = self.open.iter().map(|line| line.in_doubt).collect();
        self.open[..sent]
            .iter_mut()
            .for_each(|line| line.in_doubt = true);
        let ask = Ask {
            method: Method::POST,
            path: "/v1/batch".to_owned(),
            headers: vec![(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-ndjson"),
            )],
            body,
            patience: ANSWER_PATIENCE,
        };
        let answer = self.server.ask(ask).await;
        let is_untouched = match &answer {
            Ok(answer) => !answer.is_success() && !matches!(answer.status, 500 | 502 | 504),
            Err(ClientError::Unreachable { .. }) => true,
            Err(_) => false,
        };
        if is_untouched {
            // This request did nothing; an earlier one with the same lines may have.
            for (line, was) in self.open.iter_mut().zip(were_in_doubt) {
                line.in_doubt = was;
            }
        }
        match answer {
            Ok(answer) if answer.is_success() => self.results(sent, &answer.body),
            Ok(answer) => self.refused(sent, &answer),
            Err(error @ ClientError::Unreachable { .. }) => Ok(Round::Unreachable(error.into())),
            Err(error @ ClientError::Broken { .. }) => Ok(Round::InDoubt(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// As many lines as one request takes, one at least.
    fn body(&self) -> (usize, Bytes) {
        let mut body = Vec::new();
        let mut count = 0;
        for line in &self.open {
            if count > 0 && body.len() + line.json.len() > self.body_bytes {
                break;
            }
            body.extend_from_slice(&line.json);
            count += 1;
        }
        (count, body.into())
    }

    /// The request as a whole.
    fn refused(&mut self, sent: usize, answer: &Answer) -> Result<Round, Failure> {
        let problem = answer.problem();
        match problem.status {
            500 | 502 | 504 => Ok(Round::InDoubt(ClientError::Refused(problem).into())),
            429 | 503 => Ok(Round::Later(problem)),
            413 if sent > 1 => {
                let bytes: usize = self.open[..sent].iter().map(|l| l.json.len()).sum();
                self.body_bytes = bytes / 2;
                Ok(Round::Went)
            }
            413 => {
                let line = self.open.remove(0);
                self.settled(&line, Fate::Refused(problem));
                Ok(Round::Went)
            }
            _ => Err(refused_for_good(problem)),
        }
    }

    /// A line of the answer for each of the request, in order; what it lacks stays in doubt.
    fn results(&mut self, sent: usize, body: &[u8]) -> Result<Round, Failure> {
        let results = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let mut fates = results.map_while(Fate::read);
        let unsent = self.open.split_off(sent);
        let (mut later, mut in_doubt, mut has_refused) = (None, None, false);
        for mut line in std::mem::take(&mut self.open) {
            // All lines have one key: what comes after a refused one is refused for that alone.
            let follows = has_refused && self.form.key.is_some();
            let fate = fates.next();
            line.in_doubt = matches!(fate, None | Some(Fate::InDoubt(_)));
            has_refused |= matches!(fate, Some(Fate::Refused(_) | Fate::InDoubt(_)));
            match fate {
                None => {
                    let cut = self.server.foreign("it lacks results of lines");
                    in_doubt.get_or_insert(Failure::from(cut));
                }
                Some(Fate::InDoubt(problem)) => {
                    in_doubt.get_or_insert(ClientError::Refused(problem).into());
                }
                Some(Fate::Refused(_)) if follows => {}
                Some(Fate::Refused(problem)) if problem.is_for_now() => {
                    later.get_or_insert(problem);
                }
                // All lines have one topic.
                Some(Fate::Refused(problem)) if problem.kind == "no-route" => {
                    return Err(refused_for_good(problem));
                }
                Some(fate) => {
                    self.settled(&line, fate);
                    continue;
                }
            }
            self.open.push(line);
        }
        self.open.extend(unsent);
        Ok(match (in_doubt, later) {
            (Some(failure), _) => Round::InDoubt(failure),
            (None, Some(problem)) => Round::Later(problem),
            (None, None) => Round::Went,
        })
    }

    fn settled(&mut self, line: &Open, fate: Fate) {
        self.tally.count(line.number, fate);
        if let Some(progress) = &mut self.progress {
            progress.add(line.taken);
        }
    }

    fn clear_progress(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
    }

    /// What somebody needs to know who wants to go on.
    fn explained(&self, failure: Failure) -> Failure {
        let mut text = failure.text;
        let numbers = |in_doubt| {
            let lines = self
                .open
                .iter()
                .filter(move |line| line.in_doubt == in_doubt);
            ranges(lines.map(|line| line.number))
        };
        let (unsent, in_doubt) = (numbers(false), numbers(true));
        if !in_doubt.is_empty() {
            text.push_str(&format!(
                "\nit is unknown whether these lines are stored: {in_doubt}"
            ));
        }
        if !unsent.is_empty() {
            text.push_str(&format!("\nthese lines are not stored: {unsent}"));
        }
        let last = self
            .open
            .last()
            .map_or(self.tally.lines, |line| line.number);
        text.push_str(&match last {
            0 => "\nno line was sent".to_owned(),
            last => format!("\nno line after {last} was sent"),
        });
        // What was refused for good will be again.
        let can_go_on = failure.code == Code::TryAgain || !in_doubt.is_empty();
        let help = match self.form.id_prefix {
            _ if !can_go_on => failure.help,
            Some(_) => "the same command goes on; what is stored isn't stored twice".to_owned(),
            None => {
                "with --id-prefix the same command could be run again, and each line stored once"
                    .to_owned()
            }
        };
        Failure {
            text,
            help,
            ..failure
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(
        Code::Failed,
        Kind::Interrupted,
        "interrupted",
        "run it again to send what is left",
    )
}

fn refused_for_good(problem: Problem) -> Failure {
    Failure {
        code: Code::Failed,
        ..ClientError::Refused(problem).into()
    }
}

/// `1-3, 7`
fn ranges(numbers: impl Iterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let range = |(first, last): (u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = ranges.into_iter().map(range).collect();
    ranges.join(", ")
}

#[cfg(test)]
mod tests;
