//! One target of one route becomes what it is for one envelope, and is checked: what surely can't
//! be delivered is known at the door.

use super::compile::{Field, Fields, Label, RouteTarget};
use super::router::{Arrival, PlanLimits};
use super::words;
use crate::clock::parse_duration;
use crate::expression::{EvalError, Scope, Template};
use crate::message::{Guarantee, Header, MessageId, Refusal, RouteId, Target, TopicNames};
use bytes::Bytes;
use std::time::Duration;

/// Which target of which route.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) route: RouteId,
    pub(super) label: &'a Label,
    pub(super) nth: usize,
}

impl<'a> Place<'a> {
    pub(super) fn destination(self) -> &'a str {
        &self.label.destinations[self.nth]
    }

    fn strict_words(self) -> String {
        format!(
            "the destination {:?} delivers in the order of acceptance, because a route sends to it \
             exactly_once",
            self.destination()
        )
    }
}

/// Why a target can't be planned as it is.
#[derive(Debug)]
pub(super) enum Failure {
    /// The publisher asked for what can't be: the envelope is refused, whatever `on_error` says.
    Refused(Refusal),
    /// A field failed, or can't be delivered: `on_error` says what becomes of it.
    Unfit(Unfit),
}

/// A field, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub(super) struct Unfit {
    field: String,
    words: String,
}

impl Unfit {
    fn new(field: impl Into<String>, words: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            words: words.into(),
        }
    }

    pub(super) fn of_target(self, destination: &str) -> String {
        let Self { field, words } = self;
        words::reason(format!("the {field} for {destination:?}: {words}"))
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl RouteTarget {
    /// `payload` is what the route's `transform` made.
    pub(super) fn render(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_, '_>,
        scope: &Scope<'_>,
        payload: Option<&Bytes>,
        limits: &PlanLimits,
    ) -> Result<Target, Failure> {
        self.check_id(place, arrival)?;
        let mut target = Target::to(place.route, self.lane, self.guarantee);
        target.expires_at = arrival.envelope.expires_at;
        target.payload = payload.cloned();
        let mut delay = None;
        if let Some(fields) = &self.fields {
            let with = (self.names, limits);
            delay = fields.render(scope, arrival, with, &mut target)?;
        }
        if target.topic.is_none() {
            checked::name(&arrival.envelope.topic, self.names)?;
        }
        // A time that has come is no delay: such a delivery stays in the order of its key.
        let later = arrival.envelope.deliver_at.filter(|t| *t > arrival.now);
        if self.strict && later.is_some() {
            return Err(Failure::Refused(Refusal::Malformed(format!(
                "it can't be delayed: {}",
                place.strict_words()
            ))));
        }
        if self.strict && delay.is_some() {
            return Err(Unfit::new("delay", place.strict_words()).into());
        }
        target.not_before = later.max(delay.map(|delay| arrival.now.plus(delay)));
        Ok(target)
    }

    /// To the dead letters, as it was received.
    pub(super) fn bury(
        &self,
        place: Place<'_>,
        arrival: &Arrival<'_, '_>,
        reason: String,
    ) -> Result<Target, Refusal> {
        self.check_id(place, arrival)?;
        let mut target = Target::to(place.route, self.lane, self.guarantee);
        target.expires_at = arrival.envelope.expires_at;
        target.dead_letter = Some(reason);
        Ok(target)
    }

    fn check_id(&self, place: Place<'_>, arrival: &Arrival<'_, '_>) -> Result<(), Refusal> {
        if self.guarantee == Guarantee::ExactlyOnce && *arrival.id == MessageId::None {
            return Err(Refusal::IdNeeded(format!(
                "a route sends it exactly_once to the destination {:?}",
                place.destination()
            )));
        }
        Ok(())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Fields {
    /// Returns the delay, if there is any.
    fn render(
        &self,
        scope: &Scope<'_>,
        arrival: &Arrival<'_, '_>,
        (names, limits): (TopicNames, &PlanLimits),
        target: &mut Target,
    ) -> Result<Option<Duration>, Unfit> {
        target.topic = value(self.topic.as_ref(), |template| {
            checked::topic(text(template, scope, "topic")?, names)
        })?;
        target.key = value(self.key.as_ref(), |template| {
            checked::key(bytes(template, scope, "key")?)
        })?;
        if let Some(headers) = &self.headers {
            target.headers = Some(render_headers(headers, scope, limits)?);
        }
        target.priority = value(self.priority.as_ref(), |template| {
            let number = template.integer(scope);
            checked::priority(number.map_err(|e| failed("priority", &e))?)
        })?;
        let ttl = value(self.ttl.as_ref(), |template| {
            checked::duration(&text(template, scope, "ttl")?, "ttl")
        })?;
        if let Some(ttl) = ttl {
            let end = arrival.now.plus(ttl);
            let earlier = target.expires_at.map_or(end, |other| other.min(end));
            target.expires_at = Some(earlier);
        }
        let delay = value(self.delay.as_ref(), |template| {
            checked::duration(&text(template, scope, "delay")?, "delay")
        })?;
        Ok(delay.filter(|delay| !delay.is_zero()))
    }
}

fn value<T: Clone>(
    field: Option<&Field<T>>,
    render: impl FnOnce(&Template) -> Result<T, Unfit>,
) -> Result<Option<T>, Unfit> {
    match field {
        None => Ok(None),
        Some(Field::Fixed(fixed)) => Ok(Some(fixed.clone())),
        Some(Field::Rendered(template)) => render(template).map(Some),
    }
}

fn render_headers(
    headers: &[(String, Field<Bytes>)],
    scope: &Scope<'_>,
    limits: &PlanLimits,
) -> Result<Vec<Header>, Unfit> {
    let mut rendered = Vec::with_capacity(headers.len());
    let mut bytes = 0;
    for (name, value) in headers {
        let value = match value {
            Field::Fixed(fixed) => fixed.clone(),
            Field::Rendered(template) => template.bytes(scope).map_err(|e| {
                let what = words::quoted(name);
                failed(format!("header {what}"), &e)
            })?,
        };
        bytes += name.len() + value.len();
        rendered.push(Header {
            name: name.clone(),
            value,
        });
    }
    let over = |words: String| Err(Unfit::new("headers", words));
    if rendered.len() > limits.headers {
        let (count, limit) = (rendered.len(), limits.headers);
        return over(format!(
            "they are {count}, more than the limit of {limit} (limits.headers)"
        ));
    }
    if bytes > limits.header_bytes {
        let limit = limits.header_bytes;
        return over(format!(
            "they have {bytes} bytes, more than the limit of {limit} (limits.header_bytes)"
        ));
    }
    Ok(rendered)
}

fn text(template: &Template, scope: &Scope<'_>, field: &str) -> Result<String, Unfit> {
    template.text(scope).map_err(|e| failed(field, &e))
}

fn bytes(template: &Template, scope: &Scope<'_>, field: &str) -> Result<Bytes, Unfit> {
    template.bytes(scope).map_err(|e| failed(field, &e))
}

fn failed(field: impl Into<String>, error: &EvalError) -> Unfit {
    Unfit::new(field, error.to_string())
}

/// What may stand in a field, whether it is written there or rendered. Rendered values may come from
/// payloads, and reasons get into logs: no value is quoted.
pub(super) mod checked {
    use super::{Duration, TopicNames, Unfit, parse_duration, words};
    use crate::message::MAX_KEY_BYTES;
    use bytes::Bytes;

    const MAX_TOPIC_BYTES: usize = u16::MAX as usize;

    pub(in crate::routing) fn topic(topic: String, names: TopicNames) -> Result<String, Unfit> {
        let unfit = |words: String| Err(Unfit::new("topic", words));
        if topic.is_empty() {
            return unfit("it is empty".to_owned());
        }
        if topic.len() > MAX_TOPIC_BYTES {
            return unfit(format!(
                "it has {} bytes, more than {MAX_TOPIC_BYTES}",
                topic.len()
            ));
        }
        if topic.contains('\0') {
            return unfit("it has a NUL character in it".to_owned());
        }
        if topic.contains(['+', '#']) {
            let words = "it has a wildcard in it, `+` or `#`: these are for patterns";
            return unfit(words.to_owned());
        }
        name(&topic, names)?;
        Ok(topic)
    }

    pub(in crate::routing) fn name(topic: &str, names: TopicNames) -> Result<(), Unfit> {
        names
            .check(topic)
            .map_err(|words| Unfit::new("topic", words))
    }

    pub(in crate::routing) fn key(key: Bytes) -> Result<Bytes, Unfit> {
        if key.len() > MAX_KEY_BYTES {
            let words = format!("it has {} bytes, more than {MAX_KEY_BYTES}", key.len());
            return Err(Unfit::new("key", words));
        }
        Ok(key)
    }

    pub(in crate::routing) fn header_name(name: &str) -> Result<String, Unfit> {
        if name.is_empty() || name.contains('\0') {
            let shown = words::quoted(name);
            return Err(Unfit::new("headers", format!("{shown} is no name")));
        }
        Ok(name.to_owned())
    }

    pub(in crate::routing) fn priority(number: i64) -> Result<u8, Unfit> {
        let words = "it isn't between 0 and 255";
        u8::try_from(number).map_err(|_| Unfit::new("priority", words))
    }

    pub(in crate::routing) fn priority_text(text: &str) -> Result<u8, Unfit> {
        let number = text
            .trim()
            .parse()
            .map_err(|_| Unfit::new("priority", "it is no whole number"))?;
        priority(number)
    }

    pub(in crate::routing) fn duration(text: &str, field: &'static str) -> Result<Duration, Unfit> {
        parse_duration(text)
            .ok_or_else(|| Unfit::new(field, "it is no length of time: write 500ms, 30s or 10m"))
    }
}

#[cfg(test)]
mod tests;
