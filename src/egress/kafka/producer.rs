//! librdkafka's producer, and the thread that runs its callbacks.
//!
//! As rdkafka's `ThreadedProducer`, which polls ten times a second: each of its polls spins for what is left of
//! the last millisecond, and so a destination with nothing to do took a hundredth of a core.

use super::courier::Courier;
use rdkafka::config::ClientConfig;
use rdkafka::producer::BaseProducer;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a poll waits for; callbacks end no poll. So long a producer may take to go.
const POLL_LIMIT: Duration = Duration::from_millis(500);

pub struct Producer {
    native: Arc<BaseProducer<Courier>>,
    is_over: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl Producer {
    /// # Errors
    /// Of the settings, or of the machine.
    pub fn new(config: &ClientConfig, courier: Courier) -> Result<Self, String> {
        let native = config
            .create_with_context(courier)
            .map_err(|e| e.to_string())?;
        let native: Arc<BaseProducer<Courier>> = Arc::new(native);
        let is_over = Arc::new(AtomicBool::new(false));
        let poller = {
            let (native, is_over) = (Arc::clone(&native), Arc::clone(&is_over));
            thread::Builder::new()
                .name("kafka-said".to_owned())
                .spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        native.poll(POLL_LIMIT);
                    }
                })
        };
        let poller = poller.map_err(|e| format!("no thread can be started: {e}"))?;
        Ok(Self {
            native,
            is_over,
            poller: Some(poller),
        })
    }
}

impl Deref for Producer {
    type Target = BaseProducer<Courier>;

    fn deref(&self) -> &Self::Target {
        &self.native
    }
}

/// Waits for its threads: on the keeper's alone.
impl Drop for Producer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(poller) = self.poller.take()
            && poller.join().is_err()
        {
            tracing::error!("a bug: a callback of Kafka's client panicked");
        }
    }
}
