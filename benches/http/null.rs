//! The gateway's HTTP front with a journal that does nothing: every publish is at once "stored".

use causeway::clock::Clock;
use causeway::door::{Awaited, Published};
use causeway::ingress::front::{Front, Group, Page, ReadError, StreamRead};
use causeway::ingress::http::{self, Counters, Limits};
use causeway::ingress::in_flight::InFlight;
use causeway::ingress::listener::{self, ConnectionLimits};
use causeway::message::{
    Ack, Chain, DeliveryState, Envelope, MessageId, Position, Receipt, Refusal, TargetState,
};
use std::collections::VecDeque;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::watch;

/// What the bench calls itself with to be this server.
pub const SERVE: &str = "--serve-null";

/// Serves until it is killed.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listener::bind(any, "listen.http")
            .await
            .expect("a free port");
        println!("{}", listener.local_addr().expect("it is bound"));
        let counters = Arc::new(Counters::default());
        let (_running, stop) = watch::channel(false);
        let limits = Limits {
            payload_bytes: 1 << 20,
            in_flight: InFlight::new(64 << 20),
        };
        let front = Nothing::default();
        let router = http::router(
            front,
            "bench",
            Clock::system(),
            limits,
            Arc::clone(&counters),
            stop.clone(),
        );
        let connections = Arc::clone(&counters.connections);
        let app = http::guarded(router, &listener, Arc::clone(&counters));
        let limits = ConnectionLimits {
            connections: 10_000,
            head_bytes: 64 << 10,
            head_lines: 100,
        };
        listener::serve(listener, app, limits, connections, stop).await;
    });
}

#[derive(Default)]
pub struct Nothing {
    next: Arc<AtomicU64>,
}

impl Front for Nothing {
    fn publish(
        &self,
        envelope: Envelope,
        _: Option<Chain>,
    ) -> impl Future<Output = Result<Published, Refusal>> + Send + 'static + use<> {
        ready(Ok(stored(&self.next, targets(), envelope)))
    }

    type Group<T: Send + Unpin + 'static> = Answers<T>;

    fn group<T: Send + Unpin + 'static>(&self) -> Answers<T> {
        Answers {
            next: Arc::clone(&self.next),
            targets: targets(),
            done: VecDeque::new(),
        }
    }

    async fn message_at(&self, _: &str, _: Position) -> Option<Receipt> {
        None
    }

    async fn message_by_id(&self, _: &str, _: &str, _: &str) -> Option<Receipt> {
        None
    }

    fn takes_publishes(&self) -> bool {
        true
    }

    async fn read_stream(&self, name: &str, _: StreamRead) -> Result<Page, ReadError> {
        Err(ReadError::UnknownStream(name.to_owned()))
    }

    async fn stream_reaches(&self, _: &str, _: u64) {}
}

fn targets() -> Arc<[TargetState]> {
    let target = TargetState {
        route: "all".into(),
        destination: "inbox".into(),
        state: DeliveryState::Stored,
    };
    [target].into()
}

fn stored(next: &AtomicU64, targets: Arc<[TargetState]>, envelope: Envelope) -> Published {
    let position = next.fetch_add(1, Ordering::Relaxed);
    let id = match envelope.id {
        MessageId::Publisher(id) | MessageId::Derived(id) => id,
        MessageId::None => format!("{position:032x}"),
    };
    Published {
        receipt: Receipt {
            id: Some(id),
            position: Some(Position(position)),
            duplicate: false,
            targets,
        },
        ack: Ack::Stored,
        outcome: Awaited::Settled,
    }
}

/// Publishes that came together.
pub struct Answers<T> {
    next: Arc<AtomicU64>,
    targets: Arc<[TargetState]>,
    done: VecDeque<(T, Result<Published, Refusal>)>,
}

impl<T: Send + Unpin + 'static> Group<T> for Answers<T> {
    fn hand_over(&mut self, came: impl IntoIterator<Item = (T, Envelope, Option<Chain>)>) {
        for (tag, envelope, _) in came {
            let published = stored(&self.next, Arc::clone(&self.targets), envelope);
            self.done.push_back((tag, Ok(published)));
        }
    }

    fn len(&self) -> usize {
        self.done.len()
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<(T, Result<Published, Refusal>)> {
        self.done.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
