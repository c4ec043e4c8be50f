//! The webhook, before a real HTTP server.

use super::harness::{Cannot, Harness, LockedOut, Message, Mood, Taken, hash};
use crate::support::hook::{Hook, Manner, Posted};
use crate::support::process::Gateway;
use percent_encoding::percent_decode;

const PASSWORD: &str = "right";
const HEADERS: [&str; 4] = ["type", "x-two", "odd", "poison"];
/// user:right
const AUTHORIZATION: &str = "Basic dXNlcjpyaWdodA==";

pub struct Webhook {
    hook: Hook,
    password: &'static str,
}

impl Harness for Webhook {
    fn start(_: &str) -> Result<Self, String> {
        let hook = Hook::start();
        hook.want(Some(AUTHORIZATION));
        Ok(Self {
            hook,
            password: PASSWORD,
        })
    }

    fn settings(&self) -> String {
        format!(
            "type = \"webhook\"\nurl = \"http://user:{}@{}/events\"\nformat = \"raw\"\n\
             headers = {HEADERS:?}\nconcurrency = 32\n",
            self.password,
            self.hook.address()
        )
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        self.password = PASSWORD;
        match mood {
            Mood::Gone => self.hook.be_gone(),
            _ => self.hook.be_there(),
        }
        match mood {
            Mood::Well | Mood::Gone => self.hook.behave(Manner::Takes),
            Mood::Fails => self.hook.behave(Manner::Answers(503)),
            Mood::Hangs => self.hook.behave(Manner::Hangs),
            Mood::Forgets => self.hook.behave(Manner::Forgets),
            Mood::Locked => self.password = "hunter2",
        }
        Ok(())
    }

    fn took(&mut self, _: &Gateway) -> Vec<Taken> {
        self.hook.took().iter().map(taken).collect()
    }

    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot> {
        let words = "422 Unprocessable Entity: no poison here";
        Ok((message.header("poison", b"1"), words))
    }

    fn oversize(&self, _: Message) -> Result<Message, Cannot> {
        Err(Cannot("HTTP has no limit: a 413 is poison"))
    }

    fn travels(&self, header: &str) -> bool {
        HEADERS.contains(&header)
    }

    fn locked_out(&self) -> LockedOut {
        LockedOut::Rejected
    }
}

fn taken(posted: &Posted) -> Taken {
    let header = |name: &str| posted.headers.get(name).map(|value| value.as_bytes());
    let plain = |name: &str| header(name).map(|value| percent_decode(value).collect::<Vec<u8>>());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let headers = posted.headers.iter();
    let listed = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Taken {
        delivery_id: text(plain("webhook-id").expect("every one has it")),
        id: text(plain("causeway-publisher-id").expect("all have ids")),
        key: plain("causeway-key"),
        payload_hash: hash(&posted.body),
        headers: Some(listed.collect()),
        content_type: header("content-type").map(|value| text(value.to_vec())),
    }
}
