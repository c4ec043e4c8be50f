//! docs/openapi.json, held against a gateway by who knows nothing else of it.

use crate::support::process::{ALL_TO_INBOX, Gateway, program};
use crate::support::skip::skipped;
use crate::support::tools;
use crate::support::wait::wait_for;
use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const DESCRIPTION: &str = "docs/openapi.json";
/// For each operation; schemathesis adds the corners of every parameter.
const EXAMPLES: &str = "200";
/// Fewer would mean that something kept it from asking.
const LEAST_CASES: u64 = 1_500;
const SEED: &str = "1";
/// It takes about 30 s; more on a machine under load.
const PATIENCE: Duration = Duration::from_secs(300);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

fn started() -> Gateway {
    let mut gateway = Gateway::new(&program(), ALL_TO_INBOX);
    gateway.start().unwrap_or_else(|why| panic!("{why}"));
    gateway
}

#[test]
fn it_is_served_as_it_is_checked_in() {
    let gateway = started();
    let response = gateway.client(ANSWER_LIMIT).get("/openapi.json");
    let response = response.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let file = fs::read(DESCRIPTION).expect("the file is there");
    assert!(response.body == file, "{DESCRIPTION} isn't what is served");
}

#[test]
fn it_is_openapi() {
    let Some(python) = tools::python() else {
        return skipped("openapi::it_is_openapi", tools::MISSING);
    };
    let words = ["-m", "openapi_spec_validator", DESCRIPTION];
    let output = Command::new(python).args(words).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn schemathesis_finds_nothing() {
    let Some(python) = tools::python() else {
        return skipped("openapi::schemathesis_finds_nothing", tools::MISSING);
    };
    let gateway = started();
    let mut client = gateway.client(ANSWER_LIMIT);
    // The hooks ask for the second record of the stream.
    for payload in ["one", "two"] {
        let response = client.post("/v1/topics/orders", &[], payload.as_bytes());
        assert_eq!(response.map(|r| r.status).ok(), Some(202));
    }
    let seed = env::var("CAUSEWAY_TEST_SEED").unwrap_or_else(|_| SEED.to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let said = schemathesis(&python, &gateway, folder.path(), &seed);
    let count = said.lines().find_map(|line| {
        let (number, _) = line.trim().split_once(" generated, ")?;
        number.parse::<u64>().ok()
    });
    assert!(
        count >= Some(LEAST_CASES),
        "CAUSEWAY_TEST_SEED={seed}\n{said}"
    );
}

/// What it said, if it found nothing. It leaves files where it runs, so that it gets a folder.
fn schemathesis(python: &Path, gateway: &Gateway, folder: &Path, seed: &str) -> String {
    let settings = "tests/openapi/schemathesis.toml";
    for file in [DESCRIPTION, settings, "tests/openapi/hooks.py"] {
        let name = Path::new(file).file_name().expect("a file's name");
        fs::copy(file, folder.join(name)).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    let output = folder.join("output");
    let said = || fs::read_to_string(&output).expect("its output is a file");
    let file = File::create(&output).expect("the folder is writable");
    let url = format!("http://{}", gateway.http);
    let child = Command::new(python)
        .current_dir(folder)
        .args([
            "-m",
            "schemathesis.cli",
            "--config-file",
            "schemathesis.toml",
        ])
        .args(["run", "openapi.json", "--no-color", "--url", &url])
        .args(["--max-examples", EXAMPLES, "--seed", seed])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file can be shared"))
        .stderr(file)
        .spawn()
        .expect("it starts");
    let mut child = Running(child);
    let status = wait_for(PATIENCE, || match child.0.try_wait() {
        Ok(Some(status)) => Ok(status),
        _ => Err(format!("schemathesis runs: {}", said())),
    });
    assert!(status.success(), "CAUSEWAY_TEST_SEED={seed}\n{}", said());
    said()
}

/// Not left behind where it doesn't come to its end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
