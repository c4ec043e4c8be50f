//! What operators ask of a running gateway: status, reload, the drop of a lane.

use super::client::Server;
use super::exit::{Code, Failure, Kind};
use super::table;
use crate::admin::status::Status;
use crate::admin::{Dropping, Reloaded};
use crate::gateway::Told;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub(super) async fn status(server: &Server, colour: bool) -> Result<Told, Failure> {
    let json = server.get("/api/v1/status").await?;
    let status: Status = read(&json)?;
    let ok = status.reasons().is_empty();
    Ok(Told {
        ok,
        text: table::render(&status, colour),
        json,
    })
}

/// The file that the gateway was started with, wherever this command is run.
pub(super) async fn reload(server: &Server) -> Result<Told, Failure> {
    let json = server.post("/api/v1/reload", &json!({})).await?;
    let reloaded: Reloaded = read(&json)?;
    let mut lines = vec![format!("generation {}", reloaded.generation)];
    if reloaded.changed.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    lines.extend(reloaded.changed);
    let waits = reloaded.restart_needed.into_iter();
    lines.extend(waits.map(|name| format!("waits for a restart: {name}")));
    Ok(Told {
        ok: true,
        text: lines.join("\n"),
        json,
    })
}

pub(super) async fn drop_lane(server: &Server, lane: &str, discard: bool) -> Result<Told, Failure> {
    let lane = utf8_percent_encode(lane, NON_ALPHANUMERIC);
    let path = format!("/api/v1/lanes/{lane}/drop");
    let order = json!({ "discard": discard });
    let json = server.post(&path, &order).await?;
    let dropping: Dropping = read(&json)?;
    let how = if dropping.discard {
        "discards"
    } else {
        "puts into its dead letters"
    };
    let size = table::bytes(dropping.bytes);
    let text = format!(
        "lane {:?} {how} what it owes: {} deliveries, {size}. `causeway status` shows how far it is.",
        dropping.lane, dropping.deliveries
    );
    Ok(Told {
        ok: true,
        text,
        json,
    })
}

pub(super) fn read<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, Failure> {
    T::deserialize(json).map_err(|error| {
        Failure::new(
            Code::Failed,
            Kind::Foreign,
            format!("the gateway's answer is of another version than this program: {error}"),
            "use the program that the gateway runs; `causeway --version` and its log say which",
        )
    })
}
