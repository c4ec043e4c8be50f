//! The listeners: bound before anything is opened, served when all is open.
//!
//! What must not live here: what a protocol means.

use super::front::Reception;
use crate::admin::{self, Control};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::Listen;
use crate::door::limits::Limits;
use crate::ingress::in_flight::InFlight;
use crate::ingress::listener::{self, BindError, ConnectionLimits, Guard};
use crate::ingress::{grpc, http};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// A request's head may have so much beside `[limits]` headers and topic.
const HEAD_SLACK_BYTES: usize = 16 * 1024;
/// Header lines beside the ones that `[limits]` counts. With its default they are 100: for more
/// hyper takes memory anew with every request.
const HEAD_SLACK_LINES: usize = 36;

fn not_bound(error: &BindError) -> String {
    let help = match error.source.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there, perhaps a gateway that runs already: stop it, or write \
             another address"
        }
        ErrorKind::AddrNotAvailable => "this machine has no such address: write another",
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege: write another",
        _ => "write another address",
    };
    format!(
        "{error}\nhelp: {help} at {} in the configuration",
        error.setting
    )
}

/// What came in, counted by door.
#[derive(Default)]
pub(super) struct Counted {
    pub http: Arc<http::Counters>,
    pub grpc: Arc<grpc::Counters>,
}

/// Bound before anything is opened, so that a port in use changes nothing.
pub(super) struct Listeners {
    http: Option<TcpListener>,
    grpc: Option<TcpListener>,
    admin: Option<TcpListener>,
    health: Option<TcpListener>,
    /// Those that are served already.
    serving: Vec<JoinHandle<()>>,
    /// Ends health and control.
    end: watch::Sender<bool>,
}

pub(super) struct Serving {
    /// Where messages come in, by name.
    pub doors: Vec<(&'static str, JoinHandle<()>)>,
    pub others: Vec<JoinHandle<()>>,
    /// Ends health and control.
    pub end: watch::Sender<bool>,
}

impl Serving {
    /// What must go on for publishes to be taken, by name.
    pub(super) fn running(&self) -> Vec<(&'static str, AbortHandle)> {
        let doors = self.doors.iter();
        doors
            .map(|(name, door)| (*name, door.abort_handle()))
            .collect()
    }
}

impl Listeners {
    pub(super) async fn bind(listen: &Listen) -> Result<Self, String> {
        Ok(Self {
            http: bind(listen.http, "[listen] http").await?,
            grpc: bind(listen.grpc, "[listen] grpc").await?,
            admin: bind(listen.admin, "[listen] admin").await?,
            health: bind(listen.health, "[listen] health").await?,
            serving: Vec::new(),
            end: watch::channel(false).0,
        })
    }

    /// From here on health is answered, also while the start takes its time and while lanes drain.
    pub(super) fn serve_health(&mut self, control: &Control) {
        let router = http::App::from(admin::health_router(control.clone()));
        let health = self.health.take();
        self.serving
            .extend(health.map(|listener| self.serve_side(listener, router)));
    }

    /// Health or control.
    fn serve_side(&self, listener: TcpListener, router: http::App) -> JoinHandle<()> {
        let (counters, end) = (Arc::default(), self.end.subscribe());
        let served = listener::serve(listener, router, admin::LIMITS, counters, end);
        tokio::spawn(served)
    }

    pub(super) fn serve(
        mut self,
        settings: &Settings,
        reception: Reception,
        control: Control,
        counted: &Counted,
        clock: &Clock,
        stop: watch::Receiver<bool>,
    ) -> Serving {
        let limits = &settings.limits;
        let in_flight_bytes = usize::try_from(limits.in_flight_bytes).unwrap_or(usize::MAX);
        let door = Door {
            gateway: &settings.gateway.name,
            limits,
            in_flight: InFlight::new(in_flight_bytes.max(limits.payload_bytes)),
            reception,
            clock,
            stop,
        };
        let mut doors = Vec::new();
        if let Some(listener) = self.http.take() {
            doors.push(("http", door.serve_http(listener, &counted.http)));
        }
        if let Some(listener) = self.grpc.take() {
            doors.push(("grpc", door.serve_grpc(listener, &counted.grpc)));
        }
        if let Some(listener) = self.admin.take() {
            let router = admin::admin_router(control);
            let router = http::guarded(router, &listener, Arc::clone(&counted.http));
            self.serving.push(self.serve_side(listener, router));
        }
        Serving {
            doors,
            others: self.serving,
            end: self.end,
        }
    }
}

/// What all listeners for messages are given.
struct Door<'a> {
    gateway: &'a str,
    limits: &'a Limits,
    in_flight: InFlight,
    reception: Reception,
    clock: &'a Clock,
    stop: watch::Receiver<bool>,
}

impl Door<'_> {
    fn serve_http(&self, listener: TcpListener, counters: &Arc<http::Counters>) -> JoinHandle<()> {
        let limits = http::Limits {
            payload_bytes: self.limits.payload_bytes,
            in_flight: self.in_flight.clone(),
        };
        let app = http::router(
            self.reception.clone(),
            self.gateway,
            self.clock.clone(),
            limits,
            Arc::clone(counters),
            self.stop.clone(),
        );
        let app = http::guarded(app, &listener, Arc::clone(counters));
        self.serve(listener, app, &counters.connections)
    }

    fn serve_grpc(&self, listener: TcpListener, counters: &Arc<grpc::Counters>) -> JoinHandle<()> {
        let limits = grpc::Limits {
            payload_bytes: self.limits.payload_bytes,
            headers: self.limits.headers,
            header_bytes: self.limits.header_bytes,
            topic_bytes: self.limits.topic_bytes,
            in_flight: self.in_flight.clone(),
        };
        let app = grpc::app(
            self.reception.clone(),
            self.clock.clone(),
            limits,
            Some(Guard::of(&listener, Arc::clone(&counters.connections))),
            Arc::clone(counters),
            self.stop.clone(),
        );
        self.serve(listener, app, &counters.connections)
    }

    fn serve(
        &self,
        listener: TcpListener,
        app: impl listener::App,
        counters: &Arc<listener::Counters>,
    ) -> JoinHandle<()> {
        let heads = of_heads(self.limits);
        let (counters, stop) = (Arc::clone(counters), self.stop.clone());
        tokio::spawn(listener::serve(listener, app, heads, counters, stop))
    }
}

async fn bind(
    address: Option<SocketAddr>,
    setting: &'static str,
) -> Result<Option<TcpListener>, String> {
    let Some(address) = address else {
        return Ok(None);
    };
    let bound = listener::bind(address, setting).await;
    bound.map(Some).map_err(|e| not_bound(&e))
}

fn of_heads(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        connections: limits.connections,
        head_bytes: limits.header_bytes + 3 * limits.topic_bytes + HEAD_SLACK_BYTES,
        head_lines: limits.headers + HEAD_SLACK_LINES,
    }
}
