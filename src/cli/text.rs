//! Text that came from elsewhere, made fit for a terminal and for one line; and colours.

use std::fmt::Write;

pub(super) const GREEN: &str = "32";
pub(super) const YELLOW: &str = "33";
pub(super) const RED: &str = "31";
pub(super) const CYAN: &str = "36";
pub(super) const DIM: &str = "2";

pub(super) fn paint(text: &str, code: &str, colour: bool) -> String {
    match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// One line that a terminal shows and doesn't obey: control characters (a tab apart) and those
/// that turn the direction of writing are escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => {
                unicode(&mut out, c);
            }
            c if c.is_control() => unicode(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

fn unicode(out: &mut String, c: char) {
    write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String can't fail");
}

/// JSON without white space between its parts; numbers and the order of members stay as they are.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut after_backslash) = (false, false);
    for c in json.chars() {
        if !in_string && matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        out.push(c);
        if c == '"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = in_string && c == '\\' && !after_backslash;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(escaped("a\tb é 😀"), "a\tb é 😀");
        assert_eq!(
            escaped("1\n2\r\x1b[2J\0\u{9b}\u{202e}"),
            "1\\n2\\r\\u{1b}[2J\\u{0}\\u{9b}\\u{202e}"
        );
    }

    #[test]
    fn json_is_compacted_outside_of_its_strings() {
        let json = "{ \"a b\" : [ 1.00 ,\n\t2e400 ], \"q\\\" \\\\\" : \" x \" }";
        assert_eq!(
            compact(json),
            "{\"a b\":[1.00,2e400],\"q\\\" \\\\\":\" x \"}"
        );
    }
}
