//! A client of gRPC: the generated one over a connection of its own, and what answers say.

pub use causeway::ingress::grpc::v1;

use requests::Requests;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

pub type Client = v1::gateway_client::GatewayClient<Channel>;

/// For what must come, on a machine under load.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// # Panics
/// If nobody listens there.
pub async fn connect(address: SocketAddr) -> Client {
    let channel = endpoint(address).connect().await;
    Client::new(channel.unwrap_or_else(|e| panic!("{address}: {e}")))
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    endpoint.expect("an address is a URI")
}

/// A message with this id, or without one if it is empty.
pub fn message(topic: &str, id: &str, payload: &str) -> v1::Message {
    v1::Message {
        topic: topic.to_owned(),
        id: id.to_owned(),
        payload: Some(payload.to_owned().into()),
        ..v1::Message::default()
    }
}

pub fn publish(message: v1::Message) -> v1::PublishRequest {
    v1::PublishRequest {
        message: Some(message),
    }
}

pub fn by_id(id: &str, topic: &str) -> v1::GetMessageRequest {
    v1::GetMessageRequest {
        position: None,
        id: id.to_owned(),
        topic: topic.to_owned(),
    }
}

/// Why something isn't done, as programs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub code: Code,
    pub reason: String,
    pub facts: HashMap<String, String>,
}

impl Why {
    pub fn is(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason
    }
}

pub fn why(status: &Status) -> Why {
    let info = status.get_error_details().error_info().cloned();
    let (reason, facts) = match info {
        Some(info) => {
            assert_eq!(info.domain, "causeway");
            (info.reason, info.metadata)
        }
        None => (format!("none: {status:?}"), HashMap::new()),
    };
    Why {
        code: status.code(),
        reason,
        facts,
    }
}

/// # Errors
/// The refusal, as `why` gives it of a call.
pub fn result(result: Option<v1::PublishResult>) -> Result<v1::Receipt, Why> {
    use prost::Message;
    match result.and_then(|result| result.result) {
        Some(v1::publish_result::Result::Receipt(receipt)) => Ok(receipt),
        Some(v1::publish_result::Result::Refusal(refusal)) => {
            let (code, text) = (Code::from(refusal.code), refusal.message.clone());
            let details = refusal.encode_to_vec().into();
            Err(why(&Status::with_details(code, text, details)))
        }
        None => panic!("a result without anything in it"),
    }
}

/// A PublishStream that is under way.
pub struct Stream {
    /// Dropped: the client has said all.
    pub requests: mpsc::Sender<v1::PublishStreamRequest>,
    pub answers: Streaming<v1::PublishStreamResponse>,
}

impl Stream {
    pub async fn open(client: &mut Client) -> Self {
        let (requests, taken) = mpsc::channel(64);
        let answers = client.publish_stream(Requests(taken)).await;
        let answers = answers.unwrap_or_else(|status| panic!("{status:?}"));
        Self {
            requests,
            answers: answers.into_inner(),
        }
    }

    pub async fn send(&self, sequence: u64, ordered: bool, message: v1::Message) {
        let request = v1::PublishStreamRequest {
            sequence,
            message: Some(message),
            ordered,
        };
        self.requests.send(request).await.expect("it is open");
    }

    /// The next answer's sequence and what it says.
    ///
    /// # Panics
    /// At the end, or if nothing comes.
    pub async fn next(&mut self) -> (u64, Result<v1::Receipt, Why>) {
        match self.next_or_end().await {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the end"),
            Err(status) => panic!("{status:?}"),
        }
    }

    /// # Errors
    /// The status that the stream ends with; `None`: OK.
    pub async fn next_or_end(&mut self) -> Result<Option<(u64, Result<v1::Receipt, Why>)>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let answer = next.expect("an answer in time")?;
        Ok(answer.map(|answer| (answer.sequence, result(answer.result))))
    }
}

mod requests {
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::sync::mpsc;

    /// What was sent into a channel, as a request's messages.
    pub struct Requests<T>(pub mpsc::Receiver<T>);

    impl<T> futures_util::Stream for Requests<T> {
        type Item = T;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
            self.0.poll_recv(cx)
        }
    }
}
