//! `explain`: what would become of a message, by the file's rules or the running gateway's.

mod render;
#[cfg(test)]
mod tests;

use super::client::Server;
use super::exit::{Code, EXIT_CODES, Failure, Reply};
use super::operate::read;
use super::publish::{parse_header, read_data};
use super::{Admin, House, of_house};
use crate::admin::explanation::Explanation;
use crate::config::cases::{Data, Sample};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
pub(super) use render::Shown;
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Nothing is published. It ends with 1 where the publish would be refused.

The id of a delivery is made with a secret of the journal: it is told if the data folder is here, or
by the running gateway (--live).";

#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub(super) struct Explain {
    /// Where it would be published
    topic: String,
    /// The payload: as it stands here, a file's content (@FILE), or what comes on stdin (-)
    #[arg(short, long, value_name = "DATA", allow_negative_numbers = true)]
    data: Option<String>,
    /// The message's id
    #[arg(long)]
    id: Option<String>,
    /// Messages of one key keep their order
    #[arg(long)]
    key: Option<String>,
    /// A header of the message; may repeat
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// What the payload is
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Where it comes from: http, grpc, mqtt, or the name of a source
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Ask the running gateway, which may have another file loaded
    #[arg(long)]
    live: bool,
    /// Show every route that doesn't match
    #[arg(long)]
    all: bool,
    /// Append it as a case for `causeway test`, to FILE or routes.test.toml beside the configuration
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true
    )]
    #[allow(
        clippy::option_option,
        reason = "clap's form of an option with an optional value"
    )]
    save: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub admin: Admin,
}

impl Explain {
    /// Whether the running gateway is to be asked.
    pub const fn is_live(&self) -> bool {
        self.live
    }

    fn sample(&self) -> Result<Sample, Failure> {
        let data = match &self.data {
            None => None,
            Some(words) => {
                let bytes = read_data(words)?;
                Some(match String::from_utf8(bytes.to_vec()) {
                    Ok(text) => Data::Text(text),
                    Err(_) => Data::Bytes(bytes),
                })
            }
        };
        Ok(Sample {
            topic: self.topic.clone(),
            data,
            id: self.id.clone(),
            key: self.key.clone(),
            headers: self.headers.clone(),
            content_type: self.content_type.clone(),
            from: self.from.clone(),
        })
    }

    /// By the file's rules.
    pub fn offline(&self, config: &Path, house: &House, shown: Shown) -> Result<Reply, Failure> {
        let sample = self.sample()?;
        let found = of_house((house.explain)(config, &sample))?;
        self.reply(&sample, &found, config, house, shown)
    }

    /// By the running gateway's.
    pub async fn live(
        &self,
        server: &Server,
        config: &Path,
        house: &House,
        shown: Shown,
    ) -> Result<Reply, Failure> {
        let sample = self.sample()?;
        let json = server.post("/api/v1/explain", &question(&sample)).await?;
        let found: Explanation = read(&json)?;
        self.reply(&sample, &found, config, house, shown)
    }

    fn reply(
        &self,
        sample: &Sample,
        found: &Explanation,
        config: &Path,
        house: &House,
        shown: Shown,
    ) -> Result<Reply, Failure> {
        let shown = Shown {
            all: shown.all || self.all,
            ..shown
        };
        let mut text = render::text(found, shown);
        let mut json = serde_json::to_value(found).expect("its maps have text as keys");
        if let Some(to) = &self.save {
            let to = of_house((house.save_case)(config, to.as_deref(), sample, found))?;
            text.push_str(&format!("\nsaved as a case in {}\n", to.display()));
            json["saved_to"] = to.display().to_string().into();
        }
        Ok(Reply {
            code: match found.refused {
                None => Code::Done,
                Some(_) => Code::Failed,
            },
            text,
            json,
        })
    }
}

/// A line of a batch (docs/HTTP.md), and where it comes from.
#[derive(Serialize)]
struct Question<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    headers: Pairs<'a>,
    content_type: String,
    data_base64: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
}

/// A member a header: their order is kept, also where a name stands twice.
struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn question(sample: &Sample) -> Question<'_> {
    Question {
        topic: &sample.topic,
        id: sample.id.as_deref(),
        key: sample.key.as_deref(),
        headers: Pairs(&sample.headers),
        content_type: sample.content_type(),
        data_base64: STANDARD.encode(sample.payload()),
        from: sample.from.as_deref(),
    }
}
