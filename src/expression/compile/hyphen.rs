//! `headers.x-id` is a subtraction to CEL, and a name to whoever wrote it.

use super::Compiler;
use crate::expression::error::{CompileError, quoted};
use cel::common::ast::{Expr, IdedExpr, SelectExpr, operators};

impl<'c> Compiler<'c> {
    /// Refuses a subtraction that was surely meant as a name: from a header, which is no number,
    /// or of something unknown that follows without a space.
    pub(super) fn check_hyphen(
        &self,
        part: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Result<(), CompileError> {
        let first = leftmost(part);
        let Expr::Select(select) = &first.expr else {
            return Ok(());
        };
        let start = self.parsed.range(first).start;
        let base = self.base(start, select);
        let name_start = start + base.len() + 1;
        let Some(rest) = self.parsed.source.get(name_start..) else {
            return Ok(());
        };
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let length = rest.bytes().take_while(is_part).count();
        let name = rest[..length].trim_end_matches('-');
        let of_headers = matches!(&select.operand.expr, Expr::Ident(base) if base == "headers");
        let is_unknown = matches!(&right.expr, Expr::Ident(name) if !self.is_known(name));
        if !name.contains('-') || !(of_headers || is_unknown) {
            return Ok(());
        }
        let range = start..name_start + name.len();
        let message = format!("`{base}.{name}` is a subtraction");
        let name = if of_headers {
            name.to_ascii_lowercase()
        } else {
            name.to_owned()
        };
        Err(CompileError::new(range, message).help(format!("write {base}[{}]", quoted(&name))))
    }

    /// What stands before the dot of a field.
    fn base(&self, start: usize, select: &SelectExpr) -> &str {
        let end = self.parsed.range(&select.operand).end;
        self.parsed.source.get(start..end).unwrap_or_default()
    }
}

/// The first operand of a row of subtractions.
fn leftmost(part: &IdedExpr) -> &IdedExpr {
    let mut at = part;
    while let Expr::Call(call) = &at.expr {
        match (&call.func_name[..], &call.args[..]) {
            (operators::SUBSTRACT, [left, _]) => at = left,
            _ => break,
        }
    }
    at
}
