//! What evaluation may cost, counted for one envelope.

use super::error::{EvalError, Fault};
use std::cell::Cell;

/// The steps of all that is evaluated for one envelope: nodes visited, elements walked, values of a
/// payload read, pieces of text handled. Chosen so that the worst of it takes about 10 ms.
pub const MAX_STEPS: u64 = 1_000_000;
/// The bytes of texts and lists that are built for one envelope.
pub const MAX_BUILT_BYTES: usize = 16 << 20;
/// Of bytes that are copied or compared.
pub(super) const BYTES_A_STEP: usize = 64;
/// Of bytes that are searched, or read as JSON.
pub(super) const READ_BYTES_A_STEP: usize = 8;
/// Of entries that are passed by to find one.
pub(super) const PASSED_A_STEP: usize = 4;
/// An error is made of allocations, and `||` can absorb many.
const ERROR_STEPS: u64 = 16;
/// What is allocated is freed, too.
const ALLOCATION_STEPS: u64 = 10;

#[derive(Debug, Default)]
pub(super) struct Budget {
    steps: Cell<u64>,
    built: Cell<usize>,
}

impl Budget {
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub fn charge(&self, steps: u64) -> Result<(), Fault> {
        let spent = self.steps.get().saturating_add(steps);
        if spent <= MAX_STEPS {
            self.steps.set(spent);
            return Ok(());
        }
        self.steps.set(MAX_STEPS);
        Err(Box::new(EvalError::Budget { limit: MAX_STEPS }))
    }

    /// For work that is in proportion to bytes or entries.
    pub fn charge_part(&self, amount: usize, a_step: usize) -> Result<(), Fault> {
        if amount < a_step {
            return Ok(());
        }
        self.charge((amount / a_step) as u64)
    }

    /// For a name that so many entries are compared with.
    pub fn charge_passed(&self, entries: usize, name: &str) -> Result<(), Fault> {
        let each = 1 + name.len() / BYTES_A_STEP;
        self.charge_part(entries.saturating_mul(each), PASSED_A_STEP)
    }

    /// Before so many bytes are allocated.
    pub fn build(&self, bytes: usize) -> Result<(), Fault> {
        self.charge(ALLOCATION_STEPS)?;
        self.grow(bytes)
    }

    /// Before something that is allocated gets so many bytes larger.
    pub fn grow(&self, bytes: usize) -> Result<(), Fault> {
        self.charge_part(bytes, BYTES_A_STEP)?;
        let built = self.built.get().saturating_add(bytes);
        if built <= MAX_BUILT_BYTES {
            self.built.set(built);
            return Ok(());
        }
        Err(Box::new(EvalError::TooLarge {
            limit: MAX_BUILT_BYTES,
        }))
    }

    /// An error, paid for.
    pub fn fault(&self, error: EvalError) -> Fault {
        match self.charge(ERROR_STEPS) {
            Ok(()) => Box::new(error),
            Err(exhausted) => exhausted,
        }
    }
}
