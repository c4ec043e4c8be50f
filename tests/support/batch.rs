//! `POST /v1/batch` over a raw socket, written and read at the same time, so that what judges the
//! server shares nothing with it.

use super::chunked::{ChunkState, Chunks};
use super::client::{Response, invalid, read_head, read_whole_body};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Chunked,
    Length(usize),
}

/// The half that sends lines.
pub struct Lines {
    socket: TcpStream,
    framing: Framing,
}

/// The half that reads results.
pub struct Results {
    input: BufReader<TcpStream>,
    chunks: Chunks,
    /// What is read and not yet a whole line.
    held: Vec<u8>,
}

/// Connects and sends the head; `headers` are whole lines of it. Every wait has the limit
/// `patience`.
///
/// # Errors
/// No line was sent.
pub fn open(
    address: SocketAddr,
    headers: &str,
    framing: Framing,
    patience: Duration,
) -> io::Result<(Lines, Results)> {
    let mut socket = TcpStream::connect_timeout(&address, patience)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    let length = match framing {
        Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        Framing::Length(length) => format!("content-length: {length}"),
    };
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{length}\r\n{headers}\r\n"
    );
    socket.write_all(head.as_bytes())?;
    let results = Results {
        input: BufReader::new(socket.try_clone()?),
        chunks: Chunks::default(),
        held: Vec::new(),
    };
    Ok((Lines { socket, framing }, results))
}

impl Lines {
    /// Bytes of the body: lines, or pieces of them.
    ///
    /// # Errors
    /// The connection broke; what was sent before may have been taken or not.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.framing {
            Framing::Length(_) => self.socket.write_all(bytes),
            Framing::Chunked => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                self.socket.write_all(&chunk)
            }
        }
    }

    /// # Errors
    /// As for `send`.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Length(_) => Ok(()),
            Framing::Chunked => self.socket.write_all(b"0\r\n\r\n"),
        }
    }
}

impl Results {
    /// The head of the answer; with its body if it is a refusal of the whole request.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub fn head(&mut self) -> io::Result<Response> {
        let mut head = read_head(&mut self.input)?;
        if head.status != 200 {
            read_whole_body(&mut self.input, &mut head)?;
        }
        Ok(head)
    }

    /// The next result line; `None` at the end of a whole answer.
    ///
    /// # Errors
    /// The connection broke, or nothing came in time.
    pub fn next(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                let result = serde_json::from_slice(&line);
                return result.map(Some).map_err(|e| invalid(e.to_string()));
            }
            if self.chunks.state == ChunkState::End {
                return match self.held.is_empty() {
                    true => Ok(None),
                    false => Err(invalid("a result without an end".to_owned())),
                };
            }
            let got = self.input.fill_buf()?;
            if got.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = got.len();
            let data = self.chunks.feed(got)?;
            self.input.consume(count);
            self.held.extend(data);
        }
    }
}
