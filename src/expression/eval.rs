//! Evaluation: one walk over the compiled tree, each visit paid for.
//!
//! It can't overflow the stack: a tree is as deep as its source may be, and values are as deep as
//! a payload may be and a tree can build on it.

mod convert;
mod functions;
mod loops;
mod operators;
mod parts;
mod strings;

use super::budget::Budget;
use super::error::{EvalError, Fault, Kind};
use super::ir::{self, Const, MAX_LOOPS, Node, Var};
use super::json::{Field, Ref};
use super::scope::Scope;
use super::value::{List, Map, Value};
use parts::Parts;
use std::mem::size_of;
use std::rc::Rc;

pub(super) type Result<T> = std::result::Result<T, Fault>;

pub(super) struct Eval<'s> {
    scope: &'s Scope<'s>,
    /// What the loops are at, the outermost first.
    slots: [Value<'s>; MAX_LOOPS],
}

impl<'s> Eval<'s> {
    pub const fn new(scope: &'s Scope<'s>) -> Self {
        Self {
            scope,
            slots: [const { Value::Null }; MAX_LOOPS],
        }
    }

    fn budget(&self) -> &'s Budget {
        self.scope.budget()
    }

    fn fail<T>(&self, error: EvalError) -> Result<T> {
        Err(self.budget().fault(error))
    }

    pub fn eval(&mut self, node: &'s Node) -> Result<Value<'s>> {
        self.budget().charge(1)?;
        match node {
            Node::Const(value) => Ok(Value::of(value)),
            Node::Slot(slot, _) => Ok(self.slots[*slot].clone()),
            Node::Payload(names) => self.payload(names),
            Node::Header(name) => self.header(name),
            Node::HasHeader(name) => Ok(Value::Bool(self.find_header(name)?.is_some())),
            Node::Binary(operator, operands) => {
                let left = self.eval(&operands[0])?;
                let right = self.eval(&operands[1])?;
                self.binary(*operator, &left, &right)
            }
            Node::And(operands) => self.logic(operands, false),
            Node::Or(operands) => self.logic(operands, true),
            Node::Not(operand) => self.not(operand),
            Node::If(parts) => self.condition(parts),
            Node::Select(base, name) => self.select(base, name),
            Node::Has(base, name) => self.has(base, name),
            Node::Level(name) => self.level(name),
            Node::Var(var) => self.variable(*var),
            Node::Negate(operand) => {
                let value = self.eval(operand)?;
                self.negate(&value)
            }
            Node::In(operands) => {
                let what = self.eval(&operands[0])?;
                let whole = self.eval(&operands[1])?;
                self.is_in(&what, &whole)
            }
            Node::InConsts(what, values) => self.is_in_consts(what, values),
            Node::Index(parts) => self.index(node, parts),
            Node::List(nodes) => self.list(nodes),
            Node::Map(entries) => self.map(entries),
            Node::Call(function, args) => self.call(*function, args),
            Node::HashPayload => self.hash_payload(),
            Node::Loop(it) => self.run_loop(it),
        }
    }

    fn variable(&mut self, var: Var) -> Result<Value<'s>> {
        let envelope = self.scope.envelope;
        let optional = |text: Option<&'s str>| text.map_or(Value::Null, Value::text);
        Ok(match var {
            Var::Topic => Value::text(&envelope.topic),
            Var::Levels => return self.built_list(envelope.topic.split('/').map(Value::text)),
            Var::Key => match &envelope.key {
                Some(key) => self.bytes(key)?,
                None => Value::Null,
            },
            Var::Headers => return self.headers(),
            Var::ContentType => optional(envelope.content_type.as_deref()),
            Var::Source => Value::text(&envelope.source),
            Var::Principal => Value::text(&envelope.principal),
            // No ingress has one yet.
            Var::ClientId => Value::Null,
        })
    }

    fn bytes(&self, bytes: &'s [u8]) -> Result<Value<'s>> {
        self.budget()
            .charge_part(bytes.len(), super::budget::BYTES_A_STEP)?;
        Ok(Value::bytes(bytes))
    }

    fn level(&self, name: &str) -> Result<Value<'s>> {
        match self.scope.level(name) {
            Some(value) => Ok(Value::text(value)),
            None => self.fail(EvalError::MissingLevel { name: name.into() }),
        }
    }

    fn payload(&mut self, names: &'s [Box<str>]) -> Result<Value<'s>> {
        let mut at = self.scope.payload()?.root();
        for (index, name) in names.iter().enumerate() {
            self.budget().charge(1)?;
            at = match at.field(name, self.budget())? {
                Field::Value(value) => value,
                wrong => return self.fail(wrong_path(&names[..index], name, at, &wrong)),
            };
        }
        Ok(Value::json(at))
    }

    fn find_header(&self, name: &str) -> Result<Option<&'s [u8]>> {
        let headers = &self.scope.envelope.headers;
        self.budget().charge_part(headers.len(), 4)?;
        let found = headers
            .iter()
            .find(|header| is_lower_of(name, &header.name));
        Ok(found.map(|header| &header.value[..]))
    }

    fn header(&self, name: &str) -> Result<Value<'s>> {
        match self.find_header(name)? {
            Some(value) => self.bytes(value),
            None => self.fail(EvalError::MissingHeader { name: name.into() }),
        }
    }

    /// All of them, as an object: lower-cased name → first value.
    fn headers(&self) -> Result<Value<'s>> {
        let headers = &self.scope.envelope.headers;
        self.budget().charge(headers.len() as u64)?;
        let mut seen = std::collections::HashSet::new();
        let mut entries = Vec::with_capacity(headers.len());
        for header in headers {
            let name = header.name.to_ascii_lowercase();
            self.budget().build(name.len() + size_of::<Value>() * 2)?;
            let key = Value::built_text(&name);
            if seen.insert(name) {
                entries.push((key, self.bytes(&header.value)?));
            }
        }
        Ok(Value::Map(Map::Built(entries.into())))
    }

    fn select(&mut self, base: &'s Node, name: &str) -> Result<Value<'s>> {
        let from = self.eval(base)?;
        match self.field(&from, base, name)? {
            Some(value) => Ok(value),
            None => self.fail(missing(base, name, None)),
        }
    }

    fn has(&mut self, base: &'s Node, name: &str) -> Result<Value<'s>> {
        let from = self.eval(base)?;
        Ok(Value::Bool(self.field(&from, base, name)?.is_some()))
    }

    /// A field of an object, if it has it.
    fn field(&self, from: &Value<'s>, base: &Node, name: &str) -> Result<Option<Value<'s>>> {
        let Value::Map(map) = from else {
            return self.fail(missing(base, name, Some(from.kind())));
        };
        match map {
            Map::Json(it) => match it.field(name, self.budget())? {
                Field::Value(value) => Ok(Some(Value::json(value))),
                Field::Twice => self.fail(EvalError::Twice {
                    path: path(base, name),
                }),
                Field::Absent | Field::NoMap => Ok(None),
            },
            Map::Built(_) => self.built_entry(map, &Value::text(name)),
        }
    }

    fn index(&mut self, node: &'s Node, parts: &'s [Node; 2]) -> Result<Value<'s>> {
        let base = self.eval(&parts[0])?;
        let index = self.eval(&parts[1])?;
        match (&base, &index) {
            (Value::List(list), index) => self.element(list, index),
            (Value::Map(_), Value::Text(name)) => match self.field(&base, &parts[0], name)? {
                Some(value) => Ok(value),
                None => self.fail(missing_key(node, &parts[0], &parts[1])),
            },
            (Value::Map(map), key) => match self.built_entry(map, key)? {
                Some(value) => Ok(value),
                None => self.fail(EvalError::MissingKey),
            },
            _ => self.fail(EvalError::Type {
                what: parts[0].described(),
                expected: "a list or an object, of which `[…]` takes a part",
                found: base.kind(),
            }),
        }
    }

    fn element(&self, list: &List<'s>, index: &Value<'_>) -> Result<Value<'s>> {
        let at = match index {
            Value::Int(at) => usize::try_from(*at).ok(),
            Value::Uint(at) => usize::try_from(*at).ok(),
            Value::Double(at) if at.fract() == 0.0 && (0.0..1e15).contains(at) => {
                Some(*at as usize)
            }
            Value::Huge(_) => None,
            other => {
                return self.fail(EvalError::Type {
                    what: "the index of a list".to_owned(),
                    expected: "a whole number",
                    found: other.kind(),
                });
            }
        };
        let found = match (list, at) {
            (_, None) => None,
            (List::Json(it), Some(at)) => it.element(at, self.budget())?.map(Value::json),
            (List::Built(values), Some(at)) => values.get(at).cloned(),
        };
        match found {
            Some(value) => Ok(value),
            None => self.fail(EvalError::Index { len: list.len() }),
        }
    }

    fn list(&mut self, nodes: &'s [Node]) -> Result<Value<'s>> {
        self.budget().build(nodes.len() * size_of::<Value>())?;
        let values: Result<Rc<[Value<'s>]>> = nodes.iter().map(|node| self.eval(node)).collect();
        Ok(Value::List(List::Built(values?)))
    }

    fn built_list(&self, values: impl Iterator<Item = Value<'s>>) -> Result<Value<'s>> {
        let values: Vec<Value<'s>> = values.collect();
        self.budget().charge(values.len() as u64)?;
        self.budget().build(values.len() * size_of::<Value>())?;
        Ok(Value::List(List::Built(values.into())))
    }

    fn map(&mut self, nodes: &'s [(Node, Node)]) -> Result<Value<'s>> {
        self.budget().build(nodes.len() * size_of::<Value>() * 2)?;
        let mut entries: Vec<(Value<'s>, Value<'s>)> = Vec::with_capacity(nodes.len());
        for (key, value) in nodes {
            let key = self.eval(key)?;
            if !matches!(
                key,
                Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Text(_)
            ) {
                return self.fail(EvalError::Type {
                    what: "the key of an object".to_owned(),
                    expected: "text, a whole number, true or false",
                    found: key.kind(),
                });
            }
            for (before, _) in &entries {
                if self.equal(before, &key)? {
                    return self.fail(EvalError::DuplicateKey);
                }
            }
            entries.push((key, self.eval(value)?));
        }
        Ok(Value::Map(Map::Built(entries.into())))
    }

    fn condition(&mut self, parts: &'s [Node; 3]) -> Result<Value<'s>> {
        match self.eval(&parts[0])? {
            Value::Bool(true) => self.eval(&parts[1]),
            Value::Bool(false) => self.eval(&parts[2]),
            other => self.fail(EvalError::Type {
                what: format!("{}, before `?`,", parts[0].described()),
                expected: "true or false",
                found: other.kind(),
            }),
        }
    }

    fn not(&mut self, operand: &'s Node) -> Result<Value<'s>> {
        match self.eval(operand)? {
            Value::Bool(value) => Ok(Value::Bool(!value)),
            other => self.fail(not_bool(operand, "behind `!`", other.kind())),
        }
    }

    /// `&&` (which `false` decides) and `||` (which `true` does).
    fn logic(&mut self, operands: &'s [Node; 2], decides: bool) -> Result<Value<'s>> {
        let mut parts = Parts::new(decides);
        for operand in operands {
            if parts.decided_by(self.truth(operand))? {
                return Ok(Value::Bool(decides));
            }
        }
        parts.end()
    }

    fn truth(&mut self, node: &'s Node) -> Result<bool> {
        match self.eval(node)? {
            Value::Bool(value) => Ok(value),
            other => self.fail(not_bool(node, "as a condition", other.kind())),
        }
    }

    fn is_in_consts(&mut self, what: &'s Node, values: &'s [Const]) -> Result<Value<'s>> {
        let what = self.eval(what)?;
        for value in values {
            if self.equal(&what, &Value::of(value))? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }
}

/// Whether `name` is `other` in lower case.
fn is_lower_of(name: &str, other: &str) -> bool {
    name.len() == other.len()
        && name
            .bytes()
            .zip(other.bytes())
            .all(|(a, b)| a == b.to_ascii_lowercase())
}

fn not_bool(node: &Node, place: &str, found: Kind) -> EvalError {
    EvalError::Type {
        what: format!("{}, {place},", node.described()),
        expected: "true or false",
        found,
    }
}

fn path(base: &Node, name: &str) -> String {
    ir::join(&base.path().unwrap_or_else(|| "(…)".to_owned()), name)
}

fn missing(base: &Node, name: &str, found: Option<Kind>) -> EvalError {
    let from = base.path().unwrap_or_else(|| "(…)".to_owned());
    EvalError::MissingField {
        path: ir::join(&from, name),
        test: ir::test(&from, name),
        parent: found.map(|kind| (from, kind)),
    }
}

/// Of an object: by a name that the expression says, or by one that it finds out.
fn missing_key(node: &Node, base: &Node, index: &Node) -> EvalError {
    match (node.path(), index) {
        (Some(_), Node::Const(Const::Text(name))) => missing(base, name, None),
        _ => EvalError::MissingKey,
    }
}

fn wrong_path(before: &[Box<str>], name: &str, at: Ref<'_>, wrong: &Field<'_>) -> EvalError {
    let base = Node::Payload(before.into());
    match wrong {
        Field::Twice => EvalError::Twice {
            path: path(&base, name),
        },
        Field::NoMap => missing(&base, name, Some(Value::json(at).kind())),
        _ => missing(&base, name, None),
    }
}
