//! What librdkafka says, on its producer's polling thread: what became of each record, errors of the
//! connection, lines for the log, and that it wants a token.

use super::call::Ticket;
use super::client::KafkaLogin;
use super::shared::{Complaint, Shared};
use crate::egress::Verdict;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use std::error::Error;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of a token that doesn't say it itself.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

pub struct Courier {
    pub shared: Weak<Shared>,
    pub login: Option<KafkaLogin>,
}

/// What a record's failure means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It isn't there and never will be.
    Reject,
    /// It isn't there: its topic has gone.
    NoTopic,
    /// Nobody knows.
    Unknown,
    /// Nobody knows, and this producer is of no use any more.
    Broken,
}

pub fn meaning(code: RDKafkaErrorCode) -> Meaning {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::PolicyViolation
        | Code::InvalidTopic
        | Code::UnknownPartition
        | Code::TopicAuthorizationFailed => Meaning::Reject,
        Code::UnknownTopic | Code::UnknownTopicOrPartition => Meaning::NoTopic,
        Code::PurgeQueue | Code::PurgeInflight => Meaning::Unknown,
        // What isn't known may be anything: none of its key's later ones may overtake it.
        _ => Meaning::Broken,
    }
}

/// In Kafka's own words.
pub fn words(code: RDKafkaErrorCode) -> String {
    match code {
        RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => {
            "given up with its producer: it may have been written".to_owned()
        }
        _ => code.to_string(),
    }
}

impl ProducerContext for Courier {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Self::DeliveryOpaque) {
        let Err((error, record)) = result else {
            ticket.call.count_down();
            return;
        };
        let code = error.rdkafka_error_code();
        let why = code.map_or_else(|| error.to_string(), words);
        let meaning = code.map_or(Meaning::Broken, meaning);
        let shared = self.shared.upgrade();
        let verdict = match meaning {
            Meaning::Reject => Verdict::reject(why),
            Meaning::NoTopic => {
                if let Some(shared) = shared {
                    shared.topic_is_gone(record.topic(), &ticket.call);
                }
                Verdict::retry(why)
            }
            Meaning::Unknown => Verdict::unknown(why),
            Meaning::Broken => {
                if let Some(shared) = shared {
                    shared.is_broken(&why);
                }
                Verdict::unknown(why)
            }
        };
        ticket.call.fail(ticket.index, verdict);
    }
}

impl ClientContext for Courier {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// What matters of it is told by the keeper, once.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {line}");
            }
            _ => tracing::debug!(facility, "librdkafka: {line}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => shared.is_broken(reason),
            Some(RDKafkaErrorCode::AllBrokersDown) => shared.is_down(),
            code => shared.is_suspect(Complaint {
                words: reason.into(),
                is_refusal: is_refusal(code, reason),
            }),
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let login = self.login.as_ref().ok_or("there is no `sasl`")?;
        let ends = expiry(&login.password).unwrap_or_else(|| SystemTime::now() + TOKEN_LIFETIME);
        let lifetime = ends.duration_since(UNIX_EPOCH)?.as_millis();
        Ok(OAuthToken {
            token: login.password.clone(),
            principal_name: login.username.clone(),
            lifetime_ms: i64::try_from(lifetime)?,
        })
    }
}

/// Whether brokers refuse our credentials, or the way in which they are given. librdkafka calls it that, too,
/// when a connection is lost while they agree on the way.
fn is_refusal(code: Option<RDKafkaErrorCode>, reason: &str) -> bool {
    code == Some(RDKafkaErrorCode::Authentication)
        && !reason.contains("mechanism handshake failed: Local:")
}

/// What a token, if it is a JWT, says of its end.
fn expiry(token: &str) -> Option<SystemTime> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(claims["exp"].as_u64()?))
}

/// As `Courier` without a house: for questions to a cluster.
pub fn nobody(login: Option<KafkaLogin>) -> Courier {
    Courier {
        shared: Weak::new(),
        login,
    }
}

impl Courier {
    pub fn of(shared: &Arc<Shared>, login: Option<KafkaLogin>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            login,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_end_is_its_own_or_in_an_hour() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"app","exp":1893456000}"#);
        let login = |token: String| KafkaLogin {
            mechanism: super::super::client::OAUTHBEARER,
            username: "app".to_owned(),
            password: token,
        };
        let token = nobody(Some(login(format!("e30.{claims}.x"))))
            .generate_oauth_token(None)
            .unwrap();
        assert_eq!(token.lifetime_ms, 1_893_456_000_000);
        assert_eq!(token.principal_name, "app");
        let opaque = nobody(Some(login("opaque".to_owned())));
        let token = opaque.generate_oauth_token(None).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let left = i128::from(token.lifetime_ms) - now.as_millis() as i128;
        assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    }

    #[test]
    fn a_lost_connection_isnt_a_refusal() {
        use RDKafkaErrorCode as Code;
        let said = |why: &str| format!("sasl_plaintext://h:1/1: SASL PLAIN mechanism {why}");
        let cases = [
            (
                Code::Authentication,
                said("handshake failed: Broker: Unsupported SASL mechanism"),
                true,
            ),
            (
                Code::Authentication,
                "SASL authentication error: Authentication failed".to_owned(),
                true,
            ),
            (
                Code::Authentication,
                said("handshake failed: Local: Timed out"),
                false,
            ),
            (
                Code::BrokerTransportFailure,
                "Connection refused".to_owned(),
                false,
            ),
        ];
        for (code, reason, expected) in cases {
            assert_eq!(is_refusal(Some(code), &reason), expected, "{reason}");
        }
    }

    #[test]
    fn what_isnt_known_breaks_the_producer() {
        use RDKafkaErrorCode as Code;
        assert_eq!(meaning(Code::MessageSizeTooLarge), Meaning::Reject);
        assert_eq!(meaning(Code::UnknownTopicOrPartition), Meaning::NoTopic);
        assert_eq!(meaning(Code::PurgeInflight), Meaning::Unknown);
        assert_eq!(meaning(Code::Fatal), Meaning::Broken);
        assert_eq!(meaning(Code::OutOfOrderSequenceNumber), Meaning::Broken);
    }
}
