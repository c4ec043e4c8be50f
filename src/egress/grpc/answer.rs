//! What the service answered, or how its call ended, and what that means for deliveries. Pure.

use super::v1;
use super::v1::deliver_response::Outcome;
use crate::egress::Verdict;
use crate::egress::words::printable;
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Of its words in a reason.
const MAX_WORDS_CHARS: usize = 300;
/// Nobody means more; and no sum of times overflows.
const MAX_DELAY: Duration = Duration::from_secs(30 * 86_400);
/// Of one answer. Nobody else has this very limit: by it our own complaint is told from a service's.
pub const MAX_ANSWER_BYTES: usize = (64 << 10) + 7;
/// What servers say of a message that is larger than they take: each library in its own words, under one of two
/// codes that mean other things too.
const TOO_LARGE: [&str; 4] = [
    "larger than max",
    "exceeds max",
    "exceeds the max",
    "too large",
];

/// What an answer means for its delivery.
pub fn verdict(outcome: Option<Outcome>) -> Verdict {
    let reason = |text: &str| match printable(text, MAX_WORDS_CHARS) {
        words if words.is_empty() => "the service gave no reason".to_owned(),
        words => words,
    };
    match outcome {
        Some(Outcome::Delivered(_)) => Verdict::Delivered,
        Some(Outcome::Retry(v1::Retry { reason: why, delay })) => {
            let delay = delay.and_then(|delay| Duration::try_from(delay).ok());
            Verdict::retry_after(reason(&why), delay.map(|delay| delay.min(MAX_DELAY)))
        }
        Some(Outcome::Reject(v1::Reject { reason: why })) => Verdict::reject(reason(&why)),
        None => Verdict::unknown("the service answered without an outcome"),
    }
}

/// What the end of a call means.
#[derive(Debug, PartialEq)]
pub struct End {
    /// For what was sent and not answered.
    pub sent: Verdict,
    /// For what waits to be sent. `None`: it goes with the next call.
    pub queued: Option<Verdict>,
    /// It may be one of those sent that ended it.
    pub is_suspicious: bool,
}

/// How far a call had come.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub has_answered: bool,
    /// The one delivery that was open was sent alone.
    pub was_alone: bool,
}

impl End {
    /// The connection, or we ended it.
    pub fn broken(why: &str) -> Self {
        Self {
            sent: Verdict::unknown(why),
            queued: Some(Verdict::retry(why)),
            is_suspicious: false,
        }
    }

    /// The service ended it well.
    pub fn of_ok(course: Course) -> Self {
        const WHY: &str = "the service ended its call without an answer";
        Self {
            queued: (!course.has_answered).then(|| Verdict::retry(WHY)),
            ..Self::broken(WHY)
        }
    }

    pub fn of(status: &Status, course: Course) -> Self {
        let words = words(status);
        if is_broken(status) {
            return Self::broken(&words);
        }
        let all = |verdict: Verdict| Self {
            sent: verdict.clone(),
            queued: Some(verdict),
            is_suspicious: false,
        };
        let suspicious = |sent| Self {
            sent,
            queued: None,
            is_suspicious: true,
        };
        let refuses_us = matches!(
            status.code(),
            Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied
        );
        let is_size = matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange)
            && TOO_LARGE.iter().any(|part| words.contains(part));
        match status.code() {
            _ if is_size && course.was_alone => suspicious(Verdict::reject(words)),
            _ if is_size => suspicious(Verdict::unknown(words)),
            _ if refuses_us && !course.has_answered => all(Verdict::fatal(words)),
            Code::Unavailable | Code::ResourceExhausted if !course.has_answered => {
                all(Verdict::retry_after(words, delay(status)))
            }
            // Something on the way, or its own end: no matter of a message's.
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted => Self::broken(&words),
            _ if refuses_us => Self::broken(&words),
            _ => suspicious(Verdict::unknown(words)),
        }
    }
}

/// Whether it isn't the service that says so: the connection broke, or what came isn't what was agreed.
pub fn is_broken(status: &Status) -> bool {
    let own = format!("the limit is: {MAX_ANSWER_BYTES} bytes");
    status.source().is_some() || status.message().contains(&own)
}

/// `google.rpc.RetryInfo`.
fn delay(status: &Status) -> Option<Duration> {
    let info = status.get_details_retry_info()?;
    info.retry_delay.map(|delay| delay.min(MAX_DELAY))
}

/// The code as it stands in everybody's documentation, and the service's own words.
fn words(status: &Status) -> String {
    let message = printable(status.message(), MAX_WORDS_CHARS);
    if let Some(source) = status.source() {
        let mut told = printable(&source.to_string(), MAX_WORDS_CHARS);
        // "error" alone helps nobody.
        if let Some(source) = source.source() {
            told = format!(
                "{told}: {}",
                printable(&source.to_string(), MAX_WORDS_CHARS)
            );
        }
        return told;
    }
    let name = name(status.code());
    let hint = match status.code() {
        Code::Unimplemented => " (there is no service causeway.v1.Sink)",
        _ => "",
    };
    match message.is_empty() {
        true => format!("{name}{hint}"),
        false => format!("{name}: {message}{hint}"),
    }
}

/// `ResourceExhausted` → `RESOURCE_EXHAUSTED`.
fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests;
