//! docs/GUARANTEES.md, printed from the table. `UPDATE_EXPECT=1 cargo test --lib guarantees` writes
//! it anew.

use super::*;
use crate::routing::Unrouted;
use std::fmt::Write as _;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/GUARANTEES.md");
const GUARANTEES: [Guarantee; 3] = [
    Guarantee::AtMostOnce,
    Guarantee::AtLeastOnce,
    Guarantee::ExactlyOnce,
];
const ACKS: [Ack; 3] = [Ack::Received, Ack::Stored, Ack::Delivered];

const HEAD: &str = "\
# Guarantees

<!-- Printed from src/config/guarantees.rs. Change it there, then: UPDATE_EXPECT=1 cargo test --lib guarantees -->

Every route says what it guarantees (`guarantee`) and when its publishers are told (`ack`). A target may say its own
`guarantee`. What can't be given is refused by `causeway check` and at the start, with the setting at fault and what to
write instead. The tables below are what `check` goes by; `*` marks what isn't built in yet.

## What a guarantee means

| `guarantee` | for who publishes | for who reads |
| --- | --- | --- |
| `at_most_once` | Nothing is kept: a restart, a full lane or a failure loses the message, and only a counter tells. | What comes is never sent again after an unknown outcome. |
| `at_least_once` (the default) | Once it is acked it is on the disk, and it will be delivered, or held in the dead letters for an operator. | It may come twice after a failure. Each attempt has the same delivery id, by which doubles can be dropped; on a stream there are none. |
| `exactly_once` | The same, once for each identity: whoever publishes again with the same id, within `[dedup] window`, changes nothing. | Who reads committed data sees it once. A program that reads and then acts has to remember its own offset. |

`exactly_once` begins with the first durable accept, and needs an identity: the publisher's id, or what an `[[identity]]`
rule finds. Without one such a publish is refused whole. The dedup window counts running time, starts for such a message
when it is settled, and never forgets it before its end. One exactly_once target makes its destination's lane *strict*
for all that it delivers: in the order of acceptance, a failure that may pass holds the lane, nothing is delayed, a
rejected message is dead-lettered once and passed.

No guarantee outlives the disk: a local journal isn't replicated.
";

const UNROUTED: &str = "\
## What no route matches

| `[unrouted] action` | what becomes of it | who publishes is told |
| --- | --- | --- |
";

const NOT_OFFERED: &str = "\
## Where exactly_once isn't offered, and why

There `at_least_once` is, with a stable delivery id: it is made of the message's identity, the route and the target, so
that two publishers or two routes never suppress each other.
";

fn plain(guarantee: Guarantee) -> Asked {
    Asked {
        guarantee,
        ack: match guarantee {
            Guarantee::AtMostOnce => Ack::Received,
            _ => Ack::Stored,
        },
        on_error: OnError::Reject,
        on_reject: OnReject::Skip,
        on_full: OnFull::Refuse,
        delayed: false,
        strict: false,
    }
}

fn star(is_built_in: bool) -> &'static str {
    if is_built_in { "" } else { " *" }
}

/// The guarantees as headings.
fn columns() -> [String; 3] {
    GUARANTEES.map(|g| format!("`{}`", g.as_str()))
}

fn row<S: AsRef<str>>(out: &mut String, cells: impl IntoIterator<Item = S>) {
    for cell in cells {
        write!(out, "| {} ", cell.as_ref()).expect("in memory");
    }
    out.push_str("|\n");
}

fn header(out: &mut String, cells: &[&str]) {
    row(out, cells);
    row(out, cells.iter().map(|_| "---"));
}

/// A field of a table: no, or yes with the conditions that the others of its row don't have.
fn field(verdict: &Verdict) -> String {
    if !verdict.refused.is_empty() {
        return "no".to_owned();
    }
    let conditions = verdict.conditions.iter();
    let words: Vec<&str> = conditions
        .filter(|c| !matches!(c, Condition::InMemory | Condition::AckIsReceived))
        .map(|c| c.as_str())
        .collect();
    match words.is_empty() {
        true => "yes".to_owned(),
        false => format!("yes: {}", words.join("; ")),
    }
}

/// What whoever hands a message over hears, and when.
fn hears(source: Source, told: Ack) -> &'static str {
    use Source::{Grpc, Http, Kafka, MqttQos0, MqttQos1, MqttQos2, Rabbitmq, Sqs};
    match (source, told) {
        (Http, Ack::Received | Ack::Stored) => "202",
        (Http, Ack::Delivered) => {
            "200; 504 if `ack_timeout` passes first: stored, outcome pending; 422 if it is held in \
             the dead letters: don't resend"
        }
        (Grpc, Ack::Received | Ack::Stored) => "OK",
        (Grpc, Ack::Delivered) => {
            "OK; after `ack_timeout`: stored, outcome pending; or held in the dead letters: don't \
             resend"
        }
        (MqttQos0, _) => "nothing",
        (MqttQos1, Ack::Delivered) => "PUBACK, when the outcome is known",
        (MqttQos1, _) => "PUBACK",
        (MqttQos2, Ack::Delivered) => "PUBREC, when the outcome is known",
        (MqttQos2, _) => "PUBREC",
        (Kafka, Ack::Delivered) => "its offset is committed when the outcome is known",
        (Kafka, _) => "its offset is committed",
        (Rabbitmq, Ack::Delivered) => "it is acknowledged when the outcome is known",
        (Rabbitmq, _) => "it is acknowledged",
        (Sqs, Ack::Delivered) => "it is deleted when the outcome is known",
        (Sqs, _) => "it is deleted",
    }
}

/// What a destination's confirmation is, for `ack = "delivered"`.
fn confirms(sink: Sink) -> &'static str {
    match sink {
        Sink::Stream => "the record is fsynced",
        Sink::Kafka => "all in-sync replicas have it; exactly_once: its transaction is committed",
        Sink::Rabbitmq => "the publisher confirm came, and no return",
        Sink::Sns | Sink::SnsFifo | Sink::Sqs | Sink::SqsFifo => {
            "AWS says so for this entry of the batch"
        }
        Sink::Webhook => "a 2xx",
        Sink::Grpc => "the service answers `delivered`",
        Sink::Mqtt => "the sessions of its subscribers have it",
        #[cfg(feature = "faults")]
        Sink::Faulty => "its script says so",
    }
}

fn acks(out: &mut String) {
    out.push_str(
        "\n## What an ack means\n\n`received`: nothing is kept yet. `stored`: fsynced in the journal; the default. \
         `delivered`: confirmed by every target\nthat isn't at_most_once. Where several routes match, the strongest \
         wins. A client that goes away changes nothing. MQTT and\nsources wait for the outcome as long as it takes; \
         how much they have in flight is the back-pressure.\n\n",
    );
    header(
        out,
        &["who hands it over", "`received`, `stored`", "`delivered`"],
    );
    for source in Source::ALL {
        let name = format!("{}{}", source.as_str(), star(source.is_built_in()));
        row(
            out,
            [
                name.as_str(),
                hears(source, Ack::Stored),
                hears(source, Ack::Delivered),
            ],
        );
    }
}

fn sources(out: &mut String) {
    out.push_str("\n## From where\n\n");
    let names = columns();
    header(out, &["source", &names[0], &names[1], &names[2]]);
    for source in Source::ALL {
        let name = format!("{}{}", source.as_str(), star(source.is_built_in()));
        let of = |g| field(&judge(source, Journal::Local, Sink::Stream, plain(g)));
        let cells = GUARANTEES.map(of);
        row(out, [&name, &cells[0], &cells[1], &cells[2]]);
    }
    out.push_str(
        "\nQoS 2 and a Kafka source's offsets say by themselves whether a message was there before. What their own \
         publishers\nsent twice they can't know: that takes an id, or an `[[identity]]` rule.\n",
    );
}

fn sinks(out: &mut String) {
    out.push_str("\n## To where\n\n");
    let names = columns();
    header(
        out,
        &[
            "destination",
            "journal",
            &names[0],
            &names[1],
            &names[2],
            "`delivered` is said when",
        ],
    );
    for sink in Sink::ALL {
        let name = format!("{}{}", sink.as_str(), star(sink.is_built_in()));
        // What the source asks for is in its own table.
        let of =
            |journal| GUARANTEES.map(|g| field(&judge(Source::MqttQos2, journal, sink, plain(g))));
        let logs = Journal::ALL.map(|j| format!("{}{}", j.as_str(), star(j.is_built_in())));
        let mut rows = vec![(logs.join(", "), of(Journal::Local))];
        if of(Journal::Local) != of(Journal::Kafka) {
            let each = logs.into_iter().zip(Journal::ALL.map(of));
            rows = each.collect();
        }
        for (log, cells) in rows {
            row(
                out,
                [&name, &log, &cells[0], &cells[1], &cells[2], confirms(sink)],
            );
        }
    }
}

/// A setting of a route beside its guarantee.
struct Wish {
    words: &'static str,
    change: fn(&mut Asked),
}

const WISHES: [Wish; 10] = [
    Wish {
        words: "`ack = \"received\"`",
        change: |a| a.ack = Ack::Received,
    },
    Wish {
        words: "`ack = \"stored\"`",
        change: |a| a.ack = Ack::Stored,
    },
    Wish {
        words: "`ack = \"delivered\"`",
        change: |a| a.ack = Ack::Delivered,
    },
    Wish {
        words: "`on_error = \"dead_letter\"`",
        change: |a| a.on_error = OnError::DeadLetter,
    },
    Wish {
        words: "`on_error = \"skip\"`",
        change: |a| a.on_error = OnError::Skip,
    },
    Wish {
        words: "`on_reject = \"block\"`",
        change: |a| a.on_reject = OnReject::Block,
    },
    Wish {
        words: "`on_reject = \"block\"`, and another target makes the lane strict",
        change: |a| {
            a.on_reject = OnReject::Block;
            a.strict = true;
        },
    },
    Wish {
        words: "`on_full = \"dead_letter\"`",
        change: |a| a.on_full = OnFull::DeadLetter,
    },
    Wish {
        words: "`delay`",
        change: |a| a.delayed = true,
    },
    Wish {
        words: "`delay`, and another target makes the lane strict",
        change: |a| {
            a.delayed = true;
            a.strict = true;
        },
    },
];

fn wishes(out: &mut String) {
    out.push_str("\n## What a route may ask beside\n\n");
    let names = columns();
    header(out, &["setting", &names[0], &names[1], &names[2]]);
    let mut refused = Vec::new();
    for wish in &WISHES {
        let cells = GUARANTEES.map(|guarantee| {
            let mut asked = plain(guarantee);
            (wish.change)(&mut asked);
            let verdict = judge(Source::MqttQos2, Journal::Local, Sink::Stream, asked);
            for why in &verdict.refused {
                if !refused.contains(why) {
                    refused.push(*why);
                }
            }
            let is_said = verdict.conditions.contains(&Condition::AckIsReceived);
            match is_said && verdict.refused.is_empty() {
                true => format!("yes: {}", Condition::AckIsReceived.as_str()),
                false => field(&verdict),
            }
        });
        row(out, [wish.words, &cells[0], &cells[1], &cells[2]]);
    }
    out.push_str("\nThe reasons, as `check` says them, and what it says to write instead:\n\n");
    for why in refused {
        writeln!(
            out,
            "- {}. {}.",
            why.message("inbox"),
            capital(why.instead())
        )
        .expect("in memory");
    }
    out.push('\n');
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn unrouted(out: &mut String) {
    out.push_str(UNROUTED);
    for action in [Unrouted::Reject, Unrouted::DeadLetter, Unrouted::Drop] {
        let cells = match action {
            Unrouted::Reject => [
                "`reject` (the default)",
                "nothing is kept of it",
                "refused: no route matches (HTTP 404)",
            ],
            Unrouted::DeadLetter => [
                "`dead_letter`",
                "stored, and held in the door's dead letters",
                "`stored`",
            ],
            Unrouted::Drop => [
                "`drop`",
                "nothing is kept of it, nor is its id remembered",
                "`received`",
            ],
        };
        row(out, cells);
    }
    out.push('\n');
}

fn not_offered(out: &mut String) {
    out.push_str(NOT_OFFERED);
    out.push('\n');
    for sink in Sink::ALL {
        if let Some(why) = sink.why_twice() {
            writeln!(out, "- {}: {why}.", sink.as_str()).expect("in memory");
        }
    }
    let words = Refused::StreamOfOneGateway.message("inbox");
    let (_, why) = words.split_once(": ").unwrap_or_default();
    writeln!(out, "- stream, with `[journal] kind = \"kafka\"`: {why}.").expect("in memory");
}

fn render() -> String {
    let mut out = HEAD.to_owned();
    acks(&mut out);
    sources(&mut out);
    sinks(&mut out);
    wishes(&mut out);
    unrouted(&mut out);
    not_offered(&mut out);
    out
}

#[test]
fn the_page_is_as_printed() {
    let printed = render();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(PAGE, &printed).expect("the page can be written");
    }
    let page = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        page == printed,
        "docs/GUARANTEES.md isn't what the code says: UPDATE_EXPECT=1 cargo test --lib guarantees\n{printed}"
    );
}

/// `ack` names are spelled as routes.toml has them.
#[test]
fn every_ack_and_guarantee_is_on_the_page() {
    let page = render();
    for word in ACKS
        .map(Ack::as_str)
        .into_iter()
        .chain(GUARANTEES.map(Guarantee::as_str))
    {
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
}
