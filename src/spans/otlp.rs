//! Spans by OpenTelemetry's SDK, in batches of its own thread; when its queue is full they are dropped.
//!
//! Whether a message is traced is decided once: by the flag of the context that came, else by
//! `OTEL_TRACES_SAMPLER`. What isn't traced costs a look at its context.

use super::client::Client;
use crate::message::{Delivery, Envelope, Message, Position, TraceContext, TraceParent};
use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use std::env;
use std::sync::Arc;
use std::time::Duration;

/// Where spans go; without one of these there are none.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
/// If `OTEL_SERVICE_NAME` doesn't say otherwise.
const SERVICE: &str = "causeway";
/// For the last spans, when the gateway stops.
const LAST_EXPORT: Duration = Duration::from_secs(5);

type SdkSpan = <SdkTracer as Tracer>::Span;

#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Exporting>>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Messages that came without a context may be traced.
    roots: bool,
}

/// Of one publish.
pub struct Accept(Option<Box<Accepting>>);

struct Accepting {
    exporting: Arc<Exporting>,
    span: SdkSpan,
    store: Option<SdkSpan>,
}

/// Of one batch at a destination: for each delivery of it, if it is traced.
pub struct Attempt(Vec<Option<SdkSpan>>);

impl Spans {
    /// By the variables that OpenTelemetry's specification names.
    pub fn from_environment() -> Result<Self, String> {
        let is_off = env::var("OTEL_SDK_DISABLED").is_ok_and(|off| off == "true");
        let is_told = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
        if is_off || !ENDPOINTS.iter().any(is_told) {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::from_environment())
            .build()
            .map_err(|e| format!("can't export traces: {e}"))?;
        let root = root_sampler()?;
        let roots = !matches!(root, Sampler::AlwaysOff);
        let mut resource = Resource::builder();
        if !is_told(&"OTEL_SERVICE_NAME") {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(root)))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer(SERVICE);
        tracing::info!("traces are exported");
        Ok(Self(Some(Arc::new(Exporting {
            provider,
            tracer,
            roots,
        }))))
    }

    /// Begins when the door is called. What is journalled then belongs to this span.
    #[must_use]
    pub fn accept(&self, envelope: &mut Envelope) -> Accept {
        let Some(exporting) = &self.0 else {
            return Accept(None);
        };
        let came = envelope.trace();
        if !came
            .as_ref()
            .map_or(exporting.roots, |c| c.parent.is_sampled())
        {
            return Accept(None);
        }
        let span = exporting.begin("accept", SpanKind::Server, came.as_ref().map(|c| c.parent));
        if !span.is_recording() {
            return Accept(None);
        }
        let own = parent_of(&span);
        envelope.belongs_to(came.map_or_else(|| own.into(), |came| came.under(own)));
        let mut accepting = Accepting {
            exporting: Arc::clone(exporting),
            span,
            store: None,
        };
        accepting.describe(envelope);
        Accept(Some(Box::new(accepting)))
    }

    /// Begins when a batch goes to its destination, and gives it with the contexts of its spans.
    #[must_use]
    pub fn attempt(&self, batch: &Arc<[Delivery]>, lane: &str) -> (Arc<[Delivery]>, Attempt) {
        let traced = |d: &Delivery| d.message.envelope.trace().filter(|c| c.parent.is_sampled());
        let Some(exporting) = self
            .0
            .as_ref()
            .filter(|_| batch.iter().any(|d| traced(d).is_some()))
        else {
            return (Arc::clone(batch), Attempt(Vec::new()));
        };
        let begin = |delivery: &Delivery| match traced(delivery) {
            None => (delivery.clone(), None),
            Some(context) => exporting.deliver(delivery, &context, lane),
        };
        let (batch, spans): (Vec<_>, Vec<_>) = batch.iter().map(begin).unzip();
        (batch.into(), Attempt(spans))
    }

    /// Blocks until the last spans are exported, or for some seconds.
    pub fn shut_down(&self) {
        if let Some(exporting) = &self.0
            && let Err(e) = exporting.provider.shutdown_with_timeout(LAST_EXPORT)
        {
            tracing::warn!("the last spans were not exported: {e}");
        }
    }
}

impl Exporting {
    fn begin(&self, name: &'static str, kind: SpanKind, parent: Option<TraceParent>) -> SdkSpan {
        let mut context = Context::new();
        if let Some(parent) = parent {
            context = context.with_remote_span_context(remote(parent));
        }
        let builder = self.tracer.span_builder(name).with_kind(kind);
        self.tracer.build_with_context(builder, &context)
    }

    /// The delivery as part of a new span.
    fn deliver(
        &self,
        delivery: &Delivery,
        context: &TraceContext,
        lane: &str,
    ) -> (Delivery, Option<SdkSpan>) {
        let mut span = self.begin("deliver", SpanKind::Producer, Some(context.parent));
        if !span.is_recording() {
            return (delivery.clone(), None);
        }
        let position = i64::try_from(delivery.position().0).unwrap_or(i64::MAX);
        span.set_attributes([
            KeyValue::new("causeway.destination", lane.to_owned()),
            KeyValue::new("causeway.position", position),
            KeyValue::new("causeway.ordinal", i64::from(delivery.at.ordinal.0)),
        ]);
        let mut message = Message::clone(&delivery.message);
        message
            .envelope
            .belongs_to(context.clone().under(parent_of(&span)));
        let traced = Delivery {
            message: Arc::new(message),
            ..delivery.clone()
        };
        (traced, Some(span))
    }
}

impl Accepting {
    fn describe(&mut self, envelope: &Envelope) {
        let topic = KeyValue::new("messaging.destination.name", envelope.topic.clone());
        self.span.set_attribute(topic);
        if let Some(id) = envelope.id.as_str() {
            let id = KeyValue::new("messaging.message.id", id.to_owned());
            self.span.set_attribute(id);
        }
    }
}

impl Accept {
    /// It is in the journal's queue.
    pub fn handed_over(&mut self) {
        if let Some(accepting) = &mut self.0 {
            let parent = Some(parent_of(&accepting.span));
            let store = accepting
                .exporting
                .begin("store", SpanKind::Internal, parent);
            accepting.store = Some(store);
        }
    }

    /// It is durable.
    pub fn stored(&mut self, position: Position) {
        if let Some(accepting) = &mut self.0
            && let Some(mut store) = accepting.store.take()
        {
            let position = i64::try_from(position.0).unwrap_or(i64::MAX);
            store.set_attribute(KeyValue::new("causeway.position", position));
            store.end();
        }
    }

    /// The publisher can be told. One that isn't ended so ends when it is dropped.
    pub fn end(self, refused: Option<&'static str>) {
        if let Some(mut accepting) = self.0 {
            if let Some(reason) = refused {
                fail(&mut accepting.span, reason, reason);
            }
            accepting.span.end();
        }
    }
}

impl Attempt {
    /// For each delivery of the batch the kind of its failure and its reason, if it failed.
    pub fn end<'a>(self, failures: impl Iterator<Item = Option<(&'static str, &'a str)>>) {
        for (span, failure) in self.0.into_iter().zip(failures) {
            let Some(mut span) = span else { continue };
            if let Some((kind, reason)) = failure {
                fail(&mut span, kind, reason);
            }
            span.end();
        }
    }
}

fn fail(span: &mut SdkSpan, kind: &'static str, reason: &str) {
    span.set_attribute(KeyValue::new("error.type", kind));
    span.set_status(Status::error(reason.to_owned()));
}

fn remote(parent: TraceParent) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(parent.trace_id),
        SpanId::from_bytes(parent.span_id),
        TraceFlags::new(parent.flags),
        true,
        TraceState::NONE,
    )
}

fn parent_of(span: &SdkSpan) -> TraceParent {
    let context = span.span_context();
    TraceParent {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        flags: context.trace_flags().to_u8(),
    }
}

/// Of messages that came without a context: none, if nobody says otherwise.
fn root_sampler() -> Result<Sampler, String> {
    let Ok(name) = env::var(SAMPLER) else {
        return Ok(Sampler::AlwaysOff);
    };
    match name.trim_start_matches("parentbased_") {
        "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" | "" => Ok(Sampler::AlwaysOff),
        "traceidratio" => {
            let text = env::var(SAMPLER_ARG).unwrap_or_else(|_| "1".to_owned());
            let ratio = text.parse().ok().filter(|r| (0.0..=1.0).contains(r));
            let ratio = ratio.ok_or(format!("{SAMPLER_ARG}={text}: write a number from 0 to 1"))?;
            Ok(Sampler::TraceIdRatioBased(ratio))
        }
        _ => Err(format!(
            "{SAMPLER}={name}: write always_on, always_off, traceidratio, or one of them behind parentbased_"
        )),
    }
}
