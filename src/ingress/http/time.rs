//! Durations as they stand in headers and queries; times are the clock's.

use crate::clock::{DURATION_UNITS_MS, MAX_DURATION_MS};
use std::time::Duration;

/// `100ms`, `30s`, `10m`, `24h`, `7d`: as in routes.toml, without a space.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    let factor = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit)?.1;
    let millis = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (millis <= MAX_DURATION_MS).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("100ms", Some(100)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("24h", Some(86_400_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1h30m", None),
            ("36501d", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
    }
}
