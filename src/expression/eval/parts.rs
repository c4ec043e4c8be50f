//! What several truths come to, of which one may decide: behind `&&`, `||`, `all` and `exists`.

use super::super::error::Fault;
use super::super::value::Value;
use super::Result;

/// An error doesn't count if another part decides. What ends the whole evaluation always does.
pub(super) struct Parts {
    decides: bool,
    failed: Option<Fault>,
}

impl Parts {
    pub const fn new(decides: bool) -> Self {
        Self {
            decides,
            failed: None,
        }
    }

    /// Whether the next part decides.
    pub fn decided_by(&mut self, part: Result<bool>) -> Result<bool> {
        match part {
            Ok(value) => Ok(value == self.decides),
            Err(fault) if fault.is_final() => Err(fault),
            Err(fault) => {
                self.failed.get_or_insert(fault);
                Ok(false)
            }
        }
    }

    /// None has decided.
    pub fn end<'s>(self) -> Result<Value<'s>> {
        match self.failed {
            Some(fault) => Err(fault),
            None => Ok(Value::Bool(!self.decides)),
        }
    }
}
