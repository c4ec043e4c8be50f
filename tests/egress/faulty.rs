//! The scriptable destination of the test build, in the gateway's own process: its moods are scripts, its record
//! is a file.

use super::harness::{Cannot, Harness, Message, Mood, Taken, hash};
use crate::support::process::Gateway;
use causeway::egress::faulty::Receipt;
use std::fs;
use tempfile::TempDir;

pub struct Faulty {
    folder: TempDir,
    script: &'static str,
}

impl Harness for Faulty {
    fn start(_: &str) -> Result<Self, String> {
        Ok(Self {
            folder: tempfile::tempdir().map_err(|e| e.to_string())?,
            script: script(Mood::Well)?,
        })
    }

    fn settings(&self) -> String {
        let (script, record) = (self.script, self.record());
        // Its circuit would keep back what a planted fault lets overtake.
        let breaker = "breaker = { failures = 100_000 }";
        format!("type = \"faulty\"\nscript = \"{script}\"\nrecord = {record:?}\n{breaker}\n")
    }

    fn be(&mut self, mood: Mood) -> Result<(), Cannot> {
        self.script = script(mood).map_err(|_| Cannot("it is in the gateway's own process"))?;
        Ok(())
    }

    fn took(&mut self, _: &Gateway) -> Vec<Taken> {
        let text = fs::read_to_string(self.record()).unwrap_or_default();
        let receipts = text.lines().filter_map(Receipt::from_line);
        receipts.map(of_receipt).collect()
    }

    fn poison(&self, message: Message) -> Result<(Message, &'static str), Cannot> {
        Ok((message.header("poison", b"1"), "the script says reject"))
    }

    fn oversize(&self, _: Message) -> Result<Message, Cannot> {
        Err(Cannot("it takes any size"))
    }
}

impl Faulty {
    fn record(&self) -> std::path::PathBuf {
        self.folder.path().join("record")
    }
}

fn script(mood: Mood) -> Result<&'static str, String> {
    Ok(match mood {
        Mood::Well => "header=poison reject",
        Mood::Fails => "header=poison reject; retry",
        Mood::Hangs => "header=poison reject; hang",
        Mood::Forgets => "header=poison reject; unknown",
        Mood::Gone | Mood::Locked => return Err("it is always there".to_owned()),
    })
}

fn of_receipt(receipt: Receipt) -> Taken {
    Taken {
        delivery_id: receipt.at.to_string(),
        id: receipt.id.unwrap_or_default(),
        key: receipt.key,
        // A tombstone can't be told from nothing by a batch.
        payload_hash: receipt.payload.unwrap_or_else(|| hash(b"")),
        headers: None,
        content_type: None,
    }
}
