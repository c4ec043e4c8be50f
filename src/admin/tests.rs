//! The routers over their own service, with a scripted gateway behind the control.

use super::*;
use crate::door::taps::Taps;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

async fn ask(router: Router, method: &str, path: &str, json_body: Option<&str>) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if json_body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = Body::from(json_body.unwrap_or_default().to_owned());
    let request = request.body(body).expect("a request");
    let response = TowerToHyperService::new(router)
        .call(request)
        .await
        .expect("infallible");
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("in memory")
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

fn json_of(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

/// Answers with this status, knows the lane `old` and refuses to drop `inbox`.
async fn gateway(mut questions: mpsc::Receiver<Question>, status: Status) {
    let taps = Arc::new(Taps::default());
    while let Some(question) = questions.recv().await {
        match question {
            Question::Status(answer) => drop(answer.send(status.clone())),
            Question::Reload(answer) => drop(answer.send(reload(&status))),
            Question::Tap { wanted, answer } => drop(answer.send(taps.open(*wanted))),
            // Dead letters are asked of real gateways: tests/dead_letters.
            Question::Letters(_) => {}
            Question::Explain { envelope, answer } => {
                drop(answer.send(explanation::of_nothing(&envelope)));
            }
            Question::OrderLane { lane, answer, .. } => {
                let told = Err(LaneOrderError::UnknownLane {
                    lane,
                    known: vec!["old".into()],
                });
                drop(answer.send(told));
            }
            Question::DropLane {
                lane,
                discard,
                answer,
            } => {
                let told = match lane.as_str() {
                    "old" => Ok(Dropping {
                        lane,
                        deliveries: 3,
                        bytes: 4_096,
                        discard,
                    }),
                    "inbox" => Err(DropError::Refused("routes deliver to it".into())),
                    _ => Err(DropError::UnknownLane {
                        lane,
                        known: vec!["old".into()],
                    }),
                };
                drop(answer.send(told));
            }
        }
    }
}

/// Refused once the gateway has been refused before.
fn reload(status: &Status) -> Result<Reloaded, ReloadError> {
    match status.config.reloads_refused {
        0 => Ok(Reloaded {
            generation: 4,
            changed: vec!["+route new".into()],
            restart_needed: vec!["[listen] http".into()],
        }),
        1 => Err(ReloadError::Refused {
            generation: 3,
            text: "routes.toml:1:1: error: no".into(),
            problems: json!([{"message": "no"}]),
        }),
        2 => Err(ReloadError::Busy),
        _ => Err(ReloadError::Stopping),
    }
}

fn running(status: Status) -> Control {
    let (control, questions) = control();
    tokio::spawn(gateway(questions, status));
    control
}

#[tokio::test]
async fn readiness_names_its_reasons() {
    let router = health_router(running(status::sample()));
    let (code, body) = ask(router, "GET", "/readyz", None).await;
    assert_eq!(
        (code, json_of(&body)),
        (200, json!({"ready": true, "reasons": []}))
    );

    let mut status = status::sample();
    status.not_ready.push("the gateway is stopping".into());
    status.journal.failed = Some("fdatasync: EIO".into());
    let router = health_router(running(status));
    let (code, body) = ask(router.clone(), "GET", "/readyz", None).await;
    let journal = "the journal takes no writes until the gateway is restarted: fdatasync: EIO";
    let reasons = json!(["the gateway is stopping", journal]);
    assert_eq!(
        (code, json_of(&body)),
        (503, json!({"ready": false, "reasons": reasons}))
    );
    assert_eq!(
        ask(router, "GET", "/healthz", None).await,
        (200, "live\n".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_hangs_is_not_ready() {
    let (control, _questions) = control();
    let router = admin_router(control);
    let (code, body) = ask(router.clone(), "GET", "/readyz", None).await;
    let reasons = json!(["the gateway didn't answer within 5 s"]);
    assert_eq!((code, json_of(&body)["reasons"].clone()), (503, reasons));
    let (code, body) = ask(router.clone(), "GET", "/metrics", None).await;
    assert_eq!(
        (code, &json_of(&body)["type"]),
        (503, &json!("urn:causeway:problem:no-answer"))
    );
    assert_eq!(ask(router, "GET", "/healthz", None).await.0, 200);
}

#[tokio::test]
async fn metrics_and_status_show_the_same() {
    let router = admin_router(running(status::sample()));
    let (code, body) = ask(router.clone(), "GET", "/metrics", None).await;
    assert_eq!((code, body), (200, metrics::render(&status::sample())));
    let (code, body) = ask(router, "GET", "/api/v1/status", None).await;
    let shown: Status = serde_json::from_str(&body).expect("a status");
    assert_eq!((code, shown), (200, status::sample()));
}

#[tokio::test]
async fn a_lane_is_dropped_on_order() {
    let router = admin_router(running(status::sample()));
    let path = "/api/v1/lanes/old/drop";
    for (order, discard) in [("{}", false), ("{\"discard\": true}", true)] {
        let (code, body) = ask(router.clone(), "POST", path, Some(order)).await;
        let dropping = json!({"lane": "old", "deliveries": 3, "bytes": 4096, "discard": discard});
        assert_eq!((code, json_of(&body)), (202, dropping), "{order}");
    }
    for (path, order, code, kind) in [
        ("/api/v1/lanes/inbox/drop", Some("{}"), 409, "drop-refused"),
        ("/api/v1/lanes/new/drop", Some("{}"), 404, "unknown-lane"),
        (path, Some("{\"discrad\": true}"), 400, "malformed"),
        (path, Some("{"), 400, "malformed"),
        (path, None, 415, "content-type"),
        ("/api/v1/lanes/%FF/drop", Some("{}"), 400, "malformed"),
        ("/api/v1/lanes", Some("{}"), 404, "unknown-path"),
        ("/healthz", Some("{}"), 405, "unknown-method"),
    ] {
        let (got, body) = ask(router.clone(), "POST", path, order).await;
        assert_eq!(got, code, "{path} {order:?}");
        assert_eq!(
            json_of(&body)["type"],
            format!("urn:causeway:problem:{kind}")
        );
    }
}

#[tokio::test]
async fn a_reload_is_made_on_order_in_json() {
    let path = "/api/v1/reload";
    let mut status = status::sample();
    let router = admin_router(running(status.clone()));
    let (code, body) = ask(router.clone(), "POST", path, Some("{}")).await;
    let reloaded = json!({
        "generation": 4, "changed": ["+route new"], "restart_needed": ["[listen] http"],
    });
    assert_eq!((code, json_of(&body)), (200, reloaded));
    for (order, code, kind) in [
        (None, 415, "content-type"),
        (Some("{\"now\": 1}"), 400, "malformed"),
    ] {
        let (got, body) = ask(router.clone(), "POST", path, order).await;
        let kind = format!("urn:causeway:problem:{kind}");
        assert_eq!((got, &json_of(&body)["type"]), (code, &json!(kind)));
    }
    assert_eq!(ask(router, "GET", path, None).await.0, 405);

    for (refused, code, kind) in [
        (1, 422, "reload-refused"),
        (2, 503, "busy"),
        (3, 503, "stopping"),
    ] {
        status.config.reloads_refused = refused;
        let router = admin_router(running(status.clone()));
        let (got, body) = ask(router, "POST", path, Some("{}")).await;
        let body = json_of(&body);
        let kind = format!("urn:causeway:problem:{kind}");
        assert_eq!((got, &body["type"]), (code, &json!(kind)));
        if refused == 1 {
            assert_eq!(body["detail"], "routes.toml:1:1: error: no");
            assert_eq!(body["generation"], 3);
            assert_eq!(body["problems"], json!([{"message": "no"}]));
        }
    }
}

#[tokio::test]
async fn the_health_listener_has_no_controls() {
    let router = health_router(running(status::sample()));
    assert_eq!(
        ask(router.clone(), "GET", "/api/v1/status", None).await.0,
        404
    );
    assert_eq!(
        ask(router, "POST", "/api/v1/lanes/old/drop", Some("{}"))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_message_is_explained_as_a_line_of_a_batch() {
    let control = running(status::sample());
    let path = "/api/v1/explain";
    let line = r#"{"topic":"a/b","id":"i","data":1}"#;
    let (code, body) = ask(admin_router(control.clone()), "POST", path, Some(line)).await;
    let answer = json_of(&body);
    assert_eq!(code, 200, "{body}");
    assert_eq!(
        (&answer["topic"], &answer["id"]),
        (&json!("a/b"), &json!("i"))
    );
    assert_eq!(answer["routes"][0]["route"], "http");
    let from = r#"{"topic":"a","data":1,"from":"clicks"}"#;
    let (_, body) = ask(admin_router(control.clone()), "POST", path, Some(from)).await;
    assert_eq!(json_of(&body)["routes"][0]["route"], "source:clicks");

    for (bad, words) in [
        (
            r#"{"topic":"a","data":1,"from":2}"#,
            "from: it must be text",
        ),
        (
            r#"{"topic":"a","data":1,"form":"x"}"#,
            "unknown field `form`",
        ),
        (r#"{"topic":"a"}"#, "data: it is missing"),
        (
            r#"{"topic":"a","data":1,"data":2}"#,
            "duplicate field `data`",
        ),
        ("[1]", "invalid type"),
    ] {
        let (code, body) = ask(admin_router(control.clone()), "POST", path, Some(bad)).await;
        assert_eq!(code, 400, "{body}");
        let detail = json_of(&body)["detail"].to_string();
        assert!(detail.contains(words), "{detail}");
    }
    let (code, _) = ask(admin_router(control.clone()), "POST", path, None).await;
    assert_eq!(code, 415);
    let long = format!(
        "{{\"topic\":\"a\",\"data\":\"{}\"}}",
        "x".repeat(MAX_BODY_BYTES)
    );
    let (code, body) = ask(admin_router(control.clone()), "POST", path, Some(&long)).await;
    assert_eq!(code, 413, "{body}");
    let (code, _) = ask(health_router(control), "POST", path, Some(line)).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn a_tap_is_opened_as_it_was_asked_for() {
    let router = admin_router(running(status::sample()));
    let open =
        async |query: &str| ask(router.clone(), "GET", &format!("/api/v1/tap?{query}"), None).await;
    let (code, body) = open("pattern=a/%23&limit=0&sample=1/5&rate=9&refused=true").await;
    assert_eq!(code, 200, "{body}");
    let end = json!({
        "event": "end", "why": "limit", "matched": 0, "shown": 0,
        "left_out": {"sample": 0, "rate": 0, "queue": 0},
    });
    assert_eq!(json_of(&body), end);
    for bad in [
        "",
        "pattern=",
        "pattern=a%23",
        "pattern=a&sample=0",
        "pattern=a&sample=two",
        "pattern=a&rate=0",
        "pattern=a&rate=10001",
        "pattern=a&limit=-1",
        "pattern=a&colour=red",
    ] {
        let (code, body) = open(bad).await;
        assert_eq!(code, 400, "{bad}");
        assert_eq!(json_of(&body)["type"], "urn:causeway:problem:malformed");
    }
    let (code, _) = ask(
        health_router(running(status::sample())),
        "GET",
        "/api/v1/tap?pattern=a",
        None,
    )
    .await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn there_are_only_so_many_taps() {
    let control = running(status::sample());
    let wanted = || crate::door::taps::Wanted {
        pattern: crate::routing::Pattern::parse("#").expect("a pattern"),
        refused: false,
        share: crate::door::taps::Share::ALL,
        rate: 1,
        limit: None,
        seed: 1,
    };
    let mut readers = Vec::new();
    for _ in 0..crate::door::taps::MAX_TAPS {
        readers.push(
            control
                .tap(wanted())
                .await
                .expect("it answers")
                .expect("room"),
        );
    }
    let router = admin_router(control);
    let path = "/api/v1/tap?pattern=a&limit=0";
    let (code, body) = ask(router.clone(), "GET", path, None).await;
    assert_eq!(
        (code, &json_of(&body)["type"]),
        (503, &json!("urn:causeway:problem:taps"))
    );
    readers.pop();
    assert_eq!(ask(router, "GET", path, None).await.0, 200);
}
