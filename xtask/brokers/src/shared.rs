//! Shared servers: started once, left running, found again by their state files.

use crate::kafka::{self, Size};
use crate::process::{self, signal_group, wait_until};
use crate::server::{ANSWER_LIMIT, Plan, START_LIMIT, STOP_LIMIT};
use crate::state::{Engine, State};
use crate::{Place, Probe, Trouble, docker, fetch as fetching, named, ports, rabbitmq};
use rustix::process::Signal;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Name {
    /// A cluster of one node.
    Kafka,
    /// A second, broker-only node of that cluster: started only when named.
    Kafka2,
    Rabbitmq,
}

pub const ALL: [Name; 3] = [Name::Kafka, Name::Kafka2, Name::Rabbitmq];
/// What is started when none is named.
pub const USUAL: [Name; 2] = [Name::Kafka, Name::Rabbitmq];
/// How many in a row each takes.
const PORTS: u16 = 5;
/// How far another base is tried when a port of the usual one is taken by somebody else.
const PORT_STEPS: u16 = 8;

impl Name {
    pub fn word(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Kafka2 => "kafka2",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    /// By which the user names a server of his own, and tests learn the address of one.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::Kafka => Some("CAUSEWAY_TEST_KAFKA"),
            Self::Kafka2 => None,
            Self::Rabbitmq => Some("CAUSEWAY_TEST_RABBITMQ"),
        }
    }

    /// By which the user sets the first of its ports.
    pub fn port_variable(self) -> &'static str {
        match self {
            Self::Kafka => "CAUSEWAY_BROKERS_KAFKA_PORT",
            Self::Kafka2 => "CAUSEWAY_BROKERS_KAFKA2_PORT",
            Self::Rabbitmq => "CAUSEWAY_BROKERS_RABBITMQ_PORT",
        }
    }

    fn usual_port(self) -> u16 {
        match self {
            Self::Kafka => 32_100,
            Self::Kafka2 => 32_200,
            Self::Rabbitmq => 32_300,
        }
    }

    fn probe(self) -> Probe {
        match self {
            Self::Kafka | Self::Kafka2 => Probe::Kafka,
            Self::Rabbitmq => Probe::Amqp,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Kafka | Self::Kafka2 => kafka::VERSION,
            Self::Rabbitmq => rabbitmq::VERSION,
        }
    }

    fn address(self, port: u16) -> String {
        match self {
            Self::Kafka | Self::Kafka2 => ports::local(port).to_string(),
            Self::Rabbitmq => rabbitmq::Ports::from(port).url(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What became of `up`.
#[derive(Clone, Debug, PartialEq)]
pub enum Up {
    Named(String),
    Ran(String),
    Started(String),
}

impl Up {
    pub fn address(&self) -> &str {
        match self {
            Self::Named(address) | Self::Ran(address) | Self::Started(address) => address,
        }
    }
}

/// Starts it if need be, and waits until it answers.
///
/// # Errors
/// What can't be had, or what the server said.
pub fn up(place: &Place, name: Name, by_docker: bool) -> Result<Up, Trouble> {
    if let Some(address) = named::address(name) {
        ask(name, &address).map_err(|why| {
            let variable = name.variable().unwrap_or_default();
            Trouble::Failed(format!("{variable} names it, and it doesn't answer: {why}"))
        })?;
        return Ok(Up::Named(address));
    }
    let _lock = lock(place, name)?;
    if let Some(state) = State::read(&state_path(place, name))? {
        // What an outdated one runs from is about to be replaced.
        if is_current(place, name, &state) && is_up(name, &state) {
            return Ok(Up::Ran(state.address));
        }
        end(place, name, &state)?;
    }
    let port = port(place, name)?;
    let state = if by_docker {
        docker::up(place, name, port)?
    } else {
        start(place, name, port)?
    };
    Ok(Up::Started(state.address))
}

/// What a server is started from, without starting it: for tests that start their own.
///
/// # Errors
/// What can't be had, and why.
pub fn fetch(place: &Place, name: Name) -> Result<(), Trouble> {
    match name {
        Name::Kafka | Name::Kafka2 => kafka::Dist::fetch(place).map(drop),
        Name::Rabbitmq => rabbitmq::Dist::fetch(place).map(drop),
    }
}

/// Ends it; whether there was something to end.
///
/// # Errors
/// When it doesn't end.
pub fn down(place: &Place, name: Name) -> Result<bool, Trouble> {
    let _lock = lock(place, name)?;
    let Some(state) = State::read(&state_path(place, name))? else {
        return Ok(false);
    };
    end(place, name, &state)?;
    Ok(true)
}

#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub name: Name,
    /// The user named it: its version isn't known, and it isn't ours to stop.
    pub named: bool,
    pub version: Option<String>,
    pub address: Option<String>,
    pub pid: Option<u32>,
    pub ready: bool,
    pub log: Option<PathBuf>,
    /// rabbitmqctl for it.
    pub ctl: Option<PathBuf>,
}

/// # Errors
/// When its state file can't be read.
pub fn status(place: &Place, name: Name) -> Result<Status, Trouble> {
    let mut status = Status {
        name,
        named: false,
        version: None,
        address: None,
        pid: None,
        ready: false,
        log: None,
        ctl: None,
    };
    if let Some(address) = named::address(name) {
        status.named = true;
        status.ready = ask(name, &address).is_ok();
        status.address = Some(address);
        return Ok(status);
    }
    let Some(state) = State::read(&state_path(place, name))? else {
        return Ok(status);
    };
    status.ready = runs(&state) && ask(name, &state.address).is_ok();
    if let Engine::Process { pid, .. } = state.engine {
        status.pid = runs(&state).then_some(pid);
        let ctl = rabbitmq::ctl_script(&place.server(name.word()));
        status.ctl = (name == Name::Rabbitmq).then_some(ctl);
    }
    status.version = Some(state.version);
    status.address = Some(state.address);
    status.log = Some(state.log);
    Ok(status)
}

fn state_path(place: &Place, name: Name) -> PathBuf {
    place.server(name.word()).join("state.toml")
}

fn lock(place: &Place, name: Name) -> Result<File, Trouble> {
    fetching::lock(place, &format!("{name}-server"))
}

fn ask(name: Name, address: &str) -> Result<(), String> {
    name.probe().ask(named::socket(address)?, ANSWER_LIMIT)
}

/// Of a container nobody knows but its engine; whether it answers is asked anyway.
fn runs(state: &State) -> bool {
    match state.engine {
        Engine::Process { pid, started } => process::runs(pid, started),
        Engine::Docker => true,
    }
}

fn is_current(place: &Place, name: Name, state: &State) -> bool {
    match (&state.engine, name) {
        (Engine::Docker, _) => true,
        (_, Name::Kafka | Name::Kafka2) => kafka::Dist::find(place).is_ok(),
        (_, Name::Rabbitmq) => rabbitmq::Dist::find(place).is_ok(),
    }
}

/// It may just be busy, or on its way up: it has as long as a start has.
fn is_up(name: Name, state: &State) -> bool {
    let answers = || ask(name, &state.address).is_ok();
    match state.engine {
        Engine::Docker => answers(),
        Engine::Process { .. } => {
            wait_until(START_LIMIT, || answers() || !runs(state)) && runs(state)
        }
    }
}

/// The user's; else the one of the last run; else the usual one; or one further on that is free.
fn port(place: &Place, name: Name) -> Result<u16, Trouble> {
    let is_free = |first: u16| (first..first + PORTS).all(ports::is_free);
    let variable = name.port_variable();
    if let Ok(wanted) = env::var(variable) {
        let first = wanted
            .parse()
            .ok()
            .filter(|first| (1..=u16::MAX - PORTS).contains(first));
        let first: u16 =
            first.ok_or_else(|| Trouble::Failed(format!("{variable}: {wanted} is no port")))?;
        if is_free(first) {
            return Ok(first);
        }
        let last = first + PORTS - 1;
        return Err(Trouble::Failed(format!(
            "{variable}: of {first} to {last} one is taken already"
        )));
    }
    let before = State::read(&last_path(place, name))?.map(|state| state.port);
    let usual = name.usual_port();
    let further = (0..PORT_STEPS).map(|step| usual + step * PORTS);
    let found = before
        .into_iter()
        .chain(further)
        .find(|first| is_free(*first));
    found.ok_or_else(|| Trouble::Failed(format!("no free ports from {usual} on: set {variable}")))
}

fn last_path(place: &Place, name: Name) -> PathBuf {
    place.server(name.word()).join("last.toml")
}

fn start(place: &Place, name: Name, port: u16) -> Result<State, Trouble> {
    let plan = plan(place, name, port)?;
    let pid = plan.launch.detached()?;
    let started = process::started(pid);
    let state = State {
        version: name.version().to_owned(),
        address: name.address(port),
        log: plan.launch.log.clone(),
        port,
        engine: Engine::Process { pid, started },
    };
    state.write(&state_path(place, name))?;
    let ended = || (!process::runs(pid, started)).then(|| "its process is gone".to_owned());
    if let Err(trouble) = plan.wait_ready(START_LIMIT, ended) {
        end(place, name, &state)?;
        return Err(trouble);
    }
    Ok(state)
}

fn plan(place: &Place, name: Name, port: u16) -> Result<Plan, Trouble> {
    let folder = place.server(name.word());
    match name {
        Name::Kafka | Name::Kafka2 => {
            let dist = kafka::Dist::fetch(place)?;
            let (node, leader) = match name {
                Name::Kafka2 => (2, leader_port(place)?),
                _ => (1, port),
            };
            let (ports, leader) = (kafka::Ports::from(port), kafka::Ports::from(leader));
            kafka::plan(&folder, &dist, node, ports, leader, Size::Shared)
        }
        Name::Rabbitmq => {
            let dist = rabbitmq::Dist::fetch(place)?;
            rabbitmq::plan(&folder, &dist, rabbitmq::Ports::from(port))
        }
    }
}

fn leader_port(place: &Place) -> Result<u16, Trouble> {
    match State::read(&state_path(place, Name::Kafka))? {
        Some(State { port, engine: Engine::Process { .. }, .. }) => Ok(port),
        _ => Err(Trouble::Failed(
            "kafka2 is a node of kafka's cluster, and no process of ours is kafka: start that first"
                .to_owned(),
        )),
    }
}

/// In an orderly way if it lets itself, and forgets it; its data, logs and ports stay.
fn end(place: &Place, name: Name, state: &State) -> Result<(), Trouble> {
    match state.engine {
        Engine::Docker => docker::down(place, name)?,
        Engine::Process { pid, .. } if runs(state) => {
            // A frozen one hears nothing else.
            signal_group(pid, Signal::TERM)?;
            signal_group(pid, Signal::CONT)?;
            if !wait_until(STOP_LIMIT, || !runs(state)) {
                signal_group(pid, Signal::KILL)?;
                if !wait_until(STOP_LIMIT, || !runs(state)) {
                    return Err(Trouble::Failed(format!("process {pid} doesn't end")));
                }
            }
        }
        Engine::Process { .. } => {}
    }
    let (from, to) = (state_path(place, name), last_path(place, name));
    fs::rename(&from, to).map_err(|e| Trouble::file(&from, &e))
}
