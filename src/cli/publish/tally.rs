//! What became of the lines, as it is said at the end.

use crate::cli::client::Problem;
use crate::cli::exit::{Code, Reply};
use crate::cli::text::escaped;
use serde_json::{Value, json};

/// Refused lines that are named; the others are counted.
const NAMED: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Tally {
    pub lines: u64,
    pub stored: u64,
    pub duplicates: u64,
    /// Stored, and the wait for their delivery was over.
    pub pending: u64,
    /// Stored, and in the dead letters.
    pub held: u64,
    refused: u64,
    named: Vec<(u64, Problem)>,
}

/// A line's result in a batch's answer.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    Stored,
    Duplicate,
    /// Stored, not yet delivered when the gateway's patience ended.
    Pending,
    Held,
    Refused(Problem),
    InDoubt(Problem),
}

impl Fate {
    /// `None`: it is no result.
    pub fn read(result: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(result).ok()?;
        let status = u16::try_from(json.get("status")?.as_u64()?).ok()?;
        if (200..300).contains(&status) {
            let is_duplicate = json.get("duplicate")?.as_bool()?;
            return Some(if is_duplicate {
                Self::Duplicate
            } else {
                Self::Stored
            });
        }
        let problem = Problem::read(status, None, result);
        Some(match (status, problem.kind.as_str()) {
            (504, "outcome-pending") => Self::Pending,
            (422, "dead-lettered") => Self::Held,
            (500 | 502 | 504, _) => Self::InDoubt(problem),
            _ => Self::Refused(problem),
        })
    }
}

impl Tally {
    pub fn count(&mut self, line: u64, fate: Fate) {
        self.lines += 1;
        match fate {
            Fate::Stored => self.stored += 1,
            Fate::Duplicate => self.duplicates += 1,
            Fate::Pending => self.pending += 1,
            Fate::Held => self.held += 1,
            Fate::Refused(problem) | Fate::InDoubt(problem) => self.refuse(line, problem),
        }
    }

    fn refuse(&mut self, line: u64, problem: Problem) {
        self.refused += 1;
        if self.named.len() < NAMED {
            self.named.push((line, problem));
        }
    }

    pub const fn code(&self) -> Code {
        match (self.refused, self.held, self.pending) {
            (1.., _, _) => Code::Failed,
            (_, 1.., _) => Code::Held,
            (_, _, 1..) => Code::Pending,
            _ => Code::Done,
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} lines: {} stored, {} duplicates, {} refused",
            self.lines, self.stored, self.duplicates, self.refused
        );
        for (count, what) in [
            (self.held, "held in the dead letters"),
            (self.pending, "stored, their delivery pending"),
        ] {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        for (line, problem) in &self.named {
            let detail = escaped(&problem.detail);
            text.push_str(&format!("\n  line {line} ({}): {detail}", problem.status));
        }
        let others = self.refused - self.named.len() as u64;
        if others > 0 {
            text.push_str(&format!("\n  and {others} more"));
        }
        text
    }

    fn json(&self) -> Value {
        let named = self.named.iter().map(|(line, problem)| {
            json!({
                "line": line,
                "status": problem.status,
                "type": problem.kind,
                "detail": problem.detail,
            })
        });
        json!({
            "lines": self.lines,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "pending": self.pending,
            "held": self.held,
            "refused": self.refused,
            "first_refused": named.collect::<Vec<Value>>(),
        })
    }

    /// The words go to stderr; nothing but `--json` is for stdout.
    pub fn reply(&self) -> Reply {
        Reply {
            code: self.code(),
            text: String::new(),
            json: self.json(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem {
            status: 413,
            kind: "too-large".into(),
            detail: "too\nlarge".into(),
            ..Problem::default()
        }
    }

    #[test]
    fn the_first_refused_are_named_and_the_rest_counted() {
        let mut tally = Tally {
            lines: 20,
            stored: 5,
            duplicates: 3,
            ..Tally::default()
        };
        assert_eq!(tally.code(), Code::Done);
        for line in 1..=12 {
            tally.refuse(line, problem());
        }
        let text = tally.text();
        assert!(
            text.starts_with(
                "20 lines: 5 stored, 3 duplicates, 12 refused\n  line 1 (413): too\\nlarge\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("\n  and 2 more"), "{text}");
        assert_eq!(tally.code(), Code::Failed);
        let json = tally.reply().json;
        assert_eq!(
            (&json["refused"], &json["first_refused"][9]["line"]),
            (&12.into(), &10.into())
        );
    }

    #[test]
    fn what_is_stored_but_not_delivered_has_its_own_code() {
        let mut tally = Tally {
            pending: 1,
            ..Tally::default()
        };
        assert_eq!(tally.code(), Code::Pending);
        tally.held = 2;
        assert_eq!(tally.code(), Code::Held);
        assert!(
            tally
                .text()
                .contains("2 held in the dead letters, 1 stored, their delivery")
        );
    }
}
