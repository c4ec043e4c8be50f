//! Where a message is, as the gateway says it and as people read it.

use super::exit::{Code, Reply};
use super::text::{GREEN, RED, YELLOW, escaped, paint};
use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Receipt {
    pub id: Option<String>,
    pub position: Option<u64>,
    #[serde(default)]
    pub duplicate: bool,
    pub state: String,
    #[serde(default)]
    pub targets: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Target {
    pub route: String,
    pub destination: String,
    pub state: String,
}

impl Receipt {
    /// Also from a problem object that carries a receipt's members.
    pub fn read(json: &Value) -> Option<Self> {
        Self::deserialize(json).ok()
    }

    /// Nothing about it will be known that isn't yet.
    pub fn is_settled(&self) -> bool {
        self.state != "stored"
    }

    /// How a command ends that waited for the outcome.
    pub fn code(&self) -> Code {
        match self.state.as_str() {
            "stored" => Code::Pending,
            "dead_lettered" => Code::Held,
            "discarded" => Code::Failed,
            _ => Code::Done,
        }
    }

    /// The whole on the first line, a line a target below.
    pub fn render(&self, colour: bool) -> String {
        let mut first = vec![painted(&self.state, colour)];
        if let Some(id) = &self.id {
            first.push(format!("id {}", escaped(id)));
        }
        if let Some(position) = self.position {
            first.push(format!("position {position}"));
        }
        if self.duplicate {
            first.push("a duplicate".to_owned());
        }
        let mut lines = vec![first.join(", ")];
        for target in &self.targets {
            let (to, route) = (escaped(&target.destination), escaped(&target.route));
            let state = painted(&target.state, colour);
            lines.push(format!("  {to} (route {route}): {state}"));
        }
        lines.join("\n")
    }
}

/// A receipt as a command's answer.
pub(super) fn reply(code: Code, receipt: &Receipt, json: Value, colour: bool) -> Reply {
    Reply {
        code,
        text: receipt.render(colour),
        json,
    }
}

fn painted(state: &str, colour: bool) -> String {
    let code = match state {
        "delivered" => GREEN,
        "dead_lettered" | "discarded" => RED,
        _ => YELLOW,
    };
    paint(&escaped(state), code, colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_receipt_is_a_line_and_a_line_a_target() {
        let json = json!({
            "id": "order-1\n", "position": 7, "duplicate": true, "state": "stored",
            "targets": [
                {"route": "all", "destination": "inbox", "state": "delivered"},
                {"route": "all", "destination": "slow", "state": "stored"},
            ],
        });
        let receipt = Receipt::read(&json).expect("a receipt");
        assert_eq!(
            receipt.render(false),
            "stored, id order-1\\n, position 7, a duplicate\n\
             \x20 inbox (route all): delivered\n\
             \x20 slow (route all): stored"
        );
        let coloured = receipt.render(true);
        assert!(coloured.starts_with("\x1b[33mstored\x1b[0m,"), "{coloured}");
        assert!(coloured.contains("\x1b[32mdelivered\x1b[0m"), "{coloured}");
        assert!(!receipt.is_settled());
    }

    #[test]
    fn the_state_says_how_a_wait_ends() {
        for (state, code) in [
            ("delivered", Code::Done),
            ("received", Code::Done),
            ("stored", Code::Pending),
            ("dead_lettered", Code::Held),
            ("discarded", Code::Failed),
        ] {
            let json = json!({"id": null, "position": null, "state": state});
            let receipt = Receipt::read(&json).expect("a receipt");
            assert_eq!(receipt.code(), code, "{state}");
        }
        assert_eq!(Receipt::read(&json!({"detail": "no receipt"})), None);
    }
}
