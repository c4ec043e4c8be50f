//! Where settings come from, the later over the earlier: defaults, the file, the environment,
//! flags. figment merges them and remembers which layer a value came from.

use super::path::{Path, Step};
use super::problem::{Place, Problem, Severity};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

/// Levels are joined by `__` too: a single `_` is part of a name.
const ENVIRONMENT_PREFIX: &str = "CAUSEWAY__";
const LEVEL_SEPARATOR: &str = "__";

const DEFAULTS: &str = include_str!("defaults.toml");

/// Lists stay what the file says, even where it says nothing.
const LISTS: [&str; 3] = ["routes", "identity", "include"];

/// What a configuration is made from.
#[derive(Clone)]
pub struct Sources {
    /// This very file, no search.
    pub file: PathBuf,
    /// Names and values. Settings are those that begin with `CAUSEWAY__`; secrets may name any.
    pub environment: Vec<(String, OsString)>,
    pub flags: Vec<Flag>,
}

/// A flag of the command line that overrides a setting.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As the user typed it: `--data-dir`.
    pub name: String,
    /// The setting: `gateway.data_dir`.
    pub key: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Defaults,
    File,
    Environment,
    Flags,
}

/// All layers, merged.
pub(super) struct Layers {
    pub(super) root: Value,
    figment: Figment,
    flags: Vec<Flag>,
}

impl Sources {
    /// A file alone.
    #[must_use]
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// A file, this process's environment and flags.
    #[must_use]
    pub fn of_process(file: impl Into<PathBuf>, flags: Vec<Flag>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self {
            file: file.into(),
            environment,
            flags,
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut all = self.environment.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_os_str())
    }
}

/// Values may be secrets: names only.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &names)
            .field("flags", &self.flags)
            .finish()
    }
}

impl Origin {
    const ALL: [Self; 4] = [Self::Defaults, Self::File, Self::Environment, Self::Flags];

    const fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flags => "flags",
        }
    }
}

impl Layers {
    /// Merges the layers. `file` is what the main file and those that it includes say.
    pub(super) fn merge(file: Dict, sources: &Sources, problems: &mut Vec<Problem>) -> Self {
        let defaults = Toml::from_str::<Dict>(DEFAULTS).expect("the built-in defaults are TOML");
        let environment = environment_layer(sources, &file, problems);
        let flags = flag_layer(sources, &file, problems);
        let figment = Figment::new()
            .merge(Layer(Origin::Defaults, defaults))
            .merge(Layer(Origin::File, file))
            .merge(Layer(Origin::Environment, environment))
            .merge(Layer(Origin::Flags, flags));
        let root = figment
            .find_value("")
            .expect("no layer can fail: they are values");
        Self {
            root,
            figment,
            flags: sources.flags.clone(),
        }
    }

    pub(super) fn origin(&self, tag: Tag) -> Origin {
        let name = self
            .figment
            .get_metadata(tag)
            .map(|metadata| metadata.name.as_ref());
        let known = Origin::ALL
            .into_iter()
            .find(|origin| Some(origin.name()) == name);
        known.unwrap_or(Origin::Defaults)
    }

    /// What holds where nobody says otherwise: a value, no table of them.
    pub(super) fn default_of(path: &Path) -> Option<serde_json::Value> {
        let defaults = Toml::from_str::<Value>(DEFAULTS).expect("the built-in defaults are TOML");
        let value = path.steps().iter().try_fold(&defaults, step)?;
        match value {
            Value::Dict(..) => None,
            value => serde_json::to_value(value).ok(),
        }
    }

    /// The value at a path.
    pub(super) fn find(&self, path: &Path) -> Option<&Value> {
        path.steps().iter().try_fold(&self.root, step)
    }

    /// The deepest value on the way to a path.
    pub(super) fn deepest(&self, path: &Path) -> &Value {
        let mut at = &self.root;
        for next in path.steps() {
            match step(at, next) {
                Some(value) => at = value,
                None => break,
            }
        }
        at
    }

    /// What outside of the file set a path.
    pub(super) fn outside(&self, origin: Origin, path: &Path) -> Option<Place> {
        let names: Vec<&str> = path.names().collect();
        match origin {
            Origin::Defaults | Origin::File => None,
            Origin::Environment => {
                let levels = names.join(LEVEL_SEPARATOR).to_uppercase();
                Some(Place::Environment(format!("{ENVIRONMENT_PREFIX}{levels}")))
            }
            Origin::Flags => {
                let key = names.join(".");
                let flag = self.flags.iter().find(|flag| flag.key == key);
                Some(Place::Flag(flag.map_or(key, |flag| flag.name.clone())))
            }
        }
    }
}

fn step<'v>(at: &'v Value, step: &Step) -> Option<&'v Value> {
    match step {
        Step::Name(name) => at.as_dict()?.get(name),
        Step::Index(index) => at.as_array()?.get(*index),
    }
}

/// One layer as figment takes it.
struct Layer(Origin, Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0.name())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.1.clone())]))
    }
}

fn environment_layer(sources: &Sources, file: &Dict, problems: &mut Vec<Problem>) -> Dict {
    let mut layer = Dict::new();
    let mut variables: Vec<_> = sources
        .environment
        .iter()
        .filter_map(|(name, value)| Some((name, name.strip_prefix(ENVIRONMENT_PREFIX)?, value)))
        .collect();
    variables.sort();
    for (name, key, value) in variables {
        let place = Place::Environment(name.clone());
        let key = key.to_lowercase();
        let levels: Vec<&str> = key.split(LEVEL_SEPARATOR).collect();
        match value.to_str() {
            Some(value) => insert(&mut layer, &levels, value, file, place, problems),
            None => problems.push(problem(place, "the value is no UTF-8", "write it in UTF-8")),
        }
    }
    layer
}

fn flag_layer(sources: &Sources, file: &Dict, problems: &mut Vec<Problem>) -> Dict {
    let mut layer = Dict::new();
    for flag in &sources.flags {
        let levels: Vec<&str> = flag.key.split('.').collect();
        let place = Place::Flag(flag.name.clone());
        insert(&mut layer, &levels, &flag.value, file, place, problems);
    }
    layer
}

/// Puts a value, always as text, at its levels; the reader of the setting makes of it what is wanted.
fn insert(
    layer: &mut Dict,
    levels: &[&str],
    value: &str,
    file: &Dict,
    place: Place,
    problems: &mut Vec<Problem>,
) {
    if levels.iter().any(|level| level.is_empty()) {
        let help = "name it CAUSEWAY__TABLE__KEY";
        return problems.push(problem(place, "this names no setting", help));
    }
    if LISTS.contains(&levels[0]) || crosses_list(file, levels) {
        let help = "write it in the file";
        return problems.push(problem(place, "a list is set in the file only", help));
    }
    let clash = problem(
        place,
        "this says otherwise than another one, which sets the same entry",
        "keep one of them",
    );
    let (last, tables) = levels.split_last().expect("split gives one level or more");
    let mut at = layer;
    for name in tables {
        let next = at
            .entry((*name).to_owned())
            .or_insert_with(|| Value::from(Dict::new()));
        let Value::Dict(_, next) = next else {
            return problems.push(clash);
        };
        at = next;
    }
    if at.insert((*last).to_owned(), Value::from(value)).is_some() {
        problems.push(clash);
    }
}

fn crosses_list(file: &Dict, levels: &[&str]) -> bool {
    let Some((first, rest)) = levels.split_first() else {
        return false;
    };
    match file.get(*first) {
        Some(Value::Array(..)) => true,
        Some(Value::Dict(_, table)) => crosses_list(table, rest),
        _ => false,
    }
}

fn problem(place: Place, message: impl Into<String>, help: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        place,
        message: message.into(),
        help: Some(help.to_owned()),
    }
}
