//! How a command ends: what it says, and the number that scripts read.

use super::advice;
use super::client::{ClientError, Problem};
use crate::gateway::Told;
use serde_json::{Value, json};
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

/// What a command says when there is no answer: to people on stderr, with `--json` also as one line on
/// stdout (docs/JSON.md).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub code: Code,
    pub kind: Kind,
    pub text: String,
    /// What to do next.
    pub help: String,
    /// The gateway's own problem object.
    pub problem: Option<Value>,
}

/// What programs tell failures of this program apart by; `Refused` has the gateway's own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The command line isn't understood.
    Usage,
    /// A file, a folder, the configuration or a journal isn't as it must be.
    Local,
    /// What the command reads can't be read.
    Input,
    /// What it tells can't be written.
    Output,
    /// The configuration names no listener to ask.
    NoListener,
    /// Nobody answers there.
    Unreachable,
    /// The connection broke: the request was done, or not.
    Broken,
    /// Something answers that is no gateway, or one of another version.
    Foreign,
    /// The gateway says no.
    Refused,
    /// A signal ended it.
    Interrupted,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Local => "local",
            Self::Input => "input",
            Self::Output => "output",
            Self::NoListener => "no-listener",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Foreign => "foreign",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Between what is wrong and what to do about it, in texts that other rooms make.
const HELP: &str = "\nhelp: ";

impl Failure {
    pub fn new(code: Code, kind: Kind, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code,
            kind,
            text: text.into(),
            help: help.into(),
            problem: None,
        }
    }

    pub fn usage(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Code::Usage, Kind::Usage, text, help)
    }

    pub fn input(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(Code::Failed, Kind::Input, text, help)
    }

    /// From the words of another room, whose last line may say what to do.
    pub fn local(words: &str) -> Self {
        let words = words.trim_end();
        let (text, help) = match words.rsplit_once(HELP) {
            Some((text, help)) if !help.contains('\n') => (text, help),
            // A report of a file, with a line for each thing that is wrong with it.
            Some(_) => (
                words,
                "correct the file; `causeway check` shows all that is wrong with it",
            ),
            None => (words, "see docs/CLI.md, and the log of the gateway"),
        };
        Self::new(Code::Failed, Kind::Local, text, help)
    }

    /// On stderr.
    pub fn words(&self) -> String {
        format!("error: {}{HELP}{}", self.text.trim_end(), self.help)
    }

    /// On stdout with `--json`.
    pub fn json(&self) -> Value {
        let mut error = json!({
            "code": self.code as u8,
            "kind": self.kind.as_str(),
            "message": self.text.trim_end(),
            "help": self.help,
        });
        if let Some(problem) = &self.problem {
            error["problem"] = problem.clone();
        }
        json!({ "error": error })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (code, kind) = match &error {
            ClientError::BadAddress(_) => (Code::Usage, Kind::Usage),
            ClientError::Unreachable { .. } => (Code::TryAgain, Kind::Unreachable),
            ClientError::Broken { .. } => (Code::TryAgain, Kind::Broken),
            ClientError::Foreign { .. } => (Code::Failed, Kind::Foreign),
            ClientError::Refused(problem) => (code_of(problem), Kind::Refused),
        };
        let failure = Self::new(code, kind, error.to_string(), advice::of(&error));
        Self {
            problem: match error {
                ClientError::Refused(problem) => problem.json,
                _ => None,
            },
            ..failure
        }
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

    #[test]
    fn words_of_other_rooms_end_with_what_to_do() {
        for (words, text, help) in [
            ("it fails\nhelp: do that\n", "it fails", "do that"),
            (
                "a\nhelp: b\n1 error",
                "a\nhelp: b\n1 error",
                "correct the file; `causeway check` shows all that is wrong with it",
            ),
            (
                "it fails",
                "it fails",
                "see docs/CLI.md, and the log of the gateway",
            ),
        ] {
            let failure = Failure::local(words);
            assert_eq!((failure.text.as_str(), failure.help.as_str()), (text, help));
            assert_eq!(failure.words(), format!("error: {text}\nhelp: {help}"));
            let json =
                json!({"error": {"code": 1, "kind": "local", "message": text, "help": help}});
            assert_eq!(failure.json(), json);
        }
    }
}
