//! A small blocking reader of server-sent events over a raw socket, which shares nothing with the
//! server: HTTP/1.1 in chunks, and the events in them as the HTML standard parses them.

use super::chunked::{ChunkState, Chunks};
use super::client::{Response, encoded, invalid, read_head, read_whole_body};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long `next` waits before it says `Next::Nothing`.
const POLL: Duration = Duration::from_millis(20);
/// More than any event of the gateway; a longer line is a bug.
const MAX_LINE_BYTES: usize = 256 << 20;

/// One event with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last id that was given: that of this event, or of an earlier one.
    pub id: Option<String>,
    /// `message` if it has none.
    pub kind: String,
    pub data: String,
}

/// Why there is no stream.
#[derive(Debug)]
pub enum NotOpened {
    /// Nobody answers.
    Trouble(io::Error),
    /// Another answer than events.
    Refused(Response),
}

#[derive(Debug)]
pub enum Next {
    Event(Event),
    /// None yet: ask again.
    Nothing,
    /// The body ended as it should.
    End,
    /// The connection broke.
    Broken(io::Error),
}

/// One connection.
pub struct EventStream {
    input: BufReader<TcpStream>,
    pub head: Response,
    chunks: Chunks,
    parser: Parser,
    events: VecDeque<Event>,
}

impl EventStream {
    /// Reads `/v1/streams/{stream}{query}`, behind the event `last` if there is one.
    ///
    /// # Errors
    /// If what answers within the time isn't a stream of events.
    pub fn open(
        address: SocketAddr,
        stream: &str,
        query: &str,
        last: Option<u64>,
        patience: Duration,
    ) -> Result<Self, NotOpened> {
        let mut input = connect(address, patience).map_err(NotOpened::Trouble)?;
        let last = last.map_or(String::new(), |last| format!("last-event-id: {last}\r\n"));
        let request = format!(
            "GET /v1/streams/{}{query} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{last}\r\n",
            encoded(stream)
        );
        let mut answer = || {
            input.get_mut().write_all(request.as_bytes())?;
            let mut head = read_head(&mut input)?;
            if head.status != 200 {
                read_whole_body(&mut input, &mut head)?;
            }
            input.get_ref().set_read_timeout(Some(POLL))?;
            Ok(head)
        };
        let head = answer().map_err(NotOpened::Trouble)?;
        if head.status != 200 || head.header("content-type") != Some("text/event-stream") {
            return Err(NotOpened::Refused(head));
        }
        Ok(Self {
            input,
            head,
            chunks: Chunks::default(),
            parser: Parser::default(),
            events: VecDeque::new(),
        })
    }

    pub fn next(&mut self) -> Next {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Next::Event(event);
            }
            if self.chunks.state == ChunkState::End {
                return Next::End;
            }
            match self.more() {
                Ok(()) => {}
                Err(e) if is_timeout(&e) => return Next::Nothing,
                Err(e) => return Next::Broken(e),
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let got = self.input.fill_buf()?;
        if got.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let data = self.chunks.feed(got)?;
        let count = got.len();
        self.input.consume(count);
        self.events.extend(self.parser.feed(&data)?);
        Ok(())
    }
}

fn connect(address: SocketAddr, patience: Duration) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect_timeout(&address, patience)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    Ok(BufReader::new(socket))
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Lines end with LF, CR or both; an empty one ends an event; one without data is none.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    id: Option<String>,
    kind: String,
    data: Vec<String>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        for byte in bytes {
            let second_of_two = mem::replace(&mut self.after_cr, *byte == b'\r') && *byte == b'\n';
            match byte {
                b'\n' if second_of_two => {}
                b'\n' | b'\r' => {
                    let line = String::from_utf8(mem::take(&mut self.line))
                        .map_err(|e| invalid(e.to_string()))?;
                    events.extend(self.take_line(&line));
                }
                _ if self.line.len() == MAX_LINE_BYTES => {
                    return Err(invalid("an event without an end".to_owned()));
                }
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (kind, data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
            return (!data.is_empty()).then(|| Event {
                id: self.id.clone(),
                kind: if kind.is_empty() {
                    "message".to_owned()
                } else {
                    kind
                },
                data: data.join("\n"),
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => self.kind = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            // A comment, `retry`, or what nobody knows.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ":\n\nretry: 1000\n\nid: 4\ndata: {\"a\": \"é\"}\n\nid: 5\r\ndata:x\r\ndata\r\n\r\n:\n\n\
        event: gone\rdata: 9\r\rid: 6\n\ndata: cut";

    fn expected() -> Vec<Event> {
        let event = |id: &str, kind: &str, data: &str| Event {
            id: Some(id.to_owned()),
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        vec![
            event("4", "message", "{\"a\": \"é\"}"),
            event("5", "message", "x\n"),
            event("5", "gone", "9"),
        ]
    }

    #[test]
    fn events_are_parsed_wherever_they_are_cut() {
        for cut in 0..=TEXT.len() {
            let mut parser = Parser::default();
            let (first, second) = TEXT.as_bytes().split_at(cut);
            let mut events = parser.feed(first).unwrap();
            events.extend(parser.feed(second).unwrap());
            assert_eq!(events, expected(), "cut at {cut}");
            assert_eq!(parser.id.as_deref(), Some("6"));
        }
        assert!(Parser::default().feed(b"data: \xff\n").is_err());
    }
}
