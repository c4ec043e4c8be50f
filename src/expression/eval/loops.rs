//! `all`, `exists`, `exists_one`, `map` and `filter`.

use super::super::error::EvalError;
use super::super::ir::{Loop, LoopKind, Node};
use super::super::value::{Items, List, Map, Value};
use super::parts::Parts;
use super::{Eval, Result};
use std::mem::size_of;

impl<'s> Eval<'s> {
    pub(super) fn run_loop(&mut self, it: &'s Loop) -> Result<Value<'s>> {
        let range = self.eval(&it.range)?;
        let items = self.items(it, range)?;
        match it.kind {
            LoopKind::All => self.decided(it, items, false),
            LoopKind::Exists => self.decided(it, items, true),
            LoopKind::ExistsOne => self.exists_one(it, items),
            LoopKind::Map => self.collect_mapped(it, items),
            LoopKind::Filter => self.collect_filtered(it, items),
        }
    }

    /// The elements of a list, or the keys of an object.
    fn items(&self, it: &'s Loop, range: Value<'s>) -> Result<Items<'s>> {
        match range {
            Value::List(list) => Ok(list.iter()),
            Value::Map(Map::Json(map)) => {
                let names = map.entries().map(|(name, _)| Value::text(name));
                self.keys(names)
            }
            Value::Map(Map::Built(entries)) => {
                self.keys(entries.iter().map(|(key, _)| key.clone()))
            }
            other => self.fail(EvalError::Type {
                what: format!("{}, before `.{}`,", it.range.described(), it.kind.name()),
                expected: "a list or an object",
                found: other.kind(),
            }),
        }
    }

    fn keys(&self, keys: impl Iterator<Item = Value<'s>>) -> Result<Items<'s>> {
        match self.built_list(keys)? {
            Value::List(list) => Ok(list.iter()),
            // What was built is a list.
            _ => Ok(List::Built([].into()).iter()),
        }
    }

    fn step(&mut self, it: &Loop, item: Value<'s>) -> Result<()> {
        self.budget().charge(1)?;
        self.slots[it.slot] = item;
        Ok(())
    }

    /// `all` (which one `false` decides) and `exists` (which one `true` does).
    fn decided(&mut self, it: &'s Loop, items: Items<'s>, decides: bool) -> Result<Value<'s>> {
        let mut parts = Parts::new(decides);
        for item in items {
            self.step(it, item)?;
            if parts.decided_by(self.truth(&it.body))? {
                return Ok(Value::Bool(decides));
            }
        }
        parts.end()
    }

    fn exists_one(&mut self, it: &'s Loop, items: Items<'s>) -> Result<Value<'s>> {
        let mut found = 0_u64;
        for item in items {
            self.step(it, item)?;
            found += u64::from(self.truth(&it.body)?);
        }
        Ok(Value::Bool(found == 1))
    }

    fn collect_mapped(&mut self, it: &'s Loop, items: Items<'s>) -> Result<Value<'s>> {
        let mut values = Vec::new();
        for item in items {
            self.step(it, item)?;
            if self.is_taken(it.filter.as_ref())? {
                self.budget().grow(size_of::<Value>())?;
                values.push(self.eval(&it.body)?);
            }
        }
        Ok(Value::List(List::Built(values.into())))
    }

    fn is_taken(&mut self, filter: Option<&'s Node>) -> Result<bool> {
        match filter {
            Some(filter) => self.truth(filter),
            None => Ok(true),
        }
    }

    fn collect_filtered(&mut self, it: &'s Loop, items: Items<'s>) -> Result<Value<'s>> {
        let mut values = Vec::new();
        for item in items {
            self.step(it, item.clone())?;
            if self.truth(&it.body)? {
                self.budget().grow(size_of::<Value>())?;
                values.push(item);
            }
        }
        Ok(Value::List(List::Built(values.into())))
    }
}
