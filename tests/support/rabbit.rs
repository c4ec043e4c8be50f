//! A RabbitMQ that tests of this process share, what they ask of it, and a wire to it that can be cut.

use super::brokers::{Own, done, own_rabbitmq};
use super::client::Client;
use causeway_brokers::rabbitmq::{Rabbitmq, USER};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Of a message, at the shared server: less than `limits.payload` in the contract of destinations.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One for all tests that run at the same time: names of your own, and no harm to it.
pub fn shared(test: &str) -> Option<Arc<Own<Rabbitmq>>> {
    static SHARED: Mutex<Weak<Own<Rabbitmq>>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(own_rabbitmq(test)?);
    let limit = format!("application:set_env(rabbit, max_message_size, {MAX_MESSAGE_BYTES}), ok.");
    done(server.ctl(&["eval", &limit]));
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// The management API: what it said.
pub fn manage(server: &Rabbitmq, method: &str, path: &str, body: &Value) -> Value {
    use base64::Engine as _;
    let (user, password) = USER;
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let headers = [
        ("authorization", &*format!("Basic {login}")),
        ("content-type", "application/json"),
    ];
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let mut client = Client::new(server.ports().management(), ANSWER_LIMIT);
    let answer = client.request(method, path, &headers, body.as_bytes());
    let answer = answer.unwrap_or_else(|t| panic!("{method} {path}: {t}"));
    assert!(answer.status < 300, "{method} {path}: {answer}");
    answer.json().unwrap_or(Value::Null)
}

/// Until it is there.
pub fn wait_queue(server: &Rabbitmq, queue: &str) {
    super::wait::wait_until(ANSWER_LIMIT, "the queue is declared", || {
        let all = manage(server, "GET", "/api/queues/%2f", &Value::Null);
        let all = all.as_array().expect("queues");
        all.iter().any(|each| each["name"] == queue)
    });
}

/// A client of the test's own.
pub struct Rabbit {
    /// Before its runtime: fields are dropped in order.
    channel: Channel,
    _connection: Connection,
    runtime: Runtime,
}

impl Rabbit {
    pub fn connect(server: &Rabbitmq) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (connection, channel) = runtime.block_on(async {
            let url = server.ports().url();
            let connection = Connection::connect(&url, ConnectionProperties::default()).await;
            let connection = connection.expect("the server takes us");
            let channel = connection.create_channel().await.expect("a channel");
            let select = ConfirmSelectOptions::default();
            channel.confirm_select(select).await.expect("it confirms");
            (connection, channel)
        });
        Self {
            channel,
            _connection: connection,
            runtime,
        }
    }

    pub fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let table = FieldTable::default();
        let declared = self
            .channel
            .exchange_declare(name.into(), kind, options, table);
        self.runtime.block_on(declared).expect("an exchange");
    }

    pub fn queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let declared = self.channel.queue_declare(name.into(), options, table);
        self.runtime.block_on(declared).expect("a queue");
    }

    pub fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        self.runtime.block_on(bound).expect("a binding");
    }

    /// Straight to a queue, without an id; whether it was confirmed.
    pub fn put(&self, queue: &str, payload: &[u8]) -> bool {
        self.runtime.block_on(async {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            let sent =
                self.channel
                    .basic_publish("".into(), queue.into(), options, payload, properties);
            let confirm = sent.await.expect("it is sent");
            confirm.await.expect("an answer").is_ack()
        })
    }

    /// All that is in a queue now, in its order; it is empty afterwards.
    pub fn drain(&self, queue: &str) -> Vec<BasicGetMessage> {
        self.runtime.block_on(async {
            let mut all = Vec::new();
            let get = || {
                self.channel
                    .basic_get(queue.into(), BasicGetOptions::default())
            };
            while let Some(message) = get().await.expect("it can be read") {
                let acked = message.ack(BasicAckOptions::default()).await;
                acked.expect("it can be acked");
                all.push(message);
            }
            all
        })
    }

    /// From now on, once this returns, a queue refuses all that is published to it, or none.
    pub fn refuse(&self, server: &Rabbitmq, queue: &str, refuses: bool) {
        let path = format!("/api/policies/%2f/full-{queue}");
        if refuses {
            let policy = json!({
                "pattern": format!("^{queue}$"),
                "definition": { "max-length": 0, "overflow": "reject-publish" },
                "apply-to": "queues",
            });
            manage(server, "PUT", &path, &policy);
        } else {
            manage(server, "DELETE", &path, &Value::Null);
        }
        super::wait::wait_until(ANSWER_LIMIT, "the policy is in force", || {
            self.put(queue, PROBE) != refuses
        });
    }
}

/// The payload of messages that aren't the gateway's: they have no header of an id.
const PROBE: &[u8] = b"probe";

/// A header's value: text or bytes.
pub fn header(message: &BasicGetMessage, name: &str) -> Option<Vec<u8>> {
    let headers = message.properties.headers().as_ref()?;
    match headers.inner().get(name)? {
        AMQPValue::LongString(value) => Some(value.as_bytes().to_vec()),
        other => panic!("{name}: {other:?}"),
    }
}

/// The publishers' ids of messages, in their order; of probes none.
pub fn ids(messages: &[BasicGetMessage]) -> Vec<String> {
    let id = |message: &BasicGetMessage| {
        let id = header(message, "publisher-id")?;
        Some(String::from_utf8(id).expect("ids are text"))
    };
    messages.iter().filter_map(id).collect()
}
