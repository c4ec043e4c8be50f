//! Over HTTP.

use super::{
    ANSWER_LIMIT, Client, Door, Gateway, PATIENCE, SocketAddr, TcpStream, Write, built, built_in,
    insists, is_there, metrics, skipped, source, wait_until,
};
use std::process::Command;

/// How many snippets the page has of it.
pub(super) const LANGUAGES: usize = 6;

struct Http;

impl Door for Http {
    fn url(&self, gateway: &Gateway) -> String {
        format!("http://{}", gateway.http)
    }

    fn address(&self, gateway: &Gateway) -> SocketAddr {
        gateway.http
    }

    fn fill(&self, gateway: &Gateway) -> TcpStream {
        let mut connection = TcpStream::connect(gateway.http).expect("it listens");
        let head = "POST /v1/topics/orders/held HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1024\r\n\r\n";
        let body = [b'x'; 1000];
        let sent = connection.write_all(&[head.as_bytes(), &body].concat());
        sent.expect("it listens");
        // The room is taken as soon as somebody else is told so.
        let mut other = gateway.client(ANSWER_LIMIT);
        wait_until(PATIENCE, "the room is taken", || {
            let answer = other.post("/v1/topics/nowhere", &[], &body);
            answer.is_ok_and(|answer| answer.status == 503)
        });
        connection
    }

    fn refused(&self, gateway: &Gateway) -> f64 {
        let page = gateway.health_client().get("/metrics").expect("it runs");
        let text = String::from_utf8(page.body).expect("text");
        let samples = metrics::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let is_it = |s: &&metrics::Sample| {
            s.name == "causeway_http_problems_total"
                && s.labels.get("type").is_some_and(|t| t == "in-flight-full")
        };
        // One of them was ours, to see that the room is taken.
        samples.iter().find(is_it).map_or(0.0, |s| s.value - 1.0)
    }
}

#[test]
fn python() {
    if !is_there("python3", "--version") {
        return skipped("clients::http::python", "no python3");
    }
    insists(
        &Http,
        &Client::new("python3", &[&source("python/publish.py")]),
    );
}

#[test]
fn go() {
    if !is_there("go", "version") {
        return skipped("clients::http::go", "no go");
    }
    let program = built_in("go").join("publish");
    built(
        Command::new("go")
            .current_dir(source("go"))
            .args(["build", "-o"])
            .arg(&program)
            .arg("."),
    );
    insists(&Http, &Client::new(program, &[]));
}

#[test]
fn node() {
    if !is_there("node", "--version") {
        return skipped("clients::http::node", "no node");
    }
    insists(&Http, &Client::new("node", &[&source("node/publish.mjs")]));
}

#[test]
fn java() {
    if !is_there("java", "-version") {
        return skipped("clients::http::java", "no java");
    }
    insists(&Http, &Client::new("java", &[&source("java/Publish.java")]));
}

#[test]
fn rust() {
    let folder = built_in("rust");
    built(
        Command::new(env!("CARGO"))
            .current_dir(source("rust"))
            .args(["build", "--locked", "--target-dir"])
            .arg(&folder),
    );
    insists(&Http, &Client::new(folder.join("debug/publish"), &[]));
}

#[test]
fn curl() {
    if !is_there("curl", "--version") || !is_there("bash", "--version") {
        return skipped("clients::http::curl", "no curl, or no bash");
    }
    insists(&Http, &Client::new("bash", &[&source("curl/publish.sh")]));
}
