//! Connections of one destination: kept alive for a while, one request at a time on each, HTTP/1.1.
//!
//! What must not live here: what an answer means.

use super::answer::Answer;
use crate::egress::dial::{Body, Dialer};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Servers keep silent connections for 5 s and more: an older one may be closed while we write.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// Of an answer's body; its beginning is shown. A longer one costs the connection.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Of an answer whose status says it all.
const BODY_LIMIT: Duration = Duration::from_secs(1);

pub struct Pool {
    dialer: Dialer,
    idle: Mutex<Idle>,
    max_idle: usize,
    /// Of a whole attempt.
    timeout: Duration,
}

#[derive(Default)]
struct Idle {
    /// The last one used is at the end.
    connections: Vec<(Connection, Instant)>,
    /// A task looks after those that nobody uses.
    is_reaped: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The service surely has nothing of it.
    NotSent(String),
    /// It may have taken it.
    InDoubt(String),
}

impl Pool {
    pub fn new(dialer: Dialer, max_idle: usize, timeout: Duration) -> Self {
        Self {
            dialer,
            idle: Mutex::default(),
            max_idle,
            timeout,
        }
    }

    /// One attempt.
    pub async fn ask(self: &Arc<Self>, mut request: Request<Body>) -> Result<Answer, Failure> {
        let end = Instant::now() + self.timeout;
        // Each round uses up an idle connection, or is the last.
        loop {
            let (mut connection, is_reused) = match self.take() {
                Some(connection) => (connection, true),
                None => (self.connect(end).await?, false),
            };
            let sent = timeout_at(end, connection.sender.try_send_request(request)).await;
            let mut failed = match sent {
                Ok(Ok(response)) => return Ok(self.read(response, connection, end).await),
                Ok(Err(failed)) => failed,
                Err(_) => {
                    let timeout = self.timeout;
                    return Err(Failure::InDoubt(format!("no answer within {timeout:?}")));
                }
            };
            match failed.take_message() {
                // The service closed it meanwhile, and nothing was written: that says nothing of it.
                Some(unsent) if is_reused => request = unsent,
                Some(_) => return Err(Failure::NotSent(told(failed.error()))),
                None => return Err(Failure::InDoubt(told(failed.error()))),
            }
        }
    }

    async fn connect(&self, end: Instant) -> Result<Connection, Failure> {
        let limit = end.min(Instant::now() + CONNECT_LIMIT);
        let connected = timeout_at(limit, async {
            let stream = self.dialer.dial().await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| told(&e))?;
            // Its end is told to who waits for an answer.
            let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
            sender.ready().await.map_err(|e| told(&e))?;
            Ok(Connection { sender, task })
        });
        match connected.await {
            Ok(connection) => connection.map_err(Failure::NotSent),
            Err(_) => Err(Failure::NotSent("no connection in time".to_owned())),
        }
    }

    /// The status counts, whatever becomes of the body.
    async fn read(
        self: &Arc<Self>,
        response: Response<Incoming>,
        connection: Connection,
        end: Instant,
    ) -> Answer {
        let (head, mut rest) = response.into_parts();
        let mut body = Vec::new();
        let limit = end.min(Instant::now() + BODY_LIMIT);
        let is_whole = loop {
            match timeout_at(limit, rest.frame()).await {
                Ok(None) => break true,
                Ok(Some(Ok(frame))) => body.extend(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(_))) | Err(_) => break false,
            }
            if body.len() > MAX_BODY_BYTES {
                body.truncate(MAX_BODY_BYTES);
                break false;
            }
        };
        if is_whole {
            self.give_back(connection, limit).await;
        }
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    async fn give_back(self: &Arc<Self>, mut connection: Connection, limit: Instant) {
        // It is at once; never, if the service wants it closed, or answered before it read everything.
        let ready = timeout_at(limit, connection.sender.ready()).await;
        if !matches!(ready, Ok(Ok(()))) {
            return;
        }
        let mut idle = self.idle();
        if idle.connections.len() >= self.max_idle {
            return;
        }
        idle.connections.push((connection, Instant::now()));
        if !idle.is_reaped {
            idle.is_reaped = true;
            tokio::spawn(reap(Arc::downgrade(self)));
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.let_go();
        idle.connections.pop().map(|(connection, _)| connection)
    }

    #[cfg(test)]
    pub fn has_open_idle(&self) -> bool {
        let idle = self.idle();
        let mut open = idle.connections.iter();
        open.any(|(connection, _)| !connection.sender.is_closed())
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    /// Of those that are too old, or closed by the service.
    fn let_go(&mut self) {
        let now = Instant::now();
        self.connections.retain(|(connection, since)| {
            now.duration_since(*since) < IDLE_LIMIT && connection.sender.is_ready()
        });
    }
}

/// Until none is idle, or the pool is gone.
async fn reap(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_LIMIT).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.let_go();
        if idle.connections.is_empty() {
            idle.is_reaped = false;
            return;
        }
    }
}

/// Gone when it is dropped, whatever goes on on it.
struct Connection {
    sender: SendRequest<Body>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// With what is behind it: "error" alone helps nobody.
fn told(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
