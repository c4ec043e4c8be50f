//! The Sink of docs/destinations/grpc.md, in Python, as it stands there.

use super::*;
use crate::support::running::Running;
use crate::support::{skip, tools};
use std::fs;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/destinations/grpc.md";
const MARK: &str = "<!-- tests/push/sink.py -->\n```python\n";

#[test]
fn the_pages_snippet_is_this_file() {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let (_, rest) = page.split_once(MARK).expect("the snippet has its mark");
    let (snippet, _) = rest.split_once("```\n").expect("it ends");
    let file = fs::read_to_string("tests/push/sink.py").expect("the file is there");
    assert!(snippet == file, "{PAGE} has another tests/push/sink.py");
}

#[test]
fn a_sink_in_python() {
    let Some(python) = tools::python() else {
        return skip::skipped("push::python::a_sink_in_python", tools::MISSING);
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = |option: &str| format!("--{option}={}", folder.path().display());
    let made = Command::new(&python)
        .args(["-m", "grpc_tools.protoc", "-I"])
        .arg(root.join("proto"))
        .args([out("python_out"), out("grpc_python_out")])
        .arg("causeway/v1/sink.proto")
        .output()
        .expect("it runs");
    assert!(made.status.success(), "{made:?}");
    let mut command = Command::new(&python);
    command
        .arg(root.join("tests/push/sink.py"))
        .arg("127.0.0.1:0")
        .env("PYTHONPATH", folder.path())
        .env("PYTHONUNBUFFERED", "1");
    let mut service = Running::start(command);
    let lines = service.lines();
    let line = || lines.recv_timeout(PATIENCE).expect("it goes on talking");
    let first = line();
    let port = first.rsplit(' ').next().expect("its port");
    let gateway = started(&format!("url = \"http://127.0.0.1:{port}\"\n"));

    let good = |n: usize| json!({ "topic": "orders/new", "id": format!("o-{n}"), "key": "k", "data": { "total": n } });
    let bad = json!({ "topic": "orders/new", "id": "bad", "key": "k", "content_type": "text/plain", "data": "no JSON" });
    let body: String = (0..5).map(|n| format!("{}\n", good(n))).collect();
    publish_lines(&gateway, &format!("{body}{bad}\n{}\n", good(5)));
    let lane = wait_settled(&gateway, 6, 1);
    assert!(lane["last_error"].to_string().contains("no JSON"), "{lane}");
    for n in 0..6 {
        assert_eq!(line(), format!("orders/new: {{'total': {n}}}"));
    }

    // Its library takes 4 MiB, what surrounds the payload included, and ends the call over more.
    let large = "x".repeat((4 << 20) - 2);
    publish_lines(
        &gateway,
        &format!(
            "{}\n",
            json!({ "topic": "orders/new", "id": "large", "data": large })
        ),
    );
    let lane = wait_settled(&gateway, 6, 2);
    assert!(
        lane["last_error"].to_string().contains("larger than max"),
        "{lane}"
    );
}
