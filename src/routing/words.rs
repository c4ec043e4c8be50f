//! How what others wrote is told: quoted, and cut where it is long.

/// More of a topic, a name or a value than this helps nobody.
const MAX_QUOTED_BYTES: usize = 64;
/// A reason stands in plans, dead letters and answers: what an expression says is cut there.
const MAX_REASON_BYTES: usize = 512;

pub(super) fn quoted(text: &str) -> String {
    match cut(text, MAX_QUOTED_BYTES) {
        Some(front) => format!("`{front}…`"),
        None => format!("`{text}`"),
    }
}

pub(super) fn is_long(bytes: usize) -> bool {
    bytes > MAX_QUOTED_BYTES
}

pub(super) fn reason(mut text: String) -> String {
    if let Some(front) = cut(&text, MAX_REASON_BYTES) {
        let end = front.len();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What is left of a text that is too long.
fn cut(text: &str, max_bytes: usize) -> Option<&str> {
    let boundary = || (0..=max_bytes).rev().find(|at| text.is_char_boundary(*at));
    (text.len() > max_bytes).then(|| &text[..boundary().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(quoted("a"), "`a`");
        let long = "ä".repeat(40);
        assert_eq!(quoted(&long), format!("`{}…`", "ä".repeat(32)));
        assert_eq!(reason(long.clone()), long);
        assert_eq!(reason("a".repeat(600)).len(), 512 + '…'.len_utf8());
    }
}
