//! What can be wrong with an expression: found when it is loaded, or when it meets an envelope.

use std::fmt;
use std::ops::Range;

/// An expression or a template that can't be used. Found at load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// The bytes of the source (or of the template) that are meant.
    pub range: Range<usize>,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl CompileError {
    pub(super) fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range,
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As it stands in a text in which the source begins at `offset`.
    pub(super) fn moved(mut self, offset: usize) -> Self {
        self.range = self.range.start + offset..self.range.end + offset;
        self
    }
}

/// The types of values, as errors name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    List,
    Map,
    Type,
}

impl Kind {
    /// What CEL calls it.
    pub(super) const fn cel_name(self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
            Self::Type => "type",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a whole number (int)",
            Self::Uint => "a whole number (uint)",
            Self::Double => "a number with a fraction (double)",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::List => "a list",
            Self::Map => "an object",
            Self::Type => "a type",
        })
    }
}

/// Why an expression has no value for an envelope. It names fields and headers, as the expression
/// does, and never quotes what a payload or a header holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("the message has no payload")]
    NoPayload,
    #[error("the payload is empty, and no JSON")]
    Empty,
    #[error("the payload is not JSON that can be read (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error("the payload is nested deeper than {limit} levels")]
    PayloadTooDeep { limit: usize },
    /// Which of the two counts differs between readers of JSON: none does.
    #[error("`{path}` stands twice in the payload")]
    Twice { path: String },
    #[error("{}", missing(path, test, parent.as_ref()))]
    MissingField {
        /// As the expression names it: `payload.customer.id`.
        path: String,
        /// What asks whether it is there.
        test: String,
        /// Where it should be is something else: that, and what it is.
        parent: Option<(String, Kind)>,
    },
    #[error(
        "the message has no header `{name}`; where it may be missing, ask first: `{} in headers && …`",
        quoted(name)
    )]
    MissingHeader { name: String },
    #[error("the topic binds no level `{name}`")]
    MissingLevel { name: String },
    #[error("{what} is null, and a value is needed")]
    Null { what: String },
    #[error("{}", unfit(operator, *left, *right))]
    Operands {
        operator: &'static str,
        left: Kind,
        right: Kind,
    },
    /// The wrong type of one value.
    #[error("{what} must be {expected}, and is {found}")]
    Type {
        what: String,
        expected: &'static str,
        found: Kind,
    },
    #[error("{what} is not text: its bytes aren't UTF-8")]
    NotUtf8 { what: String },
    #[error(
        "`{operator}` meets a whole number of the payload beyond 64 bits; `double(…)` makes it one that can be reckoned with"
    )]
    HugeNumber { operator: &'static str },
    #[error("`{operator}` gives a whole number beyond 64 bits; `double(…)` has room for it")]
    Overflow { operator: &'static str },
    #[error("a whole number is divided by zero")]
    DivisionByZero,
    #[error("the index is outside the list, which has {len} entries (the first is 0)")]
    Index { len: usize },
    #[error("a place is outside the text, which has {len} characters (the first is 0)")]
    Place { len: usize },
    #[error("an object has no such key; where it may be missing, ask first: `KEY in OBJECT && …`")]
    MissingKey,
    #[error("a key stands twice in one `{{…}}`")]
    DuplicateKey,
    #[error("{what} is {from}, of which not every value has a form as {to}: this has none")]
    Conversion {
        what: String,
        from: Kind,
        to: &'static str,
    },
    #[error("JSON has no form for {found}")]
    NoJson { found: &'static str },
    #[error("a value is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    /// The steps of all that was evaluated for this envelope.
    #[error("the expressions need more than {limit} steps for this message")]
    Budget { limit: u64 },
    /// The bytes that were built for this envelope.
    #[error("the expressions build more than {limit} bytes for this message")]
    TooLarge { limit: usize },
}

/// Errors are rare and large: boxed, they don't slow values down.
pub(super) type Fault = Box<EvalError>;

impl EvalError {
    /// Whether it ends the whole evaluation: no `||` or `&&` absorbs it.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Budget { .. } | Self::TooLarge { .. })
    }

    /// Whether what is missing is missing, or null, in the message (and not wrong).
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoPayload
                | Self::MissingField { .. }
                | Self::MissingHeader { .. }
                | Self::Null { .. }
        )
    }
}

fn missing(path: &str, test: &str, parent: Option<&(String, Kind)>) -> String {
    let missing = match path.strip_prefix("payload.") {
        Some(rest) => format!("the payload has no `{rest}`"),
        None => format!("there is no `{path}`"),
    };
    match parent {
        Some((parent, found)) => format!("{missing}: `{parent}` is {found}"),
        None => format!("{missing}; where it may be missing, ask first: `{test} && …`"),
    }
}

fn unfit(operator: &str, left: Kind, right: Kind) -> String {
    let is_number = |kind| matches!(kind, Kind::Int | Kind::Uint | Kind::Double);
    let help = match (left, right) {
        (Kind::Text, other) | (other, Kind::Text) if operator == "+" && is_number(other) => {
            "; write `string(…)` around the number"
        }
        _ if is_number(left) && is_number(right) && left != right => {
            "; write `double(…)` or `int(…)` around one of them"
        }
        _ => "",
    };
    format!("`{operator}` can't stand between {left} and {right}{help}")
}

/// As a text of CEL.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push('?'),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}
