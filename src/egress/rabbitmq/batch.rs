//! Publishing many at once on one channel, and what became of each.
//!
//! Each batch has a channel of its own while it lasts. The client gives a return (`basic.return`) to
//! whichever confirm it reads next, the oldest first, not to its own message's; but a server sends each
//! return before the confirm of its message. So when all confirms of a channel are there, so are all
//! returns, and each is matched by its message's id. When a channel ended before that, a confirm with which
//! no return came is proof: none was waiting. One with which another's came is none: its own may have been
//! next. While answers are waited for in vain nothing is proof.

use super::link::close_channel;
use super::publication::Publication;
use super::told;
use crate::egress::Verdict;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, future};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// For a channel's close to be answered, after the time of an attempt was up.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

/// What is known of one publish.
enum Known {
    Nothing,
    Confirmed,
    /// A return came with it: its own, or another's.
    ConfirmedWithReturn,
    Refused,
    /// Nothing of it was sent.
    NotSent(lapin::Error),
    /// The channel or the connection ended before it was confirmed.
    Lost(lapin::Error),
}

impl Known {
    const fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Confirmed | Self::ConfirmedWithReturn | Self::Refused
        )
    }
}

/// What became of a batch.
pub struct Published {
    /// As the publications.
    pub verdicts: Vec<Verdict>,
    /// The server ended the channel because of one of those that are in doubt.
    pub has_culprit: bool,
    /// The exchange is gone: it is declared, or looked for, when a connection is made.
    pub has_lost_exchange: bool,
    /// Nothing is unconfirmed on the channel.
    pub is_settled: bool,
}

pub async fn publish(
    channel: &Channel,
    exchange: &ShortString,
    publications: &[&Publication],
    end: Instant,
    timeout: Duration,
) -> Published {
    let mut known: Vec<Known> = publications.iter().map(|_| Known::Nothing).collect();
    let mut returned = Vec::new();
    // The first poll of each hands it over whole, in this order, before anything is waited for.
    let mut running: FuturesUnordered<_> = (publications.iter().enumerate())
        .map(|(i, publication)| one(channel, exchange, publication).map(move |end| (i, end)))
        .collect();
    let mut note = |(i, (now, back)): (usize, (Known, Option<BasicReturnMessage>))| {
        known[i] = now;
        returned.extend(back);
        future::ready(())
    };
    let all = running.by_ref().for_each(&mut note);
    let mut is_complete = timeout_at(end, all).await.is_ok();
    if !is_complete {
        // The server answers it after all that it confirms.
        let closing = close_channel(channel, CLOSE_LIMIT);
        let rest = running.by_ref().for_each(&mut note);
        drop(future::join(closing, tokio::time::timeout(CLOSE_LIMIT, rest)).await);
        while let Some(Some(late)) = running.next().now_or_never() {
            note(late).await;
        }
        is_complete = running.is_empty();
    }
    drop(running);
    let is_settled = is_complete && channel.status().connected();
    let has_all_returns = is_complete && known.iter().all(Known::is_answer);
    let mut verdicts = Vec::with_capacity(known.len());
    let (mut has_culprit, mut has_lost_exchange) = (false, false);
    for (publication, known) in publications.iter().zip(known) {
        let mine = returned.iter().position(|back| is_of(back, publication));
        if let Known::Lost(error) | Known::NotSent(error) = &known {
            has_culprit |= told::blames_a_message(error);
            has_lost_exchange |= told::misses_something(error);
        }
        verdicts.push(match (mine.map(|i| returned.swap_remove(i)), known) {
            (Some(back), _) => Verdict::reject(told::unroutable(&back)),
            (None, Known::Confirmed) if is_complete => Verdict::Delivered,
            (None, Known::ConfirmedWithReturn) if has_all_returns => Verdict::Delivered,
            (None, Known::Confirmed | Known::ConfirmedWithReturn) => {
                Verdict::unknown("confirmed, but whether it was routed isn't known: others weren't")
            }
            (None, Known::Refused) => {
                Verdict::retry("RabbitMQ refused it (nack): a queue is full, or can't take it now")
            }
            (None, Known::NotSent(error)) => Verdict::retry(told::words(&error)),
            (None, Known::Lost(error)) => Verdict::unknown(told::words(&error)),
            (None, Known::Nothing) => Verdict::unknown(format!("no confirm within {timeout:?}")),
        });
    }
    Published {
        verdicts,
        has_culprit,
        has_lost_exchange,
        is_settled,
    }
}

async fn one(
    channel: &Channel,
    exchange: &ShortString,
    publication: &Publication,
) -> (Known, Option<BasicReturnMessage>) {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let sent = channel.basic_publish(
        exchange.clone(),
        publication.routing_key.clone(),
        options,
        &publication.body,
        publication.properties.clone(),
    );
    let confirm = match sent.await {
        Ok(confirm) => confirm,
        Err(error) if told::was_not_sent(&error) => return (Known::NotSent(error), None),
        Err(error) => return (Known::Lost(error), None),
    };
    match confirm.await {
        Ok(Confirmation::Ack(None)) => (Known::Confirmed, None),
        Ok(Confirmation::Ack(back)) => (Known::ConfirmedWithReturn, back),
        Ok(Confirmation::Nack(back)) => (Known::Refused, back),
        // Not on our channels: they confirm.
        Ok(Confirmation::NotRequested) => (Known::Nothing, None),
        Err(error) => (Known::Lost(error), None),
    }
}

/// Two in one batch have the same id only if one redrives the other.
fn is_of(back: &BasicReturnMessage, publication: &Publication) -> bool {
    back.delivery.properties.message_id() == publication.properties.message_id()
        && back.delivery.routing_key == publication.routing_key
}

impl Published {
    /// Why those that are in doubt are.
    pub fn say(&mut self, why: &str) {
        for verdict in &mut self.verdicts {
            if let Verdict::Unknown { reason } = verdict {
                *verdict = Verdict::unknown(format!("{reason}: {why}"));
            }
        }
    }
}
