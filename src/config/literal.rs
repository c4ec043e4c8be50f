//! TOML strings as they are written: which bytes of the file stand for which of the text.

use std::ops::Range;

/// Where a part of a text stands in the string that `written` is, quotes and all. `None` if the
/// string isn't read as its parser reads it: then nobody can tell.
pub(super) fn locate(written: &str, text: &str, part: Range<usize>) -> Option<Range<usize>> {
    let read = read(written)?;
    if read.text != text || part.start > part.end || part.end > text.len() {
        return None;
    }
    // For each byte of the text: the bytes of the file that it is written with.
    let start = read.starts.get(part.start).copied().unwrap_or(read.end);
    let end = match part.end.checked_sub(1).filter(|last| *last >= part.start) {
        Some(last) => read.ends[last],
        None => start,
    };
    Some(start..end)
}

struct Read {
    text: String,
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// Where the closing quotes begin.
    end: usize,
}

impl Read {
    fn push(&mut self, c: char, at: Range<usize>) {
        self.text.push(c);
        self.starts.resize(self.text.len(), at.start);
        self.ends.resize(self.text.len(), at.end);
    }
}

fn read(written: &str) -> Option<Read> {
    let (quotes, is_basic) = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quotes| written.starts_with(quotes))
        .map(|quotes| (quotes, quotes.starts_with('"')))?;
    let end = written.len().checked_sub(quotes.len())?;
    if end < quotes.len() || !written.ends_with(quotes) {
        return None;
    }
    let mut read = Read {
        text: String::new(),
        starts: Vec::new(),
        ends: Vec::new(),
        end,
    };
    let mut at = quotes.len();
    if quotes.len() == 3 {
        at += newline_bytes(&written[at..end]);
    }
    while let Some(c) = written[at..end].chars().next() {
        let rest = &written[at..end];
        let newline = newline_bytes(rest);
        at += match c {
            '\\' if is_basic => escape(rest, at, &mut read)?,
            _ if newline > 0 => {
                read.push('\n', at..at + newline);
                newline
            }
            _ => {
                read.push(c, at..at + c.len_utf8());
                c.len_utf8()
            }
        };
    }
    Some(read)
}

/// One escape sequence, or a backslash that ends a line: how many bytes it takes.
fn escape(rest: &str, at: usize, read: &mut Read) -> Option<usize> {
    let letter = rest.chars().nth(1)?;
    let digits = match letter {
        'u' => 4,
        'U' => 8,
        c if c.is_ascii_whitespace() => {
            let blank = |c: char| c.is_ascii_whitespace();
            return Some(rest.len() - rest[1..].trim_start_matches(blank).len());
        }
        _ => 0,
    };
    let bytes = 1 + letter.len_utf8() + digits;
    let c = match letter {
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'f' => '\u{c}',
        'r' => '\r',
        '"' | '\\' => letter,
        'u' | 'U' => char::from_u32(u32::from_str_radix(rest.get(2..bytes)?, 16).ok()?)?,
        _ => return None,
    };
    read.push(c, at..at + bytes);
    Some(bytes)
}

fn newline_bytes(text: &str) -> usize {
    match text.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of the file is underlined for a part of the text, as the real parser reads it.
    fn underlined<'w>(written: &'w str, part: &str) -> &'w str {
        let file = format!("a = {written}");
        let document = toml_edit::ImDocument::parse(file).expect("TOML");
        let text = document["a"].as_str().expect("text");
        let from = text
            .find(part)
            .unwrap_or_else(|| panic!("{part:?} in {text:?}"));
        let at = locate(written, text, from..from + part.len()).expect("it can be told");
        &written[at]
    }

    #[test]
    fn a_part_is_found_as_it_is_written() {
        for (written, part, found) in [
            (r#""a + b""#, "b", "b"),
            ("'a + b'", "+", "+"),
            (r#""é \"x\" y""#, "y", "y"),
            (r#""\"x\" y""#, "\"x\"", "\\\"x\\\""),
            (r#""\u00e9\U0001F600z""#, "😀", "\\U0001F600"),
            (r#""\t\n\\z""#, "z", "z"),
            ("'''\n a\n b'''", "b", "b"),
            ("'''a'b'''", "'b", "'b"),
            ("\"\"\"\r\na\r\nbc\"\"\"", "bc", "bc"),
            ("\"\"\"\na \\\n   b c\"\"\"", "c", "c"),
            ("\"\"\"a \\\r\n\r\n   b c\"\"\"", "a b", "a \\\r\n\r\n   b"),
        ] {
            assert_eq!(underlined(written, part), found, "{written:?}");
        }
    }

    #[test]
    fn the_end_and_nothing_have_a_place_too() {
        assert_eq!(locate("\"ab\"", "ab", 2..2), Some(3..3));
        assert_eq!(locate("\"\"", "", 0..0), Some(1..1));
    }

    #[test]
    fn what_cant_be_told_is_not_guessed() {
        assert_eq!(locate("\"ab\"", "other", 0..1), None);
        assert_eq!(locate("\"ab\"", "ab", 1..9), None);
        assert_eq!(locate("17", "17", 0..1), None);
        assert_eq!(locate("\"", "", 0..0), None);
        assert_eq!(locate(r#""\q""#, "q", 0..1), None);
        assert_eq!(locate(r#""\u12""#, "x", 0..1), None);
    }
}
