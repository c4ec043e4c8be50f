//! What stands in a stream, by pages.

use super::process::Gateway;
use serde_json::Value;
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const PAGE: usize = 1_000;

/// The ids of everything in a stream, in its order; its offsets are dense.
/// # Panics
/// If they aren't, or a page can't be read.
pub fn stream_ids(gateway: &Gateway, stream: &str) -> Vec<String> {
    let mut client = gateway.client(ANSWER_LIMIT);
    let mut ids: Vec<String> = Vec::new();
    loop {
        let target = format!("/v1/streams/{stream}?from={}&limit={PAGE}", ids.len());
        let response = client
            .get(&target)
            .unwrap_or_else(|t| panic!("{target}: {t}"));
        assert_eq!(response.status, 200, "{target}: {response}");
        let page = response.json().expect("a page is JSON");
        let messages = page["messages"].as_array().expect("a page has messages");
        if messages.is_empty() {
            return ids;
        }
        for message in messages {
            assert_eq!(
                message["offset"],
                Value::from(ids.len()),
                "{target}: {message}"
            );
            ids.push(
                message["id"]
                    .as_str()
                    .expect("a message has an id")
                    .to_owned(),
            );
        }
    }
}
