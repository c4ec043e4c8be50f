//! Codings of request bodies (`Content-Encoding`): which one, and undoing it step by step.
//!
//! A `Decoder` takes coded bytes as they come and gives as many decoded ones as its caller has
//! room for. It takes no memory on the word of a length that the body declares; what it holds
//! beside the caller's buffers is gzip's window of 32 KiB or zstd's of at most 8 MiB.

mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

use super::Kind;
use super::Limits;
use super::body::{self, Received, grow_share, too_large};
use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use gzip::Gzip;
use std::sync::Arc;
use tokio::sync::Semaphore;
use zstd::Zstd;

/// Bodies that are decoded at one time. None of them waits for a client, so that a place is soon
/// free; what their decoders hold is bounded with them.
const DECODED_AT_ONCE: usize = 8;

/// So many bytes are read or written between two polls, so that other requests get their turn.
const STEP_BYTES: usize = 64 << 10;

/// Around a payload in a line or an event, beside the headers: its other members.
const JSON_OVERHEAD_BYTES: usize = 16 << 10;

const ACCEPTED: &str = "gzip, zstd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// Of a request's body. Several codings on top of each other are refused: nobody sends them
    /// but to make one byte many.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut found = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| not_accepted())?;
            for name in value.split(',').map(str::trim) {
                let coding = Self::named(name).ok_or_else(not_accepted)?;
                if coding == Self::Identity {
                    continue;
                }
                if found != Self::Identity {
                    return Err(not_accepted());
                }
                found = coding;
            }
        }
        Ok(found)
    }

    fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Coding); 5] = [
            ("", Coding::Identity),
            ("identity", Coding::Identity),
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("zstd", Coding::Zstd),
        ];
        let known = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        known.map(|(_, coding)| *coding)
    }
}

fn not_accepted() -> Problem {
    let detail = "header content-encoding: send the body as it is, or in one of gzip and zstd";
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::ContentEncoding,
        "The body's coding isn't known",
        detail,
    )
    .with("header", "content-encoding")
    .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED))
}

/// Why a body can't be decoded. A repetition of the same bytes can't help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the body ends before its {0} data do")]
    Truncated(&'static str),
    #[error("the body isn't valid {coding}: {why}")]
    Corrupt { coding: &'static str, why: String },
    #[error("no memory for a decoder of {0}")]
    NoMemory(&'static str),
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let detail = error.to_string();
        match error {
            DecodeError::NoMemory(_) => Self::unavailable(Kind::Busy, detail, 1),
            DecodeError::Truncated(_) | DecodeError::Corrupt { .. } => Self::malformed(detail),
        }
    }
}

/// How far one step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Of the input.
    pub read: usize,
    /// To the output.
    pub written: usize,
}

pub(super) enum Decoder {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

impl Decoder {
    /// None for a body that is sent as it is.
    pub(super) fn new(coding: Coding) -> Result<Option<Self>, DecodeError> {
        Ok(match coding {
            Coding::Identity => None,
            Coding::Gzip => Some(Self::Gzip(Box::new(Gzip::new()))),
            Coding::Zstd => Some(Self::Zstd(Zstd::new()?)),
        })
    }

    /// Decodes some of the input into some of the output. All that the input gives is out when
    /// all of it is read and the output isn't full. After an error, no more steps.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        let step = match self {
            Self::Gzip(gzip) => gzip.step(input, output)?,
            Self::Zstd(zstd) => zstd.step(input, output)?,
        };
        let stands_still = step.read == 0 && step.written == 0;
        if stands_still && !input.is_empty() && !output.is_empty() {
            // Neither decoder does that; a caller must not loop for ever if one did.
            return Err(DecodeError::Corrupt {
                coding: self.name(),
                why: "it can't be decoded any further".into(),
            });
        }
        Ok(step)
    }

    /// No more input comes: it must have ended where the data do.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        let complete = match self {
            Self::Gzip(gzip) => gzip.is_complete(),
            Self::Zstd(zstd) => zstd.is_complete(),
        };
        match complete {
            true => Ok(()),
            false => Err(DecodeError::Truncated(self.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Gzip(_) => gzip::NAME,
            Self::Zstd(_) => zstd::NAME,
        }
    }
}

/// Where bodies are decoded, and under what limits.
pub(super) struct Desk {
    pub payload_limit: usize,
    pub in_flight: Arc<Semaphore>,
    /// All of it.
    pub in_flight_limit: usize,
    /// `DECODED_AT_ONCE` places.
    decoding: Semaphore,
}

impl Desk {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            payload_limit: limits.payload_bytes,
            in_flight: Arc::clone(limits.in_flight.semaphore()),
            in_flight_limit: limits.in_flight.limit_bytes(),
            decoding: Semaphore::new(DECODED_AT_ONCE),
        }
    }

    /// Of what holds a payload as JSON: as JSON or base64, or as text in which every other character is
    /// escaped. What is more than all bytes in flight would never find room.
    pub(super) fn json_limit(&self) -> usize {
        let limit = 2 * self.payload_limit + JSON_OVERHEAD_BYTES;
        limit.min(self.in_flight_limit)
    }

    /// A body as its sender meant it. Its share of the bytes in flight covers what is larger, the
    /// coded or the decoded form; both are in memory only while it has a place to be decoded.
    pub(super) async fn receive(
        &self,
        body: Body,
        coding: Coding,
        limit: usize,
    ) -> Result<Received, Problem> {
        let Some(decoder) = Decoder::new(coding)? else {
            return body::receive(body, limit, &self.in_flight).await;
        };
        let coded = body::receive_coded(body, limit, &self.in_flight).await?;
        let _place = self.decoding.acquire().await;
        self.decode(decoder, coded, limit).await
    }

    async fn decode(
        &self,
        mut decoder: Decoder,
        coded: Received,
        limit: usize,
    ) -> Result<Received, Problem> {
        let Received { payload, mut share } = coded;
        let mut decoded = Vec::new();
        let mut rest = &payload[..];
        loop {
            let start = decoded.len();
            // One byte more than may be, to see that there is one.
            let room = (limit + 1 - start).min(STEP_BYTES);
            decoded.resize(start + room, 0);
            let input = &rest[..rest.len().min(STEP_BYTES)];
            let step = decoder.step(input, &mut decoded[start..])?;
            decoded.truncate(start + step.written);
            rest = &rest[step.read..];
            if decoded.len() > limit {
                return Err(too_large(decoded.len(), limit));
            }
            grow_share(&mut share, decoded.len(), &self.in_flight)?;
            if rest.is_empty() && step.written < room {
                break;
            }
            tokio::task::yield_now().await;
        }
        decoder.finish()?;
        Ok(Received {
            payload: Bytes::from(decoded.into_boxed_slice()),
            share,
        })
    }
}
