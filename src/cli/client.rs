//! A small HTTP client for the commands that ask a running gateway.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Longer than the gateway lets anybody wait for its own answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);
/// A status of many thousand lanes is smaller.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: String,
    port: u16,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0:?} is no address: write http://HOST:PORT")]
    BadAddress(String),
    #[error("no gateway answers at {at}: {why}\nhelp: is it running? Else say where with {how}")]
    Unreachable {
        at: String,
        why: String,
        how: &'static str,
    },
    #[error("{at} broke off: {why}")]
    Broken { at: String, why: String },
    /// The gateway's own words.
    #[error("the gateway refused ({status}): {detail}")]
    Refused { status: u16, detail: String },
}

impl Server {
    /// `http://HOST:PORT`, or without the scheme.
    pub(super) fn parse(text: &str) -> Result<Self, ClientError> {
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
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let request = self.request(method, path, body)?;
        let socket = self.connect().await?;
        match timeout(ANSWER_PATIENCE, self.exchange(socket, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.broken(format!("no answer within {} s", ANSWER_PATIENCE.as_secs()))),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let uri: Uri = path
            .parse()
            .map_err(|_| ClientError::BadAddress(path.to_owned()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(HOST, self.authority());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body
            .map(|body| Bytes::from(body.to_string()))
            .unwrap_or_default();
        request
            .body(Full::new(body))
            .map_err(|e| self.broken(e.to_string()))
    }

    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let unreachable = |why| ClientError::Unreachable {
            at: self.url(),
            why,
            how: "--admin URL or CAUSEWAY_ADMIN",
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
        socket: TcpStream,
        request: Request<Full<Bytes>>,
    ) -> Result<Value, ClientError> {
        let broken = |error: hyper::Error| self.broken(error.to_string());
        let io = TokioIo::new(socket);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(broken)?;
        // Ends with the sender; whatever goes wrong in it shows at the sender too.
        tokio::spawn(connection);
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(broken)?
            .into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body
            .map_err(|error| self.broken(error.to_string()))?
            .to_bytes();
        let json: Result<Value, _> = serde_json::from_slice(&body);
        if !head.status.is_success() {
            let detail = json
                .ok()
                .and_then(|json| Some(json.get("detail")?.as_str()?.to_owned()));
            let detail = detail.unwrap_or_else(|| "it doesn't say why".to_owned());
            return Err(ClientError::Refused {
                status: head.status.as_u16(),
                detail,
            });
        }
        json.map_err(|_| self.broken("its answer isn't JSON: is that an admin listener?".into()))
    }

    fn broken(&self, why: String) -> ClientError {
        ClientError::Broken {
            at: self.url(),
            why,
        }
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.authority())
    }
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
            let parsed = Server::parse(text).ok().map(|server| server.authority());
            assert_eq!(parsed.as_deref(), authority, "{text}");
        }
    }
}
