//! Over gRPC: the libraries that each language's own people use.

use super::{Client, Door, built, built_in, insists, is_there, protos, skipped, source};
use crate::support::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many snippets the page has of it, at least.
pub(super) const LANGUAGES: usize = 6;

const GRPC: Door = Door {
    url: |gateway| gateway.grpc.to_string(),
    address: |gateway| gateway.grpc,
    no_room: "IN_FLIGHT_FULL",
};
const PROTO: &str = "causeway/v1/gateway.proto";

/// protoc, as grpcio-tools has it.
fn protoc(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "grpc_tools.protoc", "-I"])
        .arg(protos());
    command
}

/// The files of a client, where what belongs to them can be made.
fn copied(name: &str, files: &[&str]) -> PathBuf {
    let folder = built_in(name);
    for file in files {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().expect("it is in the folder")).expect("writable");
        fs::copy(source(&format!("{name}/{file}")), &to).unwrap_or_else(|e| panic!("{file}: {e}"));
    }
    folder
}

#[test]
fn python() {
    let Some(python) = tools::python() else {
        return skipped("clients::grpc::python", tools::MISSING);
    };
    let folder = built_in("python-grpc");
    let out = |option: &str| format!("--{option}={}", folder.display());
    built(
        protoc(&python)
            .args([out("python_out"), out("grpc_python_out")])
            .arg(PROTO),
    );
    let client = Client::new(python, &[&source("python/publish_grpc.py")]);
    insists(&GRPC, &client.with("PYTHONPATH", folder));
}

#[test]
fn go() {
    let plugins = ["protoc-gen-go", "protoc-gen-go-grpc"].map(tools::bin);
    let (Some(python), [Some(messages), Some(calls)]) = (tools::python(), plugins) else {
        return skipped("clients::grpc::go", tools::MISSING);
    };
    let folder = copied("go-grpc", &["publish.go", "go.mod", "go.sum"]);
    let module = "module=example.invalid/publish";
    let package = format!("M{PROTO}=example.invalid/publish/causeway/v1,{module}");
    let mut protoc = protoc(&python);
    for (name, plugin) in [("go", messages), ("go-grpc", calls)] {
        protoc.arg(format!("--plugin=protoc-gen-{name}={}", plugin.display()));
        protoc.arg(format!("--{name}_out={}", folder.display()));
        protoc.arg(format!("--{name}_opt={package}"));
    }
    built(protoc.arg(PROTO));
    built(
        Command::new("go")
            .current_dir(&folder)
            .args(["build", "-o", "publish", "."]),
    );
    insists(&GRPC, &Client::new(folder.join("publish"), &[]));
}

#[test]
fn node() {
    if !is_there("npm", "--version") {
        return skipped("clients::grpc::node", "no npm");
    }
    let folder = copied(
        "node-grpc",
        &["publish.mjs", "package.json", "package-lock.json"],
    );
    let words = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    built(Command::new("npm").current_dir(&folder).args(words));
    let script = folder.join("publish.mjs");
    let client = Client::new("node", &[script.to_str().expect("its own path is text")]);
    insists(&GRPC, &client.with("PROTO", protos()));
}

#[test]
fn java() {
    if !is_there("mvn", "--version") {
        return skipped("clients::grpc::java", "no mvn");
    }
    let folder = copied("java-grpc", &["pom.xml", "src/main/java/PublishGrpc.java"]);
    let proto = folder.join("src/main/proto").join(PROTO);
    fs::create_dir_all(proto.parent().expect("it is in the folder")).expect("writable");
    fs::copy(protos().join(PROTO), &proto).expect("writable");
    let words = [
        "--quiet",
        "--batch-mode",
        "compile",
        "dependency:build-classpath",
    ];
    let list = "target/classpath";
    built(
        Command::new("mvn")
            .current_dir(&folder)
            .args(words)
            .arg(format!("-Dmdep.outputFile={list}")),
    );
    let libraries = fs::read_to_string(folder.join(list)).expect("the list of its libraries");
    let classes = format!(
        "{}:{}",
        folder.join("target/classes").display(),
        libraries.trim()
    );
    insists(
        &GRPC,
        &Client::new("java", &["-cp", &classes, "PublishGrpc"]),
    );
}

#[test]
fn rust() {
    let Some(python) = tools::python() else {
        return skipped("clients::grpc::rust", tools::MISSING);
    };
    let folder = built_in("rust-grpc");
    // A build script wants one program.
    let protoc = folder.join("protoc");
    let script = format!(
        "#!/bin/sh\nexec {} -m grpc_tools.protoc \"$@\"\n",
        python.display()
    );
    fs::write(&protoc, script).expect("writable");
    built(Command::new("chmod").arg("+x").arg(&protoc));
    built(
        Command::new(env!("CARGO"))
            .current_dir(source("rust-grpc"))
            .env("PROTO", protos())
            .env("PROTOC", &protoc)
            .args(["build", "--locked", "--target-dir"])
            .arg(&folder),
    );
    let door = Door {
        url: |gateway| format!("http://{}", gateway.grpc),
        ..GRPC
    };
    insists(&door, &Client::new(folder.join("debug/publish-grpc"), &[]));
}

#[test]
fn grpcurl() {
    let Some(grpcurl) = tools::bin("grpcurl") else {
        return skipped("clients::grpc::grpcurl", tools::MISSING);
    };
    let folder = grpcurl.parent().expect("it is in a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).expect("a folder without a colon");
    let client = Client::new("bash", &[&source("grpcurl/publish.sh")]);
    insists(&GRPC, &client.with("PATH", path.into()));
}
