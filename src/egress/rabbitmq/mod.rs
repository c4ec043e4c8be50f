//! RabbitMQ, by AMQP 0-9-1: persistent messages to one exchange, each confirmed, each `mandatory`.
//! docs/destinations/rabbitmq.md says what a message becomes and what a server's answers mean.

mod address;
mod batch;
mod link;
mod options;
mod publication;
#[cfg(test)]
mod tests;
mod told;
mod topology;
mod wire;

pub use options::{RabbitmqExchange, RabbitmqKind, RabbitmqOptions, RabbitmqQueue};

use super::users::Users;
use super::{Attempted, NameBook, Verdict};
use crate::clock::Clock;
use crate::message::Delivery;
use batch::{Published, publish};
use lapin::types::ShortString;
use link::{Link, Server};
use publication::{Form, Publication};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use told::NoLink;

/// Of AMQP's short strings: names, routing keys, most properties.
const MAX_SHORT_BYTES: usize = 255;
/// Of one try at one server.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// After a connection that failed nobody tries again for so long; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub struct Rabbitmq {
    names: Arc<NameBook>,
    name: Arc<str>,
    /// Of its connections, for those who look at the server.
    title: String,
    clock: Clock,
    /// What a reload changes is whole: attempts that go on keep what they began with.
    cluster: RwLock<Arc<Cluster>>,
    users: Users,
}

/// Where it goes and how, by one file.
struct Cluster {
    options: RabbitmqOptions,
    exchange: ShortString,
    servers: Vec<Server>,
    /// Held while somebody connects.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    /// The server to try first.
    next: usize,
    failure: Option<Failure>,
}

/// Of the last try to connect.
struct Failure {
    reason: Arc<str>,
    /// All servers that were tried said no: the lane itself waits between two tries.
    needs_mending: bool,
    until: Instant,
    pause: Duration,
}

impl Failure {
    fn after(before: Option<&Self>, no: NoLink) -> Self {
        let longer = |f: &Self| f.pause.saturating_mul(2).min(LONGEST_PAUSE);
        let pause = before.filter(|_| !no.needs_mending).map(longer);
        let pause = pause.unwrap_or(FIRST_PAUSE);
        Self {
            reason: no.why.into(),
            needs_mending: no.needs_mending,
            until: Instant::now() + pause,
            pause,
        }
    }

    fn verdict(&self) -> Verdict {
        let reason = Arc::clone(&self.reason);
        match self.needs_mending {
            true => Verdict::fatal(reason),
            false => {
                let rest = self.until.saturating_duration_since(Instant::now());
                Verdict::retry_after(reason, Some(rest))
            }
        }
    }
}

impl Rabbitmq {
    /// # Errors
    /// What of the options can't be used; nothing secret is in it.
    pub fn new(
        options: RabbitmqOptions,
        names: Arc<NameBook>,
        name: Arc<str>,
        gateway: &str,
        clock: Clock,
    ) -> Result<Self, String> {
        Ok(Self {
            names,
            title: format!("causeway {gateway} {name}"),
            name,
            clock,
            cluster: RwLock::new(Arc::new(Cluster::new(options)?)),
            users: Users::default(),
        })
    }

    pub(super) const fn users(&self) -> &Users {
        &self.users
    }

    /// Whether `adopt` would take it.
    ///
    /// # Errors
    /// As `new`.
    pub fn check(options: RabbitmqOptions) -> Result<(), String> {
        Cluster::new(options).map(drop)
    }

    /// For what comes next: over new connections.
    ///
    /// # Errors
    /// As `new`; then nothing changes.
    pub fn adopt(&self, options: RabbitmqOptions) -> Result<(), String> {
        let cluster = Arc::new(Cluster::new(options)?);
        *self.cluster.write().unwrap_or_else(PoisonError::into_inner) = cluster;
        Ok(())
    }

    pub async fn close(&self) {
        let cluster = self.cluster();
        let link = async { cluster.state.lock().await.link.take() };
        if let Ok(Some(link)) = tokio::time::timeout(CLOSE_LIMIT, link).await {
            link.close(CLOSE_LIMIT).await;
        }
    }

    fn cluster(&self) -> Arc<Cluster> {
        let cluster = self.cluster.read();
        Arc::clone(&cluster.unwrap_or_else(PoisonError::into_inner))
    }

    pub async fn deliver(&self, deliveries: &[Delivery], strict: bool) -> Attempted {
        let cluster = self.cluster();
        let verdicts = match strict {
            true => self.one_by_one(&cluster, deliveries).await,
            false => self.at_once(&cluster, deliveries).await,
        };
        Attempted {
            verdicts,
            mark: None,
        }
    }

    async fn one_by_one(&self, cluster: &Cluster, deliveries: &[Delivery]) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let one = std::slice::from_ref(delivery);
            match Verdict::behind(&verdicts) {
                Some(verdict) => verdicts.push(verdict),
                None => verdicts.extend(self.at_once(cluster, one).await),
            }
        }
        verdicts
    }

    async fn at_once(&self, cluster: &Cluster, deliveries: &[Delivery]) -> Vec<Verdict> {
        let end = Instant::now() + cluster.options.timeout;
        let link = match cluster.link(&self.title, end).await {
            Ok(link) => link,
            Err(verdict) => return vec![verdict; deliveries.len()],
        };
        let form = Form {
            topic: cluster.options.topic.as_deref(),
            max_frame_bytes: link.max_frame_bytes(),
            now: self.clock.wall(),
        };
        let mut verdicts = Vec::with_capacity(deliveries.len());
        let mut publications = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let names = self.names.of(delivery, &self.name);
            match form.publication(delivery, &names) {
                Ok(publication) => {
                    publications.push(publication);
                    verdicts.push(None);
                }
                Err(why) => verdicts.push(Some(Verdict::reject(why))),
            }
        }
        let all: Vec<&Publication> = publications.iter().collect();
        let mut said = self.settle(cluster, &link, &all, end).await.into_iter();
        let missing = || Verdict::unknown("a bug: nothing is known of it");
        let each = verdicts.into_iter();
        each.map(|known| known.or_else(|| said.next()).unwrap_or_else(missing))
            .collect()
    }

    /// All at once; and if the server ended the channel because of one of them, again one by one, to
    /// find out which it was.
    async fn settle(
        &self,
        cluster: &Cluster,
        link: &Link,
        publications: &[&Publication],
        end: Instant,
    ) -> Vec<Verdict> {
        if publications.is_empty() {
            return Vec::new();
        }
        let mut published = cluster.publish(link, publications, end).await;
        if !published.has_culprit {
            return published.verdicts;
        }
        if let [verdict] = &mut published.verdicts[..] {
            *verdict = condemned(verdict);
            return published.verdicts;
        }
        for (publication, verdict) in publications.iter().zip(&mut published.verdicts) {
            if matches!(verdict, Verdict::Unknown { .. } | Verdict::Retry { .. }) {
                // Its connection may be gone, too.
                let Ok(link) = cluster.link(&self.title, end).await else {
                    break;
                };
                let mut alone = cluster.publish(&link, &[*publication], end).await;
                if let Some(said) = alone.verdicts.pop() {
                    *verdict = match alone.has_culprit {
                        true => condemned(&said),
                        false => said,
                    };
                }
            }
        }
        published.verdicts
    }
}

/// It was alone on the channel that the server ended because of a message.
fn condemned(verdict: &Verdict) -> Verdict {
    match verdict.failure() {
        Some((_, reason)) => Verdict::reject(reason),
        None => verdict.clone(),
    }
}

impl Cluster {
    fn new(options: RabbitmqOptions) -> Result<Self, String> {
        let name = options.exchange.as_ref().map_or("", |e| e.name.as_str());
        let exchange = ShortString::try_new(name)
            .map_err(|_| "the name of its exchange is longer than 255 bytes".to_owned())?;
        let servers = options.urls.iter().map(|url| Server::new(url, &options));
        Ok(Self {
            exchange,
            servers: servers.collect::<Result<_, _>>()?,
            options,
            state: Mutex::new(State::default()),
        })
    }

    async fn publish(&self, link: &Link, publications: &[&Publication], end: Instant) -> Published {
        let nothing_sent = |why: String| Published {
            verdicts: vec![Verdict::retry(why); publications.len()],
            has_culprit: false,
            has_lost_exchange: false,
            is_settled: true,
        };
        if let Some(why) = link.blocked() {
            return nothing_sent(why);
        }
        let channel = match link.channel(end).await {
            Ok(channel) => channel,
            Err(why) => {
                self.give_up(link).await;
                return nothing_sent(why);
            }
        };
        let timeout = self.options.timeout;
        let mut published = publish(&channel, &self.exchange, publications, end, timeout).await;
        if published.is_settled {
            link.give_back(channel);
        } else if let Some(why) = link.blocked() {
            published.say(&why);
        }
        if published.has_lost_exchange {
            self.give_up(link).await;
        }
        published
    }

    /// The connection, made now if there is none.
    async fn link(&self, title: &str, end: Instant) -> Result<Arc<Link>, Verdict> {
        let Ok(mut state) = timeout_at(end, self.state.lock()).await else {
            return Err(Verdict::retry("no connection in time"));
        };
        if let Some(link) = state.link.as_ref().filter(|link| link.is_open()) {
            return Ok(Arc::clone(link));
        }
        state.link = None;
        if let Some(failure) = state.failure.as_ref().filter(|f| Instant::now() < f.until) {
            return Err(failure.verdict());
        }
        match self.connect(&mut state.next, title, end).await {
            Ok(link) => {
                let link = Arc::new(link);
                state.link = Some(Arc::clone(&link));
                state.failure = None;
                Ok(link)
            }
            Err(why) => {
                let failure = Failure::after(state.failure.as_ref(), why);
                let verdict = failure.verdict();
                state.failure = Some(failure);
                Err(verdict)
            }
        }
    }

    /// To one server after the other, from the next one on.
    async fn connect(&self, next: &mut usize, title: &str, end: Instant) -> Result<Link, NoLink> {
        let mut reasons = Vec::new();
        let mut needs_mending = true;
        for _ in 0..self.servers.len() {
            let server = &self.servers[*next % self.servers.len()];
            let limit = end.min(Instant::now() + CONNECT_LIMIT);
            let no = match Link::open(server, &self.options, title, limit).await {
                Ok(link) => return Ok(link),
                Err(no) => no,
            };
            needs_mending &= no.needs_mending;
            reasons.push(match no.why.contains(&server.name()) {
                true => no.why,
                false => format!("{}: {}", server.name(), no.why),
            });
            *next = (*next + 1) % self.servers.len();
            // The others have their turn when there is time again.
            if Instant::now() >= end {
                break;
            }
        }
        Err(NoLink {
            why: reasons.join("; "),
            needs_mending,
        })
    }

    /// It gives no channel any more: the next one who needs a connection makes another.
    async fn give_up(&self, link: &Link) {
        let mut state = self.state.lock().await;
        if state.link.as_deref().is_some_and(|l| std::ptr::eq(l, link)) {
            state.link = None;
        }
    }
}
