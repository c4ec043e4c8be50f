//! How connections were refused and ended. Fixed in size.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Of one listener.
#[derive(Debug, Default)]
pub struct Counters {
    refused_connections: AtomicU64,
    foreign: [AtomicU64; Foreign::ALL.len()],
    ended: [AtomicU64; Ended::ALL.len()],
}

impl Counters {
    pub(super) fn count_refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Ordering::Relaxed)
    }

    pub(super) fn count_foreign(&self, foreign: Foreign) {
        self.foreign[foreign as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that a `Guard` refused.
    pub fn foreign(&self) -> [(Foreign, u64); Foreign::ALL.len()] {
        Foreign::ALL.map(|f| (f, self.foreign[f as usize].load(Ordering::Relaxed)))
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
}
