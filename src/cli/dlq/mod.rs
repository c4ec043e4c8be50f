//! `dlq`: dead letters, listed, shown, redriven, exported and purged.

mod export;
mod redrive;
mod show;

use super::Admin;
use super::client::Server;
use super::exit::{EXIT_CODES, Failure, Reply};
use super::operate::read;
use crate::admin::letters::{Filter, PurgeOrder, Purged, Which};
use crate::gateway::Told;
use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// The most that the gateway gives.
const PAGE_LETTERS: u64 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Dlq {
    /// List dead letters; without a name: whose there are, and how many
    List(List),
    /// Show one with its headers and payload
    Show(Show),
    /// Deliver them again
    Redrive(Redrive),
    /// Write them as lines that can be published again
    Export(Export),
    /// Delete them for good
    Purge(Purge),
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct List {
    /// The lane: the name of its destination; the door's own are @door
    name: Option<String>,
    /// No more than so many
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: u64,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Show {
    /// The lane: the name of its destination; the door's own are @door
    name: String,
    /// Its offset, as `dlq list` has it
    offset: u64,
    #[command(flatten)]
    admin: Admin,
}

/// Which letters: offsets, a filter, or all.
#[derive(Debug, Args)]
struct WhichArgs {
    /// Their offsets, as `dlq list` has them
    #[arg(conflicts_with_all = ["all", "from", "until", "reason", "topic", "route"])]
    offsets: Vec<u64>,
    /// All that there are now
    #[arg(long, conflicts_with_all = ["from", "until", "reason", "topic", "route"])]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
struct FilterArgs {
    /// Offsets from this one on
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// Offsets before this one
    #[arg(long, value_name = "OFFSET")]
    until: Option<u64>,
    /// Those whose reason has this in it; `*` is any text
    #[arg(long, value_name = "PATTERN")]
    reason: Option<String>,
    /// Those whose topic matches, as in routes
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Those of one route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Redrive {
    /// The lane: the name of its destination; the door's own are @door
    name: String,
    #[command(flatten)]
    which: WhichArgs,
    /// Give them new delivery ids: who drops doubles takes them as new
    #[arg(long)]
    new_id: bool,
    /// By the routes of now, instead of to where they were planned
    #[arg(long)]
    reroute: bool,
    /// So many a second at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Export {
    /// The lane: the name of its destination; the door's own are @door
    name: String,
    /// Into a new file, instead of to stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Leave out what `[dead_letters]` hides
    #[arg(long)]
    redact: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Purge {
    /// The lane: the name of its destination; the door's own are @door
    name: String,
    #[command(flatten)]
    which: WhichArgs,
    /// Yes, for good
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: Admin,
}

impl Dlq {
    pub fn admin(&self) -> &Admin {
        match self {
            Self::List(list) => &list.admin,
            Self::Show(show) => &show.admin,
            Self::Redrive(redrive) => &redrive.admin,
            Self::Export(export) => &export.admin,
            Self::Purge(purge) => &purge.admin,
        }
    }

    /// None: all is told already.
    pub async fn run(
        &self,
        server: &Server,
        colour: bool,
        out: &mut impl Write,
    ) -> Result<Option<Reply>, Failure> {
        Ok(match self {
            Self::List(list) => Some(show::list(list, server).await?.into()),
            Self::Show(show) => Some(show::one(show, server, colour).await?.into()),
            Self::Redrive(order) => Some(redrive::run(order, server).await?.into()),
            Self::Export(export) => export::run(export, server, out).await?.map(Reply::from),
            Self::Purge(order) => Some(purge(order, server).await?.into()),
        })
    }
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            from: self.from,
            until: self.until,
            reason: self.reason.clone(),
            topic: self.topic.clone(),
            route: self.route.clone(),
        }
    }

    fn is_given(&self) -> bool {
        self.filter() != Filter::default()
    }

    /// As the end of a query; `from` apart.
    fn query(&self) -> String {
        let numbers = self.until.map(|until| format!("&until={until}"));
        let texts = [
            ("reason", &self.reason),
            ("topic", &self.topic),
            ("route", &self.route),
        ];
        let texts = texts.into_iter().filter_map(|(name, value)| {
            let value = utf8_percent_encode(value.as_deref()?, NON_ALPHANUMERIC);
            Some(format!("&{name}={value}"))
        });
        numbers.into_iter().chain(texts).collect()
    }
}

impl WhichArgs {
    fn which(&self) -> Result<Which, Failure> {
        let is_none = self.offsets.is_empty() && !self.filter.is_given() && !self.all;
        if is_none {
            return Err(Failure::usage(
                "it isn't said which letters",
                "name their offsets, give --reason, --topic, --route, --from or --until, or say --all",
            ));
        }
        Ok(Which {
            offsets: (!self.offsets.is_empty()).then(|| self.offsets.clone()),
            filter: self.filter.is_given().then(|| self.filter.filter()),
            all: self.all,
        })
    }
}

fn path_of(name: &str) -> String {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("/api/v1/dead-letters/{name}")
}

/// Goes on where the gateway looked no further.
async fn purge(order: &Purge, server: &Server) -> Result<Told, Failure> {
    let Which {
        offsets,
        mut filter,
        all,
    } = order.which.which()?;
    if !order.yes {
        return Err(Failure::usage(
            "purged letters are gone for good",
            "look at them with `dlq list`, keep them with `dlq export`, and say --yes",
        ));
    }
    let path = path_of(&order.name) + "/purge";
    let mut sum = 0;
    let purged = loop {
        let order = PurgeOrder {
            offsets: offsets.clone(),
            filter: filter.clone(),
            all,
        };
        let purged: Purged = read(&server.post(&path, &order).await?)?;
        sum += purged.purged;
        match (purged.next, &mut filter) {
            (Some(next), Some(filter)) => filter.from = Some(next),
            _ => break purged,
        }
    };
    let json: Value = json!({ "name": purged.name, "purged": sum });
    Ok(Told {
        ok: true,
        text: format!("purged {sum} dead letters of {:?}", purged.name),
        json,
    })
}
