//! A web page of somebody else, open on the machine where the gateway runs: it can neither publish
//! nor give orders, and is counted. What reads health isn't asked where it is from.

use super::ANSWER_LIMIT;
use crate::support::client::Client;
use crate::support::process::{ALL_TO_INBOX, Gateway, program};

const ORIGIN: (&str, &str) = ("origin", "https://evil.example");

#[test]
fn a_foreign_page_can_neither_publish_nor_order() {
    let mut gateway = Gateway::new(&program(), ALL_TO_INBOX);
    gateway.start().unwrap();
    let mut http = gateway.client(ANSWER_LIMIT);
    let mut admin = Client::new(gateway.admin, ANSWER_LIMIT);
    let mut health = gateway.health_client();

    assert_eq!(
        http.post("/v1/topics/all/a", &[], b"x").unwrap().status,
        202
    );
    let refused = http.post("/v1/topics/all/a", &[ORIGIN], b"x").unwrap();
    assert_eq!(refused.status, 403);
    let kind = &refused.json().unwrap()["type"];
    assert_eq!(kind, "urn:causeway:problem:foreign-origin");

    let status = "/api/v1/status";
    assert_eq!(admin.get(status).unwrap().status, 200);
    let order = ("content-type", "application/json");
    for headers in [&[ORIGIN][..], &[ORIGIN, order]] {
        let drop = admin.post("/api/v1/lanes/inbox/drop", headers, b"{}");
        assert_eq!(drop.unwrap().status, 403);
    }
    assert_eq!(
        admin.request("GET", status, &[ORIGIN], b"").unwrap().status,
        403
    );

    let metrics = health.request("GET", "/metrics", &[ORIGIN], b"").unwrap();
    assert_eq!(metrics.status, 200);
    let metrics = String::from_utf8(metrics.body).unwrap();
    let counted = "causeway_http_foreign_requests_total{reason=\"origin\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
}
