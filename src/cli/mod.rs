//! The command line: thin over the rooms, which `main` hands over as functions.
//!
//! What must not live here: what a command means to a journal, a lane or a file.

mod client;
mod exit;
mod explain;
mod logging;
mod publish;
mod receipt;
mod retry;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod text;
mod trace;
mod welcome;

use crate::admin::explanation::Explanation;
use crate::admin::status::Status;
use crate::admin::{Dropping, Reloaded};
use crate::config::Settings;
use crate::config::cases::Sample;
use crate::gateway::Told;
use clap::{Args, Parser, Subcommand};
use client::{SAY_ADMIN, SAY_SERVER, Server};
use exit::{Code, EXIT_CODES, Failure, Reply, say};
use explain::{Explain, Shown};
use logging::Level;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use publish::Publish;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tail::{Style, Tail};
use trace::Trace;

const DEFAULT_CONFIG: &str = "./routes.toml";
/// Above the options of every command, in its help.
const GLOBAL: &str = "Options of all commands";

/// Is told the settings once the gateway listens.
pub type Listens<'a> = &'a dyn Fn(&Settings);

/// What commands need of the rooms. Paths are those of routes.toml; an `Err` is for people to read.
pub struct House {
    /// Runs the gateway until a signal.
    pub run: fn(&Path, Listens<'_>) -> Result<(), String>,
    pub check: fn(&Path) -> Told,
    /// What the file's rules would make of a message.
    pub explain: fn(&Path, &Sample) -> Result<Explanation, String>,
    /// Appends a case for what was explained, to this file or the one beside the configuration.
    pub save_case: fn(&Path, Option<&Path>, &Sample, &Explanation) -> Result<PathBuf, String>,
    /// Runs the cases of these files, or of the one beside the configuration.
    pub test: fn(&Path, &[PathBuf]) -> Result<Told, String>,
    /// Where the file's admin listener is, if it has one.
    pub admin_address: fn(&Path) -> Result<Option<SocketAddr>, String>,
    /// And its http listener.
    pub http_address: fn(&Path) -> Result<Option<SocketAddr>, String>,
    pub verify_journal: fn(&Path) -> Result<Told, String>,
    /// Says what is damaged; if loss is accepted it repairs that.
    pub repair_journal: fn(&Path, bool) -> Result<Told, String>,
}

/// A message gateway: takes messages over HTTP, remembers them, and delivers them.
#[derive(Debug, Parser)]
#[command(
    name = "causeway",
    version,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
struct Cli {
    /// The gateway's configuration
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "FILE",
        default_value = DEFAULT_CONFIG
    )]
    config: PathBuf,
    /// Answer in JSON; with `run`: log in JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// How much is logged
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
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
    /// Show what would become of a message
    Explain(Box<Explain>),
    /// Run your own cases: what each message is expected to become
    Test {
        /// Instead of routes.test.toml beside the configuration
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Publish a message, or each line of stdin as one
    Publish(Publish),
    /// Read a stream
    Tail(Tail),
    /// Show where a message is
    Trace(Trace),
    /// Show what a running gateway holds and owes
    Status(Admin),
    /// Take the configuration into a running gateway, without a restart
    Reload(Admin),
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

#[derive(Debug, Args)]
struct ServerArg {
    /// The gateway's http listener, if not the one of the configuration
    #[arg(long = "server", value_name = "URL", env = "CAUSEWAY_SERVER")]
    url: Option<String>,
}

/// `EXIT_CODES` says how it ends.
pub fn main(house: &House) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Nowhere is left to say that this failed.
            drop(usage.print());
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let colour = std::io::stdout().is_terminal() && colours_wanted();
    match answer(&cli, house, colour) {
        Ok(Some(reply)) => {
            print(&reply, cli.json);
            reply.code.into()
        }
        Ok(None) => Code::Done.into(),
        Err(failure) => {
            say(&format!("error: {}", failure.text.trim_end()));
            if let Some(json) = failure.json.filter(|_| cli.json) {
                drop(writeln!(std::io::stdout(), "{json:#}"));
            }
            failure.code.into()
        }
    }
}

/// <https://no-color.org>: whatever its value is, if it has one.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Nothing is left to tell after `run`, which logs, and `tail`.
fn answer(cli: &Cli, house: &House, colour: bool) -> Result<Option<Reply>, Failure> {
    let config = cli.config.as_path();
    let told = match &cli.command {
        None | Some(Command::Run) => {
            run(cli, house)?;
            return Ok(None);
        }
        Some(Command::Check { file }) => (house.check)(file.as_deref().unwrap_or(config)),
        Some(Command::Explain(explain)) => {
            let shown = Shown {
                colour,
                all: !std::io::stdout().is_terminal(),
            };
            if !explain.is_live() {
                return explain.offline(config, house, shown).map(Some);
            }
            let server = admin_server(&explain.admin, config, house)?;
            return block_on(explain.live(&server, config, house, shown)).map(Some);
        }
        Some(Command::Test { files }) => (house.test)(config, files)?,
        Some(Command::Schema) => schema(),
        Some(Command::Publish(publish)) => {
            let server = server(&publish.server, config, house)?;
            return block_on(publish::run(publish, &server, colour)).map(Some);
        }
        Some(Command::Tail(tail)) => {
            let server = server(&tail.server, config, house)?;
            let style = Style {
                json: cli.json,
                colour,
            };
            let mut out = std::io::stdout().lock();
            block_on(tail::run(tail, &server, style, &mut out))?;
            return Ok(None);
        }
        Some(Command::Trace(trace)) => {
            let server = server(&trace.server, config, house)?;
            return block_on(trace::run(trace, &server, colour)).map(Some);
        }
        Some(Command::Status(admin)) => {
            let server = admin_server(admin, config, house)?;
            block_on(status(&server, colour))?
        }
        Some(Command::Reload(admin)) => {
            let server = admin_server(admin, config, house)?;
            block_on(reload(&server))?
        }
        Some(Command::Lane(LaneCommand::Drop {
            name,
            discard,
            admin,
        })) => {
            let server = admin_server(admin, config, house)?;
            block_on(drop_lane(&server, name, *discard))?
        }
        Some(Command::Journal(JournalCommand::Verify)) => (house.verify_journal)(config)?,
        Some(Command::Journal(JournalCommand::Repair { accept_loss })) => {
            (house.repair_journal)(config, *accept_loss)?
        }
    };
    Ok(Some(told.into()))
}

fn schema() -> Told {
    let json = crate::config::schema();
    Told {
        ok: true,
        text: format!("{json:#}"),
        json,
    }
}

fn run(cli: &Cli, house: &House) -> Result<(), Failure> {
    let is_plain = logging::init(cli.log_level, cli.json);
    let commands = welcome::Commands::new(std::env::args().next(), &cli.config);
    let listens = |settings: &Settings| match is_plain {
        true => say(&welcome::text(settings, &commands)),
        false => welcome::log(settings, &commands),
    };
    Ok((house.run)(&cli.config, &listens)?)
}

/// A reader that went away (`| head`) is no failure.
fn print(reply: &Reply, json: bool) {
    let text = match json {
        true => format!("{:#}", reply.json),
        false => reply.text.trim_end().to_owned(),
    };
    if !text.is_empty() {
        drop(writeln!(std::io::stdout(), "{text}"));
    }
}

fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| format!("can't start: {error}"))?
        .block_on(command)
}

fn admin_server(admin: &Admin, config: &Path, house: &House) -> Result<Server, Failure> {
    let listens = || (house.admin_address)(config);
    find(admin.url.as_deref(), listens, config, "admin", SAY_ADMIN)
}

fn server(arg: &ServerArg, config: &Path, house: &House) -> Result<Server, Failure> {
    let listens = || (house.http_address)(config);
    find(arg.url.as_deref(), listens, config, "http", SAY_SERVER)
}

/// Where it was said to be, else where the file says that it listens.
fn find(
    url: Option<&str>,
    listens: impl FnOnce() -> Result<Option<SocketAddr>, String>,
    config: &Path,
    setting: &str,
    how: &'static str,
) -> Result<Server, Failure> {
    if let Some(url) = url {
        return Ok(Server::parse(url, how)?);
    }
    let listens = listens().map_err(|why| match config.exists() {
        true => why,
        false => format!(
            "{}\nhelp: or say where the gateway is with {how}",
            why.trim_end()
        ),
    })?;
    let Some(listens) = listens else {
        let file = config.display();
        return Err(Failure::from(format!(
            "{file} has no {setting} listener\nhelp: add one to its [listen], or say where a \
             gateway's is with {how}"
        )));
    };
    Ok(Server::parse(&reachable(listens).to_string(), how)?)
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

async fn status(server: &Server, colour: bool) -> Result<Told, Failure> {
    let json = server.get("/api/v1/status").await?;
    let status: Status = read(&json)?;
    let ok = status.reasons().is_empty();
    Ok(Told {
        ok,
        text: table::render(&status, colour),
        json,
    })
}

/// The file that the gateway was started with, wherever this command is run.
async fn reload(server: &Server) -> Result<Told, Failure> {
    let json = server.post("/api/v1/reload", &json!({})).await?;
    let reloaded: Reloaded = read(&json)?;
    let mut lines = vec![format!("generation {}", reloaded.generation)];
    if reloaded.changed.is_empty() {
        lines.push("nothing changed".to_owned());
    }
    lines.extend(reloaded.changed);
    let waits = reloaded.restart_needed.into_iter();
    lines.extend(waits.map(|name| format!("waits for a restart: {name}")));
    Ok(Told {
        ok: true,
        text: lines.join("\n"),
        json,
    })
}

async fn drop_lane(server: &Server, lane: &str, discard: bool) -> Result<Told, Failure> {
    let lane = utf8_percent_encode(lane, NON_ALPHANUMERIC);
    let path = format!("/api/v1/lanes/{lane}/drop");
    let order = json!({ "discard": discard });
    let json = server.post(&path, &order).await?;
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

fn read<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, Failure> {
    T::deserialize(json).map_err(|error| {
        format!("the gateway's answer is of another version than this program: {error}").into()
    })
}
