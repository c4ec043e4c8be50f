//! RabbitMQ: a real server, shared, an exchange and a queue of each scenario's own, and between it and the
//! gateway a wire that can be cut. What kills and freezes the server itself is in tests/rabbitmq/.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::brokers::Own;
use crate::support::process::Gateway;
use crate::support::rabbit::{self, MAX_MESSAGE_BYTES, Rabbit, header};
use crate::support::rabbit_wire::{Weather, Wire};
use causeway_brokers::rabbitmq::{Rabbitmq, USER};
use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;
use std::sync::Arc;

pub struct RabbitQueue {
    name: String,
    password: &'static str,
    is_full: bool,
    took: Vec<Taken>,
    rabbit: Rabbit,
    wire: Wire,
    server: Arc<Own<Rabbitmq>>,
}

impl Harness for RabbitQueue {
    fn start(scenario: &str) -> Result<Self, String> {
        let server = rabbit::shared(scenario).ok_or("there is no RabbitMQ")?;
        let name = scenario.replace("::", "-");
        let rabbit = Rabbit::connect(&server);
        // The gateway declares it the same way; here it may be gone at first.
        rabbit.queue(&name, &[]);
        Ok(Self {
            wire: Wire::to(server.ports().amqp()),
            name,
            password: USER.1,
            is_full: false,
            took: Vec::new(),
            rabbit,
            server,
        })
    }

    fn settings(&self) -> String {
        let (name, address) = (&self.name, self.wire.address);
        let (user, password) = (USER.0, self.password);
        format!(
            "type = \"rabbitmq\"\nurl = \"amqp://{address}/%2f\"\nusername = \"{user}\"\n\
             password = \"{password}\"\n\
             exchange = {{ name = \"{name}\", kind = \"topic\", declare = true }}\n\
             queues = [{{ name = \"{name}\", bind = [\"t.*\", \"sure.*\"] }}]\n"
        )
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        self.password = match mood {
            Mood::Locked => "hunter2",
            _ => USER.1,
        };
        self.wire.be(match mood {
            Mood::Well | Mood::Fails | Mood::Locked => Weather::Fine,
            Mood::Hangs => Weather::Still,
            Mood::Forgets => Weather::Robbed,
            Mood::Gone => Weather::Cut,
        });
        if (mood == Mood::Fails) != self.is_full {
            self.is_full = !self.is_full;
            self.rabbit.refuse(&self.server, &self.name, self.is_full);
        }
        Ok(())
    }

    fn took(&mut self, _: &Gateway) -> Vec<Taken> {
        let came = self.rabbit.drain(&self.name);
        self.took.extend(came.iter().filter_map(taken));
        self.took.clone()
    }

    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot> {
        let topic = "t/where/nothing/is/bound".to_owned();
        Ok((Message { topic, ..message }, "312 NO_ROUTE"))
    }

    fn oversize(&self, message: Message) -> Result<Message, Cannot> {
        let payload = vec![b'a'; MAX_MESSAGE_BYTES + 1];
        Ok(Message { payload, ..message })
    }
}

/// What the gateway sent: probes have no id.
fn taken(message: &BasicGetMessage) -> Option<Taken> {
    let text = |bytes| String::from_utf8(bytes).expect("ids are text");
    let said = &message.properties;
    let table = said.headers().as_ref()?.inner().iter();
    let headers = table.filter_map(|(name, value)| match value {
        AMQPValue::LongString(value) => Some((name.to_string(), value.as_bytes().to_vec())),
        _ => None,
    });
    Some(Taken {
        delivery_id: said.message_id().as_ref().expect("an id").to_string(),
        id: text(header(message, "publisher-id")?),
        key: header(message, "causeway-key"),
        payload_hash: hash(&message.data),
        headers: Some(headers.collect()),
        content_type: said.content_type().as_ref().map(ToString::to_string),
    })
}
