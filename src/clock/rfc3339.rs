//! Points in time as people and protocols write them: RFC 3339, UTC, milliseconds.

use super::Wall;

const DAY_MS: u64 = 86_400_000;

/// RFC 3339 with a zone: `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00.25+01:00`. What is finer
/// than a millisecond is cut; what is before 1970 is 1970; a leap second is the next second.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Wall> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let (year, month, day) = (
        number(text, 0..4)?,
        number(text, 5..7)?,
        number(text, 8..10)?,
    );
    let (hour, minute) = (number(text, 11..13)?, number(text, 14..16)?);
    let second = number(text, 17..19)?;
    let bytes = text.as_bytes();
    let marks = (bytes[4], bytes[7], bytes[13], bytes[16]) == (b'-', b'-', b':', b':')
        && matches!(bytes[10], b'T' | b't');
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !marks || !in_range {
        return None;
    }
    let (millis, zone) = split_fraction(&text[19..])?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let utc = (seconds - zone_minutes(zone)? * 60) * 1_000 + millis;
    Some(Wall(u64::try_from(utc).unwrap_or(0)))
}

/// `2026-01-31T12:00:00.000Z`
#[must_use]
pub fn show_rfc3339(time: Wall) -> String {
    let (days, in_day) = (time.0 / DAY_MS, time.0 % DAY_MS);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, millis) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

fn number(text: &str, range: std::ops::Range<usize>) -> Option<i64> {
    let digits = text.get(range)?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// Milliseconds of the fraction, if there is one, and the rest.
fn split_fraction(text: &str) -> Option<(i64, &str)> {
    let Some(fraction) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = fraction.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = fraction.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let millis = digits
        .bytes()
        .chain(*b"00")
        .take(3)
        .fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    Some((millis, zone))
}

/// Minutes east of UTC.
fn zone_minutes(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = (number(zone, 1..3)?, number(zone, 4..6)?);
    if zone.len() != 6 || zone.as_bytes()[3] != b':' || hours > 23 || minutes > 59 {
        return None;
    }
    match zone.as_bytes()[0] {
        b'+' => Some(hours * 60 + minutes),
        b'-' => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a day in the Gregorian calendar. Years are counted from March, so
/// that a leap day is the last of its year; 719,468 days lie between 0000-03-01 and 1970.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_zone() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.001Z", Some(1)),
            ("2000-02-29T12:34:56Z", Some(951_827_696_000)),
            ("2026-01-31T12:00:00.25+01:00", Some(1_769_857_200_250)),
            (
                "2026-01-31t12:00:00.123456789-00:30",
                Some(1_769_862_600_123),
            ),
            ("2016-12-31T23:59:60Z", Some(1_483_228_800_000)),
            ("1969-12-31T23:59:59Z", Some(0)),
            ("2026-01-31T12:00:00", None),
            ("2026-01-31 12:00:00Z", None),
            ("2026-02-29T12:00:00Z", None),
            ("2026-13-01T12:00:00Z", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-01-31T12:00:00.Z", None),
            ("2026-01-31T12:00:00.5", None),
            ("2026-01-31T12:00:00+0100", None),
            ("2026-01-31T12:00:00+01:00x", None),
            ("2026-01-31T12:00:00Zx", None),
            ("+026-01-31T12:00:00Z", None),
            ("2026-01-31T12:00:0éZ", None),
        ] {
            assert_eq!(parse_rfc3339(text), millis.map(Wall), "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_on_every_day() {
        // Every day from 1970 to 2400, so every kind of leap year.
        for day in 0..157_000_u64 {
            let time = Wall(day * DAY_MS + day % DAY_MS);
            assert_eq!(parse_rfc3339(&show_rfc3339(time)), Some(time), "day {day}");
        }
        assert_eq!(
            show_rfc3339(Wall(951_827_696_007)),
            "2000-02-29T12:34:56.007Z"
        );
    }
}
