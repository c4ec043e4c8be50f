//! Reads a body under its limits: the payload's, and that of all bodies in flight together.

use super::kind::Kind;
use super::problem::Problem;
use crate::message::Refusal;
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A client that sends nothing for so long is given up.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// What is read and thrown away of a refused body, so that a client that writes before it reads
/// sees the answer instead of a reset connection.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Room taken before the first byte is there; what is longer grows as it comes.
const FIRST_ALLOCATION_BYTES: u64 = 64 << 10;

/// How much longer than what is in it a coded body may be: a 16th, and frames around it.
const CODING_OVERHEAD: usize = 16;
const CODING_FRAME_BYTES: usize = 1 << 10;

const BROKEN_BODY: &str = "the body ends too early, or its chunks are damaged";

/// A body and its share of the bytes in flight.
pub(super) struct Received {
    pub payload: Bytes,
    pub share: OwnedSemaphorePermit,
}

/// Bytes are charged as they come, so that a client that only announces them costs nothing.
pub(super) async fn receive(
    mut body: Body,
    limit: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<Received, Problem> {
    receive_within(&mut body, limit, limit, in_flight).await
}

/// A coded body, which its coding may have made a little longer than what is in it.
pub(super) async fn receive_coded(
    mut body: Body,
    limit: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<Received, Problem> {
    let longest = limit + limit / CODING_OVERHEAD + CODING_FRAME_BYTES;
    receive_within(&mut body, longest, limit, in_flight).await
}

/// Takes a body up to `longest`, charged up to `limit`: a share larger than one payload might
/// never be had.
async fn receive_within(
    body: &mut Body,
    longest: usize,
    limit: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<Received, Problem> {
    let announced = body.size_hint().exact();
    let read = match announced.and_then(|n| usize::try_from(n).ok()) {
        Some(actual) if actual > longest => Err(too_large(actual, limit)),
        _ => read_frames(body, longest, limit, in_flight).await,
    };
    if read.is_err() {
        discard_some(body).await;
    }
    read
}

async fn read_frames(
    body: &mut Body,
    longest: usize,
    limit: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<Received, Problem> {
    let first = body.size_hint().lower().min(FIRST_ALLOCATION_BYTES) as usize;
    // Copied out of the connection's buffer, which is larger than most payloads and would be
    // kept as long as they are.
    let mut payload = Vec::with_capacity(first);
    let mut share = empty_share(in_flight);
    while let Some(data) = next_data(body).await? {
        let length = payload.len() + data.len();
        if length > longest {
            return Err(too_large(length, limit));
        }
        grow_share(&mut share, length.min(limit), in_flight)?;
        payload.extend_from_slice(&data);
    }
    Ok(Received {
        payload: Bytes::from(payload.into_boxed_slice()),
        share,
    })
}

/// The next bytes, or `None` at the end. Nothing is lost if it is dropped before it is ready.
pub(super) async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        match timeout(IDLE_LIMIT, body.frame()).await {
            Err(_) => return Err(timed_out()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Problem::malformed(BROKEN_BODY)),
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A share to grow.
pub(super) fn empty_share(in_flight: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let share = Arc::clone(in_flight).try_acquire_many_owned(0);
    share.expect("nothing is always there, and the semaphore is never closed")
}

/// Makes a share cover so many bytes, if it doesn't yet.
pub(super) fn grow_share(
    share: &mut OwnedSemaphorePermit,
    bytes: usize,
    in_flight: &Arc<Semaphore>,
) -> Result<(), Problem> {
    let more = bytes.saturating_sub(share.num_permits());
    if more > 0 {
        share.merge(take(in_flight, more)?);
    }
    Ok(())
}

fn take(in_flight: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let full = || {
        Problem::unavailable(
            Kind::InFlightFull,
            "too many bytes of other requests are in flight",
            1,
        )
        .with("setting", "limits.in_flight_bytes")
    };
    let bytes = u32::try_from(bytes).map_err(|_| full())?;
    Arc::clone(in_flight)
        .try_acquire_many_owned(bytes)
        .map_err(|_| full())
}

/// Of a request that is refused by its head.
pub(super) async fn discard(mut body: Body) {
    discard_some(&mut body).await;
}

async fn discard_some(body: &mut Body) {
    // Whether that works out changes nothing of the answer.
    let _ = timeout(DISCARD_TIME, read_away(body)).await;
}

async fn read_away(body: &mut Body) {
    let mut left = DISCARD_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

pub(super) fn too_large(actual: usize, limit: usize) -> Problem {
    Refusal::TooLarge {
        what: "the payload",
        actual,
        limit,
        setting: "limits.payload",
    }
    .into()
}

fn timed_out() -> Problem {
    let detail = format!("no byte of the body came for {} s", IDLE_LIMIT.as_secs());
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        Kind::BodyTimeout,
        "The body didn't come",
        detail,
    )
}
