//! A small blocking HTTP/1.1 client, so that what judges the server shares nothing with it.
//!
//! One connection, kept alive, opened anew when it broke. Every wait has a limit.

use serde_json::Value;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// More than any page of the gateway; a body beyond it is a bug.
const MAX_BODY_BYTES: usize = 256 << 20;

pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<BufReader<TcpStream>>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A request without an answer.
#[derive(Debug)]
pub enum Trouble {
    /// No connection: the server surely has nothing of it.
    NotSent(io::Error),
    /// It may have been taken, or not.
    InDoubt(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(e) => write!(f, "not sent: {e}"),
            Self::InDoubt(e) => write!(f, "no answer: {e}"),
        }
    }
}

impl Response {
    /// # Errors
    /// The status and body, if the body isn't JSON.
    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|e| format!("not JSON ({e}): {self}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(500)];
        write!(f, "{} {}", self.status, String::from_utf8_lossy(start))
    }
}

impl Client {
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            connection: None,
        }
    }

    pub fn get(&mut self, target: &str) -> Result<Response, Trouble> {
        self.request("GET", target, &[], b"")
    }

    pub fn post(
        &mut self,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Trouble> {
        self.request("POST", target, headers, body)
    }

    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(Trouble::NotSent)?,
        };
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if method != "GET" {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        connection
            .get_mut()
            .write_all(&bytes)
            .map_err(Trouble::InDoubt)?;
        let response = read_response(&mut connection).map_err(Trouble::InDoubt)?;
        if response.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(BufReader::new(stream))
    }
}

/// Percent-encodes all but what is plain in every part of a URL.
pub fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn read_response(input: &mut impl BufRead) -> io::Result<Response> {
    let mut response = read_head(input)?;
    read_whole_body(input, &mut response)?;
    Ok(response)
}

/// The answer up to its body.
pub(super) fn read_head(input: &mut impl BufRead) -> io::Result<Response> {
    let status_line = read_line(input)?;
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid(format!("no status line: {status_line:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(input)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid(format!("no header: {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Response {
        status,
        headers,
        body: Vec::new(),
    })
}

/// What follows a head.
pub(super) fn read_whole_body(input: &mut impl BufRead, response: &mut Response) -> io::Result<()> {
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = read_chunks(input)?;
    } else if let Some(length) = response.header("content-length") {
        let length = length
            .parse()
            .map_err(|e| invalid(format!("content-length: {e}")))?;
        read_body(input, length, &mut response.body)?;
    }
    Ok(())
}

fn read_chunks(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(input)?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|e| invalid(format!("chunk: {e}")))?;
        if size > 0 {
            read_body(input, size, &mut body)?;
        }
        // The end of the chunk's line, or the (empty) trailer.
        if !read_line(input)?.is_empty() {
            return Err(invalid("a chunk without an end".to_owned()));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_body(input: &mut impl Read, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let start = body.len();
    if start.saturating_add(length) > MAX_BODY_BYTES {
        return Err(invalid(format!("a body of {length} bytes")));
    }
    body.resize(start + length, 0);
    input.read_exact(&mut body[start..])
}

fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(whole) => Ok(whole.trim_end_matches('\r').to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_by_length_and_by_chunks_and_not_beyond() {
        let mut input: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 503 \r\n\
            Transfer-Encoding: chunked\r\nRetry-After: 1\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nrest";
        let first = read_response(&mut input).unwrap();
        assert_eq!((first.status, first.body.as_slice()), (202, &b"ok"[..]));
        let second = read_response(&mut input).unwrap();
        assert_eq!(
            (second.status, second.body.as_slice()),
            (503, &b"abcde"[..])
        );
        assert_eq!(second.header("retry-after"), Some("1"));
        assert_eq!(input, b"rest");
    }

    #[test]
    fn a_cut_answer_is_no_answer() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        for end in 0..whole.len() {
            assert!(read_response(&mut &whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn encoding_leaves_only_plain_characters() {
        assert_eq!(encoded("a/b c?é-1"), "a%2Fb%20c%3F%C3%A9-1");
    }
}
