//! A file of `proto/` → the Rust that the gateway is built with, checked in so that nobody needs a protobuf
//! compiler. `cargo xtask proto` runs it; `cargo xtask lint` looks whether it would change anything.
//!
//! usage: codegen PROTO_DIR FILE OUT_DIR

use prost::Message;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// What reflection serves.
const DESCRIPTORS: &str = "causeway.v1.bin";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1).map(PathBuf::from);
    let (Some(proto), Some(file), Some(out)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: codegen PROTO_DIR FILE OUT_DIR".into());
    };
    let descriptors = protox::compile([file], [&proto])?;
    fs::create_dir_all(&out)?;
    fs::write(out.join(DESCRIPTORS), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .out_dir(&out)
        // Listener and connections are the gateway's own, and a client's are the client's.
        .build_transport(false)
        // The front takes messages off the wire itself, one by one: `ingress::grpc::codec`.
        .build_server(false)
        // A payload is a part of what was read, not a copy of it.
        .bytes(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
