//! A node: its settings, and a handle for tests that own one.

use super::dist::{Dist, QUICK};
use super::{ADMIN, USER};
use crate::ports::{self, local};
use crate::process::Launch;
use crate::run::{make_folder, write};
use crate::server::{Plan, Server};
use crate::{Probe, Trouble};
use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

/// How many in a row a node takes.
pub const PORTS: u16 = 5;

/// The ports of one node, in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ports {
    first: u16,
}

impl Ports {
    pub fn from(first: u16) -> Self {
        Self { first }
    }

    /// PLAINTEXT.
    pub fn plain(self) -> SocketAddr {
        local(self.first)
    }

    /// SASL_PLAINTEXT: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER with unsigned tokens.
    pub fn sasl(self) -> SocketAddr {
        local(self.first + 1)
    }

    /// SSL; a client's certificate isn't asked for.
    pub fn tls(self) -> SocketAddr {
        local(self.first + 2)
    }

    /// SSL; a client without a certificate is refused.
    pub fn mtls(self) -> SocketAddr {
        local(self.first + 3)
    }

    fn controller(self) -> SocketAddr {
        local(self.first + 4)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    /// Starts fast and stays small.
    Test,
    /// As fast as it can be: for load.
    Shared,
}

impl Size {
    fn of_java(self) -> &'static [&'static str] {
        match self {
            Self::Test => &["-Xmx320m", QUICK[0], QUICK[1]],
            Self::Shared => &["-Xmx1g"],
        }
    }

    /// A node that was killed is taken back only when its old session is over.
    fn session(self) -> Duration {
        match self {
            Self::Test => Duration::from_secs(3),
            Self::Shared => Duration::from_secs(9),
        }
    }
}

/// A node that its test may freeze and kill; `Server` says how.
#[derive(Debug)]
pub struct Kafka {
    dist: Dist,
    ports: Ports,
    server: Server,
}

impl Kafka {
    /// A cluster of one node, in this folder and on ports of its own, ready.
    ///
    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start_in(folder: &Path, dist: &Dist) -> Result<Self, Trouble> {
        Self::start_first(folder, dist, Size::Test)
    }

    /// The same, as fast as it can be: for load.
    ///
    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start_fast_in(folder: &Path, dist: &Dist) -> Result<Self, Trouble> {
        Self::start_first(folder, dist, Size::Shared)
    }

    fn start_first(folder: &Path, dist: &Dist, size: Size) -> Result<Self, Trouble> {
        let ports = Ports::from(ports::free(PORTS));
        Self::start_node(folder, dist, 1, [ports, ports], size)
    }

    /// A second, broker-only node of this one's cluster.
    ///
    /// # Errors
    /// What it said, if it isn't ready in time.
    pub fn start_second_in(&self, folder: &Path) -> Result<Self, Trouble> {
        let ports = Ports::from(ports::free(PORTS));
        Self::start_node(folder, &self.dist, 2, [ports, self.ports], Size::Test)
    }

    fn start_node(
        folder: &Path,
        dist: &Dist,
        node: u32,
        [ports, leader]: [Ports; 2],
        size: Size,
    ) -> Result<Self, Trouble> {
        let mut server = Server::new(plan(folder, dist, node, ports, leader, size)?);
        server.start()?;
        let dist = dist.clone();
        Ok(Self {
            dist,
            ports,
            server,
        })
    }

    pub fn ports(&self) -> Ports {
        self.ports
    }

    pub fn dist(&self) -> &Dist {
        &self.dist
    }

    /// One of Kafka's commands that take `--bootstrap-server`: `TopicCommand`, `AclCommand`,
    /// `LeaderElectionCommand` of `org.apache.kafka.tools`.
    ///
    /// # Errors
    /// What it said, if it fails.
    pub fn tool(&self, command: &str, args: &[&str]) -> Result<String, Trouble> {
        let address = self.ports.plain().to_string();
        let class = format!("org.apache.kafka.tools.{command}");
        let words = [&["--bootstrap-server", &address], args].concat();
        self.dist.tool(&class, &words)
    }

    /// # Errors
    /// What the command said, if it fails.
    pub fn create_topic(&self, topic: &str, partitions: u32, copies: u32) -> Result<(), Trouble> {
        let (partitions, copies) = (partitions.to_string(), copies.to_string());
        let what = ["--create", "--topic", topic, "--partitions", &partitions];
        let how = ["--replication-factor", &copies];
        self.tool("TopicCommand", &[&what[..], &how].concat())
            .map(drop)
    }

    /// From now on nobody but `ADMIN` may write to the topic; it can be read and described.
    ///
    /// # Errors
    /// What the command said, if it fails.
    pub fn refuse_writes(&self, topic: &str) -> Result<(), Trouble> {
        // A resource that has a rule refuses what none of its rules allows.
        let what = ["--add", "--topic", topic, "--allow-principal", "User:*"];
        let reads = ["--operation", "Read", "--operation", "Describe"];
        self.tool("AclCommand", &[&what[..], &reads].concat())
            .map(drop)
    }
}

impl Deref for Kafka {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// Writes a node's settings, and its data folder if there is none yet. `leader`: the ports of node 1.
pub(crate) fn plan(
    folder: &Path,
    dist: &Dist,
    node: u32,
    ports: Ports,
    leader: Ports,
    size: Size,
) -> Result<Plan, Trouble> {
    let (data, logs) = (folder.join("data"), folder.join("logs"));
    make_folder(&logs)?;
    if !data.join("meta.properties").exists() {
        copy_files(&dist.formatted(node), &data)?;
    }
    let settings = folder.join("server.properties");
    write(&settings, &text(dist, node, ports, leader, size, &data))?;
    let java = dist.java();
    let mut args: Vec<_> = size.of_java().iter().map(Into::into).collect();
    args.push(format!("-Dlog4j2.configurationFile={}", dist.logging().display()).into());
    args.extend(java.get_args().map(Into::into));
    args.extend(["kafka.Kafka".into(), settings.into_os_string()]);
    Ok(Plan {
        launch: Launch {
            program: java.get_program().into(),
            args,
            folder: folder.to_owned(),
            log: logs.join("server.log"),
        },
        probe: Probe::Kafka,
        address: ports.plain(),
        ports: PORTS,
    })
}

/// The folder is filled aside and then gets its name: it is whole or not there.
fn copy_files(from: &Path, to: &Path) -> Result<(), Trouble> {
    let aside = to.with_extension("new");
    make_folder(&aside)?;
    let copied = fs::read_dir(from).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            fs::copy(entry.path(), aside.join(entry.file_name()))?;
        }
        fs::rename(&aside, to)
    });
    copied.map_err(|e| Trouble::file(from, &e))
}

fn text(dist: &Dist, node: u32, ports: Ports, leader: Ports, size: Size, data: &Path) -> String {
    let tls = dist.tls();
    let advertised = format!(
        "PLAIN://{},SASL://{},TLS://{},MTLS://{}",
        ports.plain(),
        ports.sasl(),
        ports.tls(),
        ports.mtls()
    );
    let controller = leader.controller();
    let (roles, listeners) = match node {
        1 => (
            "broker,controller",
            format!("{advertised},CONTROLLER://{controller}"),
        ),
        _ => ("broker", advertised.clone()),
    };
    let ((user, password), (admin, secret)) = (USER, ADMIN);
    let security = "org.apache.kafka.common.security";
    format!(
        "process.roles={roles}
node.id={node}
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,MTLS:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={data}
broker.session.timeout.ms={session}
broker.heartbeat.interval.ms=1000
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:{admin}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.plain.sasl.jaas.config={security}.plain.PlainLoginModule required user_{user}=\"{password}\" user_{admin}=\"{secret}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config={security}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{user}\";
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.mtls.ssl.client.auth=required
",
        session = size.session().as_millis(),
        data = data.display(),
        keys = tls.server_both().display(),
        ca = tls.ca().display(),
    )
}
