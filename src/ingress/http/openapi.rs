//! `GET /openapi.json`: what this listener answers, as OpenAPI 3.1 has it. It is written by hand; the tests
//! here hold it to the router and to the kinds of problems, `tests/openapi.rs` holds it to the answers.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DESCRIPTION: &str = include_str!("../../../docs/openapi.json");

pub(super) async fn show() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::DESCRIPTION;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// What only the admin listener says.
    const OF_ADMIN: [Kind; 11] = [
        Kind::DeadLettersFailed,
        Kind::RedriveRunning,
        Kind::UnknownDeadLetter,
        Kind::UnknownRedrive,
        Kind::DropFailed,
        Kind::DropRefused,
        Kind::LaneRefused,
        Kind::NoAnswer,
        Kind::ReloadRefused,
        Kind::Taps,
        Kind::UnknownLane,
    ];
    /// A publish to it is always refused: the topic is empty.
    const NO_TOPIC: &str = "/v1/topics/";

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).expect("JSON")
    }

    #[test]
    fn each_route_is_described_and_the_reverse() {
        let code = include_str!("mod.rs");
        let routes = code.split(".route(\"").skip(1);
        let routes = routes.map(|rest| rest.split('"').next().expect("a quoted path"));
        let routes: BTreeSet<String> = routes.map(|path| path.replace("{*", "{")).collect();
        let description = description();
        let paths = description["paths"].as_object().expect("paths");
        let mut described: BTreeSet<String> = paths.keys().cloned().collect();
        described.insert(NO_TOPIC.to_owned());
        assert_eq!(described, routes);
    }

    #[test]
    fn each_problem_is_described_with_its_statuses_and_the_reverse() {
        let mut described = BTreeSet::new();
        collect(&description(), &mut described);
        assert_eq!(described, documented());
    }

    /// Status and kind of each schema of a problem.
    fn collect(value: &Value, found: &mut BTreeSet<(u64, String)>) {
        if let (Some(status), Some(types)) = (
            value["properties"]["status"]["const"].as_u64(),
            value["properties"]["type"]["enum"].as_array(),
        ) {
            for name in types {
                let name = name.as_str().expect("a type is text");
                let kind = name.strip_prefix("urn:causeway:problem:");
                found.insert((status, kind.expect("all begin so").to_owned()));
            }
        }
        match value {
            Value::Object(members) => members.values().for_each(|v| collect(v, found)),
            Value::Array(values) => values.iter().for_each(|v| collect(v, found)),
            _ => {}
        }
    }

    /// As the tables of docs/HTTP.md have them: `| 422, 503 | `kind`, … |`, `| 504 `kind` | … |`.
    fn documented() -> BTreeSet<(u64, String)> {
        let page = std::fs::read_to_string("docs/HTTP.md").expect("the page is there");
        let mut found = BTreeSet::new();
        for row in page.lines().filter(|line| line.starts_with("| ")) {
            let mut cells = row.split('|').skip(1);
            let (status, kinds) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
            let words = || status.split([' ', ',']);
            let numbers = words().filter_map(|word| word.parse().ok());
            for status in numbers.filter(|status: &u64| *status >= 400) {
                for kind in Kind::ALL.iter().filter(|kind| !OF_ADMIN.contains(kind)) {
                    let name = format!("`{}`", kind.as_str());
                    if words().any(|word| word == name) || kinds.contains(&name) {
                        found.insert((status, kind.as_str().to_owned()));
                    }
                }
            }
        }
        let missing = Kind::ALL.iter().filter(|kind| !OF_ADMIN.contains(kind));
        for kind in missing {
            let is_there = found.iter().any(|(_, name)| name == kind.as_str());
            assert!(is_there, "no table has {kind:?} with its status");
        }
        found
    }
}
