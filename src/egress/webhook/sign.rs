//! Standard Webhooks: a signature of delivery id, time and body by each secret. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{self, HMAC_SHA256};

const PREFIX: &str = "whsec_";

pub struct Signer(Vec<hmac::Key>);

impl Signer {
    /// # Errors
    /// Which isn't one, without what it says.
    pub fn new(secrets: &[String]) -> Result<Self, String> {
        let key = |(n, secret): (usize, &String)| {
            let text = secret.strip_prefix(PREFIX).unwrap_or(secret);
            let key = STANDARD.decode(text);
            let key = key.map_err(|_| format!("`secrets`: number {} is no base64", n + 1))?;
            Ok(hmac::Key::new(HMAC_SHA256, &key))
        };
        let keys: Result<Vec<_>, String> = secrets.iter().enumerate().map(key).collect();
        Ok(Self(keys?))
    }

    /// The header's value: one signature of each secret. `None` without secrets.
    pub fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> Option<String> {
        let signed = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        let all: Vec<String> = self.0.iter().map(signed).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_references_example() {
        for secret in [SECRET, &SECRET[PREFIX.len()..]] {
            let signer = Signer::new(&[secret.to_owned()]).unwrap();
            assert_eq!(signer.sign(ID, SECONDS, BODY).as_deref(), Some(SIGNATURE));
        }
    }

    #[test]
    fn one_of_each_secret() {
        let other = STANDARD.encode([7; 32]);
        let signer = Signer::new(&[SECRET.to_owned(), other.clone()]).unwrap();
        let both = signer.sign(ID, SECONDS, BODY).unwrap();
        let alone = Signer::new(&[other]).unwrap().sign(ID, SECONDS, BODY);
        assert_eq!(both, format!("{SIGNATURE} {}", alone.unwrap()));
        let none = Signer::new(&[]).unwrap();
        assert_eq!(none.sign(ID, SECONDS, BODY), None);
        let why = Signer::new(&["hunter2!".to_owned()]).err().unwrap();
        assert_eq!(why, "`secrets`: number 1 is no base64");
    }
}
