//! The command line: thin over the rooms, which `main` hands over as functions.
//!
//! What must not live here: what a command means to a journal, a lane or a file.

mod advice;
mod bench;
mod client;
mod dlq;
mod exit;
mod explain;
mod locate;
mod logging;
mod manual;
mod operate;
mod publish;
mod receipt;
mod retry;
mod table;
mod tail;
mod tap;
#[cfg(test)]
mod tests;
mod text;
mod trace;
mod welcome;

use crate::admin::explanation::Explanation;
use crate::config::Settings;
use crate::config::cases::Sample;
use crate::gateway::Told;
use crate::message::DeliveryId;
use bench::Bench;
use clap::{Args, Parser, Subcommand};
use dlq::Dlq;
use exit::{Code, EXIT_CODES, Failure, Reply, say};
use explain::{Explain, Shown};
use locate::server;
use logging::Level;
use manual::{Completions, Man};
use publish::Publish;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tail::{Style, Tail};
use tap::Tap;
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
    /// Show live copies of what passes a running gateway
    Tap(Tap),
    /// Measure a running gateway, by publishing real messages
    Bench(Box<Bench>),
    /// Show what a running gateway holds and owes
    Status(Admin),
    /// Take the configuration into a running gateway, without a restart
    Reload(Admin),
    /// Act on a lane of a running gateway
    #[command(subcommand)]
    Lane(LaneCommand),
    /// Look after dead letters: what a running gateway could not deliver
    #[command(subcommand)]
    Dlq(Box<Dlq>),
    /// Look after the journal of a gateway that isn't running
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Print a script with which a shell completes this program's words
    Completions(Completions),
    /// Print the man page, or write one for each command
    Man(Man),
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
    /// Hold a lane: nothing is tried until it is resumed, or the gateway is restarted
    Pause {
        /// The lane: the name of its destination
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
    /// Let a lane go on that is paused or has stopped, and try its destination at once
    Resume {
        /// The lane: the name of its destination
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
    /// Put one delivery that fails into the dead letters: the oldest, or the one that is named
    Skip {
        /// The lane: the name of its destination
        name: String,
        /// Its position in the journal, and which of its message's deliveries
        #[arg(long, value_name = "POSITION[/ORDINAL]", value_parser = operate::delivery_id)]
        at: Option<DeliveryId>,
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
        Err(usage) => return not_understood(&usage),
    };
    let colour = std::io::stdout().is_terminal() && colours_wanted();
    match answer(&cli, house, colour) {
        Ok(Some(reply)) => {
            print(&reply, cli.json);
            reply.code.into()
        }
        Ok(None) => Code::Done.into(),
        Err(failure) => {
            say(&failure.words());
            if cli.json {
                drop(writeln!(std::io::stdout(), "{}", failure.json()));
            }
            failure.code.into()
        }
    }
}

/// Or help or the version was asked for.
fn not_understood(usage: &clap::Error) -> ExitCode {
    // Nowhere is left to say that this failed.
    drop(usage.print());
    let json_wanted = std::env::args_os().any(|word| word == "--json");
    if usage.use_stderr() && json_wanted {
        let words = usage.to_string();
        let message = words.trim_start_matches("error: ");
        let message = message.split("\n\n").next().unwrap_or_default();
        let failure = Failure::usage(message, "`causeway COMMAND --help` has every option");
        drop(writeln!(std::io::stdout(), "{}", failure.json()));
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2))
}

/// <https://no-color.org>: whatever its value is, if it has one.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Nothing is left to tell after `run`, which logs, and `tail` and `tap`.
fn answer(cli: &Cli, house: &House, colour: bool) -> Result<Option<Reply>, Failure> {
    let config = cli.config.as_path();
    let told: Reply = match &cli.command {
        None | Some(Command::Run) => return run(cli, house).map(|()| None),
        Some(Command::Check { file }) => (house.check)(file.as_deref().unwrap_or(config)).into(),
        Some(Command::Explain(explain)) => explained(explain, config, house, colour)?,
        Some(Command::Test { files }) => of_house((house.test)(config, files))?.into(),
        Some(Command::Schema) => schema().into(),
        Some(Command::Publish(publish)) => {
            let server = server(&publish.server, config, house)?;
            block_on(publish::run(publish, &server, colour))?
        }
        Some(Command::Tail(_) | Command::Tap(_)) => {
            return followed(cli, house, colour).map(|()| None);
        }
        Some(Command::Trace(trace)) => {
            let server = server(&trace.server, config, house)?;
            block_on(trace::run(trace, &server, colour))?
        }
        Some(Command::Bench(bench)) => bench::run(bench, &server(&bench.server, config, house)?)?,
        Some(Command::Status(admin)) => {
            let server = locate::admin(admin, config, house)?;
            block_on(operate::status(&server, colour))?.into()
        }
        Some(Command::Reload(admin)) => {
            let server = locate::admin(admin, config, house)?;
            block_on(operate::reload(&server))?.into()
        }
        Some(Command::Lane(command)) => lane(command, config, house)?.into(),
        Some(Command::Dlq(dlq)) => {
            let server = locate::admin(dlq.admin(), config, house)?;
            let mut out = std::io::stdout().lock();
            return block_on(dlq.run(&server, colour, &mut out));
        }
        Some(Command::Journal(JournalCommand::Verify)) => {
            of_house((house.verify_journal)(config))?.into()
        }
        Some(Command::Journal(JournalCommand::Repair { accept_loss })) => {
            of_house((house.repair_journal)(config, *accept_loss))?.into()
        }
        Some(Command::Completions(asked)) => manual::completions(asked),
        Some(Command::Man(asked)) => manual::man(asked)?,
    };
    Ok(Some(told))
}

fn lane(command: &LaneCommand, config: &Path, house: &House) -> Result<Told, Failure> {
    let (LaneCommand::Drop { admin, .. }
    | LaneCommand::Pause { admin, .. }
    | LaneCommand::Resume { admin, .. }
    | LaneCommand::Skip { admin, .. }) = command;
    let server = locate::admin(admin, config, house)?;
    match command {
        LaneCommand::Drop { name, discard, .. } => {
            block_on(operate::drop_lane(&server, name, *discard))
        }
        LaneCommand::Pause { name, .. } => block_on(operate::pause(&server, name)),
        LaneCommand::Resume { name, .. } => block_on(operate::resume(&server, name)),
        LaneCommand::Skip { name, at, .. } => block_on(operate::skip(&server, name, *at)),
    }
}

/// What tells as it goes.
fn followed(cli: &Cli, house: &House, colour: bool) -> Result<(), Failure> {
    let style = Style {
        json: cli.json,
        colour,
    };
    let mut out = std::io::stdout().lock();
    match &cli.command {
        Some(Command::Tail(tail)) => {
            let server = server(&tail.server, &cli.config, house)?;
            block_on(tail::run(tail, &server, style, &mut out))
        }
        Some(Command::Tap(tap)) => {
            let server = locate::admin(&tap.admin, &cli.config, house)?;
            block_on(tap::run(tap, &server, style, &mut out))
        }
        _ => Ok(()),
    }
}

fn explained(
    explain: &Explain,
    config: &Path,
    house: &House,
    colour: bool,
) -> Result<Reply, Failure> {
    let shown = Shown {
        colour,
        all: !std::io::stdout().is_terminal(),
    };
    if !explain.is_live() {
        return explain.offline(config, house, shown);
    }
    let server = locate::admin(&explain.admin, config, house)?;
    block_on(explain.live(&server, config, house, shown))
}

fn of_house<T>(result: Result<T, String>) -> Result<T, Failure> {
    result.map_err(|words| Failure::local(&words))
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
    of_house((house.run)(&cli.config, &listens))
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
        .map_err(|error| no_threads(&error))?
        .block_on(command)
}

fn no_threads(error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        exit::Kind::Local,
        format!("the system gives no threads or sockets: {error}"),
        "see the limits of this user and machine (`ulimit -a`)",
    )
}
