//! What a running gateway says of one lane, to whom asks as its users do.

use super::metrics::{Counts, counts};
use super::process::Gateway;
use serde_json::Value;

/// As `causeway status --json` has it.
/// # Panics
/// If there is none of this name.
pub fn lane_of(gateway: &Gateway, name: &str) -> Value {
    let output = gateway.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).expect("status is JSON");
    let lanes = status["lanes"].as_array().cloned().unwrap_or_default();
    let lane = lanes.into_iter().find(|lane| lane["name"] == name);
    lane.unwrap_or_else(|| panic!("no lane {name:?}: {status}"))
}

/// As `/metrics` has it.
/// # Panics
/// If it doesn't answer.
pub fn counts_of(gateway: &Gateway, name: &str) -> Counts {
    let response = gateway.health_client().get("/metrics");
    let response = response.expect("health goes on answering");
    let all = counts(&String::from_utf8_lossy(&response.body)).expect("metrics");
    all.get(name).cloned().unwrap_or_default()
}
