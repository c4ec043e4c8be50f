//! What `cargo xtask tools` fetches answers here: a broken one is told before the tests that use it.

use crate::support::skip::skipped;
use crate::support::tools;
use std::path::Path;
use std::process::Command;

fn said(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", program.display());
    said.into_owned()
}

#[test]
fn python_has_the_packages() {
    let Some(python) = tools::python() else {
        return skipped("fetched_tools::python_has_the_packages", tools::MISSING);
    };
    let packages = "import cloudevents, grpc, grpc_health, grpc_reflection, grpc_status, grpc_tools, \
                    openapi_spec_validator, prometheus_client, requests, schemathesis";
    assert_eq!(said(&python, &["-c", packages]), "");
}

#[test]
fn programs_answer() {
    let programs = [
        ("grpcurl", "-help", "gRPC"),
        ("h2spec", "--version", "Version"),
        ("protoc-gen-go", "--version", "protoc-gen-go"),
        ("protoc-gen-go-grpc", "--version", "protoc-gen-go-grpc"),
        ("buf", "--version", "1."),
    ];
    for (name, word, answer) in programs {
        let Some(program) = tools::bin(name) else {
            return skipped("fetched_tools::programs_answer", tools::MISSING);
        };
        let said = said(&program, &[word]);
        assert!(said.contains(answer), "{name} {word}: {said}");
    }
}
