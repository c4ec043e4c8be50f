//! What a faulty destination wrote down: a line for each delivery that it received, in order.
//!
//! Fields are parted by tabs: position, ordinal, epoch, id, key (`=` and hexadecimal, or `-`), and
//! the XXH3 hash of the payload.

use super::content::{Name, message};
use super::violation::{Kind, Violation};
use std::fs;
use std::io;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Each with its position in the journal.
    pub deliveries: Vec<(Name, u64)>,
    pub violations: Vec<Violation>,
}

/// # Errors
/// If the file can't be read; that it isn't there means that nothing was received.
pub fn read_record(path: &Path, seed: u64) -> io::Result<Recorded> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(parse(&text, seed))
}

fn parse(text: &str, seed: u64) -> Recorded {
    let mut recorded = Recorded::default();
    for line in text.lines() {
        match delivery(line, seed) {
            Ok(delivery) => recorded.deliveries.push(delivery),
            Err((kind, why)) => {
                let detail = format!("recorded: {why}: {line:.200}");
                recorded.violations.push(Violation::new(kind, detail));
            }
        }
    }
    recorded
}

fn delivery(line: &str, seed: u64) -> Result<(Name, u64), (Kind, &'static str)> {
    let [position, _ordinal, _epoch, id, key, payload] =
        <[&str; 6]>::try_from(line.split('\t').collect::<Vec<_>>())
            .map_err(|_| (Kind::Foreign, "not six fields"))?;
    let position = position
        .parse()
        .map_err(|_| (Kind::Foreign, "no position"))?;
    let id = text(id).ok_or((Kind::Foreign, "no id"))?;
    let name = Name::parse(&id).ok_or((Kind::Foreign, "no id of ours"))?;
    let published = message(seed, name);
    if text(key) != published.key {
        return Err((Kind::Altered, "another key than was published"));
    }
    if payload != format!("{:016x}", xxh3_64(&published.payload)) {
        return Err((Kind::Altered, "another payload than was published"));
    }
    Ok((name, position))
}

/// `=` and hexadecimal digits; none for `-`.
fn text(field: &str) -> Option<String> {
    let digits = field.strip_prefix('=')?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    String::from_utf8(digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 3;

    fn line(name: Name, change: impl Fn(&mut [String; 6])) -> String {
        let message = message(SEED, name);
        let hex = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        let key = message
            .key
            .map_or("-".into(), |key| format!("={}", hex(&key)));
        let hash = format!("{:016x}", xxh3_64(&message.payload));
        let id = format!("={}", hex(&message.id));
        let mut fields = ["17".into(), "2".into(), "99".into(), id, key, hash];
        change(&mut fields);
        fields.join("\t")
    }

    #[test]
    fn each_difference_is_seen() {
        let names = (0..).map(|number| Name {
            publisher: 1,
            number,
        });
        let name = names
            .into_iter()
            .find(|n| message(SEED, *n).key.is_some())
            .expect("soon");
        let whole = parse(&line(name, |_| {}), SEED);
        assert_eq!(
            whole,
            Recorded {
                deliveries: vec![(name, 17)],
                violations: vec![]
            }
        );
        let kind = |change: &dyn Fn(&mut [String; 6])| {
            let recorded = parse(&line(name, change), SEED);
            assert_eq!(recorded.deliveries, []);
            recorded.violations[0].kind
        };
        assert_eq!(kind(&|fields| fields[0] = "x".into()), Kind::Foreign);
        assert_eq!(kind(&|fields| fields[3] = "=6x".into()), Kind::Foreign);
        assert_eq!(kind(&|fields| fields[3] = "-".into()), Kind::Foreign);
        assert_eq!(kind(&|fields| fields[4] = "-".into()), Kind::Altered);
        assert_eq!(kind(&|fields| fields[5] = "0".into()), Kind::Altered);
        assert_eq!(parse("1\t2", SEED).violations[0].kind, Kind::Foreign);
        let keyless = (0..).map(|number| Name {
            publisher: 1,
            number,
        });
        let keyless = keyless
            .into_iter()
            .find(|n| message(SEED, *n).key.is_none())
            .expect("soon");
        assert_eq!(
            parse(&line(keyless, |_| {}), SEED).deliveries,
            [(keyless, 17)]
        );
    }
}
