use super::super::adapters::ADAPTERS;
use super::super::connections::{Connections, find_adapter, read_adapter};
use crate::config::document::Document;
use crate::config::files::{self, Files};
use crate::config::layers::{Layers, Sources};
use crate::config::problem::{FileName, Severity};
use crate::config::reader::Reader;
use crate::config::settings::{
    BindMatch, Create, DestinationKind, ExchangeKind, Mechanism, Plain, QueueKind, WebhookFormat,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// `[destinations.x]` of a file as settings, whether its type is built in or not, and the errors.
fn made(text: &str) -> (Option<DestinationKind>, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let cert = "-----BEGIN CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\n";
    for (name, text) in [("ca.crt", cert), ("me.crt", cert), ("me.key", key)] {
        std::fs::write(folder.path().join(name), text).expect("it can be written");
    }
    let mut problems = Vec::new();
    let file = folder.path().join("routes.toml");
    let name = FileName::new(0, file.display().to_string());
    let document = Document::parse(name, text).expect("it is TOML");
    let sources = Sources::file(&file);
    let whole = files::to_dict(&document, &mut problems);
    let files = Files::one(document);
    let layers = Layers::merge(whole, &sources, &mut problems);
    let reader = Reader::new(&files, &layers, &sources);
    let root = reader.root();
    let connections = Connections::read(&root);
    let (_, table) = root
        .named_tables("destinations")
        .into_iter()
        .next()
        .expect("a destination");
    let types = ADAPTERS.map(|adapter| adapter.name);
    let means = find_adapter(&table, &connections, &types).expect("its adapter");
    let own = means.adapter.destination.expect("keys of a destination");
    let values = read_adapter(&table, &means, own);
    let make = means.adapter.make.expect("its settings are known");
    let kind = make(&values, &reader);
    let errors = reader.into_problems().into_iter();
    let errors = errors.filter(|problem| problem.severity == Severity::Error);
    (kind, errors.map(|problem| problem.message).collect())
}

fn good(text: &str) -> DestinationKind {
    let (kind, errors) = made(text);
    assert_eq!(errors, [""; 0]);
    kind.expect("it is good")
}

fn errors(text: &str) -> Vec<String> {
    made(text).1
}

#[test]
fn a_connections_keys_and_the_destinations_own_are_one() {
    let apart = good(
        r#"
        [connections.bus]
        type = "kafka"
        brokers = ["a:1", "b:2"]
        sasl = { mechanism = "PLAIN", username = "app", password = "hunter2" }
        [destinations.x]
        connection = "bus"
        topic = "events"
        properties = { "linger.ms" = 5, "compression.type" = "zstd", "socket.keepalive.enable" = true }
        create = { partitions = 6, replication = 3 }
    "#,
    );
    let together = good(
        r#"
        [destinations.x]
        type = "kafka"
        brokers = ["a:1", "b:2"]
        sasl = { mechanism = "PLAIN", username = "app", password = "hunter2" }
        topic = "events"
        properties = { "linger.ms" = 5, "compression.type" = "zstd", "socket.keepalive.enable" = true }
        create = { partitions = 6, replication = 3 }
    "#,
    );
    assert_eq!(apart, together);
    assert!(!format!("{apart:?}").contains("hunter2"));
    let DestinationKind::Kafka(kafka) = apart else {
        panic!("{apart:?}");
    };
    assert_eq!(kafka.brokers, ["a:1", "b:2"]);
    assert_eq!(kafka.topic.as_deref(), Some("events"));
    assert_eq!(kafka.tls, None);
    let create = Create {
        partitions: 6,
        replication: 3,
    };
    assert_eq!(kafka.create, Some(create));
    let properties = [
        ("linger.ms".to_owned(), Plain::Whole(5)),
        (
            "compression.type".to_owned(),
            Plain::Text("zstd".to_owned()),
        ),
        ("socket.keepalive.enable".to_owned(), Plain::Boolean(true)),
    ];
    assert_eq!(kafka.properties, BTreeMap::from(properties));
    let sasl = kafka.sasl.expect("it logs in");
    assert_eq!(sasl.mechanism, Mechanism::Plain);
    assert_eq!(sasl.username.as_deref(), Some("app"));
    assert_eq!(sasl.password.expect("a password").expose(), "hunter2");
}

#[test]
fn a_rabbitmq_destination() {
    let kind = good(
        r#"
        [destinations.x]
        type = "rabbitmq"
        url = ["amqps://u:hunter2@a:5671/%2fapp", "amqps://b:5671/%2fapp"]
        tls = { ca = "ca.crt", cert = "me.crt", key = "me.key", server_name = "broker" }
        exchange = { name = "tasks", kind = "headers", declare = true }
        topic = "jobs"
        [[destinations.x.queues]]
        name = "resize"
        bind = ["jobs.*"]
        bind_headers = { type = "pdf", pages = 7 }
        bind_match = "any"
        declare = false
        type = "classic"
        max_priority = 9
        max_length = 100
        ttl = "1h"
        dead_letter_exchange = "dead"
        [[destinations.x.queues]]
        name = "plain"
    "#,
    );
    assert!(!format!("{kind:?}").contains("hunter2"));
    let DestinationKind::Rabbitmq(rabbit) = kind else {
        panic!("{kind:?}");
    };
    assert_eq!(rabbit.urls[1].expose(), "amqps://b:5671/%2fapp");
    assert_eq!(rabbit.virtual_host(), "/app");
    assert_eq!(rabbit.exchange_name(), "tasks");
    let exchange = rabbit.exchange.clone().expect("an exchange");
    assert_eq!(exchange.kind, Some(ExchangeKind::Headers));
    assert!(exchange.declare);
    let tls = rabbit.tls.expect("it is encrypted");
    assert_eq!(tls.ca.as_deref(), Some("-----BEGIN CERTIFICATE-----\n"));
    assert_eq!(tls.server_name.as_deref(), Some("broker"));
    let key = tls.identity.expect("an identity").key;
    assert_eq!(key.expose(), "-----BEGIN PRIVATE KEY-----");
    assert_eq!(rabbit.unroutable, None);
    assert_eq!(rabbit.topic.as_deref(), Some("jobs"));
    let [resize, plain] = &rabbit.queues[..] else {
        panic!("{:?}", rabbit.queues);
    };
    assert_eq!(resize.bind, ["jobs.*"]);
    assert_eq!(resize.bind_headers["pages"], Plain::Whole(7));
    assert_eq!(resize.bind_match, BindMatch::Any);
    assert_eq!(resize.kind, Some(QueueKind::Classic));
    let numbers = (resize.max_priority, resize.max_length, resize.ttl);
    let hour = Duration::from_secs(3_600);
    assert_eq!(numbers, (Some(9), Some(100), Some(hour)));
    assert_eq!(resize.dead_letter_exchange.as_deref(), Some("dead"));
    assert!(!resize.declare && plain.declare);
    assert_eq!(plain.bind_match, BindMatch::All);
}

#[test]
fn a_webhook_and_a_grpc_destination() {
    let kind = good(
        r#"
        [destinations.x]
        type = "webhook"
        url = "https://localhost/events"
        secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        headers = ["Type", "x-tenant"]
    "#,
    );
    let DestinationKind::Webhook(hook) = kind else {
        panic!("{kind:?}");
    };
    assert_eq!(hook.url.expose(), "https://localhost/events");
    assert_eq!(hook.secrets.len(), 1);
    assert_eq!(hook.headers, ["type", "x-tenant"]);
    assert_eq!((hook.format, hook.concurrency), (WebhookFormat::Binary, 16));

    let kind = good("[destinations.x]\ntype = \"grpc\"\nurl = \"http://localhost:1\"");
    let DestinationKind::Grpc(sink) = kind else {
        panic!("{kind:?}");
    };
    assert_eq!(sink.url.expose(), "http://localhost:1");
    for url in ["http://localhost", "https://u:p@localhost/"] {
        good(&format!(
            "[destinations.x]\ntype = \"grpc\"\nurl = \"{url}\""
        ));
    }
    for url in [
        "http://localhost:1/path",
        "http://localhost?x",
        "http://localhost#x",
    ] {
        let errors = errors(&format!(
            "[destinations.x]\ntype = \"grpc\"\nurl = \"{url}\""
        ));
        assert_eq!(
            errors,
            ["`destinations.x.url` is no address of a gRPC service"]
        );
    }
}

#[test]
fn properties_of_kafka_break_no_promise() {
    let said = |property: &str| {
        errors(&format!(
            "[destinations.x]\ntype = \"kafka\"\nbrokers = [\"a:1\"]\nproperties = {{ {property} }}\n"
        ))
    };
    for good in [
        "\"linger.ms\" = 5",
        "\"linger.ms\" = 0.5",
        "\"max.in.flight\" = 5",
        "\"compression.type\" = \"zstd\"",
        "\"compression.type\" = \"gzip\"",
        "\"compression.type\" = \"snappy\"",
        "\"compression.type\" = \"lz4\"",
        "\"socket.timeout.ms\" = 10_000",
    ] {
        assert_eq!(said(good), [""; 0], "{good}");
    }
    for bad in [
        "\"acks\" = 1",
        "\"enable.idempotence\" = false",
        "\"message.timeout.ms\" = 1000",
        "\"delivery.timeout.ms\" = 1000",
        "\"transactional.id\" = \"x\"",
        "\"partitioner\" = \"random\"",
        "\"bootstrap.servers\" = \"b:1\"",
        "\"security.protocol\" = \"ssl\"",
        "\"sasl.password\" = \"x\"",
        "\"ssl.ca.location\" = \"/x\"",
        "\"enable.ssl.certificate.verification\" = false",
        "\"retries\" = 0",
        "\"max.in.flight\" = 6",
        "\"max.in.flight.requests.per.connection\" = 0",
        "\"enable.gapless.guarantee\" = true",
        "\"dr_msg_cb\" = \"x\"",
        "\"plugin.library.paths\" = \"/tmp/evil.so\"",
        "\"client.id\" = \"x\"",
        "\"allow.auto.create.topics\" = true",
        "\"statistics.interval.ms\" = 5",
        "\"no.such\" = 5",
    ] {
        assert_eq!(said(bad).len(), 1, "{bad}: {:?}", said(bad));
    }
    let unfit = said("\"linger.ms\" = \"soon\"");
    assert!(unfit[0].contains("linger.ms"), "{unfit:?}");
}

#[test]
fn what_several_keys_say_together() {
    let kafka = "[destinations.x]\ntype = \"kafka\"\nbrokers = [\"a:1\"]\n";
    let with = |keys: &str| errors(&format!("{kafka}{keys}"));
    // Whether TLS is built in is asked below.
    let with_tls = |keys: &str| {
        let mut said = with(keys);
        said.retain(|message| !message.contains("TLS for Kafka"));
        said
    };
    assert_eq!(
        with("sasl = { mechanism = \"PLAIN\", username = \"app\" }"),
        ["to log in by this mechanism `password` is needed"]
    );
    let by = |mechanism: &str| {
        with(&format!(
            "sasl = {{ mechanism = \"{mechanism}\", username = \"app\", password = \"x\" }}"
        ))
    };
    assert_eq!(by("PLAIN"), [""; 0]);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] {
        let said = by(mechanism);
        match cfg!(feature = "kafka-tls") {
            true => assert_eq!(said, [""; 0]),
            false => assert!(said[0].contains(mechanism), "{said:?}"),
        }
    }
    assert_eq!(
        with_tls("tls = { cert = \"me.crt\" }"),
        ["`cert` is of no use without `key`"]
    );
    assert_eq!(
        with_tls("tls = { ca = \"me.key\" }"),
        ["there is no certificate in this file"]
    );
    assert_eq!(
        with_tls("tls = { cert = \"me.crt\", key = \"ca.crt\" }"),
        ["there is no private key in this file"]
    );
    let missing = with_tls("tls = { ca = \"none.crt\" }");
    assert!(missing[0].contains("none.crt can't be read: No such file"));
    let rabbit = "[destinations.x]\ntype = \"rabbitmq\"\nurl = \"amqp://a\"\n";
    assert_eq!(
        errors(&format!(
            "{rabbit}exchange = {{ name = \"a\", declare = true }}"
        )),
        ["to declare an exchange its `kind` is needed"]
    );
    let queue = |keys: &str| {
        let exchange = "exchange = { name = \"a\" }";
        errors(&format!(
            "{rabbit}{exchange}\n[[destinations.x.queues]]\nname = \"q\"\n{keys}"
        ))
    };
    assert_eq!(
        queue("type = \"quorum\"\nmax_priority = 2"),
        [
            "a quorum queue has no `max_priority`: from RabbitMQ 4.0 on it has two levels by itself, before none"
        ]
    );
    assert_eq!(queue("type = \"quorum\"\nbind = [\"a\"]"), [""; 0]);
    assert_eq!(
        errors(&format!(
            "{rabbit}queues = [{{ name = \"q\", bind = [\"a\"] }}]"
        )),
        [
            "there is no `exchange` to bind it to: the default exchange leads to each queue by its name"
        ]
    );
    let rabbits = |urls: &str| {
        errors(&format!(
            "[destinations.x]\ntype = \"rabbitmq\"\nurl = {urls}"
        ))
    };
    assert_eq!(rabbits("[\"amqp://a\", \"amqp://b/%2f\"]"), [""; 0]);
    assert_eq!(
        rabbits("[\"amqp://a\", \"amqp://b/x\"]"),
        [
            "these URLs have different virtual hosts: they must be of one cluster and one virtual host"
        ]
    );
    assert_eq!(
        errors(&format!("{rabbit}tls = {{ ca = \"ca.crt\" }}")),
        ["`tls` is for an encrypted address, and this one isn't"]
    );
}
