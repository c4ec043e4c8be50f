//! Routes made ready to plan with: names are numbers, what needs no expression is rendered already.

use super::index::Asked;
use super::render::{Unfit, checked};
use super::router::Catalog;
use super::{OnError, OnFull, Pattern, RouteSpec, Span, TargetSpec};
use crate::expression::{Program, Template};
use crate::message::{Ack, Guarantee, LaneId, RouteId};
use bytes::Bytes;
use std::collections::HashSet;
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

/// What a plan needs of a route, close together: most routes have nothing in the boxes.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) id: RouteId,
    pub(super) ack: Ack,
    pub(super) ack_timeout: Duration,
    pub(super) stop: bool,
    pub(super) asked: Option<Box<Asked>>,
    pub(super) programs: Option<Box<Programs>>,
    pub(super) targets: Box<[RouteTarget]>,
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

/// What only errors and explanations need of a route.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) pattern: Pattern,
}

#[derive(Clone, Debug)]
pub(super) struct RouteTarget {
    pub(super) lane: LaneId,
    pub(super) guarantee: Guarantee,
    pub(super) on_full: OnFull,
    /// Some target makes this lane strict: it delivers in journal order and can't delay.
    pub(super) strict: bool,
    pub(super) destination: Box<str>,
    /// None: all as the envelope has it.
    pub(super) fields: Option<Box<Fields>>,
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
        let topic = |text: &str| checked::topic(text.to_owned());
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

/// The destinations that deliver in the order of acceptance, for a target that is exactly_once.
pub(super) fn strict(specs: &[RouteSpec]) -> HashSet<&str> {
    let targets = specs.iter().flat_map(|route| &route.targets);
    targets
        .filter(|target| target.guarantee == Guarantee::ExactlyOnce)
        .map(|target| target.destination.as_str())
        .collect()
}

/// A route, and whether it asks for more than its topic.
pub(super) fn compile(
    spec: &RouteSpec,
    strict: &HashSet<&str>,
    catalog: &Catalog,
) -> Result<Route, CompileError> {
    if spec.targets.is_empty() {
        return Err(CompileError::NoTargets(spec.name.clone()));
    }
    let id = catalog.routes.get(&spec.name);
    let id = *id.ok_or_else(|| CompileError::UnknownRoute(spec.name.clone()))?;
    let targets = spec.targets.iter();
    let targets = targets.map(|target| compile_target(&spec.name, target, strict, catalog));
    let targets: Box<[RouteTarget]> = targets.collect::<Result<_, _>>()?;
    let asked = Asked {
        from: spec.from.clone(),
        headers: spec.headers.iter().map(lower).collect(),
        headers_any: spec.headers_any.iter().map(lower).collect(),
    };
    Ok(Route {
        id,
        ack: spec.ack,
        ack_timeout: spec.ack_timeout,
        stop: spec.stop,
        asked: (!asked.is_nothing()).then(|| Box::new(asked)),
        programs: programs(spec, &targets),
        targets,
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
    let Some(lane) = catalog.lanes.get(destination) else {
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
        destination: destination.as_str().into(),
        fields: (!fields.is_empty()).then(|| Box::new(fields)),
    })
}
