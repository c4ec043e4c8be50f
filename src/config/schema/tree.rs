//! Notes of the reader, as the tree that they are about, and the schema of it.

use crate::config::document::Document;
use crate::config::layers::Layers;
use crate::config::path::{Path, Step};
use crate::config::shape::{Note, Shape, WITH_CONNECTION};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One entry of the file, or all that can stand in one place of it.
#[derive(Clone, Default)]
pub(super) struct Tree {
    /// Where it stands in the file: one place, or several that are alike.
    paths: Vec<Path>,
    is_asked: bool,
    is_required: bool,
    kind: Option<&'static str>,
    shapes: Vec<Shape>,
    /// By name, or by number in a list.
    children: BTreeMap<String, Tree>,
}

impl Tree {
    pub(super) fn of(notes: &[(Path, Note)]) -> Self {
        let mut root = Self {
            paths: vec![Path::root()],
            shapes: vec![Shape::Table],
            ..Self::default()
        };
        for (path, note) in notes {
            let mut at = &mut root;
            let mut way = Path::root();
            for step in path.steps() {
                way = way.join(std::slice::from_ref(step));
                let name = match step {
                    Step::Name(name) => name.clone(),
                    Step::Index(index) => format!("{index:06}"),
                };
                at = at.children.entry(name).or_default();
                if at.paths.is_empty() {
                    at.paths.push(way.clone());
                }
            }
            match note {
                Note::Asked => at.is_asked = true,
                Note::Required => at.is_required = true,
                Note::Kind(kind) => at.kind = Some(kind),
                Note::Is(shape) if at.shapes.contains(shape) => {}
                Note::Is(shape) => at.shapes.push(shape.clone()),
            }
        }
        root
    }

    pub(super) fn to_schema(&self, document: &Document<'_>) -> Value {
        let forms: Vec<Value> = self
            .shapes_that_count()
            .into_iter()
            .map(|shape| self.form(shape, document))
            .collect();
        let mut schema = match &forms[..] {
            [one] => one.clone(),
            _ => json!({ "anyOf": forms }),
        };
        if let Some(comment) = self.paths.iter().find_map(|path| document.comment(path)) {
            schema["description"] = comment.into();
        }
        if let Some(default) = self.paths.iter().find_map(Layers::default_of) {
            schema["default"] = default;
        }
        schema
    }

    /// Text is text, be it a template or not; a secret is read in its own way.
    fn shapes_that_count(&self) -> Vec<&Shape> {
        let is_secret = self.shapes.contains(&Shape::Secret);
        let is_text = self.shapes.contains(&Shape::Text);
        let counts = |shape: &&Shape| match shape {
            Shape::Secret => true,
            _ if is_secret => false,
            Shape::Template => !is_text,
            Shape::Duration => !self.shapes.contains(&Shape::Template),
            Shape::Table => !self.shapes.contains(&Shape::Names),
            _ => true,
        };
        self.shapes.iter().filter(counts).collect()
    }

    fn form(&self, shape: &Shape, document: &Document<'_>) -> Value {
        match shape {
            Shape::Text | Shape::Template => json!({ "type": "string" }),
            Shape::Boolean => json!({ "type": "boolean" }),
            Shape::Count(range) => json!({
                "type": "integer",
                "minimum": range.start(),
                "maximum": range.end(),
            }),
            Shape::Size => json!({
                "type": ["string", "integer"],
                "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)?$",
                "minimum": 0,
            }),
            Shape::Duration => json!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$" }),
            Shape::Words(words) => json!({ "enum": words }),
            Shape::Plain => json!({ "type": ["string", "number", "boolean"] }),
            Shape::Secret => json!({ "oneOf": [
                { "type": "string" },
                reference("env"),
                reference("file"),
            ] }),
            Shape::Table => self.table(document),
            Shape::Names => json!({
                "type": "object",
                "additionalProperties": self.any_child(document),
            }),
            Shape::List => json!({ "type": "array", "items": self.any_child(document) }),
        }
    }

    fn table(&self, document: &Document<'_>) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let kind = self.kind.filter(|kind| *kind != WITH_CONNECTION);
        for (name, child) in self.properties() {
            let mut schema = child.to_schema(document);
            let is_type = name == "type" && kind.is_some();
            if let Some(kind) = kind.filter(|_| is_type) {
                schema["enum"] = json!([kind]);
            }
            if child.is_required || is_type {
                required.push(name.as_str());
            }
            properties.insert(name.clone(), schema);
        }
        if self.kind == Some(WITH_CONNECTION) {
            required = vec!["connection"];
        }
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// The keys of a table: who says what it is by its type has no connection.
    fn properties(&self) -> impl Iterator<Item = (&String, &Self)> {
        let has_connection = self.kind.is_none_or(|kind| kind == WITH_CONNECTION);
        let children = self.children.iter();
        children.filter(move |(name, _)| has_connection || *name != "connection")
    }

    /// What the entries of a list, or those with names of the user's, may be.
    fn any_child(&self, document: &Document<'_>) -> Value {
        let kinds = self.kinds();
        match &kinds[..] {
            [] => json!({}),
            [one] => one.to_schema(document),
            _ => {
                let all: Vec<Value> = kinds.iter().map(|kind| kind.to_schema(document)).collect();
                json!({ "oneOf": all })
            }
        }
    }

    /// All children of a kind as one. With a connection everything may stand that may without.
    fn kinds(&self) -> Vec<Self> {
        let mut kinds: BTreeMap<Option<&'static str>, Self> = BTreeMap::new();
        for child in self.children.values() {
            kinds.entry(child.kind).or_default().merge(child);
        }
        if let Some(mut with_connection) = kinds.remove(&Some(WITH_CONNECTION)) {
            for (_, kind) in kinds.iter().filter(|(kind, _)| **kind != Some("stream")) {
                with_connection.merge(kind);
            }
            with_connection.kind = Some(WITH_CONNECTION);
            kinds.insert(Some(WITH_CONNECTION), with_connection);
        }
        kinds.into_values().collect()
    }

    fn merge(&mut self, other: &Self) {
        self.paths.extend_from_slice(&other.paths);
        self.is_asked |= other.is_asked;
        self.is_required |= other.is_required;
        self.kind = self.kind.or(other.kind);
        for shape in &other.shapes {
            if !self.shapes.contains(shape) {
                self.shapes.push(shape.clone());
            }
        }
        for (name, child) in &other.children {
            self.children.entry(name.clone()).or_default().merge(child);
        }
    }

    /// Keys that are asked for and aren't in the file, and those of which nobody says what they may be.
    #[cfg(test)]
    pub(super) fn holes(&self, document: &Document<'_>) -> (Vec<String>, Vec<String>) {
        let (mut missing, mut shapeless) = (Vec::new(), Vec::new());
        if self.is_asked && !self.paths.iter().any(|path| document.has(path)) {
            missing.push(format!("{}", self.paths[0]));
        }
        let is_unread = self.shapes.contains(&Shape::Table) && self.children.is_empty();
        if self.shapes.is_empty() || is_unread && !self.shapes.contains(&Shape::Secret) {
            shapeless.push(format!("{}", self.paths[0]));
        }
        let is_one_of_many =
            self.shapes.contains(&Shape::Names) || self.shapes.contains(&Shape::List);
        let children = match is_one_of_many {
            _ if self.shapes.contains(&Shape::Secret) => Vec::new(),
            true => self.kinds(),
            false => self.properties().map(|(_, child)| child.clone()).collect(),
        };
        for child in children {
            let (more_missing, more_shapeless) = child.holes(document);
            missing.extend(more_missing);
            shapeless.extend(more_shapeless);
        }
        (missing, shapeless)
    }
}

fn reference(key: &str) -> Value {
    json!({
        "type": "object",
        "properties": { key: { "type": "string" } },
        "required": [key],
        "additionalProperties": false,
    })
}
