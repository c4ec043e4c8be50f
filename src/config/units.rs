//! Sizes and durations as people write them.

use crate::clock::{DURATION_UNITS_MS, split_unit};
use std::time::Duration;

pub use crate::clock::parse_duration;

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// `10GiB`, `16 KiB`, or digits alone for bytes.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" => 1,
        _ => SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(factor)
}

/// A count from a layer that has text only (environment, flags): `10000` or `10_000`.
pub(super) fn parse_count(text: &str) -> Option<u64> {
    if text.starts_with('_') || text.ends_with('_') || text.starts_with('+') {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// The largest unit that gives a whole number: `90s`, `10m`, `1h`.
pub fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = DURATION_UNITS_MS
        .iter()
        .rev()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
        .unwrap_or(&DURATION_UNITS_MS[1]);
    format!("{}{unit}", millis / factor)
}

/// The largest binary unit that gives a whole number: `1GiB`, `1536KiB`.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS[..5]
        .iter()
        .rev()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&SIZE_UNITS[0]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("10GiB", Some(10 << 30)),
            ("16 KiB", Some(16 << 10)),
            ("2MB", Some(2_000_000)),
            ("512", Some(512)),
            ("0B", Some(0)),
            ("", None),
            ("GiB", None),
            ("1.5GiB", None),
            ("-1KiB", None),
            ("1  KiB", None),
            ("10gib", None),
            ("99999999999TiB", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, millis) in [
            ("100ms", Some(100)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("24h", Some(86_400_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("30", None),
            ("1h30m", None),
            ("s", None),
            ("36501d", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 999, 1_000, 90_000, 600_000, 3_600_000, 604_800_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1536, 1 << 20, 10 << 30, (10 << 30) + 1] {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
        }
        assert_eq!(show_duration(Duration::from_secs(600)), "10m");
        assert_eq!(show_size(1 << 20), "1MiB");
    }

    #[test]
    fn counts_in_text_may_be_grouped() {
        assert_eq!(parse_count("10_000"), Some(10_000));
        for bad in ["", "_1", "1_", "+1", "-1", "1.0", "ten"] {
            assert_eq!(parse_count(bad), None, "{bad:?}");
        }
    }
}
