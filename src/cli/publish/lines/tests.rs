//! Uploads against a listener that answers by a script.

use super::*;
use crate::cli::client::SAY_SERVER;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

type Answering = Box<dyn FnOnce(&[Value]) -> Response + Send>;

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answering>>>,
    /// The data of each request's lines.
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Script {
    fn then(self, answer: impl FnOnce(&[Value]) -> Response + Send + 'static) -> Self {
        self.answers.lock().unwrap().push_back(Box::new(answer));
        self
    }

    /// One result for each line: 202, or a problem of that status and kind.
    fn results(self, results: &'static [(u16, &'static str)]) -> Self {
        self.then(move |lines| {
            assert!(results.len() <= lines.len());
            let line = |(i, (status, kind)): (usize, &(u16, &str))| match status {
                202 => json!({"status": 202, "id": lines[i]["id"], "position": i,
                    "duplicate": *kind == "duplicate", "state": "stored", "targets": []}),
                _ => json!({"status": status, "type": format!("urn:causeway:problem:{kind}"),
                    "title": "No", "detail": format!("{kind}!")}),
            };
            let results: Vec<String> = results
                .iter()
                .enumerate()
                .map(|result| format!("{}\n", line(result)))
                .collect();
            results.concat().into_response()
        })
    }

    /// The whole request.
    fn whole(self, status: u16, kind: &'static str) -> Self {
        self.then(move |_| {
            let problem = json!({"type": format!("urn:causeway:problem:{kind}"), "detail": "no"});
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, problem.to_string()).into_response()
        })
    }

    async fn upload(&self, lines: &[&str], form: Form, limit: Duration) -> Ended {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(self.clone());
        let serving = tokio::spawn(async { axum::serve(listener, router).await });
        let server = Server::parse(&address, SAY_SERVER).unwrap();
        let mut upload = Upload::new(&server, form, limit);
        let (chunks, mut receiver) = mpsc::channel(1);
        let line = |(i, text): (usize, &&str)| Line {
            number: i as u64 + 1,
            bytes: text.as_bytes().to_vec(),
            taken: text.len() as u64 + 1,
        };
        let chunk: Vec<Line> = lines.iter().enumerate().map(line).collect();
        chunks.send(Ok(chunk)).await.unwrap();
        drop(chunks);
        let end = upload.all(&mut receiver).await;
        let failure = end.err().map(|failure| upload.explained(failure));
        serving.abort();
        assert!(self.answers.lock().unwrap().is_empty(), "not all was asked");
        Ended {
            failure,
            tally: upload.tally,
            asked: self.asked.lock().unwrap().clone(),
        }
    }
}

struct Ended {
    failure: Option<Failure>,
    tally: Tally,
    asked: Vec<Vec<String>>,
}

async fn answer(State(script): State<Script>, body: Bytes) -> Response {
    let lines: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let data = lines
        .iter()
        .map(|line| line["data"].as_str().unwrap().to_owned());
    script.asked.lock().unwrap().push(data.collect());
    let next = script.answers.lock().unwrap().pop_front();
    next.expect("one request more than the script has")(&lines)
}

fn form(id_prefix: Option<&str>, key: Option<&str>) -> Form {
    Form {
        topic: "a".into(),
        id_prefix: id_prefix.map(str::to_owned),
        key: key.map(str::to_owned),
        headers: Map::new(),
        content_type: "text/plain".into(),
        is_json: false,
    }
}

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn only_what_was_refused_for_now_is_sent_again() {
    let script = Script::default()
        .whole(503, "busy")
        .results(&[
            (202, ""),
            (503, "backlog-full"),
            (202, "duplicate"),
            (429, "quota"),
        ])
        .results(&[(202, ""), (202, "")]);
    let end = script
        .upload(&["a", "b", "c", "d"], form(None, None), LIMIT)
        .await;
    assert_eq!(end.failure, None);
    assert_eq!((end.tally.stored, end.tally.duplicates), (3, 1));
    let all = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let rest = ["b", "d"].map(str::to_owned).to_vec();
    assert_eq!(end.asked, [all.clone(), all, rest]);
}

#[tokio::test]
async fn a_line_of_a_key_is_not_refused_for_the_one_before_it() {
    let script = Script::default()
        .results(&[
            (202, ""),
            (413, "too-large"),
            (409, "whatever"),
            (409, "whatever"),
        ])
        .results(&[(202, ""), (202, "")]);
    let end = script
        .upload(&["a", "b", "c", "d"], form(None, Some("k")), LIMIT)
        .await;
    assert_eq!(end.failure, None);
    assert_eq!((end.tally.stored, end.tally.code()), (3, Code::Failed));
    assert!(
        end.tally
            .text()
            .ends_with("1 refused\n  line 2 (413): too-large!"),
        "{}",
        end.tally.text()
    );
}

#[tokio::test]
async fn what_is_in_doubt_is_sent_again_only_with_ids() {
    let cut = || Script::default().results(&[(202, ""), (500, "internal")]);
    let end = cut()
        .upload(&["a", "b", "c"], form(None, None), LIMIT)
        .await;
    let failure = end.failure.expect("nobody can tell");
    assert_eq!(failure.code, Code::Failed);
    assert!(
        failure.text.contains(
            "\nit is unknown whether these lines are stored: 2-3\nno line after 3 was sent"
        ),
        "{}",
        failure.text
    );
    assert!(
        failure.help.contains("with --id-prefix"),
        "{}",
        failure.help
    );
    assert_eq!(end.tally.lines, 1);

    let script = cut().results(&[(202, "duplicate"), (202, "")]);
    let end = script
        .upload(&["a", "b", "c"], form(Some("p"), None), LIMIT)
        .await;
    assert_eq!(end.failure, None);
    assert_eq!((end.tally.stored, end.tally.duplicates), (2, 1));
    assert_eq!(end.asked[1], ["b", "c"]);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_cut() {
    let script = Script::default()
        .whole(413, "too-large")
        .results(&[(202, ""), (202, "")])
        .whole(413, "too-large")
        .whole(413, "too-large")
        .results(&[(202, "")]);
    let end = script
        .upload(&["a", "b", "c", "d"], form(None, None), LIMIT)
        .await;
    assert_eq!(end.failure, None);
    assert_eq!(end.tally.stored, 3);
    assert!(
        end.tally.text().contains("\n  line 3 (413): no"),
        "{}",
        end.tally.text()
    );
}

#[tokio::test]
async fn it_gives_up_and_says_where_to_go_on() {
    let script = Script::default().results(&[(202, ""), (503, "busy"), (202, ""), (503, "busy")]);
    let lines = ["a", "b", "c", "d"];
    let end = script
        .upload(&lines, form(Some("p"), None), Duration::ZERO)
        .await;
    let failure = end.failure.expect("no patience");
    assert_eq!(failure.code, Code::TryAgain);
    assert!(
        failure
            .text
            .contains("\nthese lines are not stored: 2, 4\nno line after 4 was sent"),
        "{}",
        failure.text
    );
    assert!(
        failure
            .help
            .ends_with("the same command goes on; what is stored isn't stored twice")
    );

    let script = Script::default().results(&[(404, "no-route"), (404, "no-route")]);
    let end = script.upload(&["a", "b"], form(None, None), LIMIT).await;
    assert_eq!(end.failure.expect("no route").code, Code::Failed);
}

#[test]
fn numbers_are_told_as_ranges() {
    assert_eq!(ranges([1, 2, 3, 7, 9, 10].into_iter()), "1-3, 7, 9-10");
    assert_eq!(ranges(std::iter::empty()), "");
}
