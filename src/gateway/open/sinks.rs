//! A lane's sinks on the disk: its dead-letter log, and its stream if it has one. Opened at the start, and
//! by a reload while the gateway runs.

use super::super::explain;
use super::{
    MAX_SEGMENT_BYTES, MIN_DEAD_LETTER_SEGMENT_BYTES, free_space, min_segment_bytes, seed,
};
use super::{grpc_options, kafka_options, rabbitmq_options, webhook_options};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::{self, Destination, DestinationKind};
use crate::egress::stream::{
    JournalState, Opened, Retention, StreamDestination, StreamLog, StreamOptions,
};
use crate::egress::{DeadLetterLog, Egress, GrpcSink, Kafka, NameBook, Rabbitmq, Webhook};
use crate::journal::{self, LaneState, SettleGroup, Shared, SinkMarks};
use crate::log::disk::Disk;
use crate::log::{LogKind, Sizes};
use crate::message::{DeliveryId, LogUuid, Outcome, Position};
use std::collections::VecDeque;
use std::sync::Arc;

/// What opening sinks takes of the house. Folders and the sizes of segments are those of the start:
/// the journal's records are no larger, whatever a reload says since.
pub struct Site {
    pub started: Settings,
    pub clock: Clock,
    pub disk: Arc<dyn Disk>,
    pub names: Arc<NameBook>,
    pub shared: Arc<Shared>,
}

/// What a sink holds of the journal's deliveries from its mark on.
pub struct Held {
    deliveries: Vec<DeliveryId>,
    outcome: Outcome,
    marks: SinkMarks,
}

impl Held {
    /// Of a sink that nobody reads back.
    const fn nothing() -> Self {
        Self {
            deliveries: Vec::new(),
            outcome: Outcome::Delivered,
            marks: SinkMarks {
                sink: 0,
                dead_letters: 0,
            },
        }
    }
}

impl Site {
    /// `next`: the position that the next accepted envelope will get.
    pub fn dead_letters(
        &self,
        lane: &LaneState,
        max_bytes: u64,
        next: Position,
    ) -> Result<(Arc<DeadLetterLog>, Held), String> {
        let folder = match lane.id {
            journal::DOOR_LANE => "$door",
            _ => lane.name.as_str(),
        };
        let min = MIN_DEAD_LETTER_SEGMENT_BYTES.max(min_segment_bytes(&self.started) / 2);
        let options = StreamOptions {
            dir: self.started.gateway.data_dir.join("dead").join(folder),
            kind: LogKind::DeadLetters,
            sizes: Sizes {
                min_segment_bytes: min,
                max_segment_bytes: min,
                reserve_segments: 0,
            },
            retention: Retention::default(),
            max_bytes: Some(max_bytes),
            keep_free_bytes: free_space(&self.started).dead_letters_leave(),
            room_told: None,
            seed: seed()?,
        };
        let state = self.journal_state(lane.ledger().marks().dead_letters, next);
        let opened = StreamLog::open(Arc::clone(&self.disk), options, state)
            .map_err(|e| explain::sink(&format!("the dead letters of {}", lane.name), &e))?;
        tell(&format!("the dead letters of {}", lane.name), &opened);
        let held = Held {
            deliveries: opened.held,
            outcome: Outcome::DeadLettered,
            marks: SinkMarks {
                sink: 0,
                dead_letters: opened.next_offset,
            },
        };
        let name: Arc<str> = lane.name.as_str().into();
        let names = Arc::clone(&self.names);
        let log = DeadLetterLog::new(opened.log, names, name, self.clock.clone());
        Ok((Arc::new(log), held))
    }

    pub fn egress(
        &self,
        lane: &LaneState,
        spec: &Destination,
        next: Position,
    ) -> Result<(Egress, Option<LogUuid>, Held), String> {
        match &spec.kind {
            DestinationKind::Stream { retention } => {
                let (stream, held) = self.stream(lane, retention, next)?;
                let uuid = stream.uuid();
                Ok((Egress::Stream(stream), Some(uuid), held))
            }
            #[cfg(feature = "faults")]
            DestinationKind::Faulty { script, record } => {
                use crate::egress::{KeyOrder, faulty};
                let script = script_of(&spec.name, script)?;
                let timeout = Some(spec.lane.timeout);
                let faulty = faulty::Faulty::to_file(script, KeyOrder::OneAtATime, timeout, record)
                    .map_err(|e| format!("{}: {}: {e}", spec.name, record.display()))?;
                Ok((Egress::Faulty(faulty), None, Held::nothing()))
            }
            DestinationKind::Webhook(hook) => {
                let webhook = self.webhook(hook, spec)?;
                Ok((Egress::Webhook(webhook), None, Held::nothing()))
            }
            DestinationKind::Rabbitmq(broker) => {
                let rabbitmq = self.rabbitmq(broker, spec)?;
                Ok((Egress::Rabbitmq(rabbitmq), None, Held::nothing()))
            }
            DestinationKind::Grpc(sink) => {
                let sink = self.grpc(sink, spec)?;
                Ok((Egress::Grpc(sink), None, Held::nothing()))
            }
            DestinationKind::Kafka(kafka) => {
                let gateway = &self.started.gateway.name;
                let options = kafka_options(kafka, gateway, spec.lane.timeout);
                let name: Arc<str> = spec.name.as_str().into();
                let kafka = Kafka::new(options, Arc::clone(&self.names), name)
                    .map_err(|e| format!("{}: {e}", spec.name))?;
                Ok((Egress::Kafka(kafka), None, Held::nothing()))
            }
        }
    }

    fn rabbitmq(
        &self,
        broker: &settings::Rabbitmq,
        spec: &Destination,
    ) -> Result<Rabbitmq, String> {
        let options = rabbitmq_options(broker, spec.lane.timeout);
        let names = Arc::clone(&self.names);
        let gateway = &self.started.gateway.name;
        let name: Arc<str> = spec.name.as_str().into();
        Rabbitmq::new(options, names, name, gateway, self.clock.clone())
            .map_err(|e| format!("{}: {e}", spec.name))
    }

    fn webhook(&self, hook: &settings::Webhook, spec: &Destination) -> Result<Webhook, String> {
        let options = webhook_options(hook, spec.lane.timeout);
        let names = Arc::clone(&self.names);
        let gateway = self.started.gateway.name.clone();
        let name: Arc<str> = spec.name.as_str().into();
        Webhook::new(&options, names, name, gateway, self.clock.clone())
            .map_err(|e| format!("{}: {e}", spec.name))
    }

    fn grpc(&self, sink: &settings::Grpc, spec: &Destination) -> Result<GrpcSink, String> {
        let options = grpc_options(sink, spec.lane.timeout);
        let names = Arc::clone(&self.names);
        let gateway = self.started.gateway.name.clone();
        let name: Arc<str> = spec.name.as_str().into();
        GrpcSink::new(&options, names, name, gateway, self.clock.clone())
            .map_err(|e| format!("{}: {e}", spec.name))
    }

    fn stream(
        &self,
        lane: &LaneState,
        retention: &settings::Retention,
        next: Position,
    ) -> Result<(StreamDestination, Held), String> {
        let min = min_segment_bytes(&self.started);
        let options = StreamOptions {
            dir: self
                .started
                .gateway
                .data_dir
                .join("streams")
                .join(&lane.name),
            kind: LogKind::Stream,
            sizes: Sizes {
                min_segment_bytes: min,
                max_segment_bytes: MAX_SEGMENT_BYTES.max(min),
                reserve_segments: 0,
            },
            retention: retention_of(retention),
            max_bytes: None,
            keep_free_bytes: free_space(&self.started).streams_leave(),
            room_told: Some(Arc::clone(&lane.sink_room)),
            seed: seed()?,
        };
        let state = self.journal_state(lane.ledger().marks().sink, next);
        let opened = StreamLog::open(Arc::clone(&self.disk), options, state)
            .map_err(|e| explain::sink(&format!("the stream {}", lane.name), &e))?;
        tell(&lane.name, &opened);
        let held = Held {
            deliveries: opened.held,
            outcome: Outcome::Delivered,
            marks: SinkMarks {
                sink: opened.next_offset,
                dead_letters: 0,
            },
        };
        let name: Arc<str> = lane.name.as_str().into();
        let names = Arc::clone(&self.names);
        let stream = StreamDestination::new(opened.log, names, name, self.clock.clone());
        Ok((stream, held))
    }

    /// Promise 5: what a sink holds counts as settled, before its lane delivers anything.
    pub fn held(
        &self,
        lane: &LaneState,
        held: &Held,
        waiting: &VecDeque<SettleGroup>,
    ) -> Result<Option<SettleGroup>, String> {
        let settlements = journal::settlements_for(
            &self.shared,
            lane.id,
            &held.deliveries,
            held.outcome,
            waiting,
        )
        .map_err(|e| format!("{}: {e}", lane.name))?;
        // All of the dead letters is settled then: they can be seen, also where a repair forgot marks.
        let known = lane.ledger().marks().dead_letters;
        if settlements.is_empty() && held.marks.dead_letters <= known {
            return Ok(None);
        }
        if !settlements.is_empty() {
            tracing::info!(lane = %lane.name, deliveries = settlements.len(),
            "its sink holds deliveries that the journal had not settled");
        }
        Ok(Some(SettleGroup {
            lane: lane.id,
            settlements,
            marks: held.marks,
        }))
    }

    fn journal_state(&self, mark: u64, next_position: Position) -> JournalState {
        JournalState {
            uuid: self.shared.reader.uuid(),
            epoch: self.shared.epoch,
            next_position,
            mark,
        }
    }
}

pub fn retention_of(retention: &settings::Retention) -> Retention {
    Retention {
        max_bytes: Some(retention.max_bytes),
        max_age: Some(retention.max_age),
    }
}

#[cfg(feature = "faults")]
pub fn script_of(destination: &str, script: &str) -> Result<crate::egress::faulty::Script, String> {
    script
        .parse()
        .map_err(|e| format!("{destination}: script: {e}"))
}

/// What opening a sink found that an operator may want to know.
fn tell(sink: &str, opened: &Opened) {
    if let Some(cut) = &opened.cut {
        tracing::warn!(file = %cut.path.display(), byte = cut.offset,
            "{sink}: cut a torn batch off its end: it will be delivered again");
    }
    if let Some(mark) = opened.lost_mark {
        tracing::warn!(
            mark,
            next_offset = opened.next_offset,
            "{sink}: it ends before what the journal has settled: its folder was deleted, or is an older copy"
        );
    }
}
