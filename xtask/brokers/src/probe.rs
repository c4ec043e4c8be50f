//! Asking a server whether it answers: the first exchange of its protocol, written by hand.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Probe {
    /// `ApiVersions` is answered without an error.
    Kafka,
    /// The protocol's header is answered by `connection.start`.
    Amqp,
}

/// `ApiVersions` version 0 with correlation id 7 and no client id.
const API_VERSIONS: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff";
const AMQP_HEADER: &[u8] = b"AMQP\0\0\x09\x01";

impl Probe {
    /// # Errors
    /// What came instead of an answer within the time.
    pub fn ask(self, address: SocketAddr, limit: Duration) -> Result<(), String> {
        let answer = exchange(self, address, limit).map_err(|e| format!("{address}: {e}"))?;
        if self.is_right(&answer) {
            Ok(())
        } else {
            Err(format!(
                "{address}: {self:?} answers otherwise: {answer:02x?}"
            ))
        }
    }

    fn question(self) -> &'static [u8] {
        match self {
            Self::Kafka => API_VERSIONS,
            Self::Amqp => AMQP_HEADER,
        }
    }

    fn is_right(self, answer: &[u8]) -> bool {
        match self {
            // A length, the correlation id, error code 0.
            Self::Kafka => answer.get(4..10) == Some(&[0, 0, 0, 7, 0, 0]),
            // A method frame on channel 0, a length, class 10, method 10.
            Self::Amqp => {
                answer.get(..3) == Some(&[1, 0, 0]) && answer.get(7..11) == Some(&[0, 10, 0, 10])
            }
        }
    }
}

/// The first bytes of the answer: as many as tell.
fn exchange(probe: Probe, address: SocketAddr, limit: Duration) -> io::Result<[u8; 11]> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(probe.question())?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const LIMIT: Duration = Duration::from_secs(5);

    /// What the probe makes of a server that reads the question and gives this answer.
    fn asked(probe: Probe, answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut question = vec![0; probe.question().len()];
            stream.read_exact(&mut question).unwrap();
            assert_eq!(question, probe.question());
            stream.write_all(answer).unwrap();
        });
        let result = probe.ask(address, LIMIT);
        server.join().unwrap();
        result
    }

    #[test]
    fn the_right_answer_is_known_from_others() {
        let versions = b"\0\0\x01\xc0\0\0\0\x07\0\0\0\0\0\x3a";
        let start = b"\x01\0\0\0\0\x01\xf8\0\x0a\0\x0a\0\x09";
        assert_eq!(asked(Probe::Kafka, versions), Ok(()));
        assert_eq!(asked(Probe::Amqp, start), Ok(()));
        let refused = b"\0\0\x01\xc0\0\0\0\x07\0\x23\0\0\0\x3a";
        assert!(asked(Probe::Kafka, refused).is_err());
        assert!(asked(Probe::Amqp, b"AMQP\0\0\x09\x01....").is_err());
        assert!(asked(Probe::Amqp, b"").is_err());
    }

    #[test]
    fn nobody_there_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(Probe::Kafka.ask(address, LIMIT).is_err());
    }
}
