//! What a URI reference looks like (RFC 3986): its characters and where they may stand, no more.

/// Why a text isn't a URI reference.
pub(super) fn fault_of(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3);
                if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                    return Some("a % without two hexadecimal digits");
                }
            }
            b' ' => return Some("a space; write %20"),
            _ if !byte.is_ascii() => {
                return Some("a character that isn't ASCII; percent-encode it");
            }
            _ if !is_legal(*byte) => return Some("a character that no URI has; percent-encode it"),
            _ => {}
        }
    }
    if bytes.iter().filter(|b| **b == b'#').count() > 1 {
        return Some("a second #");
    }
    let before_path = text.split(['/', '?', '#']).next().unwrap_or_default();
    match before_path.split_once(':') {
        Some((scheme, _)) if !is_scheme(scheme) => {
            Some("what is before its first : is no scheme; write ./ before it, or %3A")
        }
        _ => None,
    }
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_all_kinds_are_told_from_other_texts() {
        for text in [
            "a",
            "/",
            "../a?b=c#d",
            "https://h:80/a%20b?c#d",
            "urn:uuid:6e8bc430",
            "mailto:a@b",
            "//[::1]/a",
            "/sensors/tn-1234567/alerts",
            "a/b:c",
            "#",
        ] {
            assert_eq!(fault_of(text), None, "{text:?}");
        }
        for text in [
            "a b", "é", "a%2", "a%zz", "%", "a#b#c", "1:2", ":a", "a\"b", "<a>", "a\\b", "a|b",
            "a\nb", "{a}",
        ] {
            assert!(fault_of(text).is_some(), "{text:?}");
        }
    }
}
