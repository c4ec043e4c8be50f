//! How many requests were answered, and how. Fixed in size.

use super::kind::Kind;
use axum::http::StatusCode;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Publish,
    Batch,
    Message,
    Stream,
    Other,
}

impl Endpoint {
    const ALL: [Self; 5] = [
        Self::Publish,
        Self::Batch,
        Self::Message,
        Self::Stream,
        Self::Other,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Batch => "batch",
            Self::Message => "message",
            Self::Stream => "stream",
            Self::Other => "other",
        }
    }

    pub(super) fn of_path(path: &str) -> Self {
        match path
            .strip_prefix("/v1/")
            .map(|rest| rest.split('/').next().unwrap_or_default())
        {
            Some("topics") => Self::Publish,
            Some("batch") => Self::Batch,
            Some("messages") => Self::Message,
            Some("streams") => Self::Stream,
            _ => Self::Other,
        }
    }
}

/// By what a request shows that it isn't from a program on this machine (`guarded`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    Host,
    Origin,
    /// Sec-Fetch-Site.
    Site,
}

impl Foreign {
    const ALL: [Self; 3] = [Self::Host, Self::Origin, Self::Site];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::Site => "site",
        }
    }
}

/// Why this listener ended a connection that nobody else wanted ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What came is no HTTP; answered with a bare 400.
    Malformed,
    /// The request's head was longer than it may be; answered with a bare 431.
    HeadTooLarge,
    /// No whole head came in time: the next one's of a kept connection, too.
    Silent,
    /// Nothing of an answer was taken for too long.
    NotTaking,
}

impl Ended {
    const ALL: [Self; 4] = [
        Self::Malformed,
        Self::HeadTooLarge,
        Self::Silent,
        Self::NotTaking,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::Silent => "silent",
            Self::NotTaking => "not_taking",
        }
    }

    /// None if the peer ended it, or the network did.
    fn by(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            return Some(Self::HeadTooLarge);
        }
        if error.is_parse() {
            return Some(Self::Malformed);
        }
        if error.is_timeout() {
            return Some(Self::Silent);
        }
        let cause = error.source()?.downcast_ref::<io::Error>()?;
        (cause.kind() == io::ErrorKind::TimedOut).then_some(Self::NotTaking)
    }
}

/// All statuses that this listener gives; 0 stands for any other.
const STATUSES: [u16; 14] = [
    200, 202, 400, 404, 405, 408, 410, 413, 415, 422, 500, 503, 504, 0,
];

#[derive(Debug, Default)]
pub struct Counters {
    answers: [[AtomicU64; STATUSES.len()]; Endpoint::ALL.len()],
    refused_connections: AtomicU64,
    event_readers: AtomicU64,
    opened_event_readers: AtomicU64,
    refused_event_readers: AtomicU64,
    foreign: [AtomicU64; Foreign::ALL.len()],
    problems: Problems,
    ended: [AtomicU64; Ended::ALL.len()],
}

#[derive(Debug)]
struct Problems([AtomicU64; Kind::ALL.len()]);

impl Default for Problems {
    fn default() -> Self {
        // Arrays of this length have no default of their own.
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// Who reads streams as events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventReadersCounted {
    pub now: u64,
    /// Since the start; those that are gone again included.
    pub opened: u64,
    pub refused: u64,
}

/// One counter, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub endpoint: Endpoint,
    /// 0: none of those that this listener is known to give.
    pub status: u16,
    pub count: u64,
}

impl Counters {
    pub(super) fn count(&self, endpoint: Endpoint, status: StatusCode) {
        let known = STATUSES.iter().position(|s| *s == status.as_u16());
        let column = known.unwrap_or(STATUSES.len() - 1);
        self.answers[endpoint as usize][column].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn event_reader_comes(&self) {
        self.event_readers.fetch_add(1, Ordering::Relaxed);
        self.opened_event_readers.fetch_add(1, Ordering::Relaxed);
    }

    /// One that came.
    pub(super) fn event_reader_goes(&self) {
        self.event_readers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused_event_reader(&self) {
        self.refused_event_readers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn event_readers(&self) -> EventReadersCounted {
        EventReadersCounted {
            now: self.event_readers.load(Ordering::Relaxed),
            opened: self.opened_event_readers.load(Ordering::Relaxed),
            refused: self.refused_event_readers.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count_foreign(&self, foreign: Foreign) {
        self.foreign[foreign as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that `guarded` refused.
    pub fn foreign(&self) -> [(Foreign, u64); Foreign::ALL.len()] {
        Foreign::ALL.map(|f| (f, self.foreign[f as usize].load(Ordering::Relaxed)))
    }

    /// A problem was answered, to a request or to a line of a batch.
    pub(super) fn count_problem(&self, kind: Kind) {
        self.problems.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn problems(&self) -> [(Kind, u64); Kind::ALL.len()] {
        Kind::ALL.map(|k| (k, self.problems.0[k as usize].load(Ordering::Relaxed)))
    }

    pub(super) fn count_ended(&self, why: Ended) {
        self.ended[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The error that a connection ended with, if it was this listener's doing.
    pub(super) fn count_error(&self, error: &hyper::Error) {
        if let Some(why) = Ended::by(error) {
            self.count_ended(why);
        }
    }

    pub fn ended(&self) -> [(Ended, u64); Ended::ALL.len()] {
        Ended::ALL.map(|e| (e, self.ended[e as usize].load(Ordering::Relaxed)))
    }

    /// Those that aren't zero.
    pub fn answered(&self) -> Vec<Answered> {
        let mut all = Vec::new();
        for endpoint in Endpoint::ALL {
            for (column, status) in STATUSES.into_iter().enumerate() {
                let count = self.answers[endpoint as usize][column].load(Ordering::Relaxed);
                if count > 0 {
                    all.push(Answered {
                        endpoint,
                        status,
                        count,
                    });
                }
            }
        }
        all
    }

    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }
}
