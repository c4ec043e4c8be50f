//! A small HTTP client for the commands that ask a running gateway: a connection a request.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Longer than the gateway lets anybody wait for its own answer.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// A status of many thousand lanes is smaller, and so is a page of a stream.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How the operators' commands are told where a gateway is.
pub(super) const SAY_ADMIN: &str = "--admin URL or CAUSEWAY_ADMIN";
/// How publish, tail and trace are.
pub(super) const SAY_SERVER: &str = "--server URL or CAUSEWAY_SERVER";

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
    /// What to type if it isn't there.
    how: &'static str,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    /// For the whole answer.
    pub patience: Duration,
}

/// Whatever the gateway said.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// An answer that isn't 2xx.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Problem {
    pub status: u16,
    /// The end of `urn:causeway:problem:…`; empty if it doesn't say.
    pub kind: String,
    pub detail: String,
    pub retry_after: Option<Duration>,
    pub json: Option<Value>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0:?} is no address of a gateway")]
    BadAddress(String),
    /// It surely has nothing of the request.
    #[error("no gateway answers at {at}: {why}")]
    Unreachable {
        at: String,
        why: String,
        how: &'static str,
    },
    /// It may have done what was asked, or not.
    #[error("{at} broke off: {why}")]
    Broken { at: String, why: String },
    #[error("{at} gives an answer that isn't a gateway's: {why}")]
    Foreign {
        at: String,
        why: String,
        how: &'static str,
    },
    /// The gateway's own words.
    #[error("the gateway refused ({}): {}", .0.status, .0.detail)]
    Refused(Problem),
}

impl Ask {
    pub fn get(path: String) -> Self {
        Self {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
            patience: ANSWER_PATIENCE,
        }
    }
}

impl Problem {
    /// From a problem object, or whatever else stood in the body.
    pub fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let member = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
        let kind = member("type").unwrap_or_default();
        Self {
            status,
            kind: kind.rsplit(':').next().unwrap_or_default().to_owned(),
            detail: member("detail").unwrap_or_else(|| "it doesn't say why".to_owned()),
            retry_after,
            json,
        }
    }

    /// The same request may succeed later; nothing of it was taken.
    pub fn is_for_now(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn problem(&self) -> Problem {
        Problem::read(self.status, self.retry_after, &self.body)
    }
}

impl Server {
    /// `http://HOST:PORT`, or without the scheme; and what to type instead of it.
    pub fn parse(text: &str, how: &'static str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadAddress(text.to_owned());
        let authority = match text.split_once("://") {
            Some(("http", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(_) => return Err(bad()),
            None => text,
        };
        let authority: hyper::http::uri::Authority = authority.parse().map_err(|_| bad())?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(bad());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            host,
            port: authority.port_u16().ok_or_else(bad)?,
            how,
        })
    }

    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.json(Ask::get(path.to_owned())).await
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ClientError> {
        let json = HeaderValue::from_static("application/json");
        let body = serde_json::to_vec(body).expect("maps with texts as keys, in memory");
        self.json(Ask {
            method: Method::POST,
            headers: vec![(CONTENT_TYPE, json)],
            body: Bytes::from(body),
            ..Ask::get(path.to_owned())
        })
        .await
    }

    async fn json(&self, ask: Ask) -> Result<Value, ClientError> {
        let answer = self.ask(ask).await?;
        if !answer.is_success() {
            return Err(ClientError::Refused(answer.problem()));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.foreign("it isn't JSON"))
    }

    /// Whatever the status is.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, ClientError> {
        self.open().await?.ask(ask).await
    }

    pub async fn open(&self) -> Result<Connection, ClientError> {
        let socket = self.connect().await?;
        // Without it a request may wait for the acknowledgement of the one before; no more than slow.
        let _ = socket.set_nodelay(true);
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = shaken.map_err(|error| self.broken(error.to_string()))?;
        // Ends with the sender; whatever goes wrong in it shows at the sender too.
        tokio::spawn(connection);
        Ok(Connection {
            server: self.clone(),
            sender,
        })
    }

    /// An answer that goes on: whole lines, as they come, each within the patience of the last.
    pub async fn lines(&self, ask: Ask) -> Result<Lines, ClientError> {
        let patience = ask.patience;
        let request = self.request(ask)?;
        let mut open = self.open().await?;
        let late = || self.late(patience);
        let response = timeout(patience, open.sender.send_request(request)).await;
        let response = response.map_err(|_| late())?;
        let response = response.map_err(|error| self.broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        if !head.status.is_success() {
            let retry_after = retry_after(&head.headers);
            let body = timeout(patience, self.whole(body)).await;
            let body = body.map_err(|_| late())??;
            return Err(ClientError::Refused(Problem::read(
                status,
                retry_after,
                &body,
            )));
        }
        Ok(Lines {
            open,
            body,
            patience,
            begun: Vec::new(),
        })
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri: Uri = ask
            .path
            .parse()
            .map_err(|_| ClientError::BadAddress(ask.path.clone()))?;
        let mut request = Request::builder()
            .method(ask.method)
            .uri(uri)
            .header(HOST, self.authority());
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(ask.body))
            .map_err(|e| self.broken(e.to_string()))
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let unreachable = |why| ClientError::Unreachable {
            at: self.url(),
            why,
            how: self.how,
        };
        match timeout(
            CONNECT_PATIENCE,
            TcpStream::connect((self.host.as_str(), self.port)),
        )
        .await
        {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => {
                let seconds = CONNECT_PATIENCE.as_secs();
                Err(unreachable(format!("no connection within {seconds} s")))
            }
        }
    }

    async fn exchange(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError> {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: retry_after(&head.headers),
            body: self.whole(body).await?,
        })
    }

    fn late(&self, patience: Duration) -> ClientError {
        self.broken(format!("no answer within {} s", patience.as_secs()))
    }

    async fn whole(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.broken(error.to_string()))?;
        Ok(body.to_bytes())
    }

    pub fn broken(&self, why: String) -> ClientError {
        ClientError::Broken {
            at: self.url(),
            why,
        }
    }

    pub fn foreign(&self, why: &str) -> ClientError {
        ClientError::Foreign {
            at: self.url(),
            why: why.to_owned(),
            how: self.how,
        }
    }

    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }
}

/// One that is used again.
pub(super) struct Connection {
    server: Server,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Whatever the status is. After an error the connection can't be used.
    pub async fn ask(&mut self, ask: Ask) -> Result<Answer, ClientError> {
        let patience = ask.patience;
        let request = self.server.request(ask)?;
        let exchange = self.server.exchange(&mut self.sender, request);
        match timeout(patience, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(self.server.late(patience)),
        }
    }

    /// As far as it can be known.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// The body of an answer that goes on.
pub(super) struct Lines {
    /// The body ends with it.
    open: Connection,
    body: Incoming,
    patience: Duration,
    /// A line whose end hasn't come.
    begun: Vec<u8>,
}

impl Lines {
    /// The next whole lines, one at least; `None`: the answer ended as it should.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            let frame = timeout(self.patience, self.body.frame()).await;
            let Ok(frame) = frame else {
                let seconds = self.patience.as_secs();
                return Err(self
                    .open
                    .server
                    .broken(format!("nothing came for {seconds} s")));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| self.open.server.broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.begun.extend_from_slice(&data);
            if self.begun.len() > MAX_ANSWER_BYTES {
                return Err(self.open.server.foreign("a line of it has no end"));
            }
            let Some(end) = data.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let rest = self
                .begun
                .split_off(self.begun.len() - data.len() + end + 1);
            let whole = std::mem::replace(&mut self.begun, rest);
            let text = String::from_utf8(whole);
            return text
                .map(Some)
                .map_err(|_| self.open.server.foreign("it isn't UTF-8"));
        }
    }
}

/// In seconds; a date isn't what gateways send.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_host_and_port() {
        for (text, authority) in [
            ("http://127.0.0.1:9190", Some("127.0.0.1:9190")),
            ("http://gateway.local:80/", Some("gateway.local:80")),
            ("localhost:9190", Some("localhost:9190")),
            ("http://[::1]:9190", Some("[::1]:9190")),
            ("https://localhost:9190", None),
            ("localhost", None),
            ("http://", None),
            ("http://user:secret@localhost:9190", None),
            ("http://localhost:9190/path", None),
            ("http://localhost:99999", None),
        ] {
            let parsed = Server::parse(text, SAY_ADMIN).ok();
            let parsed = parsed.map(|server| server.authority());
            assert_eq!(parsed.as_deref(), authority, "{text}");
        }
    }

    #[test]
    fn a_problem_is_read_from_whatever_came() {
        let body = br#"{"type":"urn:causeway:problem:no-route","detail":"why","status":404}"#;
        let problem = Problem::read(404, None, body);
        assert_eq!(
            (problem.kind.as_str(), problem.detail.as_str()),
            ("no-route", "why")
        );
        let problem = Problem::read(502, None, b"<html>");
        assert_eq!((problem.kind.as_str(), problem.json), ("", None));
        assert_eq!(problem.detail, "it doesn't say why");
    }
}
