//! Lines from a file or a pipe, as many at a time as are there.

use std::io::{self, BufRead, BufReader, Read};

/// What a read of a file brings at once.
const BUFFER_BYTES: usize = 256 << 10;
const MAX_CHUNK_LINES: usize = 500;
/// Far more than a gateway takes for one message.
const MAX_LINE_BYTES: usize = 64 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub number: u64,
    /// Without its end: `\n` or `\r\n`.
    pub bytes: Vec<u8>,
    /// With its end.
    pub taken: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("can't read stdin: {0}")]
    Read(#[from] io::Error),
    #[error("line {number} is longer than {} MiB", MAX_LINE_BYTES >> 20)]
    TooLong { number: u64 },
}

impl InputError {
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Read(_) => "pipe the lines into it, or redirect a file that may be read",
            Self::TooLong { .. } => "publish that one by itself, with -d @FILE",
        }
    }
}

pub(super) struct Lines<R> {
    input: BufReader<R>,
    lines: u64,
}

impl<R: Read> Lines<R> {
    pub fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            lines: 0,
        }
    }

    /// Waits for one line, and takes those that came with it; none at the end.
    pub fn chunk(&mut self) -> Result<Vec<Line>, InputError> {
        let mut chunk = Vec::new();
        while let Some(line) = self.line()? {
            chunk.push(line);
            if chunk.len() == MAX_CHUNK_LINES || !self.input.buffer().contains(&b'\n') {
                break;
            }
        }
        Ok(chunk)
    }

    fn line(&mut self) -> Result<Option<Line>, InputError> {
        let number = self.lines + 1;
        let mut bytes = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let taken = (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut bytes)?;
        if taken == 0 {
            return Ok(None);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        } else if bytes.len() > MAX_LINE_BYTES {
            return Err(InputError::TooLong { number });
        }
        self.lines = number;
        Ok(Some(Line {
            number,
            bytes,
            taken: taken as u64,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece a read.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            to[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn chunks(pieces: Vec<&'static [u8]>) -> Vec<Vec<(u64, String, u64)>> {
        let mut lines = Lines::new(Pieces(pieces));
        let mut chunks = Vec::new();
        loop {
            let chunk = lines.chunk().expect("it reads");
            if chunk.is_empty() {
                return chunks;
            }
            let line = |line: Line| {
                let text = String::from_utf8(line.bytes).expect("text");
                (line.number, text, line.taken)
            };
            chunks.push(chunk.into_iter().map(line).collect());
        }
    }

    #[test]
    fn a_chunk_is_what_is_there() {
        let line = |number, text: &str, taken| (number, text.to_owned(), taken);
        assert_eq!(
            chunks(vec![b"a\nb\r\n\nlo", b"ng\nend"]),
            [
                vec![line(1, "a", 2), line(2, "b", 3), line(3, "", 1)],
                vec![line(4, "long", 5)],
                vec![line(5, "end", 3)],
            ]
        );
        assert!(chunks(vec![]).is_empty());
    }

    #[test]
    fn a_chunk_has_a_limit() {
        let text: &'static [u8] = Box::leak("x\n".repeat(1_200).into_bytes().into_boxed_slice());
        let lengths: Vec<usize> = chunks(vec![text]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [500, 500, 200]);
    }
}
