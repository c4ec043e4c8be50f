//! A body's bytes, as they come → the elements of the JSON list that it is. Pure, and never holds more of an
//! element than may be. It only finds where elements end: whether they are JSON, who reads them sees.

use super::split::Cut;
use bytes::Bytes;

pub(super) struct Elements {
    limit_bytes: usize,
    /// What came and isn't split yet.
    rest: Bytes,
    /// The beginning of the element that `rest` goes on with.
    begun: Vec<u8>,
    /// The element at hand is too long: its end is looked for.
    skips: bool,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    /// An element must come; or, if it would be the first, the end.
    Element {
        is_first: bool,
    },
    Inside(Inside),
    Comma,
    End,
    Fault(&'static str),
}

/// Within an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// A number, true, false or null.
    Word,
    Nested {
        depth: usize,
        string: Option<Text>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Plain,
    Escaped,
}

/// What a byte does.
enum Step {
    /// It stands between elements.
    Between,
    /// It belongs to the element at hand.
    Taken,
    /// It is the element's last one.
    Last,
    /// The element ended before it; it is looked at again.
    Before,
}

impl Elements {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            rest: Bytes::new(),
            begun: Vec::new(),
            skips: false,
            at: At::Start,
        }
    }

    /// More of the body. All elements before it were taken.
    pub(super) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.rest.is_empty(), "elements are taken as they come");
        self.rest = bytes;
    }

    /// The next complete element.
    pub(super) fn next(&mut self) -> Option<Cut> {
        let mut start = None;
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            let was_inside = matches!(self.at, At::Inside(_));
            match self.step(*byte) {
                Step::Between => {}
                Step::Taken if was_inside => {}
                Step::Taken => start = Some(at),
                Step::Last => return Some(self.end(start, at + 1)),
                Step::Before => return Some(self.end(start, at)),
            }
            if matches!(self.at, At::Fault(_)) {
                self.rest = Bytes::new();
                return None;
            }
            at += 1;
        }
        let rest = std::mem::take(&mut self.rest);
        if matches!(self.at, At::Inside(_)) {
            self.begin(&rest[start.unwrap_or(0)..]);
        }
        None
    }

    /// Why what came is no list, or not the whole of one if nothing more comes.
    pub(super) fn fault(&self, is_end: bool) -> Option<&'static str> {
        match self.at {
            At::Fault(why) => Some(why),
            At::End => None,
            _ if is_end => Some("the body ends before the list does"),
            _ => None,
        }
    }

    /// Bytes of the element that isn't complete.
    pub(super) fn held_bytes(&self) -> usize {
        self.begun.len()
    }

    /// The element at hand is given up: there is no room for it.
    pub(super) fn skip(&mut self) {
        self.skips = true;
        self.begun = Vec::new();
    }

    fn step(&mut self, byte: u8) -> Step {
        if let At::Inside(inside) = self.at {
            return self.step_inside(inside, byte);
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Step::Between;
        }
        self.at = match (self.at, byte) {
            (At::Start, b'[') => At::Element { is_first: true },
            (At::Start, _) => At::Fault("the body is a list of events, and begins with ["),
            (At::Element { is_first: true }, b']') | (At::Comma, b']') => At::End,
            (At::Element { .. }, b',' | b']') => {
                At::Fault("an event is missing between two commas")
            }
            (At::Element { .. }, _) => At::Inside(Inside::of(byte)),
            (At::Comma, b',') => At::Element { is_first: false },
            (At::Comma, _) => At::Fault("a comma is missing between two events"),
            (At::End, _) => At::Fault("something stands behind the list"),
            (known @ (At::Inside(_) | At::Fault(_)), _) => known,
        };
        match self.at {
            At::Inside(_) => Step::Taken,
            _ => Step::Between,
        }
    }

    fn step_inside(&mut self, inside: Inside, byte: u8) -> Step {
        let (depth, string) = match inside {
            Inside::Word if matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']') => {
                self.at = At::Comma;
                return Step::Before;
            }
            Inside::Word => return Step::Taken,
            Inside::Nested { depth, string } => (depth, string),
        };
        let (depth, string) = match (string, byte) {
            (Some(Text::Escaped), _) => (depth, Some(Text::Plain)),
            (Some(Text::Plain), b'\\') => (depth, Some(Text::Escaped)),
            (Some(Text::Plain), b'"') => (depth, None),
            (Some(Text::Plain), _) => return Step::Taken,
            (None, b'"') => (depth, Some(Text::Plain)),
            (None, b'{' | b'[') => (depth + 1, None),
            (None, b'}' | b']') => (depth.saturating_sub(1), None),
            (None, _) => return Step::Taken,
        };
        if depth == 0 && string.is_none() {
            self.at = At::Comma;
            return Step::Last;
        }
        self.at = At::Inside(Inside::Nested { depth, string });
        Step::Taken
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

    /// The element ends there in `rest`; it starts there too, or was begun before.
    fn end(&mut self, start: Option<usize>, end: usize) -> Cut {
        let part = self.rest.split_to(end);
        let Some(start) = start else {
            self.begin(&part);
            let element = std::mem::take(&mut self.begun);
            return match std::mem::take(&mut self.skips) {
                true => Cut::TooLong,
                false => Cut::Line(element.into()),
            };
        };
        match end - start > self.limit_bytes {
            true => Cut::TooLong,
            false => Cut::Line(part.slice(start..)),
        }
    }
}

impl Inside {
    fn of(first: u8) -> Self {
        let nested = |depth, string| Self::Nested { depth, string };
        match first {
            b'{' | b'[' => nested(1, None),
            b'"' => nested(0, Some(Text::Plain)),
            _ => Self::Word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 20;

    /// `None` in place of an element that is too long; and the fault, if there is one.
    fn split(body: &[u8], pieces: &[usize]) -> (Vec<Option<Vec<u8>>>, Option<&'static str>) {
        let mut elements = Elements::new(LIMIT);
        let mut found = Vec::new();
        let mut rest = body;
        for piece in pieces.iter().copied().chain([usize::MAX]) {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            rest = later;
            elements.push(Bytes::copy_from_slice(now));
            while let Some(cut) = elements.next() {
                found.push(match cut {
                    Cut::Line(element) => Some(element.to_vec()),
                    Cut::TooLong => None,
                });
            }
            assert!(elements.held_bytes() <= LIMIT);
        }
        (found, elements.fault(true))
    }

    fn pieces(rng: &mut fastrand::Rng) -> Vec<usize> {
        (0..rng.usize(..30)).map(|_| rng.usize(..6)).collect()
    }

    /// However the body is cut into pieces, its elements are the same.
    #[test]
    fn elements_do_not_depend_on_the_pieces() {
        const ELEMENTS: [&str; 10] = [
            "{}",
            "{\"a\":[1,{}]}",
            "\"x],\\\"}\"",
            "[[],[]]",
            "-1.5e3",
            "null",
            "{\"a\":\"\\\\\"}",
            "\"\\\\\"",
            "{\"a\":\"0123456789012345\"}",
            "\"01234567890123456789\"",
        ];
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let space =
            |rng: &mut fastrand::Rng| *rng.choice(&["", " ", "\n", "\r\n\t"]).expect("some");
        for _ in 0..2_000 {
            let count = rng.usize(..6);
            let chosen: Vec<&str> = (0..count)
                .map(|_| *rng.choice(&ELEMENTS).expect("some"))
                .collect();
            let spaced: Vec<String> = chosen
                .iter()
                .map(|e| format!("{}{e}{}", space(&mut rng), space(&mut rng)))
                .collect();
            let body = format!(
                "{}[{}]{}",
                space(&mut rng),
                spaced.join(","),
                space(&mut rng)
            );
            let body = if chosen.is_empty() {
                " [ ] ".to_owned()
            } else {
                body
            };
            let expected: Vec<_> = chosen
                .iter()
                .map(|e| (e.len() <= LIMIT).then(|| e.as_bytes().to_vec()))
                .collect();
            let pieces = pieces(&mut rng);
            assert_eq!(
                split(body.as_bytes(), &pieces),
                (expected, None),
                "{body} {pieces:?}"
            );
            // Cut anywhere, it isn't whole, unless only space is cut off.
            let end = rng.usize(..body.len());
            if !body[end..].trim().is_empty() {
                assert!(
                    split(&body.as_bytes()[..end], &pieces).1.is_some(),
                    "{body} at {end}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_list_is_a_fault_behind_what_came_before_it() {
        for (body, count, words) in [
            ("", 0, "ends before"),
            ("{}", 0, "begins with ["),
            ("\u{feff}[]", 0, "begins with ["),
            ("[{},]", 1, "is missing"),
            ("[,{}]", 0, "is missing"),
            ("[{}{}]", 1, "a comma"),
            ("[{}", 1, "ends before"),
            ("[{]", 1, "ends before"),
            ("[1 2]", 1, "a comma"),
            ("[{}] x", 1, "behind the list"),
            ("[][]", 0, "behind the list"),
        ] {
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..20 {
                let pieces = pieces(&mut rng);
                let (found, fault) = split(body.as_bytes(), &pieces);
                assert_eq!(found.len(), count, "{body} {pieces:?}");
                assert!(
                    fault.is_some_and(|why| why.contains(words)),
                    "{body}: {fault:?}"
                );
            }
        }
    }
}
