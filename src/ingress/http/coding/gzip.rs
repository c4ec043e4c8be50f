//! gzip (RFC 1952), member after member.

use super::{DecodeError, Step};
use flate2::{Crc, Decompress, FlushDecompress, Status};

pub(super) const NAME: &str = "gzip";

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// Magic, method, flags, time, extra flags, system.
const FIXED_BYTES: u8 = 10;
/// CRC-32 and length of what was decoded.
const TRAILER_BYTES: u8 = 8;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Which bytes come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many of the fixed bytes are read.
    Fixed(u8),
    /// So many of the two, and what the first said.
    ExtraLength(u8, u16),
    Extra(u16),
    Name,
    Comment,
    /// So many of the two, and what the first said.
    HeaderCrc(u8, u16),
    Data,
    /// So many of them, and what they said.
    Trailer(u8, u64),
}

pub(in super::super) struct Gzip {
    part: Part,
    flags: u8,
    header_crc: Crc,
    inflate: Decompress,
    /// Of this member's data, and their length.
    crc: Crc,
    /// One member at least is read to its end.
    any: bool,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Fixed(0),
            flags: 0,
            header_crc: Crc::new(),
            inflate: Decompress::new(false),
            crc: Crc::new(),
            any: false,
        }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        let mut read = 0;
        loop {
            if self.part == Part::Data {
                let step = self.inflate(&input[read..], output)?;
                read += step.read;
                let written = step.written;
                if written > 0 || self.part == Part::Data {
                    return Ok(Step { read, written });
                }
            }
            let Some(byte) = input.get(read) else {
                return Ok(Step { read, written: 0 });
            };
            self.frame(*byte)?;
            read += 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.any && self.part == Part::Fixed(0)
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, output, FlushDecompress::None)
            .map_err(|_| corrupt("its deflate data are damaged"))?;
        // Both fit: they are lengths of parts of these slices.
        let read = (self.inflate.total_in() - read) as usize;
        let written = (self.inflate.total_out() - written) as usize;
        self.crc.update(&output[..written]);
        if status == Status::StreamEnd {
            self.part = Part::Trailer(0, 0);
        }
        Ok(Step { read, written })
    }

    /// One byte of what is around the data.
    fn frame(&mut self, byte: u8) -> Result<(), DecodeError> {
        if !matches!(self.part, Part::HeaderCrc(..) | Part::Trailer(..)) {
            self.header_crc.update(&[byte]);
        }
        self.part = match self.part {
            Part::Fixed(at) => self.fixed(at, byte)?,
            Part::ExtraLength(0, _) => Part::ExtraLength(1, byte.into()),
            Part::ExtraLength(_, low) => match low | u16::from(byte) << 8 {
                0 => self.after(FLAG_EXTRA),
                length => Part::Extra(length),
            },
            Part::Extra(1) => self.after(FLAG_EXTRA),
            Part::Extra(left) => Part::Extra(left - 1),
            Part::Name if byte == 0 => self.after(FLAG_NAME),
            Part::Comment if byte == 0 => self.after(FLAG_COMMENT),
            Part::HeaderCrc(0, _) => Part::HeaderCrc(1, byte.into()),
            Part::HeaderCrc(_, low) => {
                if low | u16::from(byte) << 8 != self.header_crc.sum() as u16 {
                    return Err(corrupt("a header's checksum is wrong"));
                }
                Part::Data
            }
            Part::Trailer(at, said) => self.trailer(at, said | u64::from(byte) << (8 * at))?,
            part @ (Part::Name | Part::Comment | Part::Data) => part,
        };
        Ok(())
    }

    fn fixed(&mut self, at: u8, byte: u8) -> Result<Part, DecodeError> {
        match at {
            0 | 1 if byte != MAGIC[usize::from(at)] => {
                return Err(corrupt(match self.any {
                    true => "something else follows the gzip data",
                    false => "it doesn't begin as gzip does",
                }));
            }
            2 if byte != DEFLATE => return Err(corrupt("its method isn't deflate")),
            3 if byte & FLAGS_RESERVED != 0 => return Err(corrupt("it has unknown flags")),
            3 => self.flags = byte,
            _ => {}
        }
        Ok(match at + 1 {
            FIXED_BYTES => self.after(0),
            at => Part::Fixed(at),
        })
    }

    /// The next part of the header after the one of this flag; the parts are in order of flags,
    /// but for the checksum, which is last.
    fn after(&self, flag: u8) -> Part {
        for (next, part) in [
            (FLAG_EXTRA, Part::ExtraLength(0, 0)),
            (FLAG_NAME, Part::Name),
            (FLAG_COMMENT, Part::Comment),
        ] {
            if next > flag && self.flags & next != 0 {
                return part;
            }
        }
        match self.flags & FLAG_HEADER_CRC {
            0 => Part::Data,
            _ => Part::HeaderCrc(0, 0),
        }
    }

    fn trailer(&mut self, at: u8, said: u64) -> Result<Part, DecodeError> {
        if at + 1 < TRAILER_BYTES {
            return Ok(Part::Trailer(at + 1, said));
        }
        if said != u64::from(self.crc.amount()) << 32 | u64::from(self.crc.sum()) {
            return Err(corrupt("its checksum or length is wrong"));
        }
        self.any = true;
        self.inflate.reset(false);
        self.crc.reset();
        self.header_crc.reset();
        Ok(Part::Fixed(0))
    }
}

fn corrupt(why: &str) -> DecodeError {
    DecodeError::Corrupt {
        coding: NAME,
        why: why.to_owned(),
    }
}
