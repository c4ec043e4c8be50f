//! Rules that hold in the whole table, said without looking at how it is made.

use super::*;
use std::collections::BTreeSet;

const GUARANTEES: [Guarantee; 3] = [
    Guarantee::AtMostOnce,
    Guarantee::AtLeastOnce,
    Guarantee::ExactlyOnce,
];
const ACKS: [Ack; 3] = [Ack::Received, Ack::Stored, Ack::Delivered];
const ON_ERROR: [OnError; 3] = [OnError::Reject, OnError::Skip, OnError::DeadLetter];

/// What a route asks that says nothing but its guarantee.
fn plain(guarantee: Guarantee) -> Asked {
    Asked {
        guarantee,
        ack: Ack::Stored,
        on_error: OnError::Reject,
        on_reject: OnReject::Skip,
        on_full: OnFull::Refuse,
        delayed: false,
        strict: guarantee == Guarantee::ExactlyOnce,
    }
}

/// All that a route can ask.
fn all_asked() -> Vec<Asked> {
    let mut all = Vec::new();
    for guarantee in GUARANTEES {
        for ack in ACKS {
            for on_error in ON_ERROR {
                for on_reject in [OnReject::Skip, OnReject::Block] {
                    for on_full in [OnFull::Refuse, OnFull::DeadLetter] {
                        for (delayed, strict) in
                            [(false, false), (false, true), (true, false), (true, true)]
                        {
                            all.push(Asked {
                                guarantee,
                                ack,
                                on_error,
                                on_reject,
                                on_full,
                                delayed,
                                strict,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

type Field = (Source, Journal, Sink, Asked);

/// Every field of the table with its verdict.
fn for_all(mut each: impl FnMut(Field, &Verdict)) {
    let mut fields = 0;
    for asked in all_asked() {
        for source in Source::ALL {
            for journal in Journal::ALL {
                for sink in Sink::ALL {
                    each(
                        (source, journal, sink, asked),
                        &judge(source, journal, sink, asked),
                    );
                    fields += 1;
                }
            }
        }
    }
    assert_eq!(fields, 8 * 2 * 10 * 3 * 3 * 3 * 2 * 2 * 4);
}

fn is_given(verdict: &Verdict) -> bool {
    verdict.refused.is_empty()
}

#[test]
fn exactly_once_is_given_where_it_is_real_and_nowhere_else() {
    let mut real = BTreeSet::new();
    for_all(|(_, journal, sink, asked), verdict| {
        if asked.guarantee == Guarantee::ExactlyOnce && is_given(verdict) {
            real.insert((journal, sink));
            assert_eq!(
                (asked.on_reject, asked.delayed),
                (OnReject::Skip, false),
                "a strict lane"
            );
            assert_ne!(asked.on_error, OnError::Skip);
            assert_ne!(asked.ack, Ack::Received);
        }
    });
    let expected = [
        (Journal::Local, Sink::Stream),
        (Journal::Local, Sink::Kafka),
        (Journal::Kafka, Sink::Kafka),
    ];
    assert_eq!(real, BTreeSet::from(expected));
}

#[test]
fn exactly_once_needs_an_id_unless_the_source_knows_its_messages() {
    for_all(|(source, _, _, asked), verdict| {
        let knows = matches!(source, Source::MqttQos2 | Source::Kafka);
        let needs = asked.guarantee == Guarantee::ExactlyOnce && !knows;
        let says = verdict.conditions.contains(&Condition::NeedsId);
        assert_eq!(says, needs, "{source:?} {asked:?}");
    });
}

#[test]
fn what_is_acked_before_it_is_stored_is_at_most_once() {
    for_all(|field, verdict| {
        let asked = field.3;
        if asked.ack == Ack::Received && is_given(verdict) {
            assert_eq!(asked.guarantee, Guarantee::AtMostOnce, "{field:?}");
        }
        if asked.guarantee == Guarantee::AtMostOnce {
            assert!(
                verdict.conditions.contains(&Condition::InMemory),
                "{field:?}"
            );
        }
    });
}

/// Whatever makes it strict: it has one order, and nothing holds it but a failure.
#[test]
fn a_strict_lane_neither_delays_nor_blocks() {
    for_all(|field, verdict| {
        let asked = field.3;
        let bends = asked.delayed || asked.on_reject == OnReject::Block;
        if asked.strict && bends {
            assert!(!is_given(verdict), "{field:?}");
        }
    });
}

#[test]
fn what_the_defaults_ask_is_given_everywhere() {
    for source in Source::ALL {
        for journal in Journal::ALL {
            for sink in Sink::ALL {
                let verdict = judge(source, journal, sink, plain(Guarantee::AtLeastOnce));
                assert!(is_given(&verdict), "{source:?} {journal:?} {sink:?}");
            }
        }
    }
}

#[test]
fn who_may_get_more_may_get_less() {
    for_all(|(source, journal, sink, asked), verdict| {
        if asked.guarantee == Guarantee::ExactlyOnce && is_given(verdict) {
            let less = Asked {
                guarantee: Guarantee::AtLeastOnce,
                ..asked
            };
            let less = judge(source, journal, sink, less);
            assert!(is_given(&less), "{source:?} {journal:?} {sink:?} {asked:?}");
        }
    });
}

/// Only a stream of a local journal reads its own tail back.
#[test]
fn where_doubles_can_be_the_id_is_stable() {
    for_all(|(source, journal, sink, asked), verdict| {
        let never_twice = sink == Sink::Stream && journal == Journal::Local;
        let may_be_twice = asked.guarantee == Guarantee::AtLeastOnce && !never_twice;
        let says = verdict.conditions.contains(&Condition::StableId);
        assert_eq!(
            says, may_be_twice,
            "{source:?} {journal:?} {sink:?} {asked:?}"
        );
    });
}

#[test]
fn what_fills_up_takes_no_guarantee_away() {
    for_all(|(source, journal, sink, asked), verdict| {
        let other = Asked {
            on_full: match asked.on_full {
                OnFull::Refuse => OnFull::DeadLetter,
                OnFull::DeadLetter => OnFull::Refuse,
            },
            ..asked
        };
        assert_eq!(*verdict, judge(source, journal, sink, other));
    });
}

/// The advice that every refusal gives, taken literally.
fn follow(refused: Refused, asked: &mut Asked) {
    match refused {
        Refused::NotOffered(_) | Refused::ToCome(_) | Refused::StreamOfOneGateway => {
            asked.guarantee = Guarantee::AtLeastOnce;
        }
        Refused::SkipsWhatFails => asked.on_error = OnError::Reject,
        Refused::StrictCantBlock => asked.on_reject = OnReject::Skip,
        Refused::StrictCantDelay => asked.delayed = false,
        Refused::AckBeforeStored => asked.ack = Ack::Stored,
    }
}

#[test]
fn whoever_does_what_the_refusals_say_is_given_it() {
    for_all(|(source, journal, sink, mut asked), verdict| {
        for refused in &verdict.refused {
            follow(*refused, &mut asked);
            let words = (refused.message("inbox"), refused.instead());
            assert!(!words.0.is_empty() && !words.1.is_empty());
        }
        let again = judge(source, journal, sink, asked);
        assert!(
            is_given(&again),
            "{source:?} {journal:?} {sink:?} {asked:?}"
        );
    });
}

/// The printed page shows three tables; they say all of it.
#[test]
fn the_parts_do_not_depend_on_each_other() {
    for_all(|(source, journal, sink, asked), verdict| {
        let neutral = plain(asked.guarantee);
        let parts = [
            judge(source, Journal::Local, Sink::Stream, neutral),
            judge(Source::Http, journal, sink, neutral),
            judge(Source::Http, Journal::Local, Sink::Stream, asked),
        ];
        // What the neutral values of the other dimensions say by themselves.
        let floor = judge(Source::Http, Journal::Local, Sink::Stream, neutral);
        assert!(floor.refused.is_empty());
        let refused: BTreeSet<_> = parts.iter().flat_map(|p| p.refused.clone()).collect();
        assert_eq!(
            verdict.refused.iter().copied().collect::<BTreeSet<_>>(),
            refused
        );
        for condition in &verdict.conditions {
            let said = parts.iter().any(|p| p.conditions.contains(condition));
            assert!(said, "{condition:?}");
        }
    });
}

/// `refusals` asks on behalf of every source.
#[test]
fn a_source_adds_conditions_and_never_refuses() {
    for_all(|(_, journal, sink, asked), verdict| {
        let of_http = judge(Source::Http, journal, sink, asked);
        assert_eq!(verdict.refused, of_http.refused);
    });
}

#[test]
fn refusals_point_to_the_setting_that_is_to_change() {
    for_all(|(_, _, _, asked), verdict| {
        for refused in &verdict.refused {
            let is_asked = match refused.blame() {
                Blame::Guarantee => asked.guarantee == Guarantee::ExactlyOnce,
                Blame::Ack => asked.ack == Ack::Received,
                Blame::OnReject => asked.on_reject == OnReject::Block,
                Blame::Delay => asked.delayed,
            };
            assert!(is_asked, "{refused:?} {asked:?}");
        }
    });
}
