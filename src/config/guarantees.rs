//! Promise 4: what is given, from where to where, and what of it a route may ask. Pure.
//!
//! What lives here: the whole table, kinds that aren't built in included. docs/GUARANTEES.md is
//! printed from it (`page`). What must not: files, places, names of a user's destinations.
//!
//! The answer has three parts that don't know each other: the source's, the destination's with the
//! journal's, and the route's own. So three small tables say all of the large one; a test holds
//! that against every combination.

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;

use crate::message::{Ack, Guarantee};
use crate::routing::{OnError, OnFull, OnReject};

/// Who hands an envelope over, as far as guarantees can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Http,
    Grpc,
    MqttQos0,
    MqttQos1,
    MqttQos2,
    Kafka,
    Rabbitmq,
    Sqs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Journal {
    Local,
    /// Several gateways, one log.
    Kafka,
}

/// A destination, as far as guarantees can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    Stream,
    Kafka,
    Rabbitmq,
    Sns,
    SnsFifo,
    Sqs,
    SqsFifo,
    Webhook,
    Grpc,
    Mqtt,
    /// The test build's; not in `ALL`.
    #[cfg(feature = "faults")]
    Faulty,
}

/// What a route asks for one of its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub guarantee: Guarantee,
    pub ack: Ack,
    pub on_error: OnError,
    pub on_reject: OnReject,
    pub on_full: OnFull,
    /// The target has a `delay`.
    pub delayed: bool,
    /// Some target, this or another, makes the destination's lane strict.
    pub strict: bool,
}

/// Given, if nothing is refused: then the conditions tell what it hangs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub refused: Vec<Refused>,
    pub conditions: Vec<Condition>,
}

/// Why it can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// This destination can't take a delivery exactly once.
    NotOffered(Sink),
    /// A later version gives it.
    ToCome(Sink),
    /// exactly_once to a stream, which another gateway of the same journal doesn't have.
    StreamOfOneGateway,
    /// exactly_once, and what can't be rendered is skipped.
    SkipsWhatFails,
    /// A strict lane passes a rejected message; it can't hold its key.
    StrictCantBlock,
    /// A strict lane delivers in the order of acceptance.
    StrictCantDelay,
    /// `ack = "received"`, and something is to be kept.
    AckBeforeStored,
}

/// What a guarantee that is given hangs on, or comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// A publish without identity is refused.
    NeedsId,
    /// QoS 0: there is no ack, so before it is accepted a message may be lost unnoticed.
    NobodyIsTold,
    /// A FIFO topic or queue: a message without key is refused.
    NeedsKey,
    /// It may come twice, each time under the same delivery id.
    StableId,
    /// A FIFO topic or queue drops doubles for five minutes only.
    FiveMinutes,
    /// In memory only: gone at a restart, discarded and counted where there is no room.
    InMemory,
    /// Nothing is stored and no outcome waited for: the ack is `received`, whatever was asked.
    AckIsReceived,
}

/// The setting that is to be written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Guarantee,
    Ack,
    OnReject,
    Delay,
}

impl Source {
    pub const ALL: [Self; 8] = [
        Self::Http,
        Self::Grpc,
        Self::MqttQos0,
        Self::MqttQos1,
        Self::MqttQos2,
        Self::Kafka,
        Self::Rabbitmq,
        Self::Sqs,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Grpc => "gRPC",
            Self::MqttQos0 => "MQTT, QoS 0",
            Self::MqttQos1 => "MQTT, QoS 1",
            Self::MqttQos2 => "MQTT, QoS 2",
            Self::Kafka => "Kafka source",
            Self::Rabbitmq => "RabbitMQ source",
            Self::Sqs => "SQS source",
        }
    }

    #[must_use]
    pub const fn is_built_in(self) -> bool {
        matches!(self, Self::Http | Self::Grpc)
    }

    /// Each message is known again without an id of its own: by QoS 2's handshake, by its offset.
    const fn knows_its_messages(self) -> bool {
        matches!(self, Self::MqttQos2 | Self::Kafka)
    }

    fn conditions(self, guarantee: Guarantee) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if guarantee == Guarantee::ExactlyOnce && !self.knows_its_messages() {
            conditions.push(Condition::NeedsId);
        }
        if self == Self::MqttQos0 && guarantee != Guarantee::AtMostOnce {
            conditions.push(Condition::NobodyIsTold);
        }
        conditions
    }
}

impl Journal {
    pub const ALL: [Self; 2] = [Self::Local, Self::Kafka];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kafka => "kafka",
        }
    }

    #[must_use]
    pub const fn is_built_in(self) -> bool {
        matches!(self, Self::Local)
    }
}

impl Sink {
    pub const ALL: [Self; 10] = [
        Self::Stream,
        Self::Kafka,
        Self::Rabbitmq,
        Self::Sns,
        Self::SnsFifo,
        Self::Sqs,
        Self::SqsFifo,
        Self::Webhook,
        Self::Grpc,
        Self::Mqtt,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Kafka => "Kafka topic",
            Self::Rabbitmq => "RabbitMQ queue",
            Self::Sns => "SNS topic",
            Self::SnsFifo => "SNS FIFO topic",
            Self::Sqs => "SQS queue",
            Self::SqsFifo => "SQS FIFO queue",
            Self::Webhook => "webhook",
            Self::Grpc => "gRPC service",
            Self::Mqtt => "MQTT subscribers",
            #[cfg(feature = "faults")]
            Self::Faulty => "faulty",
        }
    }

    /// By the word of a destination's `type`. FIFO or not is refused alike.
    #[must_use]
    pub fn of_type(word: &str) -> Option<Self> {
        Some(match word {
            "stream" => Self::Stream,
            "kafka" => Self::Kafka,
            "rabbitmq" => Self::Rabbitmq,
            "sns" => Self::Sns,
            "sqs" => Self::Sqs,
            "webhook" => Self::Webhook,
            "grpc" => Self::Grpc,
            "mqtt" => Self::Mqtt,
            #[cfg(feature = "faults")]
            "faulty" => Self::Faulty,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Stream | Self::Kafka | Self::Rabbitmq | Self::Webhook | Self::Grpc => true,
            #[cfg(feature = "faults")]
            Self::Faulty => true,
            _ => false,
        }
    }

    /// Why a delivery whose outcome is unknown must be sent again, and may then be there twice.
    /// `None`: what is there can be read back or undone, so exactly_once is real.
    const fn why_twice(self) -> Option<&'static str> {
        match self {
            Self::Stream | Self::Kafka => None,
            Self::Rabbitmq => Some(
                "RabbitMQ has no transaction that takes a message together with the journal's \
                 progress: a confirm that is lost leaves the message in doubt",
            ),
            Self::Sns | Self::Sqs => Some(
                "an answer that is lost leaves the message in doubt, and AWS may double it too",
            ),
            Self::SnsFifo | Self::SqsFifo => Some(
                "AWS drops doubles for five minutes only, and an outage may last longer than that",
            ),
            Self::Webhook | Self::Grpc => Some(
                "an answer that is lost leaves the message in doubt: only its receiver can tell",
            ),
            Self::Mqtt => Some("subscribers acknowledge for themselves, and may be sent it again"),
            #[cfg(feature = "faults")]
            Self::Faulty => Some("it is of type = \"faulty\""),
        }
    }

    const fn is_fifo(self) -> bool {
        matches!(self, Self::SnsFifo | Self::SqsFifo)
    }

    fn verdict(self, journal: Journal, guarantee: Guarantee) -> Verdict {
        let mut verdict = Verdict::default();
        let why_twice = self.why_twice();
        if guarantee == Guarantee::ExactlyOnce {
            if why_twice.is_some() {
                verdict.refused.push(Refused::NotOffered(self));
            } else if self == Self::Stream && journal == Journal::Kafka {
                verdict.refused.push(Refused::StreamOfOneGateway);
            }
        }
        if self.is_fifo() {
            verdict.conditions.push(Condition::NeedsKey);
        }
        // A stream reads its own tail back: it never holds a delivery twice, whatever is declared.
        if guarantee == Guarantee::AtLeastOnce
            && !(self == Self::Stream && journal == Journal::Local)
        {
            verdict.conditions.push(Condition::StableId);
            if self.is_fifo() {
                verdict.conditions.push(Condition::FiveMinutes);
            }
        }
        verdict
    }
}

impl Asked {
    fn verdict(self) -> Verdict {
        let mut verdict = Verdict::default();
        let exactly_once = self.guarantee == Guarantee::ExactlyOnce;
        let strict = self.strict || exactly_once;
        let in_memory = self.guarantee == Guarantee::AtMostOnce;
        let refusals = [
            (
                exactly_once && self.on_error == OnError::Skip,
                Refused::SkipsWhatFails,
            ),
            (
                strict && self.on_reject == OnReject::Block,
                Refused::StrictCantBlock,
            ),
            (strict && self.delayed, Refused::StrictCantDelay),
            (
                self.ack == Ack::Received && !in_memory,
                Refused::AckBeforeStored,
            ),
        ];
        let refused = refusals.into_iter().filter(|(is_so, _)| *is_so);
        verdict.refused.extend(refused.map(|(_, refused)| refused));
        if in_memory {
            verdict.conditions.push(Condition::InMemory);
            if self.ack != Ack::Received {
                verdict.conditions.push(Condition::AckIsReceived);
            }
        }
        verdict
    }
}

/// One field of the whole table.
#[must_use]
pub fn judge(source: Source, journal: Journal, sink: Sink, asked: Asked) -> Verdict {
    let mut verdict = sink.verdict(journal, asked.guarantee);
    let own = asked.verdict();
    verdict.refused.extend(own.refused);
    verdict.conditions.extend(own.conditions);
    verdict
        .conditions
        .extend(source.conditions(asked.guarantee));
    verdict.conditions.sort_unstable();
    verdict
}

/// What can be given, and isn't yet.
const fn is_to_come(sink: Sink, guarantee: Guarantee) -> bool {
    matches!((sink, guarantee), (Sink::Kafka, Guarantee::ExactlyOnce))
}

/// What lies in a journal of one gateway is all that this version writes.
#[must_use]
pub fn refusals(sink: Sink, asked: Asked) -> Vec<Refused> {
    // The source can only add conditions.
    let mut refused = judge(Source::Http, Journal::Local, sink, asked).refused;
    if is_to_come(sink, asked.guarantee) {
        refused.push(Refused::ToCome(sink));
    }
    refused
}

impl Refused {
    /// The setting at fault: where `check` points.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::NotOffered(_)
            | Self::ToCome(_)
            | Self::StreamOfOneGateway
            | Self::SkipsWhatFails => Blame::Guarantee,
            Self::StrictCantBlock => Blame::OnReject,
            Self::StrictCantDelay => Blame::Delay,
            Self::AckBeforeStored => Blame::Ack,
        }
    }

    /// `destination` as the user names it.
    #[must_use]
    pub fn message(self, destination: &str) -> String {
        match self {
            Self::NotOffered(sink) => {
                let why = sink.why_twice().unwrap_or("it isn't offered");
                format!("{destination:?} can't deliver exactly_once: {why}")
            }
            Self::ToCome(sink) => format!(
                "{destination:?} can't deliver exactly_once: to a {} it is not built in",
                sink.as_str()
            ),
            Self::StreamOfOneGateway => format!(
                "{destination:?} can't deliver exactly_once: a stream is on the disk of one gateway, and \
                 with [journal] kind = \"kafka\" another one may go on with what it owes"
            ),
            Self::SkipsWhatFails => "exactly_once can't hold with on_error = \"skip\": what can't \
                                     be rendered would not be delivered at all"
                .to_owned(),
            Self::StrictCantBlock => format!(
                "on_reject = \"block\" can't hold for {destination:?}: an exactly_once target \
                 makes it one line, in which a rejected message is dead-lettered and passed"
            ),
            Self::StrictCantDelay => format!(
                "{destination:?} can't delay: a target with guarantee = \"exactly_once\" makes \
                 it deliver everything in the order of acceptance"
            ),
            Self::AckBeforeStored => {
                "ack = \"received\" goes with guarantee = \"at_most_once\" only: with any other \
                 the message is stored first"
                    .to_owned()
            }
        }
    }

    /// What to write instead.
    #[must_use]
    pub const fn instead(self) -> &'static str {
        match self {
            Self::NotOffered(_) | Self::ToCome(_) => {
                "write guarantee = \"at_least_once\": every attempt of a delivery has the same id, \
                 by which its reader can drop doubles"
            }
            Self::StreamOfOneGateway => {
                "write guarantee = \"at_least_once\", send it to a kafka destination, or keep the \
                 journal local"
            }
            Self::SkipsWhatFails => "write on_error = \"reject\" or \"dead_letter\" in this route",
            Self::StrictCantBlock => "write on_reject = \"skip\"",
            Self::StrictCantDelay => {
                "take the delay out, or send what is delayed to a destination of its own"
            }
            Self::AckBeforeStored => {
                "write ack = \"stored\": it waits for one fsync, which many messages share"
            }
        }
    }
}

impl Condition {
    /// What `explain` and the page say of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeedsId => "a publish without an id is refused",
            Self::NobodyIsTold => {
                "QoS 0 has no ack: until it is accepted a message may be lost unnoticed"
            }
            Self::NeedsKey => "a message without a key is refused: it is the message group",
            Self::StableId => "it may come twice, each time with the same delivery id",
            Self::FiveMinutes => "doubles are dropped by AWS, for five minutes",
            Self::InMemory => {
                "it lives in memory: gone at a restart, discarded and counted where there is no room"
            }
            Self::AckIsReceived => "the ack is `received` unless another target asks for more",
        }
    }
}
