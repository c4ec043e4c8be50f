//! Over HTTP.

use super::{Client, Door, built, built_in, insists, is_there, skipped, source};
use std::process::Command;

/// How many snippets the page has of it.
pub(super) const LANGUAGES: usize = 6;

const HTTP: Door = Door {
    url: |gateway| format!("http://{}", gateway.http),
    address: |gateway| gateway.http,
    no_room: "in-flight-full",
};

#[test]
fn python() {
    if !is_there("python3", "--version") {
        return skipped("clients::http::python", "no python3");
    }
    insists(
        &HTTP,
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
    insists(&HTTP, &Client::new(program, &[]));
}

#[test]
fn node() {
    if !is_there("node", "--version") {
        return skipped("clients::http::node", "no node");
    }
    insists(&HTTP, &Client::new("node", &[&source("node/publish.mjs")]));
}

#[test]
fn java() {
    if !is_there("java", "-version") {
        return skipped("clients::http::java", "no java");
    }
    insists(&HTTP, &Client::new("java", &[&source("java/Publish.java")]));
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
    insists(&HTTP, &Client::new(folder.join("debug/publish"), &[]));
}

#[test]
fn curl() {
    if !is_there("curl", "--version") || !is_there("bash", "--version") {
        return skipped("clients::http::curl", "no curl, or no bash");
    }
    insists(&HTTP, &Client::new("bash", &[&source("curl/publish.sh")]));
}
