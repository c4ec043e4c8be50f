//! An expression's tokens, read before the parser sees it: what is surely wrong is said in our
//! words, what would make parsing or evaluation deep is refused, and a template finds the end of
//! its `${…}`.

use super::error::CompileError;
use std::ops::Range;

/// No expression is longer.
pub const MAX_SOURCE_BYTES: usize = 4096;
/// How deep an expression may be: brackets inside each other, and operators that follow each other.
/// It bounds the stack that parsing and evaluation take.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Name,
    Number,
    Text,
    Open(u8),
    Close(u8),
    /// `&&`, `||`: the parser balances them.
    Logic,
    Question,
    Colon,
    Comma,
    Operator,
}

#[derive(Clone, Debug)]
pub(super) struct Lexeme {
    pub token: Token,
    pub range: Range<usize>,
}

/// The next token at or after `from`; `None` at the end.
pub(super) fn next(source: &str, from: usize) -> Result<Option<Lexeme>, CompileError> {
    let start = skip_blank(source, from);
    let bytes = source.as_bytes();
    let Some(&first) = bytes.get(start) else {
        return Ok(None);
    };
    let (token, end) = match first {
        b'"' | b'\'' => (Token::Text, text_end(source, start, start, false)?),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => match prefixed_text(bytes, start) {
            Some((quote, is_raw)) => (Token::Text, text_end(source, start, quote, is_raw)?),
            None => match run(bytes, start, is_name_byte) {
                end if &source[start..end] == "in" => (Token::Operator, end),
                end => (Token::Name, end),
            },
        },
        b'0'..=b'9' => (Token::Number, number_end(bytes, start)),
        b'.' if bytes.get(start + 1).is_some_and(u8::is_ascii_digit) => {
            (Token::Number, number_end(bytes, start))
        }
        b'(' | b'[' | b'{' => (Token::Open(first), start + 1),
        b')' | b']' | b'}' => (Token::Close(first), start + 1),
        b'?' => (Token::Question, start + 1),
        b':' => (Token::Colon, start + 1),
        b',' => (Token::Comma, start + 1),
        _ => symbol(source, start)?,
    };
    Ok(Some(Lexeme {
        token,
        range: start..end,
    }))
}

fn symbol(source: &str, start: usize) -> Result<(Token, usize), CompileError> {
    let rest = &source[start..];
    let two = rest.get(..2).unwrap_or_default();
    match two {
        "&&" | "||" => return Ok((Token::Logic, start + 2)),
        "==" | "!=" | "<=" | ">=" => return Ok((Token::Operator, start + 2)),
        _ => {}
    }
    let first = rest.chars().next().unwrap_or(' ');
    let wrong = |message: String, help: &str| {
        Err(CompileError::new(start..start + first.len_utf8(), message).help(help))
    };
    match first {
        '<' | '>' | '+' | '-' | '*' | '/' | '%' | '!' | '.' => Ok((Token::Operator, start + 1)),
        '=' => wrong(
            "`=` alone has no meaning in an expression".to_owned(),
            "write `==` to compare",
        ),
        '&' => wrong(
            "`&` alone has no meaning in an expression".to_owned(),
            "write `&&` for “and”",
        ),
        '|' => wrong(
            "`|` alone has no meaning in an expression".to_owned(),
            "write `||` for “or”",
        ),
        '$' => wrong(
            "`$` has no meaning inside an expression".to_owned(),
            "this is an expression already: write it without `${` and `}`",
        ),
        '`' => wrong(
            "a name in backticks has no meaning here".to_owned(),
            "write a['b-c'] for a field whose name isn't plain",
        ),
        other => wrong(
            format!("`{}` has no meaning outside of text", other.escape_debug()),
            "text stands in quotes, and so do names that aren't plain: payload['…']",
        ),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn run(bytes: &[u8], from: usize, is_part: impl Fn(u8) -> bool) -> usize {
    let more = bytes[from..].iter().take_while(|b| is_part(**b)).count();
    from + more
}

/// After white space and `// comments`.
fn skip_blank(source: &str, from: usize) -> usize {
    let bytes = source.as_bytes();
    let mut at = from;
    loop {
        at = run(bytes, at, |b| {
            matches!(b, b' ' | b'\t' | b'\r' | b'\n' | 0x0c)
        });
        if !bytes[at..].starts_with(b"//") {
            return at;
        }
        at = run(bytes, at, |b| b != b'\n');
    }
}

/// Where the quote is, and whether escapes count, if a text with a prefix (`r`, `b`, `br`) begins here.
fn prefixed_text(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let is = |at: usize, letter: u8| {
        bytes
            .get(at)
            .is_some_and(|b| b.eq_ignore_ascii_case(&letter))
    };
    let mut at = start + usize::from(is(start, b'b'));
    let is_raw = is(at, b'r');
    at += usize::from(is_raw);
    matches!(bytes.get(at), Some(b'"' | b'\'')).then_some((at, is_raw))
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let digits = |at: usize| run(bytes, at, |b| b.is_ascii_digit());
    if bytes[start..].starts_with(b"0x") {
        let end = run(bytes, start + 2, |b| b.is_ascii_hexdigit());
        return end + usize::from(matches!(bytes.get(end), Some(b'u' | b'U')));
    }
    let mut at = digits(start);
    if bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
        at = digits(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign {
            at = end;
        }
    }
    at + usize::from(matches!(bytes.get(at), Some(b'u' | b'U')))
}

/// The end of the text whose quote is at `quote`.
fn text_end(source: &str, start: usize, quote: usize, is_raw: bool) -> Result<usize, CompileError> {
    let bytes = source.as_bytes();
    let mark = bytes[quote];
    let is_long = bytes[quote..].starts_with(&[mark; 3]);
    let closing: &[u8] = if is_long { &[mark; 3] } else { &[mark] };
    let mut at = quote + closing.len();
    loop {
        let rest = &bytes[at..];
        if rest.starts_with(closing) {
            return Ok(at + closing.len());
        }
        match rest.first() {
            None => break,
            Some(b'\n' | b'\r') if !is_long => break,
            Some(b'\\') if !is_raw => at = escape_end(source, at)?,
            Some(_) => at += 1,
        }
    }
    let shown = start..start + 1;
    Err(
        CompileError::new(shown, "a text begins here and is not closed")
            .help("close it with the quote that it began with"),
    )
}

fn escape_end(source: &str, at: usize) -> Result<usize, CompileError> {
    let digits = match source.as_bytes().get(at + 1) {
        Some(
            b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`',
        ) => 0,
        Some(b'x' | b'X' | b'0'..=b'3') => 2,
        Some(b'u') => 4,
        Some(b'U') => 8,
        _ => {
            let end = at + 1 + source[at + 1..].chars().next().map_or(0, char::len_utf8);
            return Err(
                CompileError::new(at..end, "this escape has no meaning in a text")
                    .help("write `\\\\` for a backslash"),
            );
        }
    };
    let end = at + 2 + digits;
    let is_whole = source
        .as_bytes()
        .get(at + 2..end)
        .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if is_whole {
        return Ok(end);
    }
    Err(
        CompileError::new(at..at + 2, "this escape needs more digits")
            .help("\\xHH, \\uHHHH, \\UHHHHHHHH or \\OOO; write `\\\\` for a backslash"),
    )
}

/// One pair of brackets that is open, or the whole.
struct Group {
    bracket: u8,
    at: usize,
    /// Operators since the last `&&`, `||` or part of a condition.
    chain: usize,
    /// `?` since the last comma: conditions nest to the right.
    questions: usize,
}

impl Group {
    const fn new(bracket: u8, at: usize) -> Self {
        Self {
            bracket,
            at,
            chain: 0,
            questions: 0,
        }
    }

    const fn depth(&self) -> usize {
        1 + self.chain + self.questions
    }

    fn take(&mut self, token: Token) {
        match token {
            Token::Operator | Token::Open(_) => self.chain += 1,
            Token::Name | Token::Number | Token::Text | Token::Close(_) => {}
            Token::Logic | Token::Colon => self.chain = 0,
            Token::Question => {
                self.chain = 0;
                self.questions += 1;
            }
            Token::Comma => {
                self.chain = 0;
                self.questions = 0;
            }
        }
    }
}

/// Whether the parser may have it: short, shallow, of known tokens, with brackets that pair.
pub(super) fn check(source: &str) -> Result<(), CompileError> {
    if source.len() > MAX_SOURCE_BYTES {
        let message = format!(
            "the expression is {} bytes, more than {MAX_SOURCE_BYTES}",
            source.len()
        );
        return Err(CompileError::new(0..source.len(), message));
    }
    let mut groups = vec![Group::new(0, 0)];
    let (mut at, mut tokens) = (0, 0);
    while let Some(lexeme) = next(source, at)? {
        at = lexeme.range.end;
        tokens += 1;
        check_token(&mut groups, &lexeme)?;
    }
    let open = groups.pop().filter(|group| group.bracket != 0);
    if let Some(group) = open {
        let message = format!("`{}` is not closed", char::from(group.bracket));
        return Err(CompileError::new(group.at..group.at + 1, message));
    }
    if tokens == 0 {
        return Err(CompileError::new(0..source.len(), "there is no expression")
            .help("write one, like payload.total > 100"));
    }
    Ok(())
}

fn check_token(groups: &mut Vec<Group>, lexeme: &Lexeme) -> Result<(), CompileError> {
    let start = lexeme.range.start;
    if let Some(group) = groups.last_mut() {
        group.take(lexeme.token);
    }
    match lexeme.token {
        Token::Open(bracket) => groups.push(Group::new(bracket, start)),
        Token::Close(bracket) => {
            let open = groups.pop().map_or(0, |group| group.bracket);
            if !matches!((open, bracket), (b'(', b')') | (b'[', b']') | (b'{', b'}')) {
                let message = format!("`{}` closes nothing", char::from(bracket));
                return Err(CompileError::new(lexeme.range.clone(), message));
            }
        }
        _ => {}
    }
    if groups.iter().map(Group::depth).sum::<usize>() > MAX_DEPTH {
        let message = format!("the expression is deeper than {MAX_DEPTH} brackets and operators");
        return Err(CompileError::new(lexeme.range.clone(), message)
            .help("`&&`, `||` and commas don't count: write it as several conditions"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<(Token, &str)> {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(lexeme) = next(source, at).expect("good tokens") {
            at = lexeme.range.end;
            found.push((lexeme.token, &source[lexeme.range]));
        }
        found
    }

    #[test]
    fn texts_are_one_token() {
        for text in [
            "'a'",
            r#""a'b""#,
            r"'a\'b'",
            r"r'a\'",
            r#"b"x""#,
            r"bR'\x'",
            "'''a'b\n'''",
            r#""""a"b""""#,
            r"'\u00e9\x41\101'",
            "'é}'",
        ] {
            assert_eq!(tokens(text), [(Token::Text, text)], "{text}");
        }
        assert_eq!(tokens("'' + ''").len(), 3);
        assert_eq!(tokens("rb 'x'")[0], (Token::Name, "rb"));
    }

    #[test]
    fn numbers_end_where_they_end() {
        for number in ["1", "0x1Fu", "12u", "1.5", ".5", "1e9", "1.5E-3", "1e+2"] {
            assert_eq!(tokens(number), [(Token::Number, number)], "{number}");
        }
        let cut: Vec<&str> = tokens("1.a 1e").into_iter().map(|t| t.1).collect();
        assert_eq!(cut, ["1", ".", "a", "1", "e"]);
    }

    #[test]
    fn comments_and_blanks_are_passed() {
        let source = "a // not 'closed\n && b //";
        let names: Vec<&str> = tokens(source).into_iter().map(|t| t.1).collect();
        assert_eq!(names, ["a", "&&", "b"]);
    }

    #[test]
    fn depth_counts_what_nests() {
        let ok = |source: &str| check(source).is_ok();

        assert!(ok(&format!("{}1{}", "(".repeat(31), ")".repeat(31))));
        assert!(!ok(&format!("{}1{}", "(".repeat(32), ")".repeat(32))));
        assert!(ok(&format!("1{}", " + 1".repeat(63))));
        assert!(!ok(&format!("1{}", " + 1".repeat(64))));
        assert!(!ok(&format!("{}1", "-".repeat(64))));
        assert!(!ok(&format!("1{}", " in 1".repeat(64))));
        assert!(!ok(&format!("a{}", ".b".repeat(64))));
        assert!(!ok(&format!("{}1", "true ? 1 : ".repeat(64))));
        assert!(ok(&format!("a == 1{}", " || a == 1".repeat(300))));
        assert!(ok(&format!("[1{}]", ", a + 1".repeat(500))));
    }
}
