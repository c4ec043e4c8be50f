//! How many requests were answered, and how. Fixed in size.

use super::kind::Kind;
use crate::ingress::listener;
use axum::http::StatusCode;
use std::sync::Arc;
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

/// All statuses that this listener gives; 0 stands for any other.
const STATUSES: [u16; 16] = [
    200, 202, 400, 403, 404, 405, 408, 410, 413, 415, 422, 431, 500, 503, 504, 0,
];

#[derive(Debug, Default)]
pub struct Counters {
    answers: [[AtomicU64; STATUSES.len()]; Endpoint::ALL.len()],
    /// Of the listener itself.
    pub connections: Arc<listener::Counters>,
    event_readers: AtomicU64,
    opened_event_readers: AtomicU64,
    refused_event_readers: AtomicU64,
    problems: Problems,
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

    /// A problem was answered, to a request or to a line of a batch.
    pub(super) fn count_problem(&self, kind: Kind) {
        self.problems.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn problems(&self) -> [(Kind, u64); Kind::ALL.len()] {
        Kind::ALL.map(|k| (k, self.problems.0[k as usize].load(Ordering::Relaxed)))
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
}
