//! As much of a server as one connection needs that publishes, and is then closed.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;

/// As it came.
pub struct Publish {
    pub channel: u16,
    /// Exchange and routing key, as AMQP writes them.
    place: Vec<u8>,
    header: Vec<u8>,
    body: Vec<u8>,
}

/// Serves the first connection: says `answers` to so many publishes, and closes it.
pub async fn serve(listener: &TcpListener, count: usize, answers: impl Fn(&[Publish]) -> Vec<u8>) {
    let (mut stream, _) = listener.accept().await.expect("it comes");
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.expect("a greeting");
    say(
        &mut stream,
        &method(0, 10, 10, b"\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US"),
    )
    .await;
    let mut publishes: Vec<Publish> = Vec::new();
    let is_whole = |publish: &Publish| {
        let size = publish
            .header
            .get(4..12)
            .and_then(|size| size.try_into().ok());
        size.map(u64::from_be_bytes) == Some(publish.body.len() as u64)
    };
    while publishes.len() < count || !publishes.iter().all(is_whole) {
        let (kind, channel, payload) = frame(&mut stream).await;
        match (kind, payload.get(..4)) {
            // tune: 16 channels, frames of 8 KiB, no heartbeats
            (METHOD, Some([0, 10, 0, 11])) => {
                say(&mut stream, &method(0, 10, 30, b"\0\x10\0\0\x20\0\0\0")).await;
            }
            (METHOD, Some([0, 10, 0, 40])) => say(&mut stream, &method(0, 10, 41, b"\0")).await,
            (METHOD, Some([0, 20, 0, 10])) => {
                say(&mut stream, &method(channel, 20, 11, b"\0\0\0\0")).await;
            }
            (METHOD, Some([0, 85, 0, 10])) => say(&mut stream, &method(channel, 85, 11, b"")).await,
            (METHOD, Some([0, 60, 0, 40])) => publishes.push(Publish {
                channel,
                // Behind a number that is reserved, before the flags.
                place: payload[6..payload.len() - 1].to_vec(),
                header: Vec::new(),
                body: Vec::new(),
            }),
            (HEADER, _) => publishes.last_mut().expect("its method").header = payload,
            (BODY, _) => publishes
                .last_mut()
                .expect("its method")
                .body
                .extend(payload),
            _ => {}
        }
    }
    say(&mut stream, &answers(&publishes)).await;
}

pub fn returned(publish: &Publish) -> Vec<u8> {
    let mut words = b"\x01\x38\x08NO_ROUTE".to_vec();
    words.extend(&publish.place);
    let mut all = method(publish.channel, 60, 50, &words);
    all.extend(framed(HEADER, publish.channel, &publish.header));
    if !publish.body.is_empty() {
        all.extend(framed(BODY, publish.channel, &publish.body));
    }
    all
}

pub fn ack(channel: u16, tag: u64) -> Vec<u8> {
    let mut words = tag.to_be_bytes().to_vec();
    words.push(0);
    method(channel, 60, 80, &words)
}

fn method(channel: u16, class: u16, number: u16, words: &[u8]) -> Vec<u8> {
    let mut payload = [class.to_be_bytes(), number.to_be_bytes()].concat();
    payload.extend(words);
    framed(METHOD, channel, &payload)
}

fn framed(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend(u32::try_from(payload.len()).expect("small").to_be_bytes());
    frame.extend(payload);
    frame.push(END);
    frame
}

async fn frame(stream: &mut TcpStream) -> (u8, u16, Vec<u8>) {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await.expect("a frame");
    let [kind, channel @ .., a, b, c, d] = head;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    let mut payload = vec![0; size + 1];
    stream.read_exact(&mut payload).await.expect("all of it");
    assert_eq!(payload.pop(), Some(END));
    (kind, u16::from_be_bytes(channel), payload)
}

async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("it listens");
}
