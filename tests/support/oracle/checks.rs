//! The judgement: pure, over what publishers and readers brought home.

use super::content::{Name, message};
use super::publisher::Acked;
use super::violation::{Kind, Violation};
use crate::support::metrics::{Counts, CountsByDestination};
use std::collections::{BTreeMap, HashMap, HashSet};

/// So many of one kind are told in full: the first say it all.
const SHOWN_OF_A_KIND: usize = 5;

/// What stood at one destination in the end, in its order.
#[derive(Clone, Copy)]
pub struct Arrived<'a> {
    pub seed: u64,
    pub destination: &'a str,
    pub names: &'a [Name],
    /// A destination may get a message again, but for a stream.
    pub doubles: Doubles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubles {
    Never,
    Allowed,
}

/// Every acknowledged message arrived (once), nothing came that wasn't published there, and each
/// key's first deliveries came in the order of acceptance.
pub fn arrivals(arrived: Arrived<'_>, acked: &[Acked]) -> Vec<Violation> {
    let destination = arrived.destination;
    let mut violations = Vec::new();
    let mut first: HashMap<Name, usize> = HashMap::new();
    let mut last_of_key: HashMap<(u32, String), Name> = HashMap::new();
    for (offset, name) in arrived.names.iter().enumerate() {
        if let Some(earlier) = first.get(name) {
            if arrived.doubles == Doubles::Never {
                let detail = format!("{destination}: {} at {earlier} and {offset}", name.id());
                violations.push(Violation::new(Kind::Doubled, detail));
            }
            continue;
        }
        first.insert(*name, offset);
        let message = message(arrived.seed, *name);
        if !message.arrives_at(destination) {
            let detail = format!("{destination}: {} ({})", name.id(), message.topic);
            violations.push(Violation::new(Kind::Foreign, detail));
        }
        // A publisher sends one after another, so its numbers have the order of acceptance.
        if let Some(key) = message.key
            && let Some(before) = last_of_key.insert((name.publisher, key.clone()), *name)
            && before > *name
        {
            let (before, after) = (before.id(), name.id());
            let detail = format!("{destination}: key {key}: {before}, then {after} at {offset}");
            violations.push(Violation::new(Kind::OutOfOrder, detail));
        }
    }
    for acked in acked
        .iter()
        .filter(|acked| !first.contains_key(&acked.name))
    {
        if message(arrived.seed, acked.name).arrives_at(destination) {
            let (id, position) = (acked.name.id(), acked.position);
            let detail = format!("{destination}: {id}, acknowledged at position {position}");
            violations.push(Violation::new(Kind::Lost, detail));
        }
    }
    violations
}

/// Two ids never get one position.
pub fn positions(acked: &[Acked]) -> Vec<Violation> {
    let mut owner: HashMap<u64, Name> = HashMap::new();
    let mut violations = Vec::new();
    for acked in acked {
        if let Some(other) = owner.insert(acked.position, acked.name) {
            let (one, two) = (other.id(), acked.name.id());
            let detail = format!("position {} was given to {one} and {two}", acked.position);
            violations.push(Violation::new(Kind::Numbering, detail));
        }
    }
    violations
}

/// A record shows each message at the position of its receipt.
pub fn recorded_positions(recorded: &[(Name, u64)], acked: &[Acked]) -> Vec<Violation> {
    let positions: HashMap<Name, u64> = acked.iter().map(|a| (a.name, a.position)).collect();
    recorded
        .iter()
        .filter(|(name, position)| positions.get(name).is_some_and(|acked| acked != position))
        .map(|(name, position)| {
            let (id, acked) = (name.id(), positions[name]);
            let detail = format!("{id}: acknowledged at {acked}, delivered as {position}");
            Violation::new(Kind::Numbering, detail)
        })
        .collect()
}

/// What a reader saw during the run is what stands there in the end.
pub fn prefix(stream: &str, followed: &[Name], finally: &[Name]) -> Vec<Violation> {
    let differs = followed
        .iter()
        .zip(finally)
        .position(|(seen, is)| seen != is);
    let at = differs.unwrap_or(finally.len());
    match followed.get(at) {
        None => Vec::new(),
        Some(seen) => {
            let is = finally
                .get(at)
                .map_or("nothing".to_owned(), |name| name.id());
            let detail = format!("stream {stream}: {} was read at {at}, now {is}", seen.id());
            vec![Violation::new(Kind::NotDurable, detail)]
        }
    }
}

/// Planned = delivered + dead-lettered + discarded + pending, everywhere.
pub fn equation(place: &str, counts: &CountsByDestination) -> Vec<Violation> {
    counts
        .iter()
        .filter(|(_, counts)| counts.planned != counts.accounted())
        .map(|(name, counts)| {
            let detail = format!("{place}: {name}: the equation doesn't hold: {counts}");
            Violation::new(Kind::Counts, detail)
        })
        .collect()
}

/// Two places tell the same counts. A destination that never had a delivery may be left out.
pub fn same_counts(
    one: (&str, &CountsByDestination),
    two: (&str, &CountsByDestination),
) -> Vec<Violation> {
    let names: HashSet<&String> = one.1.keys().chain(two.1.keys()).collect();
    let mut violations = Vec::new();
    for name in names {
        let of = |counts: &CountsByDestination| counts.get(name).cloned().unwrap_or_default();
        let (first, second): (Counts, Counts) = (of(one.1), of(two.1));
        if first != second {
            let detail = format!("{name}: {}: {first}; {}: {second}", one.0, two.0);
            violations.push(Violation::new(Kind::Counts, detail));
        }
    }
    violations
}

/// At least as many deliveries are planned as receipts were given, and at most as many as
/// messages were sent.
pub fn planned(
    seed: u64,
    counts: &CountsByDestination,
    acked: &[Acked],
    unanswered: &[Name],
) -> Vec<Violation> {
    let sent: Vec<Name> = acked
        .iter()
        .map(|a| a.name)
        .chain(unanswered.iter().copied())
        .collect();
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (i, name) in sent.iter().enumerate() {
        for destination in message(seed, *name).family.destinations() {
            let (least, most) = expected.entry(destination).or_default();
            *least += u64::from(i < acked.len());
            *most += 1;
        }
    }
    expected
        .into_iter()
        .filter_map(|(name, (least, most))| {
            let planned = counts.get(name).map_or(0, |counts| counts.planned);
            let detail = format!("{name}: {planned} planned, {least} to {most} accepted");
            let fits = (least..=most).contains(&planned);
            (!fits).then(|| Violation::new(Kind::Counts, detail))
        })
        .collect()
}

/// What is rejected is dead-lettered, and nothing else is.
pub fn dead_lettered(
    seed: u64,
    counts: &CountsByDestination,
    acked: &[Acked],
    unanswered: &[Name],
) -> Vec<Violation> {
    let poisoned = |name: Name| {
        let message = message(seed, name);
        message.poisoned && message.family.destinations().contains(&"flaky")
    };
    let least = acked.iter().filter(|acked| poisoned(acked.name)).count() as u64;
    let most = least + unanswered.iter().filter(|name| poisoned(**name)).count() as u64;
    let got: u64 = counts.values().map(|counts| counts.dead_lettered).sum();
    if (least..=most).contains(&got) {
        return Vec::new();
    }
    let detail = format!("{got} dead-lettered, {least} to {most} rejected");
    vec![Violation::new(Kind::Counts, detail)]
}

/// The first few of each kind, and how many there were.
pub fn shorten(violations: Vec<Violation>) -> Vec<Violation> {
    let mut by_kind: BTreeMap<Kind, Vec<Violation>> = BTreeMap::new();
    for violation in violations {
        by_kind.entry(violation.kind).or_default().push(violation);
    }
    let mut short = Vec::new();
    for (kind, mut all) in by_kind {
        let count = all.len();
        all.truncate(SHOWN_OF_A_KIND);
        short.append(&mut all);
        if count > SHOWN_OF_A_KIND {
            short.push(Violation::new(kind, format!("… {count} of this kind")));
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::super::content::Family;
    use super::*;

    const SEED: u64 = 1;

    /// The first messages of publisher 1 that go to `exact`, and have this key if one is given.
    fn orders(count: usize, key: Option<&str>) -> Vec<Name> {
        (0..)
            .map(|number| Name {
                publisher: 1,
                number,
            })
            .filter(|name| {
                let message = message(SEED, *name);
                message.family == Family::Orders && (key.is_none() || message.key.as_deref() == key)
            })
            .take(count)
            .collect()
    }

    fn acked(names: &[Name]) -> Vec<Acked> {
        let numbered = names.iter().enumerate();
        numbered
            .map(|(i, name)| Acked {
                name: *name,
                position: i as u64,
            })
            .collect()
    }

    fn kinds(names: &[Name], doubles: Doubles, acked: &[Acked]) -> Vec<Kind> {
        let arrived = Arrived {
            seed: SEED,
            destination: "exact",
            names,
            doubles,
        };
        arrivals(arrived, acked).iter().map(|v| v.kind).collect()
    }

    #[test]
    fn what_arrived_whole_and_in_order_is_right() {
        let names = orders(20, None);
        assert_eq!(kinds(&names, Doubles::Never, &acked(&names)), []);
        // A message without a receipt may have arrived all the same.
        assert_eq!(kinds(&names, Doubles::Never, &acked(&names[..19])), []);
    }

    #[test]
    fn a_lost_message_is_missed() {
        let names = orders(20, None);
        assert_eq!(
            kinds(&names[..19], Doubles::Never, &acked(&names)),
            [Kind::Lost]
        );
        let elsewhere = Name {
            publisher: 0,
            number: 1,
        };
        assert_eq!(kinds(&[], Doubles::Never, &acked(&[elsewhere])), []);
    }

    #[test]
    fn doubles_are_found_where_they_are_excluded() {
        let mut names = orders(3, None);
        names.push(names[1]);
        let acked = acked(&names[..3]);
        assert_eq!(kinds(&names, Doubles::Never, &acked), [Kind::Doubled]);
        assert_eq!(kinds(&names, Doubles::Allowed, &acked), []);
    }

    #[test]
    fn the_order_of_a_key_is_kept_and_of_others_free() {
        let mut names = orders(3, Some("1-key-1"));
        names.swap(0, 1);
        assert_eq!(kinds(&names, Doubles::Allowed, &[]), [Kind::OutOfOrder]);
        let mixed = [orders(2, Some("1-key-2")), orders(2, Some("1-key-1"))].concat();
        assert_eq!(kinds(&mixed, Doubles::Allowed, &[]), []);
        // A repeated suffix isn't out of order.
        let mut again = orders(3, Some("1-key-1"));
        again.extend_from_within(1..);
        assert_eq!(kinds(&again, Doubles::Allowed, &[]), []);
    }

    #[test]
    fn a_message_of_another_route_is_foreign() {
        let slow = Name {
            publisher: 0,
            number: 1,
        };
        assert_eq!(kinds(&[slow], Doubles::Never, &[]), [Kind::Foreign]);
    }

    #[test]
    fn a_position_has_one_owner() {
        let mut acked = acked(&orders(3, None));
        assert_eq!(positions(&acked), []);
        acked[2].position = 0;
        assert_eq!(positions(&acked)[0].kind, Kind::Numbering);
    }

    #[test]
    fn what_was_read_stays() {
        let names = orders(4, None);
        assert_eq!(prefix("s", &names[..3], &names), []);
        assert_eq!(prefix("s", &names, &names), []);
        assert_eq!(prefix("s", &names, &names[..3])[0].kind, Kind::NotDurable);
        assert_eq!(prefix("s", &names[1..], &names)[0].kind, Kind::NotDurable);
    }

    fn some_counts() -> CountsByDestination {
        let discarded = [("expired".to_owned(), 1)].into();
        let counts = Counts {
            planned: 10,
            delivered: 6,
            dead_lettered: 1,
            discarded,
            pending: 2,
        };
        [("exact".to_owned(), counts)].into()
    }

    #[test]
    fn counts_add_up_and_agree() {
        let good = some_counts();
        assert_eq!(equation("here", &good), []);
        let mut other = good.clone();
        other.get_mut("exact").unwrap().pending = 3;
        assert_eq!(equation("here", &other)[0].kind, Kind::Counts);
        assert_eq!(same_counts(("a", &good), ("b", &good)), []);
        assert_eq!(same_counts(("a", &good), ("b", &other)).len(), 1);
        assert_eq!(
            same_counts(("a", &good), ("b", &CountsByDestination::new())).len(),
            1
        );
    }

    #[test]
    fn as_many_are_planned_as_were_accepted() {
        let names = orders(10, None);
        let mut counts = some_counts();
        for destination in ["inbox", "flaky"] {
            counts.insert(destination.to_owned(), counts["exact"].clone());
        }
        assert_eq!(planned(SEED, &counts, &acked(&names), &[]), []);
        assert_eq!(planned(SEED, &counts, &acked(&names[..9]), &names[9..]), []);
        assert_eq!(planned(SEED, &counts, &acked(&names[..9]), &[]).len(), 3);
        assert_eq!(
            planned(SEED, &counts, &acked(&orders(11, None)), &[]).len(),
            3
        );
    }

    #[test]
    fn records_agree_with_receipts() {
        let acked = acked(&orders(3, None));
        let mut recorded: Vec<(Name, u64)> = acked.iter().map(|a| (a.name, a.position)).collect();
        assert_eq!(recorded_positions(&recorded, &acked), []);
        assert_eq!(recorded_positions(&recorded, &acked[..1]), []);
        recorded[2].1 += 1;
        assert_eq!(
            recorded_positions(&recorded, &acked)[0].kind,
            Kind::Numbering
        );
    }

    #[test]
    fn what_is_rejected_is_dead_lettered_and_nothing_else() {
        let names = orders(300, None);
        let poisoned = names
            .iter()
            .filter(|name| message(SEED, **name).poisoned)
            .count() as u64;
        let counts = |dead_lettered| {
            let counts = Counts {
                dead_lettered,
                ..Counts::default()
            };
            CountsByDestination::from([("flaky".to_owned(), counts)])
        };
        let found = |n, known: usize| {
            let (known, unanswered) = names.split_at(known);
            dead_lettered(SEED, &counts(n), &acked(known), unanswered).len()
        };
        assert!(poisoned > 0);
        assert_eq!(found(poisoned, 300), 0);
        assert_eq!(found(poisoned - 1, 300), 1);
        assert_eq!(found(poisoned + 1, 300), 1);
        assert_eq!(
            (found(0, 0), found(poisoned, 0), found(poisoned + 1, 0)),
            (0, 0, 1)
        );
    }

    #[test]
    fn a_flood_is_shortened() {
        let many = vec![Violation::new(Kind::Lost, "x"); 100];
        assert_eq!(shorten(many).len(), SHOWN_OF_A_KIND + 1);
    }
}
