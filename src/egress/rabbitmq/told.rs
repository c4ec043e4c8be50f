//! What a server or the client says when something fails, in words, and what it means.

use crate::egress::words::UNROUTABLE;
use lapin::ErrorKind;
use lapin::message::BasicReturnMessage;

/// AMQP's reply codes that one message alone can bring about.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const OF_FRAMES: [u16; 4] = [501, 502, 503, 505];
/// A virtual host that isn't there, or isn't ours.
const NOT_ALLOWED: u16 = 530;

/// Why there is no connection that can be published on. Nothing secret is in it.
pub struct NoLink {
    pub why: String,
    /// The server said no to what the file says: login, exchange, queues.
    pub needs_mending: bool,
}

impl NoLink {
    pub fn late() -> Self {
        Self {
            why: "no connection in time".to_owned(),
            needs_mending: false,
        }
    }

    /// `what`: an exchange, a queue, a binding, with a colon behind it; or nothing.
    pub fn of(what: &str, error: &lapin::Error) -> Self {
        let refusals = [ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, NOT_ALLOWED];
        Self {
            why: format!("{what}{}", words(error)),
            needs_mending: matches!(error.kind(),
                ErrorKind::ProtocolError(said) if refusals.contains(&said.get_id())),
        }
    }
}

/// In the server's own words where it has some.
pub fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(said) => said.get_message().to_string(),
        ErrorKind::IOError(e) => e.to_string(),
        ErrorKind::MissingHeartbeatError => "it was silent for too long".to_owned(),
        ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => {
            "the connection is gone".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether the server ended a channel or connection because of what one message is.
pub fn blames_a_message(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        return false;
    };
    match said.get_id() {
        PRECONDITION_FAILED => true,
        // To the exchange: all are refused. To a topic in it: those that have it.
        ACCESS_REFUSED => said.get_message().as_str().contains("access to topic"),
        code => OF_FRAMES.contains(&code),
    }
}

/// Whether the server ended a channel because something isn't there that was when the connection was made.
pub fn misses_something(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == NOT_FOUND)
}

/// Whether a publish on a channel that was closed before: nothing of it was sent.
pub fn was_not_sent(error: &lapin::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidChannelState(_, "basic.publish")
    )
}

pub fn unroutable(returned: &BasicReturnMessage) -> String {
    let exchange = match returned.delivery.exchange.as_str() {
        "" => "the default exchange".to_owned(),
        name => format!("the exchange {name:?}"),
    };
    format!(
        "{UNROUTABLE}{} {}: no queue takes it from {exchange} by the routing key {:?}",
        returned.reply_code,
        returned.reply_text,
        returned.delivery.routing_key.as_str()
    )
}
