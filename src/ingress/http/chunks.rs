//! A body of any length, decoded, piece by piece: for who needs no more of it in memory than a piece.

use super::body;
use super::coding::Decoder;
use super::problem::Problem;
use axum::body::Body;
use bytes::{Buf, Bytes};

/// What a decoder gives at most in one step, before others get their turn.
const STEP_BYTES: usize = 64 << 10;

pub(super) struct Chunks {
    body: Body,
    decoder: Option<Decoder>,
    /// What came and isn't decoded.
    coded: Bytes,
    /// The last step filled its output: the decoder may have more without more input.
    was_full: bool,
}

impl Chunks {
    /// Without a decoder it is taken as it comes.
    pub(super) fn new(body: Body, decoder: Option<Decoder>) -> Self {
        Self {
            body,
            decoder,
            coded: Bytes::new(),
            was_full: false,
        }
    }

    /// The next piece, or `None` at the end. Nothing is lost if it is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(decoder) = &mut self.decoder else {
            return body::next_data(&mut self.body).await;
        };
        loop {
            if self.coded.is_empty() && !self.was_full {
                match body::next_data(&mut self.body).await? {
                    Some(data) => self.coded = data,
                    None => return decoder.finish().map(|()| None).map_err(Problem::from),
                }
            }
            let mut decoded = vec![0; STEP_BYTES];
            let step = decoder.step(&self.coded, &mut decoded)?;
            self.coded.advance(step.read);
            self.was_full = step.written == STEP_BYTES;
            if step.written > 0 {
                decoded.truncate(step.written);
                return Ok(Some(decoded.into()));
            }
        }
    }

    /// What the client still sends, within limits, so that it comes to read its answer.
    pub(super) async fn discard(self) {
        body::discard(self.body).await;
    }
}
