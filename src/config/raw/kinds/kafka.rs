//! `type = "kafka"`

use super::super::values::Values;
use super::tls::read_tls;
use crate::config::reader::Reader;
use crate::config::settings::{Create, DestinationKind, Kafka, Mechanism, Sasl};

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
    Some(DestinationKind::Kafka(Box::new(Kafka {
        brokers: values.plain_texts("brokers"),
        properties: values.properties("properties"),
        tls: read_tls(values, reader, true),
        sasl: values
            .table("sasl")
            .and_then(|sasl| read_sasl(sasl, reader)),
        topic: values.text("topic").map(str::to_owned),
        create,
    })))
}

fn read_sasl(values: &Values, reader: &Reader<'_>) -> Option<Sasl> {
    let mechanism = match values.text("mechanism")? {
        "PLAIN" => Mechanism::Plain,
        "SCRAM-SHA-256" => Mechanism::ScramSha256,
        "SCRAM-SHA-512" => Mechanism::ScramSha512,
        "OAUTHBEARER" => Mechanism::OAuthBearer,
        _ => return None,
    };
    let needed: &[_] = match mechanism {
        Mechanism::OAuthBearer => &[],
        _ => &[
            ("username", "\"app\""),
            ("password", "{ env = \"KAFKA_PASSWORD\" }"),
        ],
    };
    for (key, example) in needed.iter().filter(|(key, _)| !values.has(key)) {
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
