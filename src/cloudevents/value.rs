//! An attribute's value: its types as far as JSON tells them apart, and what a text may hold.

use std::borrow::Cow;
use std::fmt;

/// All other types of CloudEvents are texts of a certain form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Integer(i32),
    Boolean(bool),
}

impl Value {
    /// The same for all types: how it stands in a header.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        }
    }

    /// The value of another type that has this text, if there is one.
    pub(super) fn typed(text: &str) -> Option<Self> {
        match text {
            "true" => Some(Self::Boolean(true)),
            "false" => Some(Self::Boolean(false)),
            _ => {
                let number = text.parse().ok().map(Self::Integer)?;
                (number.text() == text).then_some(number)
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Neither a control character nor one of those that Unicode says are none.
pub(super) fn is_legal(c: char) -> bool {
    let code = u32::from(c);
    !c.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// A text from elsewhere, with what an attribute can't hold percent-encoded.
pub(super) fn legal(text: &str) -> String {
    let mut legal = String::with_capacity(text.len());
    for c in text.chars() {
        match is_legal(c) {
            true => legal.push(c),
            false => escape(c, &mut legal),
        }
    }
    legal
}

/// `%XX` for each byte of its UTF-8.
pub(super) fn escape(c: char, to: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        to.push('%');
        to.push(char::from(DIGITS[usize::from(byte >> 4)]));
        to.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_other_types_are_canonical() {
        for (text, value) in [
            ("5", Some(Value::Integer(5))),
            ("-2147483648", Some(Value::Integer(i32::MIN))),
            ("2147483648", None),
            ("+5", None),
            ("05", None),
            ("-0", None),
            ("", None),
            ("true", Some(Value::Boolean(true))),
            ("True", None),
            ("false", Some(Value::Boolean(false))),
        ] {
            assert_eq!(Value::typed(text), value, "{text:?}");
        }
    }

    #[test]
    fn what_no_text_may_hold_is_escaped() {
        for c in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{fdd0}',
            '\u{fffe}',
            '\u{10ffff}',
        ] {
            assert!(!is_legal(c), "{c:?}");
        }
        for c in [' ', 'ä', '"', '%', '\u{fffd}', '\u{1f600}'] {
            assert!(is_legal(c), "{c:?}");
        }
        assert_eq!(legal("a\n%é\u{fffe}"), "a%0A%é%EF%BF%BE");
    }
}
