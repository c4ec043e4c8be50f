//! How many calls were ended, and how. Fixed in size.

use super::v1;
use crate::ingress::listener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Publish,
    PublishBatch,
    PublishStream,
    Subscribe,
    GetMessage,
    /// Health, reflection, and what there isn't.
    Other,
}

impl Method {
    const ALL: [Self; 6] = [
        Self::Publish,
        Self::PublishBatch,
        Self::PublishStream,
        Self::Subscribe,
        Self::GetMessage,
        Self::Other,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "Publish",
            Self::PublishBatch => "PublishBatch",
            Self::PublishStream => "PublishStream",
            Self::Subscribe => "Subscribe",
            Self::GetMessage => "GetMessage",
            Self::Other => "other",
        }
    }

    pub(super) fn of_path(path: &str) -> Self {
        let name = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(v1::SERVICE))
            .and_then(|path| path.strip_prefix('/'));
        let known = Self::ALL.into_iter().find(|m| Some(m.as_str()) == name);
        known.unwrap_or(Self::Other)
    }
}

/// Codes of gRPC, from 0, as its standard names them.
const NAMES: [&str; CODES] = [
    OK,
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
const CODES: usize = 17;
/// Of a call that succeeded.
pub const OK: &str = "OK";

#[derive(Debug, Default)]
pub struct Counters {
    /// Of the listener itself.
    pub connections: Arc<listener::Counters>,
    calls: [[AtomicU64; CODES]; Method::ALL.len()],
    /// Calls that aren't ended.
    open: [AtomicU64; Method::ALL.len()],
}

/// One counter, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    pub method: Method,
    pub code: Code,
    pub count: u64,
}

impl Called {
    #[must_use]
    pub const fn code_name(&self) -> &'static str {
        NAMES[self.code as usize]
    }
}

impl Counters {
    pub(super) fn begin(&self, method: Method) {
        self.open[method as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, method: Method, code: Code) {
        self.open[method as usize].fetch_sub(1, Ordering::Relaxed);
        self.calls[method as usize][code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn open(&self) -> [(Method, u64); Method::ALL.len()] {
        Method::ALL.map(|m| (m, self.open[m as usize].load(Ordering::Relaxed)))
    }

    /// Those that aren't zero.
    pub fn called(&self) -> Vec<Called> {
        let mut all = Vec::new();
        for method in Method::ALL {
            for (code, calls) in self.calls[method as usize].iter().enumerate() {
                let count = calls.load(Ordering::Relaxed);
                let code = Code::from(i32::try_from(code).expect("a small number"));
                if count > 0 {
                    all.push(Called {
                        method,
                        code,
                        count,
                    });
                }
            }
        }
        all
    }
}
