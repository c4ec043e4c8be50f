//! A Kafka cluster: each delivery is a record, by an idempotent producer. docs/destinations/kafka.md says
//! what a record has and what its failures mean.
//!
//! What lives here: calls and what they wait for (`call`), what is shared (`shared`), topics (`topics`),
//! callbacks (`courier`) and their thread (`producer`), and the one thread that may block (`keeper`). A call
//! hands its batch over to librdkafka's queue and waits; what was handed over is never given up while its
//! producer lives.

mod call;
mod client;
mod courier;
mod keeper;
mod producer;
mod record;
mod shared;
#[cfg(test)]
mod tests;
mod topics;

pub use client::{KafkaLogin, KafkaOptions, OAUTHBEARER, check_properties, property_problem};

use super::users::Users;
use super::{Attempted, NameBook, Shape, Verdict};
use crate::message::Delivery;
use keeper::Keeper;
use shared::Shared;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

/// How long a lane waits at its end for its producer to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

pub struct Kafka {
    name: Arc<str>,
    names: Arc<NameBook>,
    client_id: Arc<str>,
    /// The last that were adopted. Locked before `shared`.
    options: Mutex<Arc<KafkaOptions>>,
    /// Another one where a lane begins after the last one closed it.
    shared: RwLock<Arc<Shared>>,
    users: Users,
}

impl Kafka {
    pub const SHAPE: Shape = Shape {
        batch_count: 1024,
        flights: 8,
        ..Shape::BULK
    };

    /// Begins to connect.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn new(
        options: KafkaOptions,
        names: Arc<NameBook>,
        name: Arc<str>,
    ) -> Result<Self, String> {
        let options = Arc::new(options);
        let shared = begin(&name, &names, &options)?;
        Ok(Self {
            name,
            names,
            client_id: options.client_id.as_str().into(),
            options: Mutex::new(options),
            shared: RwLock::new(shared),
            users: Users::default(),
        })
    }

    fn shared(&self) -> Arc<Shared> {
        let shared = self.shared.read();
        Arc::clone(&shared.unwrap_or_else(PoisonError::into_inner))
    }

    fn options(&self) -> MutexGuard<'_, Arc<KafkaOptions>> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane that ended by an error closed it, and another one delivers to it now: it is opened again. What the
    /// old one had sent is its own keeper's until that ends: there is no order between two lanes.
    fn open(&self) -> Result<Arc<Shared>, String> {
        let shared = self.shared();
        if !shared.is_ending() || !self.users.is_any() {
            return Ok(shared);
        }
        let options = self.options();
        let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        if shared.is_ending() {
            *shared = begin(&self.name, &self.names, &options)?;
        }
        Ok(Arc::clone(&shared))
    }

    pub(super) const fn users(&self) -> &Users {
        &self.users
    }

    /// For what comes next, by a new producer once all that is in flight is settled or, after one attempt's
    /// time, given up.
    pub fn adopt(&self, options: KafkaOptions) {
        let mut last = self.options();
        if **last != options {
            *last = Arc::new(options);
            self.shared().adopt(Arc::clone(&last));
        }
    }

    /// What is in flight has a moment to be confirmed; what isn't by then is in doubt.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.end();
        // One that waits for brokers who don't answer ends later, by itself.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, shared.ended()).await;
    }

    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let verdicts = match strict {
            true => self.one_by_one(deliveries).await,
            false => self.all(deliveries).await,
        };
        Attempted {
            verdicts,
            mark: None,
        }
    }

    async fn all(&self, deliveries: &[Delivery]) -> Vec<Verdict> {
        match self.open() {
            Ok(shared) => {
                let sent = shared.hand_over(deliveries);
                sent.call.verdicts().await
            }
            Err(why) => vec![Verdict::retry(why); deliveries.len()],
        }
    }

    async fn one_by_one(&self, deliveries: &[Delivery]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match Verdict::behind(&verdicts) {
                Some(verdict) => verdicts.push(verdict),
                None => verdicts.extend(self.all(std::slice::from_ref(delivery)).await),
            }
        }
        verdicts
    }
}

/// Begins to connect, on a thread of its own.
fn begin(
    name: &Arc<str>,
    names: &Arc<NameBook>,
    options: &Arc<KafkaOptions>,
) -> Result<Arc<Shared>, String> {
    let shared = Shared::new(Arc::clone(name), Arc::clone(names), Arc::clone(options));
    let keeper = Keeper::new(Arc::clone(&shared), Arc::clone(options));
    thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(|| keeper.run())
        .map_err(|e| format!("no thread can be started: {e}"))?;
    Ok(shared)
}

/// Its thread ends by itself, as with `close`.
impl Drop for Kafka {
    fn drop(&mut self) {
        self.shared().end();
    }
}
