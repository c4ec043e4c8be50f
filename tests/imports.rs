//! The house rules that the compiler doesn't know, checked on the source text: imports go right
//! only (docs/ARCHITECTURE.md gives the order), sibling adapters don't know each other, lanes
//! know no client, nothing is `unsafe`. Long files and functions are reported, not failed.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Rooms whose children are adapters of one shape, which must not import each other.
const ADAPTER_ROOMS: [&str; 2] = ["egress", "ingress"];
/// In them, what all adapters share.
const SHARED: [(&str, &str); 7] = [
    ("egress", "dial"),
    ("egress", "users"),
    ("ingress", "front"),
    ("ingress", "in_flight"),
    ("ingress", "listener"),
    ("ingress", "outliving"),
    ("ingress", "trace"),
];
/// More than these is worth a look.
const LONG_FILE_LINES: usize = 500;
const LONG_FUNCTION_LINES: usize = 70;

#[test]
fn imports_follow_the_architecture() {
    let order = Order::read(&read("docs/ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    for file in source_files() {
        wrong.extend(check(&file.name, &file.text, &order));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn long_files_and_functions_are_reported() {
    let mut report = String::new();
    for file in source_files() {
        for line in long_parts(&file.name, &file.text) {
            report.push_str(&format!("long: {line}\n"));
        }
    }
    // Past the harness, which swallows what a passing test prints.
    io::stderr()
        .write_all(report.as_bytes())
        .expect("standard error is open");
}

/// The rooms from left to right; several in one rank are foundations, open to each other.
#[derive(Debug, PartialEq)]
struct Order(Vec<Vec<String>>);

impl Order {
    /// Reads the line "`main` · `cli` · … · foundations (`log`, `message`)".
    fn read(architecture: &str) -> Self {
        let line = architecture
            .lines()
            .find(|line| line.starts_with("`main` · "))
            .expect("docs/ARCHITECTURE.md has a line with the order of the rooms");
        let names = |part: &str| -> Vec<String> {
            part.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        Self(line.split(" · ").map(names).collect())
    }

    fn rank(&self, room: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|rooms| rooms.iter().any(|r| r == room))
    }
}

/// Everything wrong with one file: `PATH:LINE: what`.
fn check(name: &str, text: &str, order: &Order) -> Vec<String> {
    let module = module_of(name);
    let tokens = tokens(text);
    let mut wrong = Vec::new();
    for token in tokens.iter().filter(|t| t.text == "unsafe") {
        wrong.push(format!("{name}:{}: `unsafe` is forbidden", token.line));
    }
    // lib.rs names the rooms and is in none.
    let Some(room) = module.first() else {
        return wrong;
    };
    let Some(rank) = order.rank(room) else {
        wrong.push(format!(
            "{name}:1: the room `{room}` isn't in docs/ARCHITECTURE.md"
        ));
        return wrong;
    };
    for import in imports(&tokens, &module) {
        if let Some(why) = judge(&module, rank, &import.path, order) {
            let path = import.path.join("::");
            wrong.push(format!("{name}:{}: `crate::{path}`: {why}", import.line));
        }
    }
    wrong
}

fn judge(module: &[String], rank: usize, import: &[String], order: &Order) -> Option<String> {
    let room = &module[0];
    let to = import.first()?;
    let child = import.get(1).filter(|name| is_module_name(name));
    if to == room {
        let own = module.get(1)?;
        let sibling = child.filter(|child| *child != own)?;
        let is_shared = SHARED.contains(&(room.as_str(), sibling.as_str()));
        return (ADAPTER_ROOMS.contains(&room.as_str()) && !is_shared)
            .then(|| format!("the adapter `{own}` must not know its sibling `{sibling}`"));
    }
    let Some(to_rank) = order.rank(to) else {
        return is_module_name(to).then(|| format!("`{to}` isn't in docs/ARCHITECTURE.md"));
    };
    if to_rank < rank {
        return Some(format!(
            "imports go right only, and `{to}` is left of `{room}`"
        ));
    }
    match child {
        Some(client) if room == "lane" && to == "egress" && !is_test(module) => Some(format!(
            "lanes know the face of egress, not the client `{client}`"
        )),
        _ => None,
    }
}

/// A lane's tests may name the destination that they script.
fn is_test(module: &[String]) -> bool {
    module.iter().any(|name| name == "tests")
}

/// Modules and functions start small; types, constants and variants don't.
fn is_module_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// `src/journal/window.rs` is `journal::window`; a folder's `mod.rs` is the folder.
fn module_of(name: &str) -> Vec<String> {
    let path = name.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

struct Import {
    /// From the crate's root, without `crate`.
    path: Vec<String>,
    line: usize,
}

/// Every path that starts with `crate`, `causeway` (in main.rs) or `super`.
fn imports(tokens: &[Token], module: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    // Inline modules that we are in, each with the depth of its braces.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inline.push((tokens[at - 1].text.clone(), depth));
                }
            }
            "}" => {
                inline.pop_if(|(_, opened)| *opened == depth);
                depth = depth.saturating_sub(1);
            }
            "crate" | "causeway" | "super" if follows(tokens, at, "::") => {
                let mut base: Vec<String> = Vec::new();
                if tokens[at].text == "super" {
                    base.extend(module.iter().cloned());
                    base.extend(inline.iter().map(|(name, _)| name.clone()));
                    base.pop();
                }
                at = tree(tokens, at + 2, &base, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn follows(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.text == text)
}

/// Reads `a::b`, `a::{b, c::d}`, `super::a` or `*` at `at`; returns where it ends.
fn tree(tokens: &[Token], mut at: usize, base: &[String], found: &mut Vec<Import>) -> usize {
    let mut path = base.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|t| t.text != "}") {
                at = tree(tokens, at, &path, found);
                // `as name` and the comma.
                while tokens
                    .get(at)
                    .is_some_and(|t| t.text != "," && t.text != "}")
                {
                    at += 1;
                }
                at += usize::from(tokens.get(at).is_some_and(|t| t.text == ","));
            }
            return at + 1;
        }
        match token.text.as_str() {
            "super" => drop(path.pop()),
            "self" | "*" => {}
            name => path.push(name.to_owned()),
        }
        if !follows(tokens, at, "::") {
            found.push(Import {
                path,
                line: token.line,
            });
            return at + 1;
        }
        at += 2;
    }
    at
}

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Names, `::` and single other characters; no comments, no literals.
fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut tokens = Vec::new();
    while at < text.len() {
        let end = match text[at] {
            '\n' => {
                line += 1;
                at += 1;
                continue;
            }
            c if c.is_whitespace() => at + 1,
            '/' if text.get(at + 1) == Some(&'/') => until(&text, at, |rest| rest[0] == '\n'),
            '/' if text.get(at + 1) == Some(&'*') => end_of_comment(&text, at),
            '"' => end_of_string(&text, at),
            'r' | 'b' | 'c' if raw_string(&text, at).is_some() => {
                raw_string(&text, at).unwrap_or(at + 1)
            }
            '\'' => end_of_char(&text, at),
            c if c.is_alphanumeric() || c == '_' => {
                let end = until(&text, at, |rest| {
                    !(rest[0].is_alphanumeric() || rest[0] == '_')
                });
                tokens.push(Token {
                    text: text[at..end].iter().collect(),
                    line,
                });
                end
            }
            ':' if text.get(at + 1) == Some(&':') => {
                tokens.push(Token {
                    text: "::".to_owned(),
                    line,
                });
                at + 2
            }
            c => {
                tokens.push(Token {
                    text: c.to_string(),
                    line,
                });
                at + 1
            }
        };
        line += text[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

/// The first place at or after `at` where `stop` holds of the rest, or the end.
fn until(text: &[char], at: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (at..text.len())
        .find(|i| stop(&text[*i..]))
        .unwrap_or(text.len())
}

/// Block comments nest.
fn end_of_comment(text: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// The end of `r"…"`, `br#"…"#` and the like, if one starts here and not within a name.
fn raw_string(text: &[char], start: usize) -> Option<usize> {
    let in_name = start > 0 && (text[start - 1].is_alphanumeric() || text[start - 1] == '_');
    let r = until(text, start, |rest| {
        rest[0] == 'r' || !matches!(rest[0], 'b' | 'c')
    });
    if in_name || text.get(r) != Some(&'r') {
        return None;
    }
    let quote = until(text, r + 1, |rest| rest[0] != '#');
    if text.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - r - 1;
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    Some((until(text, quote + 1, closes) + 1 + hashes).min(text.len()))
}

/// A character literal, or just the tick of a lifetime.
fn end_of_char(text: &[char], start: usize) -> usize {
    match (text.get(start + 1), text.get(start + 2)) {
        (Some('\\'), _) => until(text, start + 3, |rest| rest[0] == '\'') + 1,
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
    .min(text.len())
}

fn long_parts(name: &str, text: &str) -> Vec<String> {
    let mut long = Vec::new();
    let lines = text.lines().count();
    if lines > LONG_FILE_LINES {
        long.push(format!("{name}: {lines} lines"));
    }
    let tokens = tokens(text);
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text == "fn"
            && let Some(end) = end_of_body(&tokens, at)
            && end - pair[0].line >= LONG_FUNCTION_LINES
        {
            let length = end - pair[0].line + 1;
            long.push(format!(
                "{name}:{}: fn {}: {length} lines",
                pair[0].line, pair[1].text
            ));
        }
    }
    long
}

/// The line of the brace that closes the function at `start`; none if it has no body.
fn end_of_body(tokens: &[Token], start: usize) -> Option<usize> {
    let open = tokens[start..]
        .iter()
        .position(|t| t.text == "{" || t.text == ";")?
        + start;
    let mut depth = 0_usize;
    for token in &tokens[open..] {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (token.text == "}").then_some(token.line);
        }
    }
    None
}

struct SourceFile {
    /// From the package's root: `src/…`.
    name: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    let path = root().join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn source_files() -> Vec<SourceFile> {
    let mut folders = vec![root().join("src")];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let name = |path: &Path| -> String {
        let inside = path.strip_prefix(root()).expect("found under the root");
        inside
            .to_str()
            .expect("source files have plain names")
            .to_owned()
    };
    paths
        .iter()
        .map(|p| name(p))
        .map(|name| SourceFile {
            text: read(&name),
            name,
        })
        .collect()
}

/// The checker itself, on sample text.
mod checker {
    use super::*;

    fn order() -> Order {
        Order::read(
            "x\n`main` · `gateway` · `ingress` · `journal` · `lane` · `egress` · foundations (`log`, `message`)\n",
        )
    }

    fn wrong(name: &str, text: &str) -> Vec<String> {
        check(name, text, &order())
    }

    #[track_caller]
    fn one(name: &str, text: &str, part: &str) {
        let wrong = wrong(name, text);
        assert!(wrong.len() == 1 && wrong[0].contains(part), "{wrong:?}");
    }

    #[test]
    fn imports_to_the_right_and_of_foundations_pass() {
        let text =
            "use crate::egress::{Egress, Attempt};\nuse crate::message::Plan;\nuse super::Lane;\n";
        assert_eq!(wrong("src/lane/retry.rs", text), Vec::<String>::new());
        assert_eq!(
            wrong("src/log/mod.rs", "use crate::message::Position;"),
            Vec::<String>::new()
        );
        assert_eq!(
            wrong("src/lib.rs", "pub mod journal;"),
            Vec::<String>::new()
        );
        assert_eq!(
            wrong("src/main.rs", "causeway::gateway::run();"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_import_to_the_left_is_found_however_it_is_written() {
        let left = "`journal` is left of `lane`";
        one("src/lane/mod.rs", "use crate::journal::Journal;", left);
        one(
            "src/lane/mod.rs",
            "\nfn f() { crate::journal::open() }",
            "src/lane/mod.rs:2: ",
        );
        one(
            "src/lane/mod.rs",
            "use crate::{message::Plan, journal::{Journal}};",
            left,
        );
        one("src/lane/mod.rs", "use crate::journal as other;", left);
        one("src/lane/mod.rs", "use super::journal::Journal;", left);
        one(
            "src/lane/retry.rs",
            "use super::super::journal::Journal;",
            left,
        );
        one(
            "src/lane/retry.rs",
            "mod tests { use super::super::super::journal::X; }",
            left,
        );
        one(
            "src/lane/mod.rs",
            "mod a { } mod b { use super::super::journal::X; }",
            left,
        );
        one(
            "src/message/mod.rs",
            "use crate::lane::Lane;",
            "`lane` is left of `message`",
        );
        one(
            "src/gateway.rs",
            "crate::main::x();",
            "`main` is left of `gateway`",
        );
    }

    #[test]
    fn text_in_comments_and_literals_is_no_import() {
        for text in [
            "// crate::journal::x\n",
            "/* a /* crate::journal::x */ crate::journal::y */",
            r#"const A: &str = "crate::journal::x \" crate::journal::y";"#,
            r##"const A: &str = r#"crate::journal::x " unsafe"#;"##,
            r"const Q: char = '\''; const B: char = '\u{7f}'; fn f<'a>(x: &'a str) {}",
        ] {
            assert_eq!(
                wrong("src/lane/mod.rs", text),
                Vec::<String>::new(),
                "{text}"
            );
        }
        // What follows a literal or a lifetime is read again.
        one(
            "src/lane/mod.rs",
            "const A: char = '\"'; use crate::journal::X;",
            "journal",
        );
        one(
            "src/lane/mod.rs",
            "fn f<'a>(x: &'a str) { crate::journal::x('b') }",
            "journal",
        );
        one(
            "src/lane/mod.rs",
            "const A: &str = r\"\\\"; use crate::journal::X;",
            "journal",
        );
    }

    #[test]
    fn siblings_in_egress_and_ingress_are_strangers() {
        let sibling = "must not know its sibling `kafka`";
        one(
            "src/egress/stream.rs",
            "use crate::egress::kafka::Client;",
            sibling,
        );
        one(
            "src/egress/stream/tail.rs",
            "use super::super::kafka::Client;",
            sibling,
        );
        one("src/ingress/http/mod.rs", "use super::kafka;", sibling);
        let own = "use crate::egress::stream::Tail; use super::Egress; use super::tail::Tail;";
        assert_eq!(
            wrong("src/egress/stream/mod.rs", own),
            [
                "src/egress/stream/mod.rs:1: `crate::egress::tail::Tail`: the adapter `stream` must not know its sibling `tail`"
            ]
        );
        assert_eq!(
            wrong("src/egress/mod.rs", "use crate::egress::kafka::K;"),
            Vec::<String>::new()
        );
        assert_eq!(
            wrong("src/lane/a.rs", "use crate::lane::b::B;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn lanes_name_no_client() {
        one(
            "src/lane/driver.rs",
            "use crate::egress::kafka::Client;",
            "not the client `kafka`",
        );
        one(
            "src/lane/driver.rs",
            "use crate::egress::{Egress, kafka};",
            "not the client `kafka`",
        );
    }

    #[test]
    fn the_tests_of_lanes_may_name_one_but_import_right_only() {
        let test = "src/lane/driver/tests.rs";
        let faulty = "use crate::egress::faulty::Script;";
        assert_eq!(wrong(test, faulty), Vec::<String>::new());
        one(
            test,
            "use crate::journal::Journal;",
            "`journal` is left of `lane`",
        );
    }

    #[test]
    fn unsafe_and_unknown_rooms_are_found() {
        one(
            "src/lane/mod.rs",
            "fn f() { unsafe { g() } }",
            "`unsafe` is forbidden",
        );
        one("src/cellar/mod.rs", "", "`cellar` isn't in docs");
        one(
            "src/lane/mod.rs",
            "use crate::cellar::Wine;",
            "`cellar` isn't in docs",
        );
        assert_eq!(
            wrong("src/lane/mod.rs", "use crate::Something;"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn long_parts_are_named() {
        let body = "    x();\n".repeat(LONG_FUNCTION_LINES);
        let text = format!("fn short() {{\n}}\ntrait T {{ fn none(); }}\nfn long() {{\n{body}}}\n");
        assert_eq!(long_parts("a.rs", &text), ["a.rs:4: fn long: 72 lines"]);
        let many = "\n".repeat(LONG_FILE_LINES + 1);
        assert_eq!(long_parts("a.rs", &many), ["a.rs: 501 lines"]);
    }
}
