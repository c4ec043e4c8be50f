//! `cargo xtask brokers`: shared servers for tests and for trying things out.
//!
//! What starts and ends them is `causeway-brokers`, which tests use, too; here is what is said about it.

use crate::process::{Failure, root};
use causeway_brokers::shared::{self, Name, Status, Up};
use causeway_brokers::{Place, Trouble};
use std::ffi::OsString;
use std::fmt::Write;
use std::thread;
use std::time::Instant;

#[derive(Debug, PartialEq)]
pub enum Order {
    Up { docker: bool },
    Down,
    Status { json: bool },
}

/// None named: the usual ones; to end or to show: all.
pub fn run(order: &Order, names: &[Name]) -> Result<(), Failure> {
    let names = match (names, order) {
        ([], Order::Up { .. }) => &shared::USUAL[..],
        ([], _) => &shared::ALL[..],
        (names, _) => names,
    };
    match order {
        Order::Up { docker } => up(names, *docker),
        Order::Down => down(names),
        Order::Status { json } => status(names, *json),
    }
}

pub fn place() -> Place {
    Place::of_workspace(&root())
}

/// What tests are told of the shared servers, and which of them this run started.
pub struct ForTests {
    pub variables: Vec<(&'static str, OsString)>,
    started: Vec<Name>,
}

impl ForTests {
    /// One that can't be had is for the tests to say: they skip, or fail where `CI=true`.
    pub fn up() -> Self {
        let place = place();
        let folder = place.folder().to_owned().into_os_string();
        let mut variables = vec![("CAUSEWAY_BROKERS_DIR", folder)];
        let mut started = Vec::new();
        for (name, result) in each_up(&place, &shared::USUAL, false) {
            match result {
                Ok(up) => {
                    match up {
                        Up::Started(_) => started.push(name),
                        // Tests have servers of their own beside the user's.
                        Up::Named(_) => fetch(&place, name),
                        Up::Ran(_) => {}
                    }
                    let variable = name.variable().expect("the usual ones have one");
                    variables.push((variable, up.address().into()));
                }
                Err(trouble) => {
                    eprintln!("xtask: brokers: {name}: {trouble}\ntests that need it are skipped");
                }
            }
        }
        Self { variables, started }
    }

    /// Those of this run.
    pub fn down(&self) -> Result<(), Failure> {
        down(&self.started)
    }
}

/// For benches, which start servers of their own: those whose name contains the word.
pub fn fetch_named(word: &str) {
    for name in shared::USUAL {
        if name.word().contains(word) {
            fetch(&place(), name);
        }
    }
}

fn fetch(place: &Place, name: Name) {
    if let Err(trouble) = shared::fetch(place, name) {
        eprintln!("xtask: brokers: {name}: {trouble}\nwhat starts its own is skipped");
    }
}

fn up(names: &[Name], docker: bool) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for (name, result) in each_up(&place(), names, docker) {
        if let Err(trouble) = result {
            eprintln!("xtask: brokers: {name}: {trouble}");
            missing.push(name.word());
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Failure::NotUp(missing))
    }
}

type EachUp = Vec<(Name, Result<Up, Trouble>)>;

/// Kafka and RabbitMQ side by side; a cluster's second node after its first.
fn each_up(place: &Place, names: &[Name], docker: bool) -> EachUp {
    let is_second = |name: &&Name| **name == Name::Kafka2;
    let (second, first): (Vec<&Name>, Vec<&Name>) = names.iter().partition(is_second);
    let one = |name: Name| (name, told_up(place, name, docker));
    thread::scope(|scope| {
        let first: Vec<_> = first
            .into_iter()
            .map(|name| scope.spawn(move || one(*name)))
            .collect();
        let joined = first.into_iter().map(|one| one.join().expect("no panic"));
        let first: Vec<_> = joined.collect();
        let second = second.into_iter().map(|name| one(*name));
        first.into_iter().chain(second).collect()
    })
}

fn told_up(place: &Place, name: Name, docker: bool) -> Result<Up, Trouble> {
    let begun = Instant::now();
    let up = shared::up(place, name, docker)?;
    let seconds = begun.elapsed().as_secs_f64();
    let how = match up {
        Up::Named(_) => "named by the environment",
        Up::Ran(_) => "runs already",
        Up::Started(_) => "started",
    };
    eprintln!(
        "xtask: brokers: {name}: {how}, {} ({seconds:.1} s)",
        up.address()
    );
    Ok(up)
}

fn down(names: &[Name]) -> Result<(), Failure> {
    let place = place();
    let mut left = Vec::new();
    // A cluster's second node before its first.
    let mut names = names.to_vec();
    names.sort_by_key(|name| *name != Name::Kafka2);
    for name in names {
        match shared::down(&place, name) {
            Ok(true) => eprintln!("xtask: brokers: {name}: ended"),
            Ok(false) => {}
            Err(trouble) => {
                eprintln!("xtask: brokers: {name}: {trouble}");
                left.push(name.word());
            }
        }
    }
    if left.is_empty() {
        Ok(())
    } else {
        Err(Failure::NotDown(left))
    }
}

fn status(names: &[Name], json: bool) -> Result<(), Failure> {
    let place = place();
    let seen = names.iter().map(|name| shared::status(&place, *name));
    let seen: Vec<Status> = seen
        .collect::<Result<_, _>>()
        .map_err(|trouble| Failure::Failed(trouble.to_string()))?;
    if json {
        let lines: Vec<String> = seen.iter().map(as_json).collect();
        println!("[{}]", lines.join(",\n "));
    } else {
        seen.iter()
            .for_each(|status| println!("{}", as_text(status)));
    }
    Ok(())
}

fn as_text(status: &Status) -> String {
    let name = status.name;
    let Some(address) = &status.address else {
        return format!("{name}: doesn't run");
    };
    let mut line = format!("{name}: ");
    line.push_str(if status.ready { "ready" } else { "not ready" });
    let whose = if status.named {
        ", named by the environment"
    } else {
        ""
    };
    let _ = write!(line, "{whose}, {address}");
    if let Some(version) = &status.version {
        let _ = write!(line, ", version {version}");
    }
    if let Some(pid) = status.pid {
        let _ = write!(line, ", process {pid}");
    }
    if let Some(log) = &status.log {
        let _ = write!(line, "\n  log: {}", log.display());
    }
    if let Some(ctl) = &status.ctl {
        let _ = write!(line, "\n  rabbitmqctl: {}", ctl.display());
    }
    line
}

fn as_json(status: &Status) -> String {
    let path = |path: &Option<std::path::PathBuf>| {
        let shown = path.as_ref().map(|path| path.display().to_string());
        json_text(shown.as_deref())
    };
    let pid = status.pid.map_or("null".to_owned(), |pid| pid.to_string());
    format!(
        "{{\"name\":\"{}\",\"named\":{},\"version\":{},\"address\":{},\"pid\":{pid},\"ready\":{},\"log\":{},\"ctl\":{}}}",
        status.name,
        status.named,
        json_text(status.version.as_deref()),
        json_text(status.address.as_deref()),
        status.ready,
        path(&status.log),
        path(&status.ctl),
    )
}

fn json_text(text: Option<&str>) -> String {
    let Some(text) = text else {
        return "null".to_owned();
    };
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_in_words_and_in_json() {
        let mut status = Status {
            name: Name::Rabbitmq,
            named: false,
            version: Some("3.10.8".into()),
            address: Some("amqp://h:1/%2f".into()),
            pid: Some(7),
            ready: true,
            log: Some("/a \"b\"\n".into()),
            ctl: None,
        };
        assert_eq!(
            as_json(&status),
            r#"{"name":"rabbitmq","named":false,"version":"3.10.8","address":"amqp://h:1/%2f","pid":7,"ready":true,"log":"/a \"b\"\u000a","ctl":null}"#
        );
        let text = as_text(&status);
        assert!(text.starts_with("rabbitmq: ready, amqp://h:1/%2f, version 3.10.8, process 7\n"));
        status.address = None;
        assert_eq!(as_text(&status), "rabbitmq: doesn't run");
    }
}
