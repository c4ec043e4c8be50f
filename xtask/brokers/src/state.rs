//! What is kept of a shared server that runs: a flat TOML file, so that others can read it, too.

use crate::Trouble;
use crate::run::write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub version: String,
    pub address: String,
    pub log: PathBuf,
    /// The first of its ports.
    pub port: u16,
    pub engine: Engine,
}

/// Who runs it.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// A process of this machine, and when it was started, where the system tells.
    Process {
        pid: u32,
        started: Option<u64>,
    },
    Docker,
}

impl State {
    pub fn read(path: &Path) -> Result<Option<Self>, Trouble> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(parse(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Trouble::file(path, &e)),
        }
    }

    pub fn write(&self, path: &Path) -> Result<(), Trouble> {
        // Never half of it: a reader may come at any time.
        let aside = path.with_extension("new");
        write(&aside, &self.text())?;
        fs::rename(&aside, path).map_err(|e| Trouble::file(path, &e))
    }

    fn text(&self) -> String {
        let mut text = format!(
            "version = '{}'\naddress = '{}'\nlog = '{}'\nport = {}\n",
            self.version,
            self.address,
            self.log.display(),
            self.port
        );
        match self.engine {
            Engine::Docker => text.push_str("docker = true\n"),
            Engine::Process { pid, started } => {
                text.push_str(&format!("pid = {pid}\n"));
                if let Some(started) = started {
                    text.push_str(&format!("started = {started}\n"));
                }
            }
        }
        text
    }
}

/// Nothing if it isn't what `write` writes: then nothing is known of a server.
fn parse(text: &str) -> Option<State> {
    let value = |name: &str| {
        let line = |line: &str| {
            Some(
                line.split_once(" = ")
                    .filter(|(n, _)| *n == name)?
                    .1
                    .to_owned(),
            )
        };
        text.lines().find_map(line)
    };
    let words = |name: &str| Some(value(name)?.trim_matches('\'').to_owned());
    let number = |name: &str| value(name)?.parse::<u64>().ok();
    let engine = match value("docker") {
        Some(_) => Engine::Docker,
        None => Engine::Process {
            pid: u32::try_from(number("pid")?).ok()?,
            started: number("started"),
        },
    };
    Some(State {
        version: words("version")?,
        address: words("address")?,
        log: words("log")?.into(),
        port: u16::try_from(number("port")?).ok()?,
        engine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(engine: Engine) -> State {
        State {
            version: "4.1.0".into(),
            address: "amqp://u:p@127.0.0.1:7/%2f".into(),
            log: "/a folder/b = c/server.log".into(),
            port: 7,
            engine,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let engines = [
            Engine::Docker,
            Engine::Process {
                pid: 3,
                started: Some(9),
            },
            Engine::Process {
                pid: 3,
                started: None,
            },
        ];
        for engine in engines {
            let state = state(engine);
            assert_eq!(parse(&state.text()), Some(state));
        }
    }

    #[test]
    fn anything_else_is_no_state() {
        let text = state(Engine::Process {
            pid: 3,
            started: None,
        })
        .text();
        assert_eq!(parse(&text.replace("pid", "pit")), None);
        assert_eq!(parse(&text.replace("port = 7", "port = 70000")), None);
        assert_eq!(parse(""), None);
    }
}
