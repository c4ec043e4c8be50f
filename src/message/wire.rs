//! The bytes that records, checkpoints and catalogs are made of: varints (LEB128), fixed
//! little-endian integers, and byte strings with their length in front.
//!
//! What lives here: appending them to a `Vec<u8>`, and a reader that never panics and never
//! allocates by a length that it hasn't checked. What must not: what any of the bytes mean.

use std::fmt;

/// A varint of 64 bits has at most so many bytes.
pub const VARINT_MAX_BYTES: usize = 10;

/// What couldn't be read, and where: `offset` is the first byte of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset} {problem}")]
pub struct WireError {
    pub what: &'static str,
    pub offset: usize,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The input ends inside the field.
    CutShort,
    /// A number that is too large for its field, or a value that the field can't have.
    OutOfRange,
    /// Text that isn't UTF-8.
    NotText,
    /// Bytes after the last field.
    Trailing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutShort => "is cut short",
            Self::OutOfRange => "has a value that it can't have",
            Self::NotText => "isn't UTF-8",
            Self::Trailing => "is followed by bytes that belong to nothing",
        })
    }
}

pub fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_u128(out: &mut Vec<u8>, value: u128) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The length as a varint, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_str(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// Reads a slice from its front. Every call names the field, for the error.
///
/// What it hands out are parts of that slice: over a `bytes::Bytes`, `Bytes::slice_ref` shares
/// them without a copy.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Where the next field starts.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// All that wasn't read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.at..]
    }

    pub fn take(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], WireError> {
        let Some(taken) = self.rest().get(..len) else {
            return Err(self.error(what, Problem::CutShort));
        };
        self.at += len;
        Ok(taken)
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub fn u128(&mut self, what: &'static str) -> Result<u128, WireError> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut value = 0;
        for (i, byte) in self.rest().iter().take(VARINT_MAX_BYTES).enumerate() {
            // The tenth byte has room for one bit.
            if i == VARINT_MAX_BYTES - 1 && *byte > 1 {
                return Err(self.error(what, Problem::OutOfRange));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.error(what, Problem::CutShort))
    }

    /// A varint that must fit a smaller integer.
    pub fn varint_as<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, WireError> {
        let start = self.clone();
        T::try_from(self.varint(what)?).map_err(|_| start.error(what, Problem::OutOfRange))
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let start = self.clone();
        let len = self.varint_as(what)?;
        self.take(what, len)
            .map_err(|e| start.error(what, e.problem))
    }

    /// Text with its length in front.
    pub fn str(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        let start = self.clone();
        let bytes = self.bytes(what)?;
        std::str::from_utf8(bytes).map_err(|_| start.error(what, Problem::NotText))
    }

    /// How many things follow, each of at least `least_bytes`: refused if so many can't follow.
    pub fn count(&mut self, what: &'static str, least_bytes: usize) -> Result<usize, WireError> {
        let start = self.clone();
        let count: usize = self.varint_as(what)?;
        if count > self.rest().len() / least_bytes.max(1) {
            return Err(start.error(what, Problem::CutShort));
        }
        Ok(count)
    }

    /// Refuses bytes after the last field, which `what` names.
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.error(what, Problem::Trailing))
        }
    }

    /// An error about the field that starts where the reader stands.
    #[must_use]
    pub const fn error(&self, what: &'static str, problem: Problem) -> WireError {
        WireError {
            what,
            offset: self.at,
            problem,
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let Some(array) = self.rest().first_chunk::<N>() else {
            return Err(self.error(what, Problem::CutShort));
        };
        self.at += N;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_width() {
        for bit in 0..64 {
            for value in [1u64 << bit, (1 << bit) - 1, u64::MAX >> bit] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert!(out.len() <= VARINT_MAX_BYTES);
                let mut reader = Reader::new(&out);
                assert_eq!(reader.varint("value"), Ok(value));
                assert_eq!(reader.finish("value"), Ok(()));
                for cut in 0..out.len() {
                    let error = Reader::new(&out[..cut]).varint("value").unwrap_err();
                    assert_eq!(error.problem, Problem::CutShort);
                }
            }
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_is_refused() {
        let mut bytes = [0xffu8; 10];
        bytes[9] = 2;
        let error = Reader::new(&bytes).varint("value").unwrap_err();
        assert_eq!(error.problem, Problem::OutOfRange);
        let error = Reader::new(&[0xff; 11]).varint("value").unwrap_err();
        assert_eq!(error.problem, Problem::OutOfRange);
    }

    #[test]
    fn a_length_beyond_the_input_is_refused_at_its_field() {
        let mut out = vec![7];
        put_varint(&mut out, u64::MAX);
        let mut reader = Reader::new(&out);
        reader.u8("first").unwrap();
        assert_eq!(
            reader.clone().bytes("name"),
            Err(WireError {
                what: "name",
                offset: 1,
                problem: Problem::CutShort
            })
        );
        assert_eq!(
            reader.count("names", 2).unwrap_err().problem,
            Problem::CutShort
        );
    }

    #[test]
    fn text_must_be_utf8_and_numbers_must_fit() {
        let error = Reader::new(&[2, 0xc3, 0x28]).str("name").unwrap_err();
        assert_eq!(error.problem, Problem::NotText);
        assert_eq!(error.to_string(), "name at byte 0 isn't UTF-8");
        let error = Reader::new(&[0x80, 0x02])
            .varint_as::<u8>("kind")
            .unwrap_err();
        assert_eq!((error.offset, error.problem), (0, Problem::OutOfRange));
    }

    #[test]
    fn what_is_read_shares_the_input() {
        let mut out = Vec::new();
        put_u16(&mut out, 1);
        put_u32(&mut out, 2);
        put_u64(&mut out, 3);
        put_u128(&mut out, 4);
        put_str(&mut out, "é");
        put_bytes(&mut out, &[]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.u16("a"), Ok(1));
        assert_eq!(reader.u32("b"), Ok(2));
        assert_eq!(reader.u64("c"), Ok(3));
        assert_eq!(reader.u128("d"), Ok(4));
        let text = reader.str("e").unwrap();
        assert_eq!(text, "é");
        assert!(out.as_ptr_range().contains(&text.as_ptr()));
        assert_eq!(reader.bytes("f"), Ok(&[][..]));
        assert_eq!(reader.finish("end"), Ok(()));
    }
}
