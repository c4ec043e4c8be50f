//! Texts that come from outside, where they are shown.

/// Of an error's text: enough to see what is meant, and no more than headers of an answer take.
pub const MAX_SHOWN_BYTES: usize = 1 << 10;

/// The text, or its beginning and "…". What is cut is no longer held.
#[must_use]
pub fn shown(mut text: String) -> String {
    if text.len() > MAX_SHOWN_BYTES {
        let ends = (0..=MAX_SHOWN_BYTES).rev();
        let end = ends.into_iter().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_given_back() {
        for text in ["", "short", &"x".repeat(MAX_SHOWN_BYTES)] {
            assert_eq!(shown(text.to_owned()), text);
        }
        for filler in ["x", "é", "€", "𝄞"] {
            let cut = shown(format!("a{}", filler.repeat(1 << 20)));
            assert!(cut.ends_with(&format!("{filler}…")), "{filler}");
            assert!((MAX_SHOWN_BYTES - 3..MAX_SHOWN_BYTES + 4).contains(&cut.len()));
            assert!(cut.capacity() < 2 * MAX_SHOWN_BYTES, "{}", cut.capacity());
        }
    }
}
