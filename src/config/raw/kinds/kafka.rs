//! `type = "kafka"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::reader::Reader;
use crate::config::settings::{Create, DestinationKind, Kafka, Mechanism, Plain, Sasl};
use crate::egress::kafka::{check_properties, property_problem};
use crate::message::TopicNames;

/// What OpenSSL is needed for.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");
const NEEDS_TLS: &str = "TLS for Kafka is not built in (the feature kafka-tls)";

pub(in crate::config::raw) fn kafka(
    values: &Values,
    reader: &Reader<'_>,
) -> Option<DestinationKind> {
    let create = values.table("create").and_then(|create| {
        Some(Create {
            partitions: create.count("partitions")?,
            replication: create.count("replication")?,
        })
    });
    let properties = values.properties("properties");
    check_each(values, &properties, reader);
    check_topic(values, reader);
    let sasl = values
        .table("sasl")
        .and_then(|sasl| read_sasl(sasl, reader));
    let is_token = |sasl: &Sasl| sasl.mechanism == Mechanism::OAuthBearer;
    if create.is_some() && sasl.as_ref().is_some_and(is_token) {
        reader.key_error(
            &values.place("create"),
            "topics can't be created by who logs in with OAUTHBEARER",
            "create them beforehand and take `create` out, or log in otherwise",
        );
    }
    let tls = read_tls(values, reader, true);
    check_tls(values, reader);
    Some(DestinationKind::Kafka(Box::new(Kafka {
        brokers: values.plain_texts("brokers"),
        properties,
        tls,
        sasl,
        topic: values.text("topic").map(str::to_owned),
        create,
        partition_header: values.text("partition_header").map(str::to_owned),
    })))
}

type Properties = std::collections::BTreeMap<String, Plain>;

fn check_each(values: &Values, properties: &Properties, reader: &Reader<'_>) {
    let place = values.place("properties");
    for (name, value) in properties {
        let text = value.to_string();
        if let Some((problem, help)) = property_problem(name, &text) {
            reader.key_error(&place.name(name), problem, help);
        } else if let Err(why) = check_properties(&[(name.clone(), text)]) {
            reader.error(
                &place.name(name),
                why,
                "CONFIGURATION.md of librdkafka says what it may be",
            );
        }
    }
}

fn check_topic(values: &Values, reader: &Reader<'_>) {
    let said = values
        .text("topic")
        .map(|topic| TopicNames::Kafka.check(topic));
    if let Some(Err(why)) = said {
        let help = "write the name of a Kafka topic";
        reader.error(&values.place("topic"), why, help);
    }
}

fn check_tls(values: &Values, reader: &Reader<'_>) {
    if !HAS_TLS && values.has("tls") {
        reader.key_error(
            &values.place("tls"),
            NEEDS_TLS,
            "build it with `--features kafka-tls`, or take the images, which have it",
        );
    }
}

fn read_sasl(values: &Values, reader: &Reader<'_>) -> Option<Sasl> {
    let mechanism = match values.text("mechanism")? {
        "PLAIN" => Mechanism::Plain,
        "SCRAM-SHA-256" => Mechanism::ScramSha256,
        "SCRAM-SHA-512" => Mechanism::ScramSha512,
        "OAUTHBEARER" => Mechanism::OAuthBearer,
        _ => return None,
    };
    if !HAS_TLS && mechanism != Mechanism::Plain {
        reader.error(
            &values.place("mechanism"),
            format!("{NEEDS_TLS}, and {} needs it", mechanism.as_str()),
            "build it with `--features kafka-tls`, take the images, which have it, or log in by \"PLAIN\"",
        );
    }
    let needed: &[_] = match mechanism {
        // The token.
        Mechanism::OAuthBearer => &[("password", "{ file = \"/run/secrets/kafka-token\" }")],
        _ => &[
            ("username", "\"app\""),
            ("password", "{ env = \"KAFKA_PASSWORD\" }"),
        ],
    };
    // A secret that can't be read isn't there either, and was reported.
    let missing = needed.iter().filter(|(key, _)| !values.has(key));
    for (key, example) in missing.filter(|_| !reader.has_errors()) {
        reader.key_error(
            &values.path,
            format!("to log in by this mechanism `{key}` is needed"),
            format!("write {key} = {example}"),
        );
    }
    Some(Sasl {
        mechanism,
        username: values.text("username").map(str::to_owned),
        password: values.secret("password").cloned(),
    })
}
