//! A body's bytes, as they come → its lines. Pure, and never holds more of a line than may be.

use bytes::Bytes;

/// What stands between two line breaks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Line(Bytes),
    /// Nothing of it is left.
    TooLong,
}

pub(super) struct Splitter {
    limit_bytes: usize,
    /// What came and isn't split yet.
    rest: Bytes,
    /// The beginning of the line that `rest` goes on with.
    begun: Vec<u8>,
    /// The line at hand is too long: its end is looked for.
    skips: bool,
}

impl Splitter {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            rest: Bytes::new(),
            begun: Vec::new(),
            skips: false,
        }
    }

    /// More of the body. All lines before it were taken.
    pub(super) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.rest.is_empty(), "lines are taken as they come");
        self.rest = bytes;
    }

    /// The next complete line, without its line break; blank ones are passed over.
    pub(super) fn next(&mut self) -> Option<Cut> {
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.rest) else {
                let rest = std::mem::take(&mut self.rest);
                self.begin(&rest);
                return None;
            };
            let line = self.rest.split_to(end);
            drop(self.rest.split_to(1));
            if let Some(cut) = self.end(line) {
                return Some(cut);
            }
        }
    }

    /// The last line, if no line break is behind it. The body came to its end.
    pub(super) fn last(&mut self) -> Option<Cut> {
        self.end(Bytes::new())
    }

    /// Bytes of the line that isn't complete.
    pub(super) fn held_bytes(&self) -> usize {
        self.begun.len()
    }

    /// The line at hand is given up: there is no room for it.
    pub(super) fn skip(&mut self) {
        self.skips = true;
        self.begun = Vec::new();
    }

    fn begin(&mut self, part: &[u8]) {
        if self.skips || part.is_empty() {
            return;
        }
        if self.begun.len() + part.len() > self.limit_bytes {
            self.skip();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    fn end(&mut self, part: Bytes) -> Option<Cut> {
        if !self.begun.is_empty() || self.skips {
            self.begin(&part);
            let line = std::mem::take(&mut self.begun);
            return match std::mem::take(&mut self.skips) {
                true => Some(Cut::TooLong),
                false => whole(line.into()),
            };
        }
        if part.len() > self.limit_bytes {
            return Some(Cut::TooLong);
        }
        whole(part)
    }
}

fn whole(line: Bytes) -> Option<Cut> {
    (!line.trim_ascii().is_empty()).then_some(Cut::Line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    /// `None` in place of a line that is too long.
    fn split(body: &[u8], pieces: &[usize]) -> Vec<Option<Vec<u8>>> {
        let mut splitter = Splitter::new(LIMIT);
        let mut lines = Vec::new();
        let mut take = |cut| {
            lines.push(match cut {
                Cut::Line(line) => Some(line.to_vec()),
                Cut::TooLong => None,
            });
        };
        let mut rest = body;
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            rest = later;
            splitter.push(Bytes::copy_from_slice(now));
            while let Some(cut) = splitter.next() {
                take(cut);
            }
            assert!(splitter.held_bytes() <= LIMIT);
        }
        splitter.last().into_iter().for_each(&mut take);
        lines
    }

    /// However the body is cut into pieces, its lines are the same.
    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let len = rng.usize(..80);
            let body: Vec<u8> = (0..len)
                .map(|_| *rng.choice(b"\n\n\r xyz").expect("some"))
                .collect();
            let expected: Vec<Option<Vec<u8>>> = body
                .split(|b| *b == b'\n')
                .filter(|line| line.len() > LIMIT || !line.trim_ascii().is_empty())
                .map(|line| (line.len() <= LIMIT).then(|| line.to_vec()))
                .collect();
            let pieces: Vec<usize> = (0..rng.usize(..20)).map(|_| rng.usize(..8)).collect();
            assert_eq!(split(&body, &pieces), expected, "{body:?} {pieces:?}");
        }
    }

    #[test]
    fn a_line_of_just_the_limit_is_taken() {
        let line = |bytes: usize| [&b"x".repeat(bytes)[..], b"\ny"].concat();
        let y = Some(b"y".to_vec());
        for pieces in [&[][..], &[4], &[LIMIT], &[1; 20]] {
            assert_eq!(
                split(&line(LIMIT), pieces),
                [Some(b"x".repeat(LIMIT)), y.clone()]
            );
            assert_eq!(split(&line(LIMIT + 1), pieces), [None, y.clone()]);
        }
    }
}
