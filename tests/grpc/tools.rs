//! What others wrote: grpcurl knows the contract by reflection alone, buf judges it.

use super::started;
use crate::support::grpc::endpoint;
use crate::support::process::Gateway;
use crate::support::skip::skipped;
use crate::support::tools;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const METHODS: [&str; 5] = [
    "GetMessage",
    "Publish",
    "PublishBatch",
    "PublishStream",
    "Subscribe",
];

fn grpcurl(program: &Path, gateway: &Gateway, options: &[&str], words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .arg("-plaintext")
        .args(options)
        .arg(gateway.grpc.to_string());
    let output = command.args(words).output();
    output.unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[test]
fn grpcurl_needs_nothing_but_the_address() {
    let Some(program) = tools::bin("grpcurl") else {
        return skipped(
            "grpc::tools::grpcurl_needs_nothing_but_the_address",
            tools::MISSING,
        );
    };
    let gateway = started();
    let ask = |options: &[&str], words: &[&str]| {
        let output = grpcurl(&program, &gateway, options, words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    };
    let services = ask(&[], &["list"]);
    for service in [
        "causeway.v1.Gateway",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(services.lines().any(|line| line == service), "{services}");
    }
    let methods = ask(&[], &["list", "causeway.v1.Gateway"]);
    let expected = METHODS.map(|m| format!("causeway.v1.Gateway.{m}"));
    assert_eq!(methods.lines().collect::<Vec<_>>(), expected);
    let described = ask(&[], &["describe", "causeway.v1.Message"]);
    assert!(
        described.contains("optional bytes payload = 6;"),
        "{described}"
    );

    let publish = r#"{"message": {"topic": "all/a", "id": "g", "payload": "eA=="}}"#;
    let receipt = ask(&["-d", publish], &["causeway.v1.Gateway/Publish"]);
    let receipt: Value = serde_json::from_str(&receipt).expect("JSON");
    assert_eq!(receipt["receipt"]["id"], "g", "{receipt}");
    let stream = r#"{"sequence": 1, "message": {"topic": "all/a"}} {"sequence": 2, "message": {"topic": "all/a"}}"#;
    let receipts = ask(&["-d", stream], &["causeway.v1.Gateway/PublishStream"]);
    assert_eq!(receipts.matches("\"receipt\"").count(), 2, "{receipts}");
    let page = ask(
        &["-d", r#"{"stream": "inbox", "limit": 1}"#],
        &["causeway.v1.Gateway/Subscribe"],
    );
    let page: Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(page["messages"][0]["payload"], "eA==", "{page}");
    assert_eq!(page["next"], "1", "{page}");
    let health = ask(&[], &["grpc.health.v1.Health/Check"]);
    assert!(health.contains("SERVING"), "{health}");

    // Details are shown in words: they are in what reflection knows.
    let nowhere = r#"{"message": {"topic": "nowhere"}}"#;
    let output = grpcurl(
        &program,
        &gateway,
        &["-d", nowhere],
        &["causeway.v1.Gateway/Publish"],
    );
    let refused = said(&output);
    assert!(!output.status.success(), "{refused}");
    for word in [
        "Code: NotFound",
        "google.rpc.ErrorInfo",
        "NO_ROUTE",
        "\"domain\": \"causeway\"",
    ] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
}

#[tokio::test]
async fn the_older_reflection_knows_the_same() {
    use pb::server_reflection_request::MessageRequest::{FileContainingSymbol, ListServices};
    use pb::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1alpha as pb;
    let gateway = started();
    let channel = endpoint(gateway.grpc).connect().await.expect("there");
    let mut client = pb::server_reflection_client::ServerReflectionClient::new(channel);
    let asked = [
        ListServices(String::new()),
        FileContainingSymbol("causeway.v1.Gateway".to_owned()),
        FileContainingSymbol("google.rpc.RetryInfo".to_owned()),
    ];
    let asked = asked.map(|asked| pb::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(asked),
    });
    let answers = client
        .server_reflection_info(futures_util::stream::iter(asked))
        .await;
    let mut answers = answers.expect("answered").into_inner();
    let mut next = async || {
        let answer = answers.message().await.expect("OK").expect("an answer");
        answer.message_response.expect("a response")
    };
    let MessageResponse::ListServicesResponse(services) = next().await else {
        panic!("not the services");
    };
    let names: Vec<_> = services.service.into_iter().map(|s| s.name).collect();
    assert!(
        names.contains(&"causeway.v1.Gateway".to_owned()),
        "{names:?}"
    );
    for _ in 0..2 {
        let MessageResponse::FileDescriptorResponse(files) = next().await else {
            panic!("not a file");
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
}

#[test]
fn buf_has_nothing_to_say() {
    let Some(program) = tools::bin("buf") else {
        return skipped("grpc::tools::buf_has_nothing_to_say", tools::MISSING);
    };
    // Cargo runs tests in the package.
    // What was published once never changes its meaning. After a compatible change:
    // `buf build proto -o proto/published.binpb`.
    let breaking = ["breaking", "proto", "--against", "proto/published.binpb"];
    for words in [
        &["lint", "proto"][..],
        &breaking,
        &[
            "format",
            "--diff",
            "--exit-code",
            "proto",
            "--path",
            "proto/causeway",
        ],
    ] {
        let output = Command::new(&program).args(words).output();
        let output = output.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        assert!(output.status.success(), "{words:?}: {}", said(&output));
    }
}
