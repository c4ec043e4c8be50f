//! Publishes one message once, however often it has to be sent.
//!
//!     PROTO=… cargo run -- http://HOST:PORT TOPIC ID PAYLOAD

mod causeway {
    tonic::include_proto!("causeway.v1");
}

use causeway::gateway_client::GatewayClient;
use causeway::{Message, PublishRequest, Receipt};
use std::error::Error;
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// For `dedup.window` (10 min) the gateway knows an id again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(9 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Without a word from the gateway: whether it has the message is unknown.
const UNKNOWN: [Code; 5] = [
    Code::Unavailable,
    Code::Unknown,
    Code::Internal,
    Code::Cancelled,
    Code::DeadlineExceeded,
];

/// None: stored, and not yet delivered.
async fn publish(
    gateway: &mut GatewayClient<Channel>,
    message: Message,
) -> Result<Option<Receipt>, Box<dyn Error>> {
    let end = Instant::now() + GIVE_UP_AFTER;
    let mut pause = Duration::from_millis(100);
    loop {
        let refusal = match attempt(gateway, message.clone()).await {
            // With `duplicate` an earlier attempt had come through.
            Ok(receipt) => return Ok(receipt),
            Err(refusal) => refusal,
        };
        let reason = refusal.get_details_error_info().map(|info| info.reason);
        match reason.as_deref() {
            Some("OUTCOME_PENDING") => return Ok(None),
            Some("DEAD_LETTERED" | "DISCARDED") => {
                return Err(format!("held, not sent again: {}", refusal.message()).into());
            }
            _ => {}
        }
        let retry = refusal.get_details_retry_info();
        if retry.is_none() && !UNKNOWN.contains(&refusal.code()) {
            return Err(format!(
                "refused for good, {:?}: {}",
                refusal.code(),
                refusal.message()
            )
            .into());
        }
        let retry_after = retry
            .and_then(|retry| retry.retry_delay)
            .unwrap_or_default();
        let wait = retry_after + pause.mul_f64(fastrand::f64());
        if Instant::now() + wait > end {
            return Err("given up; whether it is stored is unknown".into());
        }
        eprintln!("{:?} {reason:?}: again in {wait:?}", refusal.code());
        tokio::time::sleep(wait).await;
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}

async fn attempt(
    gateway: &mut GatewayClient<Channel>,
    message: Message,
) -> Result<Option<Receipt>, Status> {
    let mut request = Request::new(PublishRequest {
        message: Some(message),
    });
    request.set_timeout(Duration::from_secs(60));
    Ok(gateway.publish(request).await?.into_inner().receipt)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, topic, id, payload] = args.as_slice() else {
        return Err("publish-grpc URL TOPIC ID PAYLOAD".into());
    };
    // Connects with the first call, and again whenever it must.
    let channel = Endpoint::from_shared(url.clone())?.connect_lazy();
    let message = Message {
        topic: topic.clone(),
        id: id.clone(),
        content_type: "application/json".to_owned(),
        payload: Some(payload.clone().into_bytes()),
        ..Message::default()
    };
    println!(
        "{:?}",
        publish(&mut GatewayClient::new(channel), message).await?
    );
    Ok(())
}
