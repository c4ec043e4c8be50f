//! A service that implements `causeway.v1.Sink`, over a real gRPC server.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::process::Gateway;
use crate::support::sink::{MAX_BYTES, Manner, Sink};
use causeway::egress::grpc::v1;

const PASSWORD: &str = "right";
/// user:right
const AUTHORIZATION: &str = "Basic dXNlcjpyaWdodA==";

pub struct Grpc {
    sink: Sink,
    password: &'static str,
    /// More keys of the destination's.
    keys: &'static str,
}

impl Harness for Grpc {
    fn start(_: &str) -> Result<Self, String> {
        let sink = Sink::start();
        sink.want(Some(AUTHORIZATION));
        Ok(Self {
            sink,
            password: PASSWORD,
            keys: "",
        })
    }

    fn settings(&self) -> String {
        let (password, address) = (self.password, self.sink.address());
        let keys = self.keys;
        format!("type = \"grpc\"\nurl = \"http://user:{password}@{address}\"\n{keys}")
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        self.password = PASSWORD;
        match mood {
            Mood::Gone => self.sink.be_gone(),
            _ => self.sink.be_there(),
        }
        match mood {
            Mood::Well | Mood::Gone => self.sink.behave(Manner::Takes),
            Mood::Fails => self.sink.behave(Manner::Fails),
            Mood::Hangs => self.sink.behave(Manner::Hangs),
            Mood::Forgets => self.sink.behave(Manner::Forgets),
            Mood::Locked => self.password = "hunter2",
        }
        Ok(())
    }

    fn took(&mut self, _: &Gateway) -> Vec<Taken> {
        self.sink.took().into_iter().map(taken).collect()
    }

    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot> {
        Ok((message.header("poison", b"1"), "no poison here"))
    }

    fn oversize(&self, message: Message) -> Result<Message, Cannot> {
        Ok(Message {
            payload: vec![b'x'; MAX_BYTES + 1],
            ..message
        })
    }
}

#[cfg(feature = "faults")]
impl Grpc {
    /// A circuit would keep back what a planted fault lets overtake.
    pub fn without_circuit(self) -> Self {
        let keys = "breaker = { failures = 100_000 }\n";
        Self { keys, ..self }
    }
}

fn taken(delivery: v1::Delivery) -> Taken {
    let headers = delivery.headers.into_iter();
    let headers = headers.map(|header| (header.name, header.value.to_vec()));
    Taken {
        delivery_id: delivery.id,
        id: delivery.publisher_id,
        key: delivery.key.map(|key| key.to_vec()),
        payload_hash: hash(&delivery.payload.unwrap_or_default()),
        headers: Some(headers.collect()),
        content_type: Some(delivery.content_type).filter(|of| !of.is_empty()),
    }
}
