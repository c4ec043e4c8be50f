//! What operators ask of a running gateway: status, reload, the drop of a lane.

use super::client::Server;
use super::exit::{Code, Failure, Kind};
use super::table;
use crate::admin::status::Status;
use crate::admin::{Dropping, LaneTold, Reloaded};
use crate::gateway::Told;
use crate::message::DeliveryId;
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
    let path = lane_path(lane, "drop");
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

fn lane_path(lane: &str, order: &str) -> String {
    let lane = utf8_percent_encode(lane, NON_ALPHANUMERIC);
    format!("/api/v1/lanes/{lane}/{order}")
}

pub(super) async fn pause(server: &Server, lane: &str) -> Result<Told, Failure> {
    let (told, json) = order(server, lane, "pause", &json!({})).await?;
    let size = table::bytes(told.bytes);
    let text = format!(
        "lane {:?} tries nothing more: it owes {} deliveries, {size}. What is in flight ends; \
         `causeway lane resume` lets it go on, and so does a restart of the gateway.",
        told.lane, told.deliveries
    );
    Ok(done(text, json))
}

pub(super) async fn resume(server: &Server, lane: &str) -> Result<Told, Failure> {
    let (told, json) = order(server, lane, "resume", &json!({})).await?;
    let size = table::bytes(told.bytes);
    let text = format!(
        "lane {:?} goes on: it owes {} deliveries, {size}.",
        told.lane, told.deliveries
    );
    Ok(done(text, json))
}

pub(super) async fn skip(
    server: &Server,
    lane: &str,
    at: Option<DeliveryId>,
) -> Result<Told, Failure> {
    let body = match at {
        Some(at) => json!({ "position": at.position.0, "ordinal": at.ordinal.0 }),
        None => json!({}),
    };
    let (told, json) = order(server, lane, "skip", &body).await?;
    let text = told.skipped.map_or_else(String::new, |one| {
        let how = match one.in_flight {
            true => "is being tried, and goes into the dead letters if that fails",
            false => "goes into the dead letters",
        };
        let error = one
            .last_error
            .map_or_else(String::new, |e| format!(": {e}"));
        format!(
            "delivery {}/{} of lane {:?} {how}. It failed {} times{error}",
            one.position, one.ordinal, told.lane, one.attempts
        )
    });
    Ok(done(text, json))
}

async fn order(
    server: &Server,
    lane: &str,
    order: &str,
    body: &Value,
) -> Result<(LaneTold, Value), Failure> {
    let json = server.post(&lane_path(lane, order), body).await?;
    Ok((read(&json)?, json))
}

fn done(text: String, json: Value) -> Told {
    Told {
        ok: true,
        text,
        json,
    }
}

/// As it is shown: `POSITION/ORDINAL`; the first of a message without the second.
pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, String> {
    let (position, ordinal) = text.split_once('/').unwrap_or((text, "0"));
    let wrong = |_| "write it like 17 or 17/0".to_owned();
    let position = position.parse::<u64>().map_err(wrong)?;
    Ok(DeliveryId::new(
        position,
        ordinal.parse::<u16>().map_err(wrong)?,
    ))
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
