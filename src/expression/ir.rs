//! What an expression is compiled to: a small tree in which names are resolved.

use super::error::Kind;

/// At most this many loops inside each other: three over one list are a cube.
pub const MAX_LOOPS: usize = 2;

#[derive(Debug)]
pub(super) enum Node {
    Const(Const),
    Var(Var),
    /// A level that the route's topic names.
    Level(Box<str>),
    /// What a loop is at, by the loop's depth; the name is for errors.
    Slot(usize, Box<str>),
    /// `payload`, or a field of it, however deep.
    Payload(Box<[Box<str>]>),
    Header(Box<str>),
    HasHeader(Box<str>),
    Select(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    If(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    /// `x in [constants]`.
    InConsts(Box<Node>, Box<[Const]>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Call(Function, Box<[Node]>),
    /// `hash(payload)`: of its bytes, JSON or not.
    HashPayload,
    Loop(Box<Loop>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Const {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Type(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Var {
    Topic,
    Levels,
    Key,
    Headers,
    ContentType,
    Source,
    Principal,
    ClientId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Operator {
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Bool,
    Type,
    Dyn,
    LowerAscii,
    UpperAscii,
    Trim,
    Split,
    Join,
    Replace,
    Substring,
    Hash,
    Json,
}

#[derive(Debug)]
pub(super) struct Loop {
    pub kind: LoopKind,
    pub range: Node,
    pub slot: usize,
    /// Of `map` with three arguments: what is taken.
    pub filter: Option<Node>,
    pub body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl LoopKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Exists => "exists",
            Self::ExistsOne => "exists_one",
            Self::Map => "map",
            Self::Filter => "filter",
        }
    }
}

impl Node {
    /// As the expression names it: `payload.customer.id`; `None` if it is no name or path.
    pub fn path(&self) -> Option<String> {
        Some(match self {
            Self::Payload(names) => names
                .iter()
                .fold("payload".to_owned(), |base, name| join(&base, name)),
            Self::Slot(_, name) => name.to_string(),
            Self::Level(name) => name.to_string(),
            Self::Header(name) => join("headers", name),
            Self::Var(var) => var.name().to_owned(),
            Self::Select(base, name) => join(&base.path()?, name),
            Self::Index(parts) => match &parts[1] {
                Self::Const(Const::Text(name)) => join(&parts[0].path()?, name),
                Self::Const(Const::Int(index)) => format!("{}[{index}]", parts[0].path()?),
                _ => format!("{}[…]", parts[0].path()?),
            },
            _ => return None,
        })
    }

    /// How errors speak of it.
    pub fn described(&self) -> String {
        match self.path() {
            Some(path) => format!("`{path}`"),
            None => "what the expression gives".to_owned(),
        }
    }

    /// Whether the payload is read, as JSON or as bytes.
    pub fn reads_payload(&self) -> bool {
        let any = |nodes: &[Self]| nodes.iter().any(Self::reads_payload);
        match self {
            Self::Payload(_) | Self::HashPayload => true,
            Self::Const(_)
            | Self::Var(_)
            | Self::Level(_)
            | Self::Slot(..)
            | Self::Header(_)
            | Self::HasHeader(_) => false,
            Self::Select(node, _)
            | Self::Has(node, _)
            | Self::Not(node)
            | Self::Negate(node)
            | Self::InConsts(node, _) => node.reads_payload(),
            Self::Index(two)
            | Self::And(two)
            | Self::Or(two)
            | Self::Binary(_, two)
            | Self::In(two) => any(&**two),
            Self::If(three) => any(&**three),
            Self::List(nodes) | Self::Call(_, nodes) => any(nodes),
            Self::Map(entries) => entries
                .iter()
                .any(|(key, value)| key.reads_payload() || value.reads_payload()),
            Self::Loop(it) => {
                it.range.reads_payload()
                    || it.body.reads_payload()
                    || it.filter.as_ref().is_some_and(Self::reads_payload)
            }
        }
    }
}

/// `base.name`, or `base['na me']` if the name can't stand behind a dot.
pub(super) fn join(base: &str, name: &str) -> String {
    if is_name(name) {
        format!("{base}.{name}")
    } else {
        format!("{base}[{}]", super::error::quoted(name))
    }
}

/// What asks whether `base` has `name`.
pub(super) fn test(base: &str, name: &str) -> String {
    if is_name(name) {
        format!("has({base}.{name})")
    } else {
        format!("{} in {base}", super::error::quoted(name))
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
