//! Which protocol a connection speaks, told from its first bytes.

use std::io;
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

/// How HTTP/2 begins where nothing was agreed before (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What was read of a connection to see what it speaks, and is yet to be given to the server.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadAhead {
    bytes: [u8; PREFACE.len()],
    start: usize,
    end: usize,
}

impl ReadAhead {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Moves what fits.
    pub(super) fn give(&mut self, to: &mut ReadBuf<'_>) {
        let length = self.bytes().len().min(to.remaining());
        to.put_slice(&self.bytes()[..length]);
        self.start += length;
    }
}

/// Reads until it is clear; None if the peer closed before its first byte.
pub(super) async fn protocol(socket: &mut TcpStream) -> io::Result<Option<(Protocol, ReadAhead)>> {
    let mut ahead = ReadAhead::default();
    loop {
        match socket.read(&mut ahead.bytes[ahead.end..]).await? {
            0 if ahead.is_empty() => return Ok(None),
            // Whatever begins like a preface and ends there is for HTTP/1 to refuse.
            0 => return Ok(Some((Protocol::Http1, ahead))),
            n => ahead.end += n,
        }
        if !PREFACE.starts_with(ahead.bytes()) {
            return Ok(Some((Protocol::Http1, ahead)));
        }
        if ahead.end == PREFACE.len() {
            return Ok(Some((Protocol::Http2, ahead)));
        }
    }
}
