//! `trace`: where a message is.

use super::ServerArg;
use super::advice::of_problem;
use super::client::{ClientError, Server};
use super::exit::{Code, EXIT_CODES, Failure, Kind, Reply};
use super::receipt::{Receipt, reply};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Trace {
    /// The message's id
    id: String,
    /// The topic that it was published to
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    #[command(flatten)]
    pub server: ServerArg,
}

pub(super) async fn run(trace: &Trace, server: &Server, colour: bool) -> Result<Reply, Failure> {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let (id, topic) = (encoded(&trace.id), encoded(&trace.topic));
    let found = server
        .get(&format!("/v1/messages?id={id}&topic={topic}"))
        .await;
    match found {
        Ok(json) => {
            let receipt = Receipt::read(&json).ok_or_else(|| server.foreign("it has no state"))?;
            Ok(reply(Code::Done, &receipt, json, colour))
        }
        Err(ClientError::Refused(problem)) if problem.kind == "unknown-message" => {
            let text = format!(
                "no message {:?} of topic {:?} is known: {}",
                trace.id, trace.topic, problem.detail
            );
            let help = of_problem(&problem);
            Err(Failure {
                problem: problem.json,
                ..Failure::new(Code::NotFound, Kind::Refused, text, help)
            })
        }
        Err(error) => Err(error.into()),
    }
}
