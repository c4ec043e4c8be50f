//! Odd bytes in every field: each message arrives as it was, or is refused in words (at the door, or to the dead
//! letters), and none holds up or changes another.

use super::harness::{Cannot, Harness, Message};
use super::world::World;

pub fn holds<H: Harness>(world: &mut World<H>) -> Result<(), Cannot> {
    world.start();
    let mut taken = 0;
    for (n, message) in odd().into_iter().enumerate() {
        let answers = world.try_publish(std::slice::from_ref(&message));
        match answers[0]["status"].as_u64() {
            Some(200 | 202) => {
                world.owe(&message);
                taken += 1;
            }
            Some(400 | 413 | 422) => {
                let detail = answers[0]["detail"].as_str().unwrap_or_default();
                assert!(!detail.is_empty(), "{message:?}: {}", answers[0]);
            }
            _ => panic!("{message:?}: {}", answers[0]),
        }
        let plain = Message::new("plain", n);
        world.publish(std::slice::from_ref(&plain));
        world.wait_state(&plain, "delivered");
    }
    world.wait_settled();
    let counts = world.counts();
    assert!(taken > 10, "most are legal: {taken}");
    assert_eq!(counts.planned, taken + odd().len() as u64);
    if counts.dead_lettered > 0 {
        let lane = world.lane();
        let error = lane["last_error"].as_str().unwrap_or_default();
        assert!(!error.is_empty(), "{lane}");
    }
    world.account(counts.dead_lettered);
    Ok(())
}

fn odd() -> Vec<Message> {
    const ODD: [&[u8]; 9] = [
        b"\0",
        b"\r\nx: y\r\n\r\n",
        b"\xff\xfe",
        "é ☃ 💥".as_bytes(),
        b"\"'`${payload}%00%",
        b" leading and trailing ",
        b"",
        b"\x7f\x1b[31m",
        &[b'a'; 5_000],
    ];
    let mut all = Vec::new();
    for (n, bytes) in ODD.into_iter().enumerate() {
        let text = String::from_utf8_lossy(bytes);
        let mut payload = Message::new("payload", n);
        payload.payload = bytes.to_vec();
        let mut key = Message::new("key", n);
        key.key = Some(bytes.to_vec());
        let header = Message::new("header", n).header("odd", bytes);
        let name = Message::new("name", n).header(&text, b"value");
        let mut kind = Message::new("kind", n);
        kind.content_type = Some(text.clone().into_owned());
        let mut topic = Message::new("topic", n);
        topic.topic = format!("t/{text}");
        let mut id = Message::new("id", n);
        id.id = format!("{n}{text}");
        all.extend([payload, key, header, name, kind, topic, id]);
    }
    all
}
