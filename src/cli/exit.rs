//! How a command ends: what it says, and the number that scripts read.

use super::client::{ClientError, Problem};
use crate::gateway::Told;
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// Under every `--help` that it concerns; docs/CLI.md says the same.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or refused for good
  2  the command line isn't understood
  3  the gateway can't be reached, or refuses for now: try again
  4  not found
  5  held in the dead letters: don't send it again
  6  stored, but the outcome isn't known yet: look it up with `trace`";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    TryAgain = 3,
    NotFound = 4,
    Held = 5,
    Pending = 6,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// To stderr. Nowhere is left to say that this failed.
pub(super) fn say(words: &str) {
    drop(writeln!(std::io::stderr(), "{words}"));
}

/// What a command answers on stdout.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub code: Code,
    pub text: String,
    pub json: Value,
}

impl From<Told> for Reply {
    fn from(told: Told) -> Self {
        Self {
            code: if told.ok { Code::Done } else { Code::Failed },
            text: told.text,
            json: told.json,
        }
    }
}

/// What a command says on stderr when there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub code: Code,
    pub text: String,
    /// For `--json`, on stdout: the gateway's own problem object.
    pub json: Option<Value>,
}

impl Failure {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            json: None,
        }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Code::Usage, text)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(Code::Failed, text)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::BadAddress(_) => Code::Usage,
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => Code::TryAgain,
            ClientError::Foreign { .. } => Code::Failed,
            ClientError::Refused(problem) => code_of(problem),
        };
        let text = error.to_string();
        let json = match error {
            ClientError::Refused(problem) => problem.json,
            _ => None,
        };
        Self { code, text, json }
    }
}

fn code_of(problem: &Problem) -> Code {
    match problem.status {
        404 | 410 => Code::NotFound,
        _ if problem.is_for_now() => Code::TryAgain,
        _ => Code::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_can_tell_the_ends_apart() {
        let refused = |status| {
            Failure::from(ClientError::Refused(Problem {
                status,
                ..Problem::default()
            }))
            .code
        };
        for (status, code) in [
            (400, Code::Failed),
            (404, Code::NotFound),
            (410, Code::NotFound),
            (422, Code::Failed),
            (429, Code::TryAgain),
            (500, Code::Failed),
            (503, Code::TryAgain),
        ] {
            assert_eq!(refused(status), code, "{status}");
        }
        let bad = Failure::from(ClientError::BadAddress("x".into()));
        assert_eq!(bad.code, Code::Usage);
    }
}
