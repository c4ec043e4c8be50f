//! A text with expressions in `${…}`.

use super::error::{CompileError, EvalError, Fault};
use super::json::number_text;
use super::program::Program;
use super::scan::{self, Token};
use super::scope::Scope;
use super::value::Value;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// No template is longer.
pub const MAX_TEMPLATE_BYTES: usize = 16 << 10;
const OPEN: &str = "${";
/// What stands for a plain `${`.
const ESCAPED: &str = "$${";

/// A text with expressions in `${…}`; `$${` is a plain `${`. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    source: Arc<str>,
    parts: Arc<[Part]>,
    /// All of it, if there is no expression.
    plain: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Program(Program),
}

impl Template {
    /// `levels` are the names that the route's topic binds.
    pub fn parse(text: &str, levels: &[&str]) -> Result<Self, CompileError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            let message = format!(
                "the text is {} bytes, more than {MAX_TEMPLATE_BYTES}",
                text.len()
            );
            return Err(CompileError::new(0..text.len(), message));
        }
        let parts = parse_parts(text, levels)?;
        let plain = match &parts[..] {
            [] => Some("".into()),
            [Part::Text(text)] => Some(text.as_str().into()),
            _ => None,
        };
        Ok(Self {
            source: text.into(),
            parts: parts.into(),
            plain,
        })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Without any `${…}`: its text.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        self.plain.as_deref()
    }

    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Program(program) => program.reads_payload(),
        })
    }

    /// The parts joined; numbers, true and false as text.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, EvalError> {
        let mut out = Vec::with_capacity(self.source.len());
        self.render(scope, &mut out, false)?;
        // Nothing but text was put in.
        String::from_utf8(out).map_err(|_| EvalError::NotUtf8 {
            what: "the text".to_owned(),
        })
    }

    /// As `text`, and bytes that aren't text are kept.
    pub fn bytes(&self, scope: &Scope<'_>) -> Result<Bytes, EvalError> {
        if let Some(plain) = &self.plain {
            return Ok(Bytes::copy_from_slice(plain.as_bytes()));
        }
        let mut out = Vec::with_capacity(self.source.len());
        self.render(scope, &mut out, true)?;
        Ok(out.into())
    }

    /// A whole number: one whole `${…}` that is one, or digits as text.
    pub fn integer(&self, scope: &Scope<'_>) -> Result<i64, EvalError> {
        const EXPECTED: &str = "a whole number";
        if let [Part::Program(program)] = &self.parts[..] {
            let value = program.value(scope).map_err(|fault| *fault)?;
            let whole = match &value {
                Value::Int(number) => Some(*number),
                Value::Uint(number) => i64::try_from(*number).ok(),
                Value::Text(digits) => digits.parse().ok(),
                _ => None,
            };
            return whole.ok_or_else(|| program.wrong(EXPECTED, &value));
        }
        let digits = self.text(scope)?;
        digits.parse().map_err(|_| EvalError::Type {
            what: "the text".to_owned(),
            expected: EXPECTED,
            found: super::Kind::Text,
        })
    }

    fn render(
        &self,
        scope: &Scope<'_>,
        out: &mut Vec<u8>,
        keeps_bytes: bool,
    ) -> Result<(), EvalError> {
        for part in &*self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Program(program) => append(program, scope, out, keeps_bytes)?,
            }
        }
        scope.budget().grow(out.len()).map_err(|fault| *fault)
    }
}

fn append(
    program: &Program,
    scope: &Scope<'_>,
    out: &mut Vec<u8>,
    keeps_bytes: bool,
) -> Result<(), EvalError> {
    let value = program.value(scope).map_err(|fault: Fault| *fault)?;
    match &value {
        Value::Text(text) => {
            scope.budget().grow(text.len()).map_err(|fault| *fault)?;
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) if keeps_bytes => out.extend_from_slice(bytes),
        Value::Bytes(_) => {
            return Err(EvalError::NotUtf8 {
                what: program.described(),
            });
        }
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Uint(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Huge(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Double(number) => out.extend_from_slice(number_text(*number).as_bytes()),
        Value::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        _ => return Err(program.wrong("text, a number, true or false", &value)),
    }
    Ok(())
}

fn parse_parts(text: &str, levels: &[&str]) -> Result<Vec<Part>, CompileError> {
    let (mut parts, mut plain, mut at) = (Vec::new(), String::new(), 0);
    while let Some(found) = text[at..].find('$') {
        plain.push_str(&text[at..at + found]);
        at += found;
        if text[at..].starts_with(ESCAPED) {
            plain.push_str(OPEN);
            at += ESCAPED.len();
        } else if text[at..].starts_with(OPEN) {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let inside = inside(text, at)?;
            let program = Program::compile(&text[inside.clone()], levels)
                .map_err(|error| error.moved(inside.start))?;
            parts.push(Part::Program(program));
            at = inside.end + 1;
        } else {
            plain.push('$');
            at += 1;
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// What stands in the `${…}` that begins at `open`: up to the brace that closes it, which is none
/// inside a text or behind another one that is open.
fn inside(text: &str, open: usize) -> Result<Range<usize>, CompileError> {
    let start = open + OPEN.len();
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(lexeme) = scan::next(text, at)? {
        match lexeme.token {
            Token::Open(b'{') => depth += 1,
            Token::Close(b'}') if depth == 0 => return Ok(start..lexeme.range.start),
            Token::Close(b'}') => depth -= 1,
            _ => {}
        }
        at = lexeme.range.end;
    }
    Err(CompileError::new(open..start, "`${` is not closed")
        .help("close it with `}`; for a plain `${` write `$${`"))
}

#[cfg(test)]
mod tests;
