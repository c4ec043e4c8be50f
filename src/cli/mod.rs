//! The command line: thin over the rooms, which `main` hands over as functions.
//!
//! What must not live here: what a command means to a journal, a lane or a file.

mod client;
mod logging;
mod table;
#[cfg(test)]
mod tests;

use crate::admin::Dropping;
use crate::admin::status::Status;
use crate::gateway::Told;
use clap::{Args, Parser, Subcommand};
use client::Server;
use logging::Level;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What commands need of the rooms. Paths are those of routes.toml; an `Err` is for people to read.
pub struct House {
    /// Runs the gateway until a signal.
    pub run: fn(&Path) -> Result<(), String>,
    pub check: fn(&Path) -> Told,
    /// Where the file's admin listener is, if it has one.
    pub admin_address: fn(&Path) -> Result<Option<SocketAddr>, String>,
    pub verify_journal: fn(&Path) -> Result<Told, String>,
    /// Says what is damaged; if loss is accepted it repairs that.
    pub repair_journal: fn(&Path, bool) -> Result<Told, String>,
}

/// A message gateway: takes messages over HTTP, remembers them, and delivers them.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, disable_help_subcommand = true)]
struct Cli {
    /// The gateway's configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "./routes.toml"
    )]
    config: PathBuf,
    /// Answer in JSON; with `run`: log in JSON
    #[arg(long, global = true)]
    json: bool,
    /// How much is logged
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "LEVEL",
        env = "CAUSEWAY_LOG",
        default_value = "info"
    )]
    log_level: Level,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (also without any command)
    Run,
    /// Print every problem of the configuration, with its place
    Check {
        /// Instead of --config
        file: Option<PathBuf>,
    },
    /// Show what a running gateway holds and owes
    Status(Admin),
    /// Act on a lane of a running gateway
    #[command(subcommand)]
    Lane(LaneCommand),
    /// Look after the journal of a gateway that isn't running
    #[command(subcommand)]
    Journal(JournalCommand),
}

#[derive(Debug, Subcommand)]
enum LaneCommand {
    /// Put all that a lane owes into its dead letters
    Drop {
        /// The lane: the name of its destination
        name: String,
        /// Settle it as dropped, and keep nothing
        #[arg(long)]
        discard: bool,
        #[command(flatten)]
        admin: Admin,
    },
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Walk all of it, and compare its counts with what was kept of them
    Verify,
    /// Say what is damaged, or make a damaged journal start again, without what can't be read
    Repair {
        /// Do it, though messages are lost
        #[arg(long)]
        accept_loss: bool,
    },
}

#[derive(Debug, Args)]
struct Admin {
    /// The gateway's admin listener, if not the one of the configuration
    #[arg(long = "admin", value_name = "URL", env = "CAUSEWAY_ADMIN")]
    url: Option<String>,
}

/// 0: done; 1: failed, or a problem was found; 2: not understood.
pub fn main(house: &House) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Nowhere is left to say that this failed.
            drop(usage.print());
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match answer(&cli, house, colour) {
        Ok(Some(told)) => {
            print(&told, cli.json);
            ExitCode::from(u8::from(!told.ok))
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Nothing is told by `run`: it logs.
fn answer(cli: &Cli, house: &House, colour: bool) -> Result<Option<Told>, String> {
    let config = cli.config.as_path();
    let told = match &cli.command {
        None | Some(Command::Run) => {
            logging::init(cli.log_level, cli.json);
            return (house.run)(config).map(|()| None);
        }
        Some(Command::Check { file }) => (house.check)(file.as_deref().unwrap_or(config)),
        Some(Command::Status(admin)) => {
            let server = server(admin, config, house)?;
            block_on(status(&server, colour))?
        }
        Some(Command::Lane(LaneCommand::Drop {
            name,
            discard,
            admin,
        })) => {
            let server = server(admin, config, house)?;
            block_on(drop_lane(&server, name, *discard))?
        }
        Some(Command::Journal(JournalCommand::Verify)) => (house.verify_journal)(config)?,
        Some(Command::Journal(JournalCommand::Repair { accept_loss })) => {
            (house.repair_journal)(config, *accept_loss)?
        }
    };
    Ok(Some(told))
}

/// A reader that went away (`| head`) is no failure.
fn print(told: &Told, json: bool) {
    let text = match json {
        true => format!("{:#}", told.json),
        false => told.text.trim_end().to_owned(),
    };
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn block_on<T>(command: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| format!("can't start: {error}"))?
        .block_on(command)
}

fn server(admin: &Admin, config: &Path, house: &House) -> Result<Server, String> {
    if let Some(url) = &admin.url {
        return Server::parse(url).map_err(|error| error.to_string());
    }
    let Some(listens) = (house.admin_address)(config)? else {
        let file = config.display();
        return Err(format!(
            "{file} has no admin listener\nhelp: add one ([listen] admin = \"127.0.0.1:9190\"), or \
             say where a gateway's is with --admin URL or CAUSEWAY_ADMIN"
        ));
    };
    Server::parse(&reachable(listens).to_string()).map_err(|error| error.to_string())
}

/// What listens on every address is reached on this machine's own.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

async fn status(server: &Server, colour: bool) -> Result<Told, String> {
    let json = server
        .get("/api/v1/status")
        .await
        .map_err(|error| error.to_string())?;
    let status: Status = read(&json)?;
    let ok = status.reasons().is_empty();
    Ok(Told {
        ok,
        text: table::render(&status, colour),
        json,
    })
}

async fn drop_lane(server: &Server, lane: &str, discard: bool) -> Result<Told, String> {
    let lane = utf8_percent_encode(lane, NON_ALPHANUMERIC);
    let path = format!("/api/v1/lanes/{lane}/drop");
    let order = json!({ "discard": discard });
    let json = server
        .post(&path, &order)
        .await
        .map_err(|error| error.to_string())?;
    let dropping: Dropping = read(&json)?;
    let how = if dropping.discard {
        "discards"
    } else {
        "puts into its dead letters"
    };
    let size = table::bytes(dropping.bytes);
    let text = format!(
        "lane {:?} {how} what it owes: {} deliveries, {size}. `causeway status` shows how far it is.",
        dropping.lane, dropping.deliveries
    );
    Ok(Told {
        ok: true,
        text,
        json,
    })
}

fn read<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, String> {
    T::deserialize(json).map_err(|error| {
        format!("the gateway's answer is of another version than this program: {error}")
    })
}
