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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    NoPayload,
    NotJson {
        line: usize,
        column: usize,
    },
    PayloadTooDeep {
        limit: usize,
    },
    /// Which of the two counts differs between readers of JSON: none does.
    Twice {
        path: String,
    },
    MissingField {
        /// As the expression names it: `payload.customer.id`.
        path: String,
        /// What asks whether it is there.
        test: String,
        /// Where it should be is something else: that, and what it is.
        parent: Option<(String, Kind)>,
    },
    MissingHeader {
        name: String,
    },
    /// The topic doesn't bind it.
    MissingLevel {
        name: String,
    },
    /// Something that may be null is needed.
    Null {
        what: String,
    },
    Operands {
        operator: &'static str,
        left: Kind,
        right: Kind,
    },
    /// The wrong type of one value.
    Type {
        what: String,
        expected: &'static str,
        found: Kind,
    },
    NotUtf8 {
        what: String,
    },
    /// A whole number of the payload that 64 bits don't hold.
    HugeNumber {
        operator: &'static str,
    },
    Overflow {
        operator: &'static str,
    },
    DivisionByZero,
    Index {
        len: usize,
    },
    MissingKey,
    DuplicateKey,
    Conversion {
        from: Kind,
        to: &'static str,
    },
    /// What JSON has no form for.
    NoJson {
        found: &'static str,
    },
    TooDeep {
        limit: usize,
    },
    /// The steps of all that was evaluated for this envelope.
    Budget {
        limit: u64,
    },
    /// The bytes that were built for this envelope.
    TooLarge {
        limit: usize,
    },
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

impl std::error::Error for EvalError {}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPayload => f.write_str("the message has no payload"),
            Self::NotJson { line, column } => write!(
                f,
                "the payload is not JSON that can be read (line {line}, column {column})"
            ),
            Self::PayloadTooDeep { limit } => {
                write!(f, "the payload is nested deeper than {limit} levels")
            }
            Self::Twice { path } => write!(f, "`{path}` stands twice in the payload"),
            Self::MissingField { path, test, parent } => {
                write_missing(f, path, test, parent.as_ref())
            }
            Self::MissingHeader { name } => write!(
                f,
                "the message has no header `{name}`; where it may be missing, ask first: `{} in headers && …`",
                quoted(name)
            ),
            Self::MissingLevel { name } => write!(f, "the topic binds no level `{name}`"),
            Self::Null { what } => write!(f, "{what} is null, and a value is needed"),
            Self::Operands {
                operator,
                left,
                right,
            } => write_operands(f, operator, *left, *right),
            Self::Type {
                what,
                expected,
                found,
            } => write!(f, "{what} must be {expected}, and is {found}"),
            Self::NotUtf8 { what } => write!(f, "{what} is not text: its bytes aren't UTF-8"),
            Self::HugeNumber { operator } => write!(
                f,
                "`{operator}` meets a whole number of the payload beyond 64 bits; `double(…)` makes it one that can be reckoned with"
            ),
            Self::Overflow { operator } => write!(
                f,
                "`{operator}` gives a whole number beyond 64 bits; `double(…)` has room for it"
            ),
            Self::DivisionByZero => f.write_str("a whole number is divided by zero"),
            Self::Index { len } => write!(
                f,
                "the index is outside the list, which has {len} entries (the first is 0)"
            ),
            Self::MissingKey => f.write_str(
                "an object has no such key; where it may be missing, ask first: `KEY in OBJECT && …`",
            ),
            Self::DuplicateKey => f.write_str("a key stands twice in one `{…}`"),
            Self::Conversion { from, to } => {
                write!(f, "{from} has no form as {to}, or not this value of it")
            }
            Self::NoJson { found } => write!(f, "JSON has no form for {found}"),
            Self::TooDeep { limit } => write!(f, "a value is nested deeper than {limit} levels"),
            Self::Budget { limit } => write!(
                f,
                "the expressions need more than {limit} steps for this message"
            ),
            Self::TooLarge { limit } => write!(
                f,
                "the expressions build more than {limit} bytes for this message"
            ),
        }
    }
}

fn write_missing(
    f: &mut fmt::Formatter<'_>,
    path: &str,
    test: &str,
    parent: Option<&(String, Kind)>,
) -> fmt::Result {
    match path.strip_prefix("payload.") {
        Some(rest) => write!(f, "the payload has no `{rest}`")?,
        None => write!(f, "there is no `{path}`")?,
    }
    match parent {
        Some((parent, found)) => write!(f, ": `{parent}` is {found}"),
        None => write!(f, "; where it may be missing, ask first: `{test} && …`"),
    }
}

fn write_operands(
    f: &mut fmt::Formatter<'_>,
    operator: &str,
    left: Kind,
    right: Kind,
) -> fmt::Result {
    write!(f, "`{operator}` can't stand between {left} and {right}")?;
    let is_number = |kind| matches!(kind, Kind::Int | Kind::Uint | Kind::Double);
    match (left, right) {
        (Kind::Text, other) | (other, Kind::Text) if operator == "+" && is_number(other) => {
            f.write_str("; write `string(…)` around the number")
        }
        (left, right) if is_number(left) && is_number(right) && left != right => {
            f.write_str("; write `double(…)` or `int(…)` around one of them")
        }
        _ => Ok(()),
    }
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
