//! Names that people give, and the nearest one to what they meant.

/// Also the longest folder name and metric label that a name becomes.
pub(super) const MAX_NAME_BYTES: usize = 64;

/// Why a name can't be one: names are folder names and metric labels.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let legal =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    if name.is_empty() {
        return Some("a name must not be empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Some(format!(
            "the name has {} bytes, more than {MAX_NAME_BYTES}",
            name.len()
        ));
    }
    if name.starts_with('$') {
        return Some(format!("{name:?}: names with `$` are the gateway's own"));
    }
    if name.starts_with(['.', '-']) {
        return Some(format!(
            "{name:?}: a name must begin with a letter, a digit or `_`"
        ));
    }
    name.chars()
        .find(|c| !legal(*c))
        .map(|c| format!("{name:?}: a name can't have {c:?} in it"))
}

/// The candidate that is most likely meant, if any is near.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let near_enough = (word.chars().take(MAX_NAME_BYTES).count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= near_enough)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, or swap two neighbours (optimal string
/// alignment). Words are cut at `MAX_NAME_BYTES` characters, so that the work is bounded.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(MAX_NAME_BYTES).collect();
    let b: Vec<char> = b.chars().take(MAX_NAME_BYTES).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_folders_and_labels() {
        for good in ["a", "edge-1", "orders.v2", "_x", "0", &"n".repeat(64)] {
            assert_eq!(name_problem(good), None, "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "-rf",
            "a/b",
            "a b",
            "Orders",
            "ö",
            "$door",
            "a\0",
            "a\"",
            &"n".repeat(65),
        ] {
            assert!(name_problem(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["topic", "to", "name", "ack_timeout"];
        assert_eq!(nearest("topc", known), Some("topic"));
        assert_eq!(nearest("nmae", known), Some("name"));
        assert_eq!(nearest("ack_time_out", known), Some("ack_timeout"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("same", "same"), 0);
    }
}
