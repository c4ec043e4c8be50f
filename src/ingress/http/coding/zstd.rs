//! zstd (RFC 8878), frame after frame, with the windows of RFC 9659.

use super::{DecodeError, Step};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

pub(super) const NAME: &str = "zstd";

/// 8 MiB: what a receiver of the coding must take, and a sender may not exceed.
const WINDOW_LOG_MAX: u32 = 23;

pub(in super::super) struct Zstd {
    context: DCtx<'static>,
    /// After a frame and before the next byte; not at the very beginning.
    between_frames: bool,
}

impl Zstd {
    pub(super) fn new() -> Result<Self, DecodeError> {
        let mut context = DCtx::try_create().ok_or(DecodeError::NoMemory(NAME))?;
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(corrupt)?;
        Ok(Self {
            context,
            between_frames: false,
        })
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        // Between frames, and with nothing to come out, zstd would ask for more in vain.
        if output.is_empty() || (input.is_empty() && self.between_frames) {
            return Ok(Step {
                read: 0,
                written: 0,
            });
        }
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        let hint = self
            .context
            .decompress_stream(&mut to, &mut from)
            .map_err(corrupt)?;
        if hint == 0 {
            self.between_frames = true;
        } else if from.pos() > 0 {
            self.between_frames = false;
        }
        Ok(Step {
            read: from.pos(),
            written: to.pos(),
        })
    }

    pub(super) fn is_complete(&self) -> bool {
        self.between_frames
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.context.sizeof()
    }
}

fn corrupt(code: usize) -> DecodeError {
    DecodeError::Corrupt {
        coding: NAME,
        why: format!(
            "{} (windows up to {} MiB are taken)",
            get_error_name(code),
            (1 << WINDOW_LOG_MAX) >> 20
        ),
    }
}
