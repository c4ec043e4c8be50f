//! The URL of a server, and who logs in there. Pure.

use hyper::Uri;
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use percent_encoding::percent_decode_str;

/// A dead peer is noticed after twice this long.
const HEARTBEAT_SECONDS: u16 = 10;
/// What servers want unless they are told otherwise. The client has room for 64 frames of what is agreed,
/// and a server may want any size.
const MAX_FRAME_BYTES: u32 = 128 << 10;

pub struct Address {
    pub is_encrypted: bool,
    /// Without an IPv6 address's brackets.
    pub host: String,
    pub port: u16,
    /// For the client; it has the password in it.
    pub uri: AMQPUri,
}

impl Address {
    /// # Errors
    /// What is wrong with it, without what it says.
    pub fn of(url: &str, username: Option<&str>, password: Option<&str>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("its address: {e}"))?;
        let is_encrypted = match uri.scheme_str() {
            Some("amqp") => false,
            Some("amqps") => true,
            _ => return Err("its address is neither amqp:// nor amqps://".to_owned()),
        };
        let authority = uri.authority().ok_or("its address has no host")?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err("its address has no host".to_owned());
        }
        let own = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let (own_user, own_password) = match own.map(|own| own.split_once(':').unwrap_or((own, "")))
        {
            Some((user, password)) => (decoded(user)?, decoded(password)?),
            None => ("guest".to_owned(), "guest".to_owned()),
        };
        let port = authority
            .port_u16()
            .unwrap_or(if is_encrypted { 5671 } else { 5672 });
        let vhost = match uri.path().strip_prefix('/') {
            None | Some("") => "/".to_owned(),
            Some(path) => decoded(path)?,
        };
        if vhost.len() > super::MAX_SHORT_BYTES {
            return Err("the name of its virtual host is too long".to_owned());
        }
        Ok(Self {
            is_encrypted,
            host: host.to_owned(),
            port,
            uri: AMQPUri {
                // The connection is encrypted, if it is, before the client gets it.
                scheme: AMQPScheme::AMQP,
                authority: AMQPAuthority {
                    userinfo: AMQPUserInfo {
                        username: username.map_or(own_user, str::to_owned),
                        password: password.map_or(own_password, str::to_owned),
                    },
                    host: host.to_owned(),
                    port,
                },
                vhost,
                query: query(uri.query().unwrap_or_default())?,
            },
        })
    }
}

fn query(text: &str) -> Result<AMQPQueryString, String> {
    let mut query = AMQPQueryString {
        frame_max: Some(MAX_FRAME_BYTES),
        heartbeat: Some(HEARTBEAT_SECONDS),
        ..AMQPQueryString::default()
    };
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("heartbeat", seconds)) => {
                let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or("its address: `heartbeat` is a number of seconds")?;
                query.heartbeat = Some(seconds);
            }
            Some(("auth_mechanism", word)) => {
                query.auth_mechanism = Some(match word.to_ascii_lowercase().as_str() {
                    "plain" => SASLMechanism::Plain,
                    "amqplain" => SASLMechanism::AMQPlain,
                    "external" => SASLMechanism::External,
                    _ => {
                        let words = "plain, amqplain or external";
                        return Err(format!("its address: `auth_mechanism` is {words}"));
                    }
                });
            }
            _ => {
                let known = "`heartbeat` and `auth_mechanism`";
                return Err(format!(
                    "its address: of what may stand after ? only {known} is known"
                ));
            }
        }
    }
    Ok(query)
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "its address isn't UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let place = Address::of("amqps://us%40er:p%3Aw@example.org/a%2fb", None, None).unwrap();
        assert!(place.is_encrypted);
        assert_eq!((place.host.as_str(), place.port), ("example.org", 5671));
        let user = &place.uri.authority.userinfo;
        assert_eq!((&*user.username, &*user.password), ("us@er", "p:w"));
        assert_eq!(place.uri.vhost, "a/b");
        assert_eq!(place.uri.query.heartbeat, Some(10));
        assert_eq!(place.uri.query.frame_max, Some(131_072));

        for url in ["amqp://[::1]:1", "amqp://[::1]:1/", "amqp://[::1]:1/%2f"] {
            let place = Address::of(url, Some("app"), Some("secret")).unwrap();
            assert!(!place.is_encrypted);
            assert_eq!((place.host.as_str(), place.port), ("::1", 1));
            assert_eq!(place.uri.vhost, "/");
            let user = &place.uri.authority.userinfo;
            assert_eq!((&*user.username, &*user.password), ("app", "secret"));
        }
        let url = "amqp://h?heartbeat=3&auth_mechanism=EXTERNAL";
        let query = Address::of(url, None, None).unwrap().uri.query;
        assert_eq!(query.heartbeat, Some(3));
        assert_eq!(query.auth_mechanism, Some(SASLMechanism::External));
    }

    #[test]
    fn what_is_no_address_is_told_without_what_it_says() {
        for url in [
            "http://hunter2",
            "amqp://",
            "hunter2",
            "amqp://a:hunter2@h?heartbeat=0",
            "amqp://h?x=hunter2",
            "amqp://h?auth_mechanism=hunter2",
            "amqp://h/%ff",
        ] {
            let why = Address::of(url, None, None).err();
            let why = why.unwrap_or_else(|| panic!("{url:?}"));
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
