//! The shapes of docs/JSON.md, and whether an answer has one.

use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// All shapes of the page, by their headings.
pub struct Shapes {
    shapes: BTreeMap<String, Value>,
    /// Optional members and shapes by name that an answer had.
    seen: RefCell<BTreeSet<String>>,
}

impl Shapes {
    /// The first block of JSON below each heading.
    pub fn read(page: &str) -> Self {
        let mut shapes = BTreeMap::new();
        let (mut heading, mut block) = (String::new(), None::<String>);
        for line in page.lines() {
            match &mut block {
                Some(text) if line == "```" => {
                    let shape = serde_json::from_str(text);
                    let shape = shape.unwrap_or_else(|e| panic!("{heading}: {e}\n{text}"));
                    shapes.insert(heading.clone(), shape);
                    block = None;
                }
                Some(text) => text.push_str(line),
                None if line == "```json" => block = Some(String::new()),
                None if line.starts_with("##") => {
                    heading = line.trim_start_matches('#').trim().to_owned();
                }
                None => {}
            }
        }
        Self {
            shapes,
            seen: RefCell::default(),
        }
    }

    pub fn has(&self, heading: &str) -> bool {
        self.shapes.contains_key(heading)
    }

    /// # Errors
    /// Where it has another shape.
    pub fn check(&self, heading: &str, value: &Value) -> Result<(), String> {
        let shape = self.shapes.get(heading);
        let shape = shape.ok_or_else(|| format!("docs/JSON.md has no shape of {heading}"))?;
        self.seen.borrow_mut().insert(format!("@{heading}"));
        self.of(shape, value, heading)
    }

    fn of(&self, shape: &Value, value: &Value, at: &str) -> Result<(), String> {
        match shape {
            Value::String(words) => {
                let mut parts = words.split(" | ");
                match parts.any(|part| self.is(part, value)) {
                    true => Ok(()),
                    false => Err(format!("{at}: {value} is no {words}")),
                }
            }
            Value::Array(shapes) => {
                let [shape] = shapes.as_slice() else {
                    panic!("{at}: a list has one shape");
                };
                let values = value
                    .as_array()
                    .ok_or_else(|| format!("{at}: {value} is no list"))?;
                let mut checked = values.iter().map(|v| self.of(shape, v, &format!("{at}[]")));
                checked.try_for_each(|checked| checked)
            }
            Value::Object(members) => self.members(members, value, at),
            other => panic!("{at}: {other} is no shape"),
        }
    }

    fn members(
        &self,
        members: &serde_json::Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Result<(), String> {
        let found = value
            .as_object()
            .ok_or_else(|| format!("{at}: {value} is no object"))?;
        for (name, shape) in members.iter().filter(|(name, _)| *name != "*") {
            let plain = name.trim_end_matches('?');
            let at = format!("{at}.{plain}");
            match found.get(plain) {
                Some(value) => {
                    if name.ends_with('?') {
                        self.seen.borrow_mut().insert(at.clone());
                    }
                    self.of(shape, value, &at)?;
                }
                None if name.ends_with('?') => {}
                None => return Err(format!("{at}: it is missing in {value}")),
            }
        }
        for (name, value) in found {
            let is_named = members.contains_key(name) || members.contains_key(&format!("{name}?"));
            if is_named {
                continue;
            }
            match members.get("*") {
                Some(shape) => self.of(shape, value, &format!("{at}.*"))?,
                None => return Err(format!("{at}.{name}: docs/JSON.md says nothing of it")),
            }
        }
        Ok(())
    }

    fn is(&self, part: &str, value: &Value) -> bool {
        match part {
            "any" => true,
            "text" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => match (other.strip_prefix('@'), other.strip_prefix('\'')) {
                (Some(name), _) => {
                    assert!(self.has(name), "docs/JSON.md has no shape {name:?}");
                    let shape = &self.shapes[name];
                    let holds = self.of(shape, value, name).is_ok();
                    if holds {
                        self.seen.borrow_mut().insert(format!("@{name}"));
                    }
                    holds
                }
                (None, Some(word)) => value.as_str() == Some(word.trim_end_matches('\'')),
                (None, None) => panic!("{other:?} is no shape"),
            },
        }
    }

    /// What the page has and no answer had: shapes, and members that may be missing.
    pub fn unseen(&self) -> Vec<String> {
        let mut all: Vec<String> = self.shapes.keys().map(|name| format!("@{name}")).collect();
        for (heading, shape) in &self.shapes {
            optional(shape, heading, &mut all);
        }
        let seen = self.seen.borrow();
        all.retain(|what| !seen.contains(what));
        all
    }
}

fn optional(shape: &Value, at: &str, all: &mut Vec<String>) {
    match shape {
        Value::Array(shapes) => {
            for shape in shapes {
                optional(shape, &format!("{at}[]"), all);
            }
        }
        Value::Object(members) => {
            for (name, shape) in members {
                let at = format!("{at}.{}", name.trim_end_matches('?'));
                if name.ends_with('?') {
                    all.push(at.clone());
                }
                optional(shape, &at, all);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PAGE: &str = "# Page\n\n## one\n\ntext\n\n```json\n{\"a\": [\"integer\"], \"b?\": \"'x' | null\", \"c?\": \"@two\"}\n```\n\n\
        ### two\n\n```json\n{\"*\": \"number\"}\n```\n";

    #[test]
    fn an_answer_has_the_shape_or_not() {
        let shapes = Shapes::read(PAGE);
        for (value, holds) in [
            (json!({"a": []}), true),
            (json!({"a": [1, 2], "b": "x"}), true),
            (json!({"a": [], "b": null, "c": {"d": 1.5}}), true),
            (json!({"a": [1.5]}), false),
            (json!({"a": 1}), false),
            (json!({"a": [], "b": "y"}), false),
            (json!({"a": [], "d": 1}), false),
            (json!({"a": [], "c": {"d": "e"}}), false),
            (json!({}), false),
            (json!([]), false),
        ] {
            assert_eq!(shapes.check("one", &value).is_ok(), holds, "{value}");
        }
        assert!(shapes.check("three", &json!({})).is_err());
    }

    #[test]
    fn what_was_never_seen_is_told() {
        let shapes = Shapes::read(PAGE);
        assert_eq!(shapes.unseen(), ["@one", "@two", "one.b", "one.c"]);
        shapes.check("one", &json!({"a": [], "b": "x"})).unwrap();
        assert_eq!(shapes.unseen(), ["@two", "one.c"]);
    }
}
