//! A service that implements `causeway.v1.Sink`: deliveries go in one stream, their answers come in another.
//! docs/destinations/grpc.md says what it sees and what its answers mean.

mod answer;
mod connection;
mod desk;
mod message;
mod slot;
mod worker;

/// Made from `proto/` by `cargo xtask proto`.
pub mod v1 {
    #![allow(clippy::all, clippy::pedantic)]
    include!("generated/causeway.v1.rs");
}

use super::dial::{Dialer, Place, TlsOptions};
use super::{Attempted, NameBook, Shape, Verdict};
use crate::clock::Clock;
use crate::message::Delivery;
use connection::Origin;
use desk::Item;
use message::Form;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use worker::{Site, Worker};

/// Batches that the worker hasn't looked at yet.
const MAX_BATCHES: usize = 64;

/// What a file says of one.
#[derive(Clone, PartialEq, Eq)]
pub struct GrpcOptions {
    pub url: String,
    pub tls: TlsOptions,
    /// One attempt, from its sending on.
    pub timeout: Duration,
}

pub struct GrpcSink {
    names: Arc<NameBook>,
    name: Arc<str>,
    form: Form,
    clock: Clock,
    /// What a reload changes is whole: attempts that go on keep what they began with.
    service: RwLock<Arc<Service>>,
}

/// Where it goes, by one file.
struct Service {
    options: GrpcOptions,
    site: Arc<Site>,
    /// To its worker, which begins with the first delivery and ends with this.
    batches: OnceLock<mpsc::Sender<Vec<Item>>>,
    /// There is another: nothing more is sent here.
    retired: watch::Sender<bool>,
}

impl GrpcSink {
    /// So that many are open at once, and a batch is settled before long where they are slow.
    pub const SHAPE: Shape = Shape {
        batch_count: 64,
        batch_bytes: 512 << 10,
        flights: 32,
        rest: Duration::ZERO,
    };

    /// # Errors
    /// What of the options can't be used; nothing secret is in it.
    pub fn new(
        options: &GrpcOptions,
        names: Arc<NameBook>,
        name: Arc<str>,
        gateway: String,
        clock: Clock,
    ) -> Result<Self, String> {
        Ok(Self {
            names,
            form: Form {
                gateway,
                destination: name.to_string(),
            },
            name,
            clock,
            service: RwLock::new(Arc::new(Service::new(options)?)),
        })
    }

    /// Whether it could be made of these, or adopt them.
    ///
    /// # Errors
    /// As `new`.
    pub fn check(options: &GrpcOptions) -> Result<(), String> {
        Service::new(options).map(drop)
    }

    /// For what comes next.
    ///
    /// # Errors
    /// As `new`; then nothing changes.
    pub fn adopt(&self, options: &GrpcOptions) -> Result<(), String> {
        if self.service().options == *options {
            return Ok(());
        }
        let service = Arc::new(Service::new(options)?);
        let mut current = self.service.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, service);
        drop(current);
        before.retired.send_replace(true);
        Ok(())
    }

    fn service(&self) -> Arc<Service> {
        let service = self.service.read();
        Arc::clone(&service.unwrap_or_else(PoisonError::into_inner))
    }

    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let service = self.service();
        let verdicts = match strict {
            true => self.one_by_one(&service, deliveries).await,
            false => self.all(&service, deliveries).await,
        };
        Attempted {
            verdicts,
            mark: None,
        }
    }

    async fn one_by_one(&self, service: &Service, deliveries: &[Delivery]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let one = std::slice::from_ref(delivery);
            match Verdict::behind(&verdicts) {
                Some(verdict) => verdicts.push(verdict),
                None => verdicts.extend(self.all(service, one).await),
            }
        }
        verdicts
    }

    async fn all(&self, service: &Service, deliveries: &[Delivery]) -> Vec<Verdict> {
        let (mut items, mut told) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let names = self.names.of(delivery, &self.name);
            let (tell, verdict) = oneshot::channel();
            told.push(verdict);
            items.push(Item {
                at: delivery.at,
                delivery: self.form.delivery(delivery, &names),
                tell,
            });
        }
        // Without a worker nobody tells anything: below.
        let _ = service.batches(&self.clock).send(items).await;
        let mut verdicts = Vec::with_capacity(deliveries.len());
        for verdict in told {
            let bug = |_| Verdict::unknown("a bug: nobody looks after it any more");
            verdicts.push(verdict.await.unwrap_or_else(bug));
        }
        verdicts
    }
}

impl Service {
    fn new(options: &GrpcOptions) -> Result<Self, String> {
        let place = Place::of(&options.url)?;
        Ok(Self {
            site: Arc::new(Site {
                dialer: Dialer::new(&place, &options.tls, &[b"h2"])?,
                origin: Arc::new(Origin::of(&place)?),
                timeout: options.timeout,
            }),
            options: options.clone(),
            batches: OnceLock::new(),
            retired: watch::Sender::new(false),
        })
    }

    fn batches(&self, clock: &Clock) -> &mpsc::Sender<Vec<Item>> {
        self.batches.get_or_init(|| {
            let (batches, received) = mpsc::channel(MAX_BATCHES);
            let retired = self.retired.subscribe();
            let worker = Worker::new(Arc::clone(&self.site), clock.clone(), received, retired);
            tokio::spawn(worker.run());
            batches
        })
    }
}
