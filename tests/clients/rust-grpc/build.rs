//! Needs protoc. PROTO is the folder with causeway/v1/gateway.proto.

use std::{env, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-env-changed=PROTO");
    let folder = env::var("PROTO").map_err(io::Error::other)?;
    let file = format!("{folder}/causeway/v1/gateway.proto");
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_protos(&[file.as_str()], &[folder.as_str()])
}
