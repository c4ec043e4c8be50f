//! From the parser's tree to our own: names resolved, paths made direct, loops recognised.

mod hyphen;

use super::error::CompileError;
use super::ir::{Const, Function, Loop, LoopKind, MAX_LOOPS, Node, Operator, Var, is_name};
use super::names::{self, Form, Signature};
use super::parse::{Parsed, parse};
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr,
    SelectExpr, operators,
};

const OPERATORS: [(&str, Operator); 11] = [
    (operators::ADD, Operator::Add),
    (operators::SUBSTRACT, Operator::Subtract),
    (operators::MULTIPLY, Operator::Multiply),
    (operators::DIVIDE, Operator::Divide),
    (operators::MODULO, Operator::Modulo),
    (operators::EQUALS, Operator::Equal),
    (operators::NOT_EQUALS, Operator::NotEqual),
    (operators::LESS, Operator::Less),
    (operators::LESS_EQUALS, Operator::LessEqual),
    (operators::GREATER, Operator::Greater),
    (operators::GREATER_EQUALS, Operator::GreaterEqual),
];

pub(super) fn compile(source: &str, levels: &[String]) -> Result<Node, CompileError> {
    let parsed = parse(source)?;
    let mut compiler = Compiler {
        parsed: &parsed,
        levels,
        loops: Vec::new(),
    };
    compiler.node(&parsed.tree)
}

struct Compiler<'c> {
    parsed: &'c Parsed<'c>,
    levels: &'c [String],
    /// The variables of the loops around what is compiled, the outermost first.
    loops: Vec<&'c str>,
}

type Compiled = Result<Node, CompileError>;

impl<'c> Compiler<'c> {
    fn node(&mut self, part: &'c IdedExpr) -> Compiled {
        match &part.expr {
            Expr::Literal(literal) => Ok(Node::Const(constant(literal))),
            Expr::Ident(name) => self.variable(part, name),
            Expr::Select(select) => self.select(part, select),
            Expr::Call(call) => self.call(part, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(it) => self.comprehension(part, it),
            Expr::Struct(it) => {
                let message = format!("`{}{{…}}`: messages are not built in", it.type_name);
                Err(self
                    .error(part, message)
                    .help("write an object: {'name': value}"))
            }
            Expr::Unspecified => Err(self.error(part, "the expression can't be parsed")),
        }
    }

    fn error(&self, part: &IdedExpr, message: impl Into<String>) -> CompileError {
        CompileError::new(self.parsed.range(part), message)
    }

    fn boxed<const N: usize>(
        &mut self,
        parts: [&'c IdedExpr; N],
    ) -> Result<Box<[Node; N]>, CompileError> {
        let nodes: Vec<Node> = parts
            .into_iter()
            .map(|part| self.node(part))
            .collect::<Result<_, _>>()?;
        let nodes: Result<[Node; N], _> = nodes.try_into();
        Ok(Box::new(
            nodes.expect("as many nodes as parts were compiled"),
        ))
    }

    fn variable(&mut self, part: &IdedExpr, name: &str) -> Compiled {
        if let Some(slot) = self.loops.iter().rposition(|it| *it == name) {
            return Ok(Node::Slot(slot, name.into()));
        }
        let is_level = self.levels.iter().any(|level| level == name);
        match names::variable(name) {
            Some(_) if is_level => {
                let message = format!("`{name}` is a level of the topic here, and a variable");
                Err(self
                    .error(part, message)
                    .help("give the level another name"))
            }
            Some(node) => Ok(node),
            None if is_level => Ok(Node::Level(name.into())),
            None => {
                let help = names::variable_help(name, self.levels, &self.loops);
                Err(self
                    .error(part, format!("`{name}` is not known"))
                    .help(help))
            }
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.loops.contains(&name)
            || self.levels.iter().any(|level| level == name)
            || names::variable(name).is_some()
    }

    fn select(&mut self, part: &IdedExpr, select: &'c SelectExpr) -> Compiled {
        let base = self.node(&select.operand)?;
        let name = select.field.as_str();
        match (base, select.test) {
            (Node::Var(Var::Headers), false) => {
                self.check_header(part, name)?;
                Ok(Node::Header(name.into()))
            }
            (Node::Var(Var::Headers), true) => {
                self.check_header(part, name)?;
                Ok(Node::HasHeader(name.into()))
            }
            (base, true) => Ok(Node::Has(Box::new(base), name.into())),
            (base, false) => Ok(field(base, name)),
        }
    }

    /// Names of headers are lower-case: another one is never there.
    fn check_header(&self, part: &IdedExpr, name: &str) -> Result<(), CompileError> {
        if !name.bytes().any(|b| b.is_ascii_uppercase()) {
            return Ok(());
        }
        let lower = name.to_ascii_lowercase();
        Err(self
            .error(part, "the names in `headers` are lower-case")
            .help(format!("write headers['{lower}']")))
    }

    fn call(&mut self, part: &'c IdedExpr, call: &'c CallExpr) -> Compiled {
        let args = &call.args[..];
        match (call.func_name.as_str(), &call.target, args) {
            (operators::LOGICAL_AND, None, [a, b]) => Ok(Node::And(self.boxed([a, b])?)),
            (operators::LOGICAL_OR, None, [a, b]) => Ok(Node::Or(self.boxed([a, b])?)),
            (operators::CONDITIONAL, None, [a, b, c]) => Ok(Node::If(self.boxed([a, b, c])?)),
            (operators::LOGICAL_NOT, None, [a]) => Ok(Node::Not(Box::new(self.node(a)?))),
            (operators::NEGATE, None, [a]) => Ok(Node::Negate(Box::new(self.node(a)?))),
            (operators::INDEX, None, [a, b]) => self.index(a, b),
            (operators::IN, None, [a, b]) => self.is_in(a, b),
            (name, None, [a, b]) if operator(name).is_some() => self.binary(part, name, a, b),
            (name, target, args) => self.function(part, name, target.as_deref(), args),
        }
    }

    fn binary(
        &mut self,
        part: &'c IdedExpr,
        name: &str,
        left: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Compiled {
        let operator = operator(name).unwrap_or(Operator::Equal);
        if operator == Operator::Subtract {
            self.check_hyphen(part, right)?;
        }
        let operands = self.boxed([left, right])?;
        if let [Node::Const(Const::Type(kind)), Node::Const(other)]
        | [Node::Const(other), Node::Const(Const::Type(kind))] = &*operands
            && !matches!(other, Const::Type(_))
        {
            let name = kind.cel_name();
            let message = format!("`{name}` is a type, which this can't be");
            return Err(self.error(part, message).help(format!(
                "a header is written headers['{name}'], a field payload.{name}"
            )));
        }
        Ok(Node::Binary(operator, operands))
    }

    fn index(&mut self, base: &'c IdedExpr, index: &'c IdedExpr) -> Compiled {
        let nodes = self.boxed([base, index])?;
        match *nodes {
            [Node::Var(Var::Headers), Node::Const(Const::Text(name))] => {
                self.check_header(index, &name)?;
                Ok(Node::Header(name))
            }
            [base @ Node::Payload(_), Node::Const(Const::Text(name))] => Ok(field(base, &name)),
            nodes => Ok(Node::Index(Box::new(nodes))),
        }
    }

    fn is_in(&mut self, what: &'c IdedExpr, whole: &'c IdedExpr) -> Compiled {
        let nodes = self.boxed([what, whole])?;
        match *nodes {
            [Node::Const(Const::Text(name)), Node::Var(Var::Headers)] => {
                self.check_header(what, &name)?;
                Ok(Node::HasHeader(name))
            }
            [what, Node::List(values)] => match constants(values) {
                Ok(values) => Ok(Node::InConsts(Box::new(what), values)),
                Err(values) => Ok(Node::In(Box::new([what, Node::List(values)]))),
            },
            nodes => Ok(Node::In(Box::new(nodes))),
        }
    }

    fn list(&mut self, list: &'c ListExpr) -> Compiled {
        let nodes: Result<Vec<Node>, _> = list.elements.iter().map(|it| self.node(it)).collect();
        Ok(Node::List(nodes?.into()))
    }

    fn map(&mut self, map: &'c MapExpr) -> Compiled {
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                entries.push((self.node(&entry.key)?, self.node(&entry.value)?));
            }
        }
        Ok(Node::Map(entries.into()))
    }

    fn function(
        &mut self,
        part: &'c IdedExpr,
        name: &str,
        target: Option<&'c IdedExpr>,
        args: &'c [IdedExpr],
    ) -> Compiled {
        let Some(signature) = names::function(name) else {
            return Err(self.unknown_function(part, name));
        };
        let count = args.len() + usize::from(target.is_some());
        self.check_form(part, signature, target.is_some(), count)?;
        let parts = target.into_iter().chain(args);
        let nodes: Vec<Node> = parts.map(|it| self.node(it)).collect::<Result<_, _>>()?;
        match (signature.function, &nodes[..]) {
            (Function::Hash, [Node::Payload(names)]) if names.is_empty() => Ok(Node::HashPayload),
            (function, _) => Ok(Node::Call(function, nodes.into())),
        }
    }

    fn unknown_function(&self, part: &IdedExpr, name: &str) -> CompileError {
        if names::is_macro(name) {
            let message = format!("`{name}` is not written like this");
            let help = match name {
                "has" => "write has(payload.a.b)".to_owned(),
                "map" => "write list.map(x, …) or list.map(x, condition, …)".to_owned(),
                _ => format!("write list.{name}(x, condition)"),
            };
            return self.error(part, message).help(help);
        }
        if name == "matches" {
            return self
                .error(part, "`matches`: regular expressions are not built in")
                .help("use startsWith, endsWith, contains or split");
        }
        if names::is_elsewhere(name) {
            return self
                .error(part, format!("`{name}` is not built in"))
                .help("times can be compared as text if they are written alike: '2026-01-31T…'");
        }
        self.error(part, format!("there is no function `{name}`"))
            .help(names::function_help(name))
    }

    fn check_form(
        &self,
        part: &IdedExpr,
        signature: &Signature,
        is_member: bool,
        count: usize,
    ) -> Result<(), CompileError> {
        let is_form = match signature.form {
            Form::Both => true,
            Form::Member => is_member,
            Form::Global => !is_member,
        };
        if is_form && (signature.least..=signature.most).contains(&count) {
            return Ok(());
        }
        let message = format!("`{}` is not written like this", signature.name);
        Err(self
            .error(part, message)
            .help(format!("write it like {}", signature.example)))
    }

    fn comprehension(&mut self, part: &'c IdedExpr, it: &'c ComprehensionExpr) -> Compiled {
        let shape = Shape::of(it);
        let Some(Shape { kind, filter, body }) = shape.filter(|_| is_name(&it.iter_var)) else {
            return Err(self.error(part, "this loop is not built in"));
        };
        let slot = self.loops.len();
        let range = self.node(&it.iter_range)?;
        if slot == MAX_LOOPS {
            let message = format!("more than {MAX_LOOPS} loops stand inside each other");
            return Err(self
                .error(part, message)
                .help("its cost would grow with the cube of the payload: loop over less"));
        }
        self.loops.push(&it.iter_var);
        let filter = filter.map(|filter| self.node(filter)).transpose();
        let body = self.node(body);
        self.loops.pop();
        Ok(Node::Loop(Box::new(Loop {
            kind,
            range,
            slot,
            filter: filter?,
            body: body?,
        })))
    }
}

/// What a macro was expanded from.
struct Shape<'e> {
    kind: LoopKind,
    filter: Option<&'e IdedExpr>,
    body: &'e IdedExpr,
}

impl<'e> Shape<'e> {
    fn of(it: &'e ComprehensionExpr) -> Option<Self> {
        let step = call(&it.loop_step)?;
        let plain = |kind, body| Shape {
            kind,
            filter: None,
            body,
        };
        match (&it.accu_init.expr, step.func_name.as_str(), &step.args[..]) {
            (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_AND, [_, body]) => {
                Some(plain(LoopKind::All, body))
            }
            (Expr::Literal(LiteralValue::Boolean(_)), operators::LOGICAL_OR, [_, body]) => {
                Some(plain(LoopKind::Exists, body))
            }
            (Expr::Literal(LiteralValue::Int(_)), operators::CONDITIONAL, [body, ..]) => {
                Some(plain(LoopKind::ExistsOne, body))
            }
            (Expr::List(_), operators::ADD, [_, appended]) => {
                Some(plain(LoopKind::Map, only(appended)?))
            }
            (Expr::List(_), operators::CONDITIONAL, [filter, add, _]) => {
                let body = only(call(add)?.args.get(1)?)?;
                let is_itself = matches!(&body.expr, Expr::Ident(name) if *name == it.iter_var);
                Some(if is_itself {
                    plain(LoopKind::Filter, filter)
                } else {
                    Shape {
                        kind: LoopKind::Map,
                        filter: Some(filter),
                        body,
                    }
                })
            }
            _ => None,
        }
    }
}

fn call(part: &IdedExpr) -> Option<&CallExpr> {
    match &part.expr {
        Expr::Call(call) => Some(call),
        _ => None,
    }
}

/// What a list of one holds.
fn only(part: &IdedExpr) -> Option<&IdedExpr> {
    match &part.expr {
        Expr::List(list) => match &list.elements[..] {
            [one] => Some(one),
            _ => None,
        },
        _ => None,
    }
}

fn operator(name: &str) -> Option<Operator> {
    let found = OPERATORS.iter().find(|(operator, _)| *operator == name);
    found.map(|(_, operator)| *operator)
}

fn field(base: Node, name: &str) -> Node {
    match base {
        Node::Payload(names) => {
            let mut names = names.into_vec();
            names.push(name.into());
            Node::Payload(names.into())
        }
        base => Node::Select(Box::new(base), name.into()),
    }
}

fn constant(literal: &LiteralValue) -> Const {
    match literal {
        LiteralValue::Null => Const::Null,
        LiteralValue::Boolean(it) => Const::Bool(*it.inner()),
        LiteralValue::Int(it) => Const::Int(*it.inner()),
        LiteralValue::UInt(it) => Const::Uint(*it.inner()),
        LiteralValue::Double(it) => Const::Double(*it.inner()),
        LiteralValue::String(it) => Const::Text(it.inner().into()),
        LiteralValue::Bytes(it) => Const::Bytes(it.inner().into()),
    }
}

/// The values, if all are constants; else the nodes as they were.
fn constants(nodes: Box<[Node]>) -> Result<Box<[Const]>, Box<[Node]>> {
    if !nodes.iter().all(|node| matches!(node, Node::Const(_))) {
        return Err(nodes);
    }
    let values = nodes.into_vec().into_iter().filter_map(|node| match node {
        Node::Const(value) => Some(value),
        _ => None,
    });
    Ok(values.collect())
}
