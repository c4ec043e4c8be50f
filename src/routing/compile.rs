//! Routes made ready to plan with: names are numbers, what needs no expression is rendered already.

use super::index::Asked;
use super::render::{Unfit, checked};
use super::router::Catalog;
use super::{OnError, OnFull, Pattern, RouteSpec, Span, TargetSpec};
use crate::expression::{Program, Template};
use crate::message::{Ack, Guarantee, LaneId, RouteId, TopicNames};
use bytes::Bytes;
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("the catalog has no number for the route {0:?}")]
    UnknownRoute(String),
    #[error("the catalog has no number for the destination {destination:?} of the route {route:?}")]
    UnknownDestination { route: String, destination: String },
    #[error("the route {0:?} has no targets")]
    NoTargets(String),
    /// What is written there could never be delivered.
    #[error("the route {route:?}: {reason}")]
    Unfit { route: String, reason: String },
}

/// What a plan needs of a route: a line of memory, because of ten thousand each plan meets others.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Route {
    pub(super) id: RouteId,
    pub(super) ack: Ack,
    pub(super) stop: bool,
    /// The index doesn't hold all that it asks for.
    pub(super) is_checked: bool,
    pub(super) ack_timeout: Duration,
    pub(super) programs: Option<Box<Programs>>,
    first: RouteTarget,
    others: Box<[RouteTarget]>,
}

/// What is evaluated for a route, beside the fields of its targets.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) when: Option<Program>,
    pub(super) transform: Option<Program>,
    pub(super) on_error: OnError,
    /// The pattern binds names.
    pub(super) binds: bool,
}

/// The rest of a route: what it asks for, and what errors and explanations call it.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) pattern: Pattern,
    pub(super) asked: Asked,
    /// Of its targets.
    pub(super) destinations: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct RouteTarget {
    pub(super) lane: LaneId,
    pub(super) guarantee: Guarantee,
    pub(super) on_full: OnFull,
    /// Some target makes this lane strict: it delivers in journal order and can't delay.
    pub(super) strict: bool,
    /// Of topics, the envelope's own too where no other is written.
    pub(super) names: TopicNames,
    /// None: all as the envelope has it.
    pub(super) fields: Option<Box<Fields>>,
}

impl Route {
    pub(super) fn targets(&self) -> impl Iterator<Item = &RouteTarget> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn target_count(&self) -> usize {
        1 + self.others.len()
    }
}

impl Label {
    pub(super) fn of(spec: &RouteSpec) -> Self {
        let destinations = spec.targets.iter().map(|t| t.destination.clone());
        Self {
            name: spec.name.clone(),
            pattern: spec.pattern.clone(),
            asked: Asked {
                from: spec.from.clone(),
                headers: spec.headers.iter().map(lower).collect(),
                headers_any: spec.headers_any.iter().map(lower).collect(),
            },
            destinations: destinations.collect(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) topic: Option<Field<String>>,
    pub(super) key: Option<Field<Bytes>>,
    pub(super) headers: Option<Vec<(String, Field<Bytes>)>>,
    pub(super) priority: Option<Field<u8>>,
    pub(super) delay: Option<Field<Duration>>,
    pub(super) ttl: Option<Field<Duration>>,
}

#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// Checked already.
    Fixed(T),
    Rendered(Template),
}

impl<T> Field<T> {
    fn of(template: &Template, read: impl Fn(&str) -> Result<T, Unfit>) -> Result<Self, Unfit> {
        match template.as_plain() {
            Some(text) => read(text).map(Self::Fixed),
            None => Ok(Self::Rendered(template.clone())),
        }
    }

    fn is_rendered(&self) -> bool {
        matches!(self, Self::Rendered(_))
    }
}

impl Fields {
    fn of(spec: &TargetSpec) -> Result<Self, Unfit> {
        let topic = |text: &str| checked::topic(text.to_owned(), spec.names);
        let key = |text: &str| checked::key(Bytes::copy_from_slice(text.as_bytes()));
        let headers = spec.headers.as_ref().map(|headers| {
            let header = |header: &super::HeaderSpec| {
                let name = checked::header_name(&header.name)?;
                let value = |text: &str| Ok(Bytes::copy_from_slice(text.as_bytes()));
                Ok((name, Field::of(&header.value, value)?))
            };
            headers.iter().map(header).collect::<Result<Vec<_>, _>>()
        });
        Ok(Self {
            topic: field(spec.topic.as_ref(), topic)?,
            key: field(spec.key.as_ref(), key)?,
            headers: headers.transpose()?,
            priority: field(spec.priority.as_ref(), checked::priority_text)?,
            delay: span(spec.delay.as_ref(), "delay")?,
            ttl: span(spec.ttl.as_ref(), "ttl")?,
        })
    }

    fn is_empty(&self) -> bool {
        self.topic.is_none()
            && self.key.is_none()
            && self.headers.is_none()
            && self.priority.is_none()
            && self.delay.is_none()
            && self.ttl.is_none()
    }

    fn is_rendered(&self) -> bool {
        let headers = self.headers.iter().flatten();
        self.topic.as_ref().is_some_and(Field::is_rendered)
            || self.key.as_ref().is_some_and(Field::is_rendered)
            || headers.into_iter().any(|(_, value)| value.is_rendered())
            || self.priority.as_ref().is_some_and(Field::is_rendered)
            || self.delay.as_ref().is_some_and(Field::is_rendered)
            || self.ttl.as_ref().is_some_and(Field::is_rendered)
    }
}

fn field<T>(
    template: Option<&Template>,
    read: impl Fn(&str) -> Result<T, Unfit>,
) -> Result<Option<Field<T>>, Unfit> {
    template.map(|t| Field::of(t, read)).transpose()
}

fn span(span: Option<&Span>, what: &'static str) -> Result<Option<Field<Duration>>, Unfit> {
    let field = span.map(|span| match span {
        Span::Fixed(duration) => Ok(Field::Fixed(*duration)),
        Span::Template(template) => Field::of(template, |text| checked::duration(text, what)),
    });
    field.transpose()
}

/// The destinations that at_most_once targets lead to, by name.
#[must_use]
pub fn in_memory(specs: &[RouteSpec]) -> BTreeSet<&str> {
    let targets = specs.iter().flat_map(|route| &route.targets);
    targets
        .filter(|target| target.guarantee == Guarantee::AtMostOnce)
        .map(|target| target.destination.as_str())
        .collect()
}

/// The destinations that deliver in the order of acceptance, for a target that is exactly_once.
pub(super) fn strict(specs: &[RouteSpec]) -> HashSet<&str> {
    let targets = specs.iter().flat_map(|route| &route.targets);
    targets
        .filter(|target| target.guarantee == Guarantee::ExactlyOnce)
        .map(|target| target.destination.as_str())
        .collect()
}

pub(super) fn compile(
    spec: &RouteSpec,
    label: &Label,
    strict: &HashSet<&str>,
    catalog: &Catalog,
) -> Result<Route, CompileError> {
    let id = catalog.routes.get(&spec.name);
    let id = *id.ok_or_else(|| CompileError::UnknownRoute(spec.name.clone()))?;
    let targets = spec.targets.iter();
    let targets = targets.map(|target| compile_target(&spec.name, target, strict, catalog));
    let mut targets: Vec<RouteTarget> = targets.collect::<Result<_, _>>()?;
    let programs = programs(spec, &targets);
    if targets.is_empty() {
        return Err(CompileError::NoTargets(spec.name.clone()));
    }
    let first = targets.remove(0);
    Ok(Route {
        id,
        ack: spec.ack,
        stop: spec.stop,
        is_checked: !label.asked.is_indexed(),
        ack_timeout: spec.ack_timeout,
        programs,
        first,
        others: targets.into(),
    })
}

fn programs(spec: &RouteSpec, targets: &[RouteTarget]) -> Option<Box<Programs>> {
    let mut fields = targets.iter().filter_map(|target| target.fields.as_ref());
    let is_needed = spec.when.is_some()
        || spec.transform.is_some()
        || fields.any(|fields| fields.is_rendered());
    is_needed.then(|| {
        Box::new(Programs {
            when: spec.when.clone(),
            transform: spec.transform.clone(),
            on_error: spec.on_error,
            binds: spec.pattern.names().next().is_some(),
        })
    })
}

fn lower(header: &super::HeaderMatch) -> super::HeaderMatch {
    super::HeaderMatch {
        name: header.name.to_ascii_lowercase(),
        value: header.value.clone(),
    }
}

fn compile_target(
    route: &str,
    spec: &TargetSpec,
    strict: &HashSet<&str>,
    catalog: &Catalog,
) -> Result<RouteTarget, CompileError> {
    let destination = &spec.destination;
    let lanes = match spec.guarantee {
        Guarantee::AtMostOnce => &catalog.memory_lanes,
        Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => &catalog.lanes,
    };
    let Some(lane) = lanes.get(destination) else {
        return Err(CompileError::UnknownDestination {
            route: route.to_owned(),
            destination: destination.clone(),
        });
    };
    let fields = Fields::of(spec).map_err(|unfit| CompileError::Unfit {
        route: route.to_owned(),
        reason: unfit.of_target(destination),
    })?;
    Ok(RouteTarget {
        lane: *lane,
        guarantee: spec.guarantee,
        on_full: spec.on_full,
        strict: strict.contains(destination.as_str()),
        names: spec.names,
        fields: (!fields.is_empty()).then(|| Box::new(fields)),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_route_is_a_line_of_memory() {
        assert_eq!(size_of::<super::Route>(), 64);
    }
}
