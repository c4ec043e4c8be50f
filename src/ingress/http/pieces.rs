//! What a batch's body is made of: lines that are messages, or the events of a list. Pure.

use super::array::Elements;
use super::line::Line;
use super::problem::Problem;
use super::split::{Cut, Splitter};
use crate::cloudevents::Draft;
use crate::message::{Envelope, TraceContext};
use bytes::Bytes;
use std::sync::Arc;

pub(super) enum Pieces {
    Lines {
        splitter: Splitter,
        common: Common,
    },
    Events {
        elements: Elements,
        /// What they have in common: the topic, and whatever else the request's head says.
        rest: Box<Envelope>,
    },
}

/// What the messages of lines have in common.
pub(super) struct Common {
    pub(super) principal: Arc<str>,
    pub(super) source: Arc<str>,
    /// That of the request is that of each line.
    pub(super) trace: Option<TraceContext>,
}

/// One of them, read.
pub(super) struct Piece {
    /// As far as it can be read.
    pub(super) key: Option<Bytes>,
    pub(super) envelope: Result<Envelope, Problem>,
}

impl Pieces {
    pub(super) fn lines(limit_bytes: usize, common: Common) -> Self {
        Self::Lines {
            splitter: Splitter::new(limit_bytes),
            common,
        }
    }

    pub(super) fn events(limit_bytes: usize, rest: Envelope) -> Self {
        Self::Events {
            elements: Elements::new(limit_bytes),
            rest: Box::new(rest),
        }
    }

    /// What one of them is called.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Lines { .. } => "the line",
            Self::Events { .. } => "the event",
        }
    }

    /// More of the body. All pieces before it were taken.
    pub(super) fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Lines { splitter, .. } => splitter.push(bytes),
            Self::Events { elements, .. } => elements.push(bytes),
        }
    }

    /// The next complete one.
    pub(super) fn next(&mut self) -> Option<Cut> {
        match self {
            Self::Lines { splitter, .. } => splitter.next(),
            Self::Events { elements, .. } => elements.next(),
        }
    }

    /// Why nothing behind those that came can be read.
    pub(super) fn fault(&self) -> Option<Problem> {
        match self {
            Self::Lines { .. } => None,
            Self::Events { elements, .. } => elements.fault(false).map(Problem::malformed),
        }
    }

    /// The body came to its end: the piece that nothing ends but that.
    pub(super) fn last(&mut self) -> Result<Option<Cut>, Problem> {
        match self {
            Self::Lines { splitter, .. } => Ok(splitter.last()),
            Self::Events { elements, .. } => match elements.fault(true) {
                Some(why) => Err(Problem::malformed(why)),
                None => Ok(None),
            },
        }
    }

    /// Bytes of the piece that isn't complete.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Lines { splitter, .. } => splitter.held_bytes(),
            Self::Events { elements, .. } => elements.held_bytes(),
        }
    }

    /// The piece at hand is given up: there is no room for it.
    pub(super) fn skip(&mut self) {
        match self {
            Self::Lines { splitter, .. } => splitter.skip(),
            Self::Events { elements, .. } => elements.skip(),
        }
    }

    pub(super) fn read(&self, piece: &[u8]) -> Piece {
        match self {
            Self::Lines { common, .. } => line(piece, common),
            Self::Events { rest, .. } => event(piece, rest),
        }
    }

    /// The key of one, whatever else it holds.
    pub(super) fn key(&self, piece: &[u8]) -> Option<Bytes> {
        match self {
            Self::Lines { common, .. } => line(piece, common).key,
            Self::Events { rest, .. } => key_of(&Draft::read(piece).ok()?, rest),
        }
    }
}

fn line(piece: &[u8], common: &Common) -> Piece {
    match Line::read(piece) {
        Ok(line) => {
            let mut key = line.key_of_all();
            let mut envelope = line.envelope(&common.principal, &common.source);
            if let Ok(envelope) = &mut envelope {
                // Of an event in any form.
                key.clone_from(&envelope.key);
                envelope.came_with(common.trace.clone());
            }
            Piece { key, envelope }
        }
        Err(problem) => Piece {
            key: None,
            envelope: Err(problem),
        },
    }
}

fn event(piece: &[u8], rest: &Envelope) -> Piece {
    match Draft::read(piece) {
        Ok(draft) => {
            let key = key_of(&draft, rest);
            let event = draft.event();
            let envelope = event.and_then(|event| event.into_envelope(rest.clone()));
            Piece {
                key,
                envelope: envelope.map_err(Problem::from),
            }
        }
        Err(error) => Piece {
            key: None,
            envelope: Err(error.into()),
        },
    }
}

fn key_of(draft: &Draft<'_>, rest: &Envelope) -> Option<Bytes> {
    rest.key.clone().or_else(|| draft.key().map(Bytes::from))
}
