//! The ids of messages that came without one: made of the journal, the run and the position, so
//! that none is ever made twice and each tells where its message is.

use crate::message::{Epoch, LogUuid, Position};
use std::fmt::Write as _;

/// 8 and 16 hexadecimal digits, 20 decimal ones and what parts them.
const MAX_LEN: usize = 8 + 1 + 16 + 1 + 20;

/// `{first 8 hex digits of the journal's uuid}-{epoch in hex}-{position}`.
#[must_use]
pub fn generated_id(journal: LogUuid, epoch: Epoch, position: Position) -> String {
    written(uuid_prefix(journal), epoch, position)
}

/// What a generated id has of its journal's uuid.
#[must_use]
pub const fn uuid_prefix(journal: LogUuid) -> u32 {
    (journal.0 >> 96) as u32
}

/// The parts of a generated id: uuid prefix, epoch, position. `None` for any other text.
#[must_use]
pub fn parse_generated(id: &str) -> Option<(u32, Epoch, Position)> {
    let mut parts = id.splitn(3, '-');
    let prefix = u32::from_str_radix(parts.next()?, 16).ok()?;
    let epoch = Epoch(u64::from_str_radix(parts.next()?, 16).ok()?);
    let position = Position(parts.next()?.parse().ok()?);
    // Signs, zeros in front and capitals are read too: only what would be written is an id.
    (written(prefix, epoch, position) == id).then_some((prefix, epoch, position))
}

fn written(prefix: u32, epoch: Epoch, position: Position) -> String {
    let mut id = String::with_capacity(MAX_LEN);
    write!(id, "{prefix:08x}-{:x}-{position}", epoch.0).expect("memory takes all");
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_is_read_again() {
        for seed in 0..2_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let journal = LogUuid(rng.u128(..) >> rng.u32(..128));
            let epoch = Epoch(rng.u64(..) >> rng.u32(..64));
            let position = Position(rng.u64(..) >> rng.u32(..64));
            let id = generated_id(journal, epoch, position);
            assert!(journal.to_string().starts_with(&id[..8]), "seed {seed}");
            let parsed = parse_generated(&id);
            assert_eq!(
                parsed,
                Some((uuid_prefix(journal), epoch, position)),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn it_reads_as_documented() {
        let journal = LogUuid(0x0a1b_2c3d_4e5f_0000_0000_0000_0000_0000);
        let id = generated_id(journal, Epoch(0x1_0000_beef), Position(42));
        assert_eq!(id, "0a1b2c3d-10000beef-42");
    }

    #[test]
    fn anything_else_is_no_generated_id() {
        for other in [
            "",
            "0a1b2c3d",
            "0a1b2c3d-1",
            "0a1b2c3d-1-",
            "0a1b2c3d-1-+7",
            "0a1b2c3d-1-07",
            "0a1b2c3d-01-7",
            "+a1b2c3d-1-7",
            "0A1B2C3D-1-7",
            "a1b2c3d-1-7",
            "0a1b2c3d-1-7-8",
            "0a1b2c3d-1-18446744073709551616",
            "0a1b2c3d-10000000000000000-7",
            "0a1b2c3d-1-7 ",
        ] {
            assert_eq!(parse_generated(other), None, "{other:?}");
        }
    }
}
