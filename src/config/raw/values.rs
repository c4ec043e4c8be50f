//! What was read of an adapter's keys, as data: `keys` checks each entry and puts it here, and the
//! readers of kinds make settings of it. A destination's values are its own and its connection's together.
//!
//! What was wrong isn't here: its error is reported, and settings with an error are never handed out.

use crate::config::path::Path;
use crate::config::secret::Secret;
use crate::config::settings::Plain;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Of the table that they stand in.
    pub(super) path: Path,
    by_key: BTreeMap<&'static str, (Path, Value)>,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Boolean(bool),
    Count(u64),
    Duration(Duration),
    Secret(Secret),
    /// Each with its place.
    Secrets(Vec<(Path, Secret)>),
    Texts(Vec<(Path, String)>),
    Properties(BTreeMap<String, Plain>),
    Table(Values),
    Tables(Vec<Values>),
}

impl Values {
    pub(super) const fn of(path: Path) -> Self {
        Self {
            path,
            by_key: BTreeMap::new(),
        }
    }

    pub(super) fn put(&mut self, key: &'static str, path: Path, value: Option<Value>) {
        if let Some(value) = value {
            self.by_key.insert(key, (path, value));
        }
    }

    /// These, and those that stand elsewhere; a key that is in both is an error, which is reported.
    pub(super) fn with(mut self, others: Self) -> Self {
        self.by_key.extend(others.by_key);
        self
    }

    /// Where a key's value stands; where it would stand, if there is none.
    pub(super) fn place(&self, key: &'static str) -> Path {
        let place = self.by_key.get(key).map(|(path, _)| path.clone());
        place.unwrap_or_else(|| self.path.name(key))
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|(_, value)| value)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The keys' own ranges are within those of what is asked for here.
    pub(super) fn count<N: TryFrom<u64>>(&self, key: &str) -> Option<N> {
        match self.get(key)? {
            Value::Count(count) => N::try_from(*count).ok(),
            _ => None,
        }
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        match self.get(key)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    pub(super) fn secret(&self, key: &str) -> Option<&Secret> {
        match self.get(key)? {
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    pub(super) fn secrets(&self, key: &str) -> &[(Path, Secret)] {
        match self.get(key) {
            Some(Value::Secrets(secrets)) => secrets,
            _ => &[],
        }
    }

    pub(super) fn texts(&self, key: &str) -> &[(Path, String)] {
        match self.get(key) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    pub(super) fn plain_texts(&self, key: &str) -> Vec<String> {
        let texts = self.texts(key).iter();
        texts.map(|(_, text)| text.clone()).collect()
    }

    pub(super) fn properties(&self, key: &str) -> BTreeMap<String, Plain> {
        match self.get(key) {
            Some(Value::Properties(properties)) => properties.clone(),
            _ => BTreeMap::new(),
        }
    }

    pub(super) fn table(&self, key: &str) -> Option<&Self> {
        match self.get(key)? {
            Value::Table(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn tables(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Value::Tables(tables)) => tables,
            _ => &[],
        }
    }
}
