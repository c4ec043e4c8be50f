//! Shared servers by a Docker engine: `deploy/compose.yaml`, which has newer ones than Debian.

use crate::run::{make_folder, run};
use crate::shared::Name;
use crate::state::{Engine, State};
use crate::{Place, Trouble, rabbitmq};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One project, whatever the folder is called.
const PROJECT: &str = "causeway-brokers";
const KAFKA: &str = "4.1.0";
const RABBITMQ: &str = "4.1.4";

pub(crate) fn up(place: &Place, name: Name, port: u16) -> Result<State, Trouble> {
    let (version, address) = match name {
        Name::Kafka => (KAFKA, crate::ports::local(port).to_string()),
        Name::Rabbitmq => (RABBITMQ, rabbitmq::Ports::from(port).url()),
        Name::Kafka2 => {
            return Err(Trouble::Absent(
                "deploy/compose.yaml has one node of Kafka alone".to_owned(),
            ));
        }
    };
    let folder = place.server(name.word());
    make_folder(&folder)?;
    let mut command = compose();
    command.env(name.port_variable(), port.to_string()).args([
        "up",
        "--detach",
        "--wait",
        name.word(),
    ]);
    run(&mut command).map_err(no_engine)?;
    let state = State {
        version: version.to_owned(),
        address,
        // Where its engine keeps it: `docker compose logs`.
        log: PathBuf::from(format!(
            "docker compose --project-name {PROJECT} logs {name}"
        )),
        port,
        engine: Engine::Docker,
    };
    state.write(&folder.join("state.toml"))?;
    Ok(state)
}

pub(crate) fn down(_place: &Place, name: Name) -> Result<(), Trouble> {
    let mut command = compose();
    command.args(["rm", "--force", "--stop", "--volumes", name.word()]);
    run(&mut command).map_err(no_engine).map(drop)
}

fn compose() -> Command {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose.yaml");
    let mut docker = Command::new("docker");
    docker
        .args(["compose", "--project-name", PROJECT, "--file"])
        .arg(file);
    docker
}

/// Whether there is an engine, and a registry for its images, is the machine's business.
fn no_engine(trouble: Trouble) -> Trouble {
    Trouble::Absent(format!("by Docker it can't be had here: {trouble}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state tells the versions that the file names.
    #[test]
    fn versions_are_those_of_the_file() {
        let file = include_str!("../../../deploy/compose.yaml");
        for image in [
            format!("apache/kafka:{KAFKA}"),
            format!("rabbitmq:{RABBITMQ}-management"),
        ] {
            assert!(file.contains(&format!("image: {image}\n")), "{image}");
        }
    }
}
