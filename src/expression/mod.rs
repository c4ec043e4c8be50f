//! CEL: in `when`, `transform`, `id` and `${…}`.
//!
//! What lives here: expressions compiled, evaluated over one envelope, within a budget of steps.
//! What must not: routes, refusals, what becomes of a failure.
//!
//! SKELETON: replaced by the branch `expr`.

use crate::message::Envelope;
use bytes::Bytes;
use std::marker::PhantomData;
use std::ops::Range;

#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    source: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    pub range: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("skeleton")]
pub struct EvalError;

pub struct Transformed {
    pub json: Bytes,
}

pub struct Scope<'a> {
    _envelope: PhantomData<&'a Envelope>,
}

impl Program {
    pub fn compile(source: &str, _levels: &[&str]) -> Result<Self, CompileError> {
        Ok(Self {
            source: source.to_owned(),
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub fn reads_payload(&self) -> bool {
        unimplemented!()
    }

    pub fn is_true(&self, _scope: &Scope<'_>) -> Result<bool, EvalError> {
        unimplemented!()
    }

    pub fn transform(&self, _scope: &Scope<'_>) -> Result<Transformed, EvalError> {
        unimplemented!()
    }

    pub fn id(&self, _scope: &Scope<'_>) -> Result<String, EvalError> {
        unimplemented!()
    }
}

impl Template {
    pub fn parse(text: &str, _levels: &[&str]) -> Result<Self, CompileError> {
        Ok(Self {
            source: text.to_owned(),
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        Some(&self.source)
    }

    #[must_use]
    pub fn reads_payload(&self) -> bool {
        unimplemented!()
    }

    pub fn text(&self, _scope: &Scope<'_>) -> Result<String, EvalError> {
        unimplemented!()
    }

    pub fn bytes(&self, _scope: &Scope<'_>) -> Result<Bytes, EvalError> {
        unimplemented!()
    }

    pub fn integer(&self, _scope: &Scope<'_>) -> Result<i64, EvalError> {
        unimplemented!()
    }
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new(_envelope: &'a Envelope) -> Self {
        Self {
            _envelope: PhantomData,
        }
    }

    #[must_use]
    pub fn with_levels<'b>(&'b self, _levels: &'b [(&'b str, &'b str)]) -> Scope<'b> {
        unimplemented!()
    }

    #[must_use]
    pub fn with_payload<'b>(&'b self, _transformed: &'b Transformed) -> Scope<'b> {
        unimplemented!()
    }

    #[must_use]
    pub fn steps(&self) -> u64 {
        unimplemented!()
    }
}
