//! The jars, as Maven gets them from where this machine's settings say, and checked against sums.

use crate::fetch::Kit;
use crate::run::{make_folder, run, write};
use crate::tls::Tls;
use crate::{Place, Trouble};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const VERSION: &str = "4.1.0";
const POM: &str = include_str!("../../kafka/pom.xml");
const SUMS: &str = include_str!("../../kafka/sha256sums");
const LOGGING: &str = include_str!("../../kafka/log4j2.properties");
/// All clusters are of one id: what formatting makes of a folder is made once, and copied.
const CLUSTER: &str = "Y2F1c2V3YXktdGVzdHMtMQ";
const MINIMUM_JAVA: u32 = 17;

const KIT: fn() -> Kit = || Kit {
    name: "kafka",
    pins: format!("1 {VERSION}\n{POM}{SUMS}{LOGGING}"),
    install,
};

/// What a node is started from.
#[derive(Clone, Debug)]
pub struct Dist {
    folder: PathBuf,
    tls: Tls,
}

impl Dist {
    /// What was fetched before.
    ///
    /// # Errors
    /// `Absent`, with what is missing.
    pub fn find(place: &Place) -> Result<Self, Trouble> {
        check_java()?;
        let folder = KIT().find(place)?;
        let tls = Tls::find(place)?;
        Ok(Self { folder, tls })
    }

    /// Fetches it if need be.
    ///
    /// # Errors
    /// What can't be had, and why.
    pub fn fetch(place: &Place) -> Result<Self, Trouble> {
        check_java()?;
        let folder = KIT().ensure(place)?;
        let tls = Tls::ensure(place)?;
        Ok(Self { folder, tls })
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// `java` with all the jars, for a class or a source file and its arguments.
    pub fn java(&self) -> Command {
        java(&self.folder)
    }

    /// Runs one of Kafka's commands, `org.apache.kafka.tools.TopicCommand` for instance, to its end.
    ///
    /// # Errors
    /// What it said, if it fails.
    pub fn tool(&self, class: &str, args: &[&str]) -> Result<String, Trouble> {
        // A short life isn't worth the optimising compiler.
        let mut java = self.java();
        run(java.args(QUICK).arg(class).args(args))
    }

    pub(crate) fn logging(&self) -> PathBuf {
        self.folder.join("log4j2.properties")
    }

    pub(crate) fn formatted(&self, node: u32) -> PathBuf {
        formatted(&self.folder, node)
    }
}

pub(crate) const QUICK: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

fn java(folder: &Path) -> Command {
    let mut classes = folder.join("libs").into_os_string();
    classes.push("/*");
    let mut java = Command::new("java");
    java.arg("-cp").arg(classes);
    java
}

fn formatted(folder: &Path, node: u32) -> PathBuf {
    folder.join(format!("formatted-{node}"))
}

fn check_java() -> Result<(), Trouble> {
    let mut java = Command::new("java");
    let said = run(java.arg("--version"))?;
    let version = said.split_whitespace().nth(1).unwrap_or_default();
    let major: Option<u32> = version.split('.').next().and_then(|n| n.parse().ok());
    match major {
        Some(major) if major >= MINIMUM_JAVA => Ok(()),
        _ => Err(Trouble::Absent(format!(
            "Kafka needs Java {MINIMUM_JAVA} or newer, and java is {version} \
             (Debian: apt-get install openjdk-17-jre-headless)"
        ))),
    }
}

fn install(to: &Path) -> Result<(), Trouble> {
    let (libs, pom) = (to.join("libs"), to.join("pom.xml"));
    make_folder(&libs)?;
    write(&pom, POM)?;
    let mut maven = Command::new("mvn");
    maven
        .args(["--batch-mode", "--quiet", "--file"])
        .arg(pom)
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", libs.display()));
    run(&mut maven)?;
    write(&to.join("sha256sums"), SUMS)?;
    let mut sums = Command::new("sha256sum");
    let words = ["--check", "--strict", "--quiet", "../sha256sums"];
    run(sums.current_dir(&libs).args(words))?;
    only_the_listed(&libs)?;
    write(&to.join("log4j2.properties"), LOGGING)?;
    format_node(to, 1, "broker,controller")?;
    format_node(to, 2, "broker")
}

fn only_the_listed(libs: &Path) -> Result<(), Trouble> {
    let entries = fs::read_dir(libs).map_err(|e| Trouble::file(libs, &e))?;
    for entry in entries {
        let name = entry.map_err(|e| Trouble::file(libs, &e))?.file_name();
        let name = name.to_string_lossy();
        if !SUMS
            .lines()
            .any(|line| line.ends_with(&format!("  {name}")))
        {
            return Err(Trouble::Failed(format!("{name}: its sum isn't known")));
        }
    }
    Ok(())
}

/// What stands in a formatted folder hangs on the node's number and role, not on its ports.
fn format_node(to: &Path, node: u32, roles: &str) -> Result<(), Trouble> {
    let data = formatted(to, node);
    make_folder(&data)?;
    let settings = to.join(format!("format-{node}.properties"));
    let controller = if node == 1 { "127.0.0.1:2" } else { "" };
    let listeners = match controller {
        "" => "PLAIN://127.0.0.1:1".to_owned(),
        controller => format!("PLAIN://127.0.0.1:1,CONTROLLER://{controller}"),
    };
    let text = format!(
        "process.roles={roles}\nnode.id={node}\ncontroller.quorum.voters=1@127.0.0.1:2\n\
         listeners={listeners}\nadvertised.listeners=PLAIN://127.0.0.1:1\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.listener.name=PLAIN\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n",
        data.display()
    );
    write(&settings, &text)?;
    let (name, password) = super::USER;
    let mut format = java(to);
    format
        .args(QUICK)
        .args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER])
        .arg("--config")
        .arg(&settings);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let user = format!("{mechanism}=[name={name},password={password}]");
        format.args(["--add-scram", &user]);
    }
    run(&mut format).map(drop)
}
