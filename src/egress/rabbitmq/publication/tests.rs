use super::*;
use crate::egress::NameBook;
use crate::message::{
    Ack, DeliveryId, Envelope, Epoch, Guarantee, Header, LaneId, LogUuid, Message, Plan, RouteId,
    Target, Tombstone,
};
use std::sync::Arc;
use std::time::Duration;

const NOW: Wall = Wall(1_614_265_330_999);

pub(in crate::egress::rabbitmq) fn delivery(
    change: impl FnOnce(&mut Envelope, &mut Target),
) -> Delivery {
    let mut envelope = Envelope {
        principal: "anonymous".into(),
        source: "http".into(),
        topic: "jobs/small".into(),
        id: MessageId::Publisher("id-7".to_owned()),
        key: None,
        headers: Vec::new(),
        content_type: None,
        payload: Ok(Bytes::from_static(b"payload")),
        priority: None,
        deliver_at: None,
        expires_at: None,
        extensions: Vec::new(),
    };
    let mut target = Target::to(RouteId(0), LaneId(1), Guarantee::AtLeastOnce);
    change(&mut envelope, &mut target);
    let plan = Plan {
        ack: Ack::Stored,
        ack_timeout: Duration::ZERO,
        targets: vec![target],
    };
    Delivery {
        at: DeliveryId::new(7, 0),
        accepted: NOW,
        epoch: Epoch(9),
        identity: None,
        known_as: None,
        size_bytes: 10,
        dead_letter: None,
        message: Arc::new(Message { envelope, plan }),
    }
}

fn made(
    topic: Option<&str>,
    change: impl FnOnce(&mut Envelope, &mut Target),
) -> Result<Publication, String> {
    let delivery = delivery(change);
    let book = NameBook::new(LogUuid(7), vec!["route".into()]);
    let form = Form {
        topic,
        max_frame_bytes: 131_072,
        now: NOW,
    };
    form.publication(&delivery, &book.of(&delivery, "rabbit"))
}

fn good(change: impl FnOnce(&mut Envelope, &mut Target)) -> Publication {
    made(None, change).expect("it can be published")
}

fn why_not(change: impl FnOnce(&mut Envelope, &mut Target)) -> String {
    made(None, change).expect_err("it can't be published")
}

fn header(name: &str, value: &[u8]) -> Header {
    Header {
        name: name.to_owned(),
        value: Bytes::copy_from_slice(value),
    }
}

fn text(value: &[u8]) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn in_table(publication: &Publication, name: &str) -> Option<AMQPValue> {
    let headers = publication.properties.headers().as_ref();
    headers.and_then(|table| table.inner().get(name).cloned())
}

#[test]
fn a_delivery_becomes_a_publish() {
    let publication = good(|envelope, target| {
        envelope.key = Some(Bytes::from_static(b"\xff"));
        envelope.content_type = Some("text/plain".to_owned());
        envelope.expires_at = Some(NOW.plus(Duration::from_secs(2)));
        envelope.headers = vec![
            header("Correlation-Id", b"c"),
            header("reply_to", b"r"),
            header("type", b"pdf"),
            header("x", b"1"),
            header("x", b"\xfe"),
        ];
        target.priority = Some(9);
    });
    assert_eq!(publication.routing_key.as_str(), "jobs.small");
    assert_eq!(&publication.body[..], b"payload");
    let said = &publication.properties;
    let short = |text: &str| ShortString::try_new(text).ok();
    assert_eq!(*said.delivery_mode(), Some(2));
    assert_eq!(*said.content_type(), short("text/plain"));
    assert_eq!(*said.expiration(), short("2000"));
    assert_eq!(*said.priority(), Some(9));
    assert_eq!(*said.correlation_id(), short("c"));
    assert_eq!(*said.reply_to(), short("r"));
    assert_eq!(*said.kind(), short("pdf"));
    assert_eq!(*said.timestamp(), Some(1_614_265_330));
    assert!(said.message_id().is_some());
    assert_eq!(in_table(&publication, "publisher-id"), Some(text(b"id-7")));
    assert_eq!(
        in_table(&publication, "causeway-topic"),
        Some(text(b"jobs/small"))
    );
    assert_eq!(in_table(&publication, "causeway-key"), Some(text(b"\xff")));
    assert_eq!(in_table(&publication, "type"), Some(text(b"pdf")));
    let both = FieldArray::from(vec![text(b"1"), text(b"\xfe")]);
    assert_eq!(
        in_table(&publication, "x"),
        Some(AMQPValue::FieldArray(both))
    );
}

#[test]
fn the_routing_key_is_the_targets_the_destinations_or_the_topic() {
    let key = |topic, change: fn(&mut Envelope, &mut Target)| {
        let publication = made(topic, change).expect("it can be published");
        publication.routing_key.as_str().to_owned()
    };
    let own = |_: &mut Envelope, target: &mut Target| target.topic = Some("a/b".to_owned());
    assert_eq!(key(Some("jobs"), own), "a/b");
    assert_eq!(key(Some("jobs"), |_, _| {}), "jobs");
    assert_eq!(key(None, |_, _| {}), "jobs.small");
}

#[test]
fn what_amqp_has_no_room_for_is_refused_in_words() {
    let long = "é".repeat(128);
    assert_eq!(
        why_not(|envelope, _| envelope.topic.clone_from(&long)),
        "its routing key has 256 bytes, more than AMQP's limit of 255"
    );
    assert_eq!(
        why_not(|envelope, _| envelope.content_type = Some(long.clone())),
        "its content type has 256 bytes, more than AMQP's limit of 255"
    );
    assert_eq!(
        why_not(|envelope, _| envelope.headers.push(header(&long, b""))),
        "its name of a header has 256 bytes, more than AMQP's limit of 255"
    );
    let large = vec![b'a'; 131_000];
    let why = why_not(|envelope, _| envelope.headers.push(header("a", &large)));
    assert!(why.contains("more than RabbitMQ's frame_max"), "{why}");
    for name in ["CC", "BCC"] {
        let why = why_not(|envelope, _| envelope.headers.push(header(name, b"elsewhere")));
        assert!(why.contains("more routing keys"), "{why}");
    }
}

#[test]
fn what_cant_be_a_property_is_a_header_alone() {
    let long = [b'a'; 256];
    let publication = good(|envelope, _| {
        envelope.headers = vec![header("type", &long), header("reply-to", b"\xff")];
        envelope.expires_at = Some(Wall(NOW.0 + (1 << 32)));
        envelope.payload = Err(Tombstone);
    });
    assert_eq!(*publication.properties.kind(), None);
    assert_eq!(*publication.properties.reply_to(), None);
    assert_eq!(*publication.properties.expiration(), None);
    assert_eq!(in_table(&publication, "type"), Some(text(&long)));
    assert!(publication.body.is_empty());
}

#[test]
fn a_message_that_is_late_expires_at_once() {
    let publication = good(|envelope, _| envelope.expires_at = Some(Wall(NOW.0 - 5)));
    let zero = ShortString::try_new("0").ok();
    assert_eq!(*publication.properties.expiration(), zero);
}
