//! A chunked body, read as it comes.

use super::client::invalid;
use std::io;
use std::mem;

/// Takes the chunks off, however the bytes are cut.
#[derive(Default)]
pub(super) struct Chunks {
    pub state: ChunkState,
    line: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ChunkState {
    #[default]
    Size,
    Data(usize),
    /// The line end behind a chunk.
    After,
    /// Behind the last chunk, up to an empty line.
    Trailer,
    End,
}

impl Chunks {
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        while !bytes.is_empty() {
            if let ChunkState::Data(left) = self.state {
                let (here, rest) = bytes.split_at(left.min(bytes.len()));
                data.extend_from_slice(here);
                bytes = rest;
                self.state = match left - here.len() {
                    0 => ChunkState::After,
                    left => ChunkState::Data(left),
                };
                continue;
            }
            if self.state == ChunkState::End {
                return Err(invalid("bytes behind the last chunk".to_owned()));
            }
            let (byte, rest) = bytes.split_first().expect("it isn't empty");
            bytes = rest;
            match byte {
                b'\n' => {
                    let line = mem::take(&mut self.line);
                    self.state = self.after_line(&String::from_utf8_lossy(&line))?;
                }
                b'\r' => {}
                _ => self.line.push(*byte),
            }
        }
        Ok(data)
    }

    fn after_line(&self, line: &str) -> io::Result<ChunkState> {
        match (&self.state, line) {
            (ChunkState::Size, line) => {
                let size = line.split(';').next().unwrap_or_default();
                match usize::from_str_radix(size, 16) {
                    Ok(0) => Ok(ChunkState::Trailer),
                    Ok(size) => Ok(ChunkState::Data(size)),
                    Err(e) => Err(invalid(format!("chunk {line:?}: {e}"))),
                }
            }
            (ChunkState::After, "") => Ok(ChunkState::Size),
            (ChunkState::Trailer, "") => Ok(ChunkState::End),
            _ => Err(invalid(format!("{line:?} after a chunk"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_taken_off_wherever_they_are_cut() {
        let bytes = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        for cut in 0..=bytes.len() {
            let mut chunks = Chunks::default();
            let (first, second) = bytes.split_at(cut);
            let mut data = chunks.feed(first).unwrap();
            assert_eq!(chunks.state == ChunkState::End, cut == bytes.len());
            data.extend(chunks.feed(second).unwrap());
            assert_eq!(data, b"abc0123456789", "cut at {cut}");
            assert_eq!(chunks.state, ChunkState::End);
        }
        assert!(Chunks::default().feed(b"x\r\n").is_err());
        assert!(Chunks::default().feed(b"1\r\nab\r\n").is_err());
        assert!(Chunks::default().feed(b"0\r\n\r\n0").is_err());
    }
}
