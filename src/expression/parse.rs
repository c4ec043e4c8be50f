//! The crate `cel` as the parser, within bounds, and its errors in our words.

use super::error::CompileError;
use super::scan::{self, MAX_DEPTH};
use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::parser::{ParseError, Parser};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One error is enough; what follows it is guesswork.
const ERROR_RECOVERY_LIMIT: u32 = 1;

/// Of a long text an error quotes no more.
const SHOWN_CHARS: usize = 40;

/// An expression as it is written, and where its parts stand.
pub(super) struct Parsed<'s> {
    pub source: &'s str,
    pub tree: IdedExpr,
    places: SourceInfo,
}

pub(super) fn parse(source: &str) -> Result<Parsed<'_>, CompileError> {
    scan::check(source)?;
    let parser = Parser::new()
        .max_recursion_depth(MAX_DEPTH as u16)
        .error_recovery_limit(ERROR_RECOVERY_LIMIT);
    // A parser that panics on odd input must not take the gateway along.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse_with_source_info(source)));
    match parsed {
        Ok(Ok((tree, places))) => Ok(Parsed {
            source,
            tree,
            places,
        }),
        Ok(Err(errors)) => Err(in_our_words(source, errors.errors.first())),
        Err(_) => Err(CompileError::new(
            0..source.len(),
            "the expression can't be parsed",
        )),
    }
}

impl Parsed<'_> {
    /// The bytes of one token that stands for this part: of a call its bracket, of an operator its sign.
    fn token(&self, id: u64) -> Range<usize> {
        let Some((start, stop)) = self.places.offset_for(id) else {
            return 0..self.source.len();
        };
        let start = floor(self.source, start as usize);
        let stop = floor(self.source, stop as usize);
        let last = self.source[stop..].chars().next().map_or(0, char::len_utf8);
        start..(stop + last).max(start)
    }

    /// The bytes of a part, as far as the parser tells them.
    pub fn range(&self, part: &IdedExpr) -> Range<usize> {
        let token = self.token(part.id);
        match &part.expr {
            Expr::Select(select) if !select.test => {
                let start = self.range(&select.operand).start;
                start..self.name_end(token.end, &select.field)
            }
            Expr::Call(call) if call.func_name.starts_with(is_letter) => {
                self.name_before(token.start, &call.func_name)
            }
            Expr::Call(call) => {
                let first = call.args.first().map_or(token.clone(), |a| self.range(a));
                let last = call.args.last().map_or(token.clone(), |a| self.range(a));
                first.start.min(token.start)..last.end.max(token.end)
            }
            _ => token,
        }
    }

    /// Where `name` ends that stands next.
    fn name_end(&self, from: usize, name: &str) -> usize {
        match scan::next(self.source, from) {
            Ok(Some(lexeme)) if &self.source[lexeme.range.clone()] == name => lexeme.range.end,
            _ => from,
        }
    }

    /// The name that stands before a bracket.
    pub fn name_before(&self, bracket: usize, name: &str) -> Range<usize> {
        let before = self.source[..bracket].trim_end();
        if before.ends_with(name) {
            before.len() - name.len()..before.len()
        } else {
            bracket..bracket + 1
        }
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

/// The nearest place at or before `at` where a character begins.
fn floor(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn in_our_words(source: &str, error: Option<&ParseError>) -> CompileError {
    let Some(error) = error else {
        return CompileError::new(0..source.len(), "the expression can't be parsed");
    };
    let at = offset(source, error.pos);
    let lexeme = scan::next(source, at).ok().flatten();
    let range = lexeme.map_or(source.len()..source.len(), |lexeme| lexeme.range);
    let token = &source[range.clone()];
    let said = error.msg.as_str();
    if let Some(word) = said.strip_prefix("reserved identifier: ") {
        let message = format!("`{word}` is a word of the language, no name");
        return CompileError::new(range, message)
            .help(format!("a field can be read as ['{word}']"));
    }
    if said.contains("invalid argument to has()") {
        return CompileError::new(range, "`has` asks for one field behind a dot").help(
            "write has(payload.a.b); for names that aren't plain write 'x-id' in headers, 'a b' in payload",
        );
    }
    if said.contains("must be a simple name") {
        return CompileError::new(range, "a loop's variable must be a plain name")
            .help("write it like payload.items.all(item, item.price > 0)");
    }
    if said.starts_with("invalid int") || said.starts_with("invalid uint") {
        return CompileError::new(range, "the number doesn't fit into 64 bits")
            .help("write it with a fraction (1.0e30), or as text");
    }
    if said.starts_with("invalid double") {
        return CompileError::new(range, "the number is too large");
    }
    if said.starts_with("invalid string") || said.starts_with("invalid bytes") {
        return CompileError::new(range, "the text has an escape without meaning");
    }
    if said.starts_with("unsupported syntax") {
        return CompileError::new(range, "optional values (`.?`, `[?`) are not built in")
            .help("ask first: has(payload.a) && …");
    }
    if token.is_empty() {
        return CompileError::new(range, "the expression ends too early")
            .help("something is missing behind it");
    }
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let shown: String = token.chars().take(SHOWN_CHARS).map(plain).collect();
    let message = format!("`{shown}` is not expected here");
    CompileError::new(range, message)
        .help("an operator, a comma or a quote may be missing before it")
}

/// The byte at a line and a column, both counted from 1, the column in characters.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let index = |number: isize| usize::try_from(number - 1).unwrap_or(0);
    let start: usize = source
        .split_inclusive('\n')
        .take(index(line))
        .map(str::len)
        .sum();
    let rest = &source[start..];
    let within = rest.char_indices().nth(index(column));
    within.map_or(source.len(), |(at, _)| start + at)
}
