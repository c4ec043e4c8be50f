//! The names that expressions know, and which of them was probably meant.

use super::error::Kind;
use super::ir::{Const, Function, LoopKind, Node, Var};

const VARIABLES: [(&str, Option<Var>); 9] = [
    ("topic", Some(Var::Topic)),
    ("levels", Some(Var::Levels)),
    ("key", Some(Var::Key)),
    ("headers", Some(Var::Headers)),
    // Read by paths: `Node::Payload`.
    ("payload", None),
    ("content_type", Some(Var::ContentType)),
    ("source", Some(Var::Source)),
    ("principal", Some(Var::Principal)),
    ("client_id", Some(Var::ClientId)),
];

const TYPES: [(&str, Kind); 10] = [
    ("null_type", Kind::Null),
    ("bool", Kind::Bool),
    ("int", Kind::Int),
    ("uint", Kind::Uint),
    ("double", Kind::Double),
    ("string", Kind::Text),
    ("bytes", Kind::Bytes),
    ("list", Kind::List),
    ("map", Kind::Map),
    ("type", Kind::Type),
];

/// Words of the language that can't be names.
const WORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// How a function is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `size(x)`.
    Global,
    /// `x.trim()`.
    Member,
    Both,
}

pub(super) struct Signature {
    pub name: &'static str,
    pub function: Function,
    pub form: Form,
    /// How many arguments, with what stands before the dot.
    pub least: usize,
    pub most: usize,
    pub example: &'static str,
}

macro_rules! functions {
    ($($name:literal $function:ident $form:ident $least:literal..=$most:literal $example:literal;)*) => {
        &[$(Signature {
            name: $name,
            function: Function::$function,
            form: Form::$form,
            least: $least,
            most: $most,
            example: $example,
        }),*]
    };
}

pub(super) const FUNCTIONS: &[Signature] = functions! {
    "size" Size Both 1..=1 "size(x)";
    "contains" Contains Member 2..=2 "x.contains('part')";
    "startsWith" StartsWith Member 2..=2 "x.startsWith('part')";
    "endsWith" EndsWith Member 2..=2 "x.endsWith('part')";
    "int" Int Global 1..=1 "int(x)";
    "uint" Uint Global 1..=1 "uint(x)";
    "double" Double Global 1..=1 "double(x)";
    "string" String Global 1..=1 "string(x)";
    "bytes" Bytes Global 1..=1 "bytes(x)";
    "bool" Bool Global 1..=1 "bool(x)";
    "type" Type Global 1..=1 "type(x)";
    "dyn" Dyn Global 1..=1 "dyn(x)";
    "lowerAscii" LowerAscii Member 1..=1 "x.lowerAscii()";
    "upperAscii" UpperAscii Member 1..=1 "x.upperAscii()";
    "trim" Trim Member 1..=1 "x.trim()";
    "split" Split Member 2..=2 "x.split(',')";
    "join" Join Member 1..=2 "x.join(',')";
    "replace" Replace Member 3..=3 "x.replace('a', 'b')";
    "substring" Substring Member 2..=3 "x.substring(0, 2)";
    "hash" Hash Global 1..=1 "hash(payload)";
    "json" Json Global 1..=1 "json(payload.a)";
};

/// Functions of CEL that aren't here.
const ELSEWHERE: [&str; 14] = [
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "matches",
    "format",
];

const MACROS: [LoopKind; 5] = [
    LoopKind::All,
    LoopKind::Exists,
    LoopKind::ExistsOne,
    LoopKind::Map,
    LoopKind::Filter,
];

/// Whether a level of a topic can't have this name: expressions mean something else by it.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    VARIABLES.iter().any(|(variable, _)| *variable == name)
        || TYPES.iter().any(|(word, _)| *word == name)
        || WORDS.contains(&name)
}

/// What a name means that stands for a value, levels and loops apart.
pub(super) fn variable(name: &str) -> Option<Node> {
    let found = VARIABLES.iter().find(|(variable, _)| *variable == name);
    if let Some((_, var)) = found {
        return Some(var.map_or_else(|| Node::Payload(Box::default()), Node::Var));
    }
    let (_, kind) = TYPES.iter().find(|(word, _)| *word == name)?;
    Some(Node::Const(Const::Type(*kind)))
}

pub(super) fn function(name: &str) -> Option<&'static Signature> {
    FUNCTIONS.iter().find(|it| it.name == name)
}

pub(super) fn is_elsewhere(name: &str) -> bool {
    ELSEWHERE.contains(&name)
}

pub(super) fn is_macro(name: &str) -> bool {
    name == "has" || MACROS.iter().any(|it| it.name() == name)
}

/// The help for a variable that isn't known.
pub(super) fn variable_help(name: &str, levels: &[String], slots: &[&str]) -> String {
    let known: Vec<&str> = slots
        .iter()
        .copied()
        .chain(levels.iter().map(String::as_str))
        .chain(VARIABLES.iter().map(|(variable, _)| *variable))
        .collect();
    let list = known.join(", ");
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("`{near}` is meant? There are: {list}"),
        None => format!("there are: {list}; text stands in quotes: '{name}'"),
    }
}

/// The help for a function that isn't known.
pub(super) fn function_help(name: &str) -> String {
    let known = || {
        let macros = MACROS.iter().map(|it| it.name());
        let functions = FUNCTIONS.iter().map(|it| it.name);
        functions.chain(["has"]).chain(macros)
    };
    let list = known().collect::<Vec<_>>().join(", ");
    match nearest(name, known()) {
        Some(near) => format!("`{near}` is meant? There are: {list}"),
        None => format!("there are: {list}"),
    }
}

impl Function {
    pub(super) fn name(self) -> &'static str {
        let found = FUNCTIONS.iter().find(|it| it.function == self);
        found.map_or("a function", |it| it.name)
    }
}

impl Var {
    pub(super) fn name(self) -> &'static str {
        let found = VARIABLES.iter().find(|(_, var)| *var == Some(self));
        found.map_or("payload", |(name, _)| name)
    }
}

/// The known name with the fewest changes to it, if they are few.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).clamp(1, 3);
    known
        .map(|other| (changes(name, other), other))
        .filter(|(changes, _)| *changes <= allowed)
        .min_by_key(|(changes, _)| *changes)
        .map(|(_, other)| other)
}

/// How many letters must be put in, taken out or replaced (Levenshtein); case doesn't count.
fn changes(one: &str, other: &str) -> usize {
    let other: Vec<u8> = other.bytes().map(|b| b.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().map(|b| b.to_ascii_lowercase()).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
