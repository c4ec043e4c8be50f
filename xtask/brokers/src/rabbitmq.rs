//! RabbitMQ: a node's settings, and a handle for tests that own one.
//!
//! Each has an epmd of its own: nodes can't meet by accident, and nothing stays when they end.

use crate::debian::Debian;
use crate::ports::{self, local};
use crate::process::Launch;
use crate::run::{make_folder, run, write, write_script};
use crate::server::{Plan, Server};
use crate::tls::Tls;
use crate::{Place, Probe, Trouble};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const VERSION: &str = "3.10.8";
/// May do everything, as `guest`/`guest` may.
pub const USER: (&str, &str) = ("causeway", "causeway-secret");
/// Of the client's certificate.
const CERTIFIED_USER: &str = "CN=causeway-client";
/// How many in a row a node takes.
pub const PORTS: u16 = 5;
/// Data is kept below this name; an epmd of its own keeps it from others of the same one.
const NODE: &str = "causeway@localhost";

/// The ports of one node, in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ports {
    first: u16,
}

impl Ports {
    pub fn from(first: u16) -> Self {
        Self { first }
    }

    pub fn amqp(self) -> SocketAddr {
        local(self.first)
    }

    /// AMQP over TLS; a client's certificate is checked if it shows one.
    pub fn amqps(self) -> SocketAddr {
        local(self.first + 1)
    }

    /// HTTP, for rabbitmqadmin and its kind.
    pub fn management(self) -> SocketAddr {
        local(self.first + 2)
    }

    fn distribution(self) -> u16 {
        self.first + 3
    }

    fn epmd(self) -> u16 {
        self.first + 4
    }

    /// As `USER`, on the virtual host `/`.
    pub fn url(self) -> String {
        let (user, password) = USER;
        format!("amqp://{user}:{password}@{}/%2f", self.amqp())
    }
}

/// What a node is started from.
#[derive(Clone, Debug)]
pub struct Dist {
    debian: Debian,
    tls: Tls,
}

impl Dist {
    /// What was fetched before.
    ///
    /// # Errors
    /// `Absent`, with what is missing.
    pub fn find(place: &Place) -> Result<Self, Trouble> {
        let debian = Debian::find(place)?;
        let tls = Tls::find(place)?;
        Ok(Self { debian, tls })
    }

    /// Fetches it if need be.
    ///
    /// # Errors
    /// What can't be had, and why.
    pub fn fetch(place: &Place) -> Result<Self, Trouble> {
        let debian = Debian::fetch(place)?;
        let tls = Tls::ensure(place)?;
        Ok(Self { debian, tls })
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }
}

/// A node that its test may freeze and kill; `Server` says how.
#[derive(Debug)]
pub struct Rabbitmq {
    ports: Ports,
    tls: Tls,
    ctl: PathBuf,
    server: Server,
}

impl Rabbitmq {
    /// In this folder and on ports of its own, ready.
    ///
    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start_in(folder: &Path, dist: &Dist) -> Result<Self, Trouble> {
        let ports = Ports::from(ports::free(PORTS));
        let mut server = Server::new(plan(folder, dist, ports)?);
        server.start()?;
        Ok(Self {
            ports,
            tls: dist.tls.clone(),
            ctl: ctl_script(folder),
            server,
        })
    }

    pub fn ports(&self) -> Ports {
        self.ports
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Runs rabbitmqctl to its end: `["list_queues", "name", "messages"]`, `["stop_app"]`.
    ///
    /// # Errors
    /// What it said, if it fails.
    pub fn ctl(&self, args: &[&str]) -> Result<String, Trouble> {
        ctl(&self.ctl, args)
    }
}

impl Deref for Rabbitmq {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Rabbitmq {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// rabbitmqctl by the script that stands in a node's folder.
///
/// # Errors
/// What it said, if it fails.
pub fn ctl(script: &Path, args: &[&str]) -> Result<String, Trouble> {
    run(Command::new(script).arg("--quiet").args(args))
}

pub fn ctl_script(folder: &Path) -> PathBuf {
    folder.join("ctl")
}

/// Writes a node's settings, and the scripts that start it and rule it.
pub(crate) fn plan(folder: &Path, dist: &Dist, ports: Ports) -> Result<Plan, Trouble> {
    let logs = folder.join("logs");
    for name in ["data", "logs", "home"] {
        make_folder(&folder.join(name))?;
    }
    write(
        &folder.join("rabbitmq.conf"),
        &settings(folder, dist, ports),
    )?;
    write(&folder.join("definitions.json"), &definitions())?;
    let plugins = "[rabbitmq_auth_mechanism_ssl,rabbitmq_management].\n";
    write(&folder.join("enabled_plugins"), plugins)?;
    let environment = environment(folder, dist, ports);
    let programs = dist.debian.rabbitmq_programs();
    let programs = programs.display();
    // The shell outlives a SIGTERM to the group, so that the server is waited for.
    let start = format!(
        "{environment}trap : TERM\nepmd &\n'{programs}/rabbitmq-server'\nstatus=$?\n\
         kill $! 2>/dev/null\nexit $status\n"
    );
    let start_script = folder.join("start");
    write_script(&start_script, &start)?;
    let ctl = format!("{environment}exec '{programs}/rabbitmqctl' \"$@\"\n");
    write_script(&ctl_script(folder), &ctl)?;
    Ok(Plan {
        launch: Launch {
            program: start_script,
            args: Vec::new(),
            folder: folder.to_owned(),
            log: logs.join("server.log"),
        },
        probe: Probe::Amqp,
        address: ports.amqp(),
        ports: PORTS,
    })
}

fn environment(folder: &Path, dist: &Dist, ports: Ports) -> String {
    let erlang = dist.debian.erlang_programs();
    let (erlang, folder) = (erlang.display(), folder.display());
    let (epmd, distribution) = (ports.epmd(), ports.distribution());
    // No idle spinning: the machine is shared with what is tested.
    format!(
        "#!/bin/sh
export PATH='{erlang}':\"$PATH\" HOME='{folder}/home' LANG=C.UTF-8
export ERL_EPMD_PORT={epmd} ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT={distribution}
export RABBITMQ_NODENAME={NODE} RABBITMQ_CONF_ENV_FILE='{folder}/none'
export RABBITMQ_CONFIG_FILE='{folder}/rabbitmq' RABBITMQ_ENABLED_PLUGINS_FILE='{folder}/enabled_plugins'
export RABBITMQ_MNESIA_BASE='{folder}/data' RABBITMQ_LOG_BASE='{folder}/logs' RABBITMQ_LOGS=-
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+sbwt none +sbwtdcpu none +sbwtdio none'
"
    )
}

fn settings(folder: &Path, dist: &Dist, ports: Ports) -> String {
    let management = ports.management();
    format!(
        "listeners.tcp.1 = {amqp}
listeners.ssl.1 = {amqps}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
management.tcp.ip = {ip}
management.tcp.port = {port}
load_definitions = {folder}/definitions.json
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 50MB
",
        amqp = ports.amqp(),
        amqps = ports.amqps(),
        ca = dist.tls.ca().display(),
        certificate = dist.tls.server_certificate().display(),
        key = dist.tls.server_key().display(),
        ip = management.ip(),
        port = management.port(),
        folder = folder.display(),
    )
}

fn definitions() -> String {
    let users = [USER, ("guest", "guest")];
    let user = |(name, password)| {
        format!(r#"{{"name":"{name}","password":"{password}","tags":["administrator"]}}"#)
    };
    // It has no password: its certificate is its login.
    let certified = format!(r#"{{"name":"{CERTIFIED_USER}","password_hash":"","tags":[]}}"#);
    let may = |name| {
        format!(r#"{{"user":"{name}","vhost":"/","configure":".*","write":".*","read":".*"}}"#)
    };
    format!(
        r#"{{"vhosts":[{{"name":"/"}}],"users":[{},{certified}],"permissions":[{}]}}"#,
        users.map(user).join(","),
        [USER.0, "guest", CERTIFIED_USER].map(may).join(",")
    )
}
