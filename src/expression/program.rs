//! A compiled expression, and what the places in which one stands ask of it.

use super::compile::compile;
use super::error::{CompileError, EvalError, Fault, Kind};
use super::eval::Eval;
use super::ir::Node;
use super::json::Writer;
use super::scope::{Scope, Transformed};
use super::value::Value;
use std::fmt;
use std::sync::Arc;

/// Compiled CEL. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

struct Inner {
    source: String,
    levels: Vec<String>,
    root: Node,
    reads_payload: bool,
}

impl Program {
    /// `levels` are the names that the route's topic binds.
    pub fn compile(source: &str, levels: &[&str]) -> Result<Self, CompileError> {
        let levels: Vec<String> = levels.iter().map(|&level| level.to_owned()).collect();
        let root = compile(source, &levels)?;
        Ok(Self {
            inner: Arc::new(Inner {
                source: source.to_owned(),
                levels,
                reads_payload: root.reads_payload(),
                root,
            }),
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.inner.reads_payload
    }

    /// For `when`.
    pub fn is_true(&self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        match self.value(scope).map_err(|fault| *fault)? {
            Value::Bool(value) => Ok(value),
            other => Err(self.wrong("true or false", &other)),
        }
    }

    /// For `transform`: the value as JSON.
    pub fn transform(&self, scope: &Scope<'_>) -> Result<Transformed, EvalError> {
        let json = || -> Result<Vec<u8>, Fault> {
            let value = self.value(scope)?;
            let mut writer = Writer::new(scope.budget());
            writer.value(&value)?;
            writer.finish()
        };
        Ok(Transformed::new(json().map_err(|fault| *fault)?))
    }

    /// For `id`: text as it is, a whole number in digits, true or false.
    pub fn id(&self, scope: &Scope<'_>) -> Result<String, EvalError> {
        match self.value(scope).map_err(|fault| *fault)? {
            Value::Text(text) => Ok(text.to_string()),
            Value::Int(number) => Ok(number.to_string()),
            Value::Uint(number) => Ok(number.to_string()),
            Value::Huge(digits) => Ok(digits.to_owned()),
            Value::Bool(value) => Ok(value.to_string()),
            other => Err(self.wrong("text, a whole number, true or false", &other)),
        }
    }

    pub(super) fn value<'s>(&'s self, scope: &'s Scope<'s>) -> Result<Value<'s>, Fault> {
        Eval::new(scope).eval(&self.inner.root)
    }

    /// The value isn't what its place needs.
    pub(super) fn wrong(&self, expected: &'static str, found: &Value<'_>) -> EvalError {
        let what = self.inner.root.described();
        match found.kind() {
            Kind::Null => EvalError::Null { what },
            found => EvalError::Type {
                what,
                expected,
                found,
            },
        }
    }

    pub(super) fn described(&self) -> String {
        self.inner.root.described()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        (self.source(), &self.inner.levels) == (other.source(), &other.inner.levels)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.source()).finish()
    }
}
