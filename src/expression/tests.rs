//! What expressions mean, from the outside: source and envelope in, JSON or error out.

mod budget;
mod differential;
mod errors;
mod messages;
mod semantics;

use super::*;
use crate::message::{Envelope, Header, MessageId, Tombstone};
use bytes::Bytes;

pub(super) fn envelope(payload: &str) -> Envelope {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.into(),
        value: Bytes::from_static(value),
    };
    Envelope {
        principal: "shop".into(),
        source: "http".into(),
        topic: "orders/7/created".into(),
        id: MessageId::None,
        key: Some(Bytes::from_static(b"k-1")),
        headers: vec![
            header("Type", b"pdf"),
            header("X-Id", b"x-1"),
            header("type", b"second"),
            header("raw", b"\xff\x00"),
        ],
        content_type: Some("application/json".into()),
        payload: Ok(Bytes::copy_from_slice(payload.as_bytes())),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    }
}

pub(super) fn without_payload() -> Envelope {
    let mut envelope = envelope("");
    envelope.payload = Err(Tombstone);
    envelope
}

pub(super) const LEVELS: [&str; 1] = ["shop"];
pub(super) const BOUND: [(&str, &str); 1] = [("shop", "7")];

pub(super) fn program(source: &str) -> Program {
    match Program::compile(source, &LEVELS) {
        Ok(program) => program,
        Err(error) => panic!("{source}: {error:?}"),
    }
}

pub(super) fn refused(source: &str) -> CompileError {
    Program::compile(source, &LEVELS).expect_err(source)
}

/// The value as JSON.
pub(super) fn json(source: &str, envelope: &Envelope) -> Result<String, EvalError> {
    let scope = Scope::new(envelope);
    let transformed = program(source).transform(&scope.with_levels(&BOUND))?;
    Ok(String::from_utf8(transformed.json.to_vec()).expect("JSON is text"))
}
