//! What one configuration has and another doesn't, a line a thing: `+destination events`. Pure.

use crate::config::Settings;
use std::collections::BTreeMap;

/// From what is in force to what will be.
pub fn changes(from: &Settings, to: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    let destinations = |s: &Settings| -> Vec<_> {
        let named = |d: &crate::config::settings::Destination| (d.name.clone(), d.clone());
        s.destinations.iter().map(named).collect()
    };
    let routes = |s: &Settings| -> Vec<_> {
        let named = |r: &crate::routing::RouteSpec| (r.name.clone(), r.clone());
        s.routes.iter().map(named).collect()
    };
    named(
        "destination",
        destinations(from),
        destinations(to),
        &mut lines,
    );
    named("route", routes(from), routes(to), &mut lines);
    if is_reordered(from, to) {
        lines.push("~order of the routes".to_owned());
    }
    let others = [
        (from.identities != to.identities, "[[identity]]"),
        (from.unrouted != to.unrouted, "[unrouted]"),
        (from.limits != to.limits, "[limits]"),
        (from.dead_letters != to.dead_letters, "[dead_letters]"),
        (from.journal != to.journal, "[journal]"),
        (from.gateway != to.gateway, "[gateway]"),
        (
            from.door_dead_letters_max_bytes != to.door_dead_letters_max_bytes,
            "[defaults] dead_letters",
        ),
    ];
    let others = others.into_iter().filter(|(differs, _)| *differs);
    lines.extend(others.map(|(_, name)| format!("~{name}")));
    lines
}

/// Those that are new, those that differ, those that are gone.
fn named<T: PartialEq>(
    what: &str,
    from: Vec<(String, T)>,
    to: Vec<(String, T)>,
    lines: &mut Vec<String>,
) {
    let (from, to): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (from.into_iter().collect(), to.into_iter().collect());
    for (name, thing) in &to {
        match from.get(name) {
            None => lines.push(format!("+{what} {name}")),
            Some(before) if before != thing => lines.push(format!("~{what} {name}")),
            Some(_) => {}
        }
    }
    let gone = from.keys().filter(|name| !to.contains_key(*name));
    lines.extend(gone.map(|name| format!("-{what} {name}")));
}

/// Whether the routes that both have stand in another order, which matters for `stop`.
fn is_reordered(from: &Settings, to: &Settings) -> bool {
    fn common<'a>(of: &'a Settings, other: &BTreeMap<&str, ()>) -> Vec<&'a str> {
        let names = of.routes.iter().map(|route| route.name.as_str());
        names.filter(|name| other.contains_key(name)).collect()
    }
    fn names(of: &Settings) -> BTreeMap<&str, ()> {
        of.routes
            .iter()
            .map(|route| (route.name.as_str(), ()))
            .collect()
    }
    common(from, &names(to)) != common(to, &names(from))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{route, settings, stream};
    use super::*;

    fn diff(from: &str, to: &str) -> Vec<String> {
        changes(&settings(from), &settings(to))
    }

    #[test]
    fn what_is_new_differs_and_is_gone_is_told_by_name() {
        let from = [
            stream("kept", ""),
            stream("changed", ""),
            stream("gone", ""),
            route("orders", "orders/#", "kept"),
            route("old", "old/#", "gone"),
        ];
        let to = [
            stream("kept", ""),
            stream("changed", "backlog = \"1MiB\""),
            stream("events", ""),
            route("orders", "orders/+", "kept"),
            route("jobs", "jobs/#", "events"),
        ];
        assert_eq!(
            diff(&from.concat(), &to.concat()),
            [
                "~destination changed",
                "+destination events",
                "-destination gone",
                "+route jobs",
                "~route orders",
                "-route old",
            ]
        );
    }

    #[test]
    fn the_order_of_routes_is_told_only_for_those_that_stay() {
        let inbox = stream("inbox", "");
        let routes = |names: &[&str]| -> String {
            let routes = names.iter().map(|name| route(name, name, "inbox"));
            inbox.clone() + &routes.collect::<String>()
        };
        assert_eq!(
            diff(&routes(&["a", "b"]), &routes(&["b", "a"])),
            ["~order of the routes"]
        );
        assert_eq!(
            diff(&routes(&["a", "b"]), &routes(&["c", "b", "d"])),
            ["+route c", "+route d", "-route a"]
        );
    }

    #[test]
    fn other_tables_are_told_by_their_names() {
        let to = "[limits]\nheaders = 7\n[unrouted]\naction = \"drop\"\n\
                  [defaults]\ndead_letters = { max_bytes = \"1MiB\" }\n";
        assert_eq!(
            diff("", to),
            ["~[unrouted]", "~[limits]", "~[defaults] dead_letters"]
        );
        assert_eq!(diff(to, to), Vec::<String>::new());
    }
}
