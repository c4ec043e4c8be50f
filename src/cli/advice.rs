//! What to do about an error: a line for each that a gateway, or the way to it, can have.

use super::client::{ClientError, Problem};

pub(super) fn of(error: &ClientError) -> String {
    match error {
        ClientError::BadAddress(_) => "write http://HOST:PORT".to_owned(),
        ClientError::Unreachable { how, .. } => {
            format!("start it with `causeway run`; if it runs elsewhere, say where with {how}")
        }
        ClientError::Broken { .. } => {
            "see in the gateway's log whether it stopped; then run the command again".to_owned()
        }
        ClientError::Foreign { how, .. } => format!(
            "see that it is the right listener, of a gateway of this version (`causeway --version`); \
             else say where with {how}"
        ),
        ClientError::Refused(problem) => of_problem(problem).to_owned(),
    }
}

/// By the end of its type; docs/HTTP.md has them all.
pub(super) fn of_problem(problem: &Problem) -> &'static str {
    match problem.kind.as_str() {
        "backlog-full" => {
            "the destination takes less than what comes: `causeway status` shows its last error; \
             try again when it has caught up, or give it a larger `backlog`"
        }
        "batches" | "busy" | "in-flight-full" | "stream-pages" => {
            "the gateway has much to do at this moment: try again"
        }
        "body-timeout" => "the way to the gateway was too slow: try again",
        "connections" => "close connections to that listener, or raise [limits] connections",
        "content-encoding" => "send it as it is, or in gzip or zstd",
        "content-type" => "see docs/HTTP.md for the content type that this path takes",
        "dead-lettered" => {
            "don't send it again: it is kept in the dead letters; `causeway dlq list` shows why, and \
             `causeway dlq redrive` delivers it once that is mended"
        }
        "dead-letters-failed" => "see the gateway's log: the dead letters can't be read",
        "dedup-full" => "try again when ids have left the window, or raise [dedup] max_entries",
        "discarded" => "see `causeway status` for why its destination discards messages",
        "drop-failed" => "see the gateway's log for what failed",
        "drop-refused" => {
            "take the destination out of routes.toml and `causeway reload` first, or act as it says"
        }
        "lane-refused" => "`causeway status` shows the state that the lane is in",
        "earlier-refused" => "see why the earlier line was refused, and send both again",
        "event-readers" => "end readers of events that nobody needs, and try again",
        "foreign-host" => {
            "name the gateway by the address that it listens on, such as http://127.0.0.1:PORT: a \
             listener on loopback takes no other name"
        }
        "foreign-origin" => {
            "ask from a program: a listener on loopback takes nothing from web pages"
        }
        "head-too-large" => "send fewer or shorter headers, or raise [limits] header_bytes",
        "id-conflict" => {
            "give another message another id; to send the first one again, send it as it was"
        }
        "id-needed" => "give it an id: a route of exactly_once, or with `delay`, needs one",
        "internal" => "send it again under the same id, and report what the gateway's log says",
        "journal-failed" => "restart the gateway once its disk is well; its log says what failed",
        "journal-full" => {
            "make room: let destinations catch up (`causeway status`), raise [journal] max_bytes, or \
             free some of the disk"
        }
        "malformed" => "correct what it names, and send it again",
        "no-answer" => "see in the gateway's log whether it hangs or is stopping; try again",
        "no-route" => "`causeway explain TOPIC` shows why no route matches; add one to routes.toml",
        "offset-gone" => "its retention has let them go; go on with --from earliest",
        "outcome-pending" => "it is stored: look it up with `causeway trace`, don't send it again",
        "redrive-running" => "wait for its end, or stop it: POST /api/v1/redrives/ID/stop",
        "reload-refused" => {
            "nothing was changed: correct what it names (`causeway check` shows it too), and reload"
        }
        "route-refused" => {
            "`causeway explain` shows how the route goes; correct the message, or the route's \
             expression or its `on_error`"
        }
        "stopping" => "try again when the gateway runs again",
        "stream-failed" => "see the gateway's log and `causeway status`: the stream can't be read",
        "taps" => "end a `causeway tap` that nobody needs, and try again",
        "too-large" | "too-many" => "send less, or raise the setting that it names",
        "unknown-dead-letter" => "`causeway dlq list` shows those that there are",
        "unknown-lane" => "`causeway status` lists the lanes",
        "unknown-message" => {
            "see that id and topic are those of the publish; ids are known for [dedup] window, and \
             longer while the message is in the journal"
        }
        "unknown-method" | "unknown-path" => {
            "see that it is the right listener, of a gateway of this version (`causeway --version`)"
        }
        "unknown-redrive" => "give the order again: it goes on with what is left",
        "unknown-stream" => {
            "`causeway status` lists the streams: each is a destination of that type"
        }
        _ => {
            "see the gateway's log; is that a gateway, and of this version (`causeway --version`)?"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::http::Kind;

    #[test]
    fn every_problem_of_a_gateway_has_a_line_of_its_own() {
        let advice = |kind: &str| {
            of_problem(&Problem {
                kind: kind.to_owned(),
                ..Problem::default()
            })
        };
        let unknown = advice("of a newer version");
        for kind in Kind::ALL {
            let advice = advice(kind.as_str());
            assert_ne!(advice, unknown, "{kind:?}");
            assert!(!advice.contains('\n') && !advice.ends_with('.'), "{advice}");
        }
    }
}
