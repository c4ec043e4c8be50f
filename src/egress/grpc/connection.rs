//! One HTTP/2 connection, and calls on it: tonic's client over hyper's connection.
//!
//! What must not live here: what is sent, and what an answer means.

use super::answer::MAX_ANSWER_BYTES;
use super::v1::sink_client::SinkClient;
use crate::egress::dial::{Dialer, Place};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service;

const AGENT: &str = concat!("causeway/", env!("CARGO_PKG_VERSION"));
/// Answers are small, and are read at once.
const WINDOW_BYTES: u32 = 256 << 10;

/// Who is called, and by whom.
pub struct Origin {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Origin {
    /// # Errors
    /// What of the address can't be used, without what it says.
    pub fn of(place: &Place) -> Result<Self, String> {
        if place.target != "/" {
            return Err("its address has a path: gRPC has none".to_owned());
        }
        let scheme = if place.is_encrypted { "https" } else { "http" };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(place.authority.as_str())
            .path_and_query("/")
            .build()
            .map_err(|e| format!("its address: {e}"))?;
        let authorization = match &place.authorization {
            None => None,
            Some(text) => {
                let mut value = HeaderValue::from_str(text).map_err(|e| e.to_string())?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { uri, authorization })
    }
}

/// Gone when it is dropped, whatever goes on on it.
pub struct Connection {
    sender: SendRequest<Body>,
    /// All that hyper does for it.
    _tasks: Tasks,
}

impl Connection {
    /// # Errors
    /// Why there is none: nothing was sent.
    pub async fn open(dialer: &Dialer) -> Result<Self, String> {
        let stream = dialer.dial().await?;
        let tasks = Tasks::default();
        let mut builder = Builder::new(tasks.clone());
        builder
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| format!("no HTTP/2: {e}"))?;
        // Its end is told to the calls.
        hyper::rt::Executor::execute(&tasks, async move { drop(connection.await) });
        Ok(Self {
            sender,
            _tasks: tasks,
        })
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub fn client(&self, origin: &Arc<Origin>) -> SinkClient<Caller> {
        let caller = Caller {
            sender: self.sender.clone(),
            origin: Arc::clone(origin),
        };
        SinkClient::with_origin(caller, origin.uri.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

/// hyper's tasks of one connection: they end with it, also where the other side reads nothing any more.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended take no room.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { drop(future.await) });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The tasks hold the set, and the set them.
        let tasks = &self._tasks.0;
        tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

/// As tonic wants it.
pub struct Caller {
    sender: SendRequest<Body>,
    origin: Arc<Origin>,
}

impl Service<Request<Body>> for Caller {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(authorization) = &self.origin.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Box::pin(self.sender.send_request(request))
    }
}
