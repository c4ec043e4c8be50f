//! A webhook: each delivery is a POST to one address. docs/destinations/webhook.md says what a service sees
//! and what its answers mean.

mod answer;
mod pool;
mod request;
mod sign;
#[cfg(test)]
mod tests;

use super::dial::{Dialer, Place, TlsOptions};
use super::{Attempted, NameBook, Verdict};
use crate::clock::Clock;
use crate::message::Delivery;
use futures_util::future::join_all;
use hyper::header::HeaderName;
use pool::{Failure, Pool};
use request::Form;
use sign::Signer;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a file says of one.
#[derive(Clone)]
pub struct WebhookOptions {
    pub url: String,
    pub tls: TlsOptions,
    /// Of Standard Webhooks; a signature of each.
    pub secrets: Vec<String>,
    pub format: WebhookFormat,
    /// Names of headers that travel along.
    pub headers: Vec<String>,
    /// Requests at once.
    pub concurrency: usize,
    /// One attempt.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookFormat {
    /// CloudEvents, with the attributes as headers.
    Binary,
    /// CloudEvents, all of it in the body.
    Structured,
    Raw,
}

pub struct Webhook {
    names: Arc<NameBook>,
    name: Arc<str>,
    gateway: String,
    clock: Clock,
    /// What a reload changes is whole: attempts that go on keep what they began with.
    service: RwLock<Arc<Service>>,
}

/// Where it goes and how, by one file.
struct Service {
    place: Place,
    form: Form,
    pool: Arc<Pool>,
    permits: Semaphore,
    concurrency: usize,
    /// Until then it wants to be left alone, with its own words.
    silence: Mutex<Option<(Instant, Verdict)>>,
}

impl Webhook {
    /// # Errors
    /// What of the options can't be used; nothing secret is in it.
    pub fn new(
        options: &WebhookOptions,
        names: Arc<NameBook>,
        name: Arc<str>,
        gateway: String,
        clock: Clock,
    ) -> Result<Self, String> {
        let service = Service::new(options, gateway.clone())?;
        Ok(Self {
            names,
            name,
            gateway,
            clock,
            service: RwLock::new(Arc::new(service)),
        })
    }

    /// Whether it could be made of these, or adopt them.
    ///
    /// # Errors
    /// As `new`.
    pub fn check(options: &WebhookOptions) -> Result<(), String> {
        Service::new(options, String::new()).map(drop)
    }

    /// For what comes next.
    ///
    /// # Errors
    /// As `new`; then nothing changes.
    pub fn adopt(&self, options: &WebhookOptions) -> Result<(), String> {
        let service = Arc::new(Service::new(options, self.gateway.clone())?);
        *self.service.write().unwrap_or_else(PoisonError::into_inner) = service;
        Ok(())
    }

    fn service(&self) -> Arc<Service> {
        let service = self.service.read();
        Arc::clone(&service.unwrap_or_else(PoisonError::into_inner))
    }

    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.service().concurrency
    }

    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let service = self.service();
        let verdicts = match strict {
            true => self.one_by_one(&service, deliveries).await,
            false => join_all(deliveries.iter().map(|d| self.try_one(&service, d))).await,
        };
        Attempted {
            verdicts,
            mark: None,
        }
    }

    async fn one_by_one(&self, service: &Service, deliveries: &[Delivery]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            verdicts.push(match Verdict::behind(&verdicts) {
                Some(verdict) => verdict,
                None => self.try_one(service, delivery).await,
            });
        }
        verdicts
    }

    async fn try_one(&self, service: &Service, delivery: &Delivery) -> Verdict {
        let Ok(_permit) = service.permits.acquire().await else {
            return Verdict::retry("a bug: its permits are gone");
        };
        if let Some(verdict) = service.silent() {
            return verdict;
        }
        let names = self.names.of(delivery, &self.name);
        let wall = self.clock.wall();
        let form = &service.form;
        let request = match form.request(&service.place, delivery, &names, wall) {
            Ok(request) => request,
            Err(why) => return Verdict::reject(why),
        };
        match service.pool.ask(request).await {
            Ok(answer) => {
                let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.wall().0);
                let verdict = answer.verdict(now);
                if let Some(silence) = answer.silence(now) {
                    service.keep_silent(silence, &verdict);
                }
                verdict
            }
            Err(Failure::NotSent(why)) => Verdict::retry(why),
            Err(Failure::InDoubt(why)) => Verdict::unknown(why),
        }
    }
}

impl Service {
    fn new(options: &WebhookOptions, gateway: String) -> Result<Self, String> {
        let place = Place::of(&options.url)?;
        let dialer = Dialer::new(&place, &options.tls, &[b"http/1.1"])?;
        let header = |name: &String| {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes());
            name.map_err(|_| "`headers` has what is no name of a header".to_owned())
        };
        let headers: Result<Vec<_>, String> = options.headers.iter().map(header).collect();
        Ok(Self {
            form: Form {
                format: options.format,
                headers: headers?,
                signer: Signer::new(&options.secrets)?,
                gateway,
            },
            place,
            pool: Arc::new(Pool::new(dialer, options.concurrency, options.timeout)),
            permits: Semaphore::new(options.concurrency.min(Semaphore::MAX_PERMITS)),
            concurrency: options.concurrency,
            silence: Mutex::new(None),
        })
    }

    fn keep_silent(&self, silence: Duration, verdict: &Verdict) {
        let until = Instant::now() + silence;
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((until, verdict.clone()));
    }

    /// What it said when it asked to be left alone, and for how long that still holds.
    fn silent(&self) -> Option<Verdict> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verdict) = silence.as_ref()?;
        let rest = until.checked_duration_since(Instant::now())?;
        let (_, reason) = verdict.failure()?;
        (!rest.is_zero()).then(|| Verdict::retry_after(reason, Some(rest)))
    }
}
