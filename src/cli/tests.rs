//! Commands from their arguments to what they tell, against an admin listener on a real socket.

use super::client::{SAY_ADMIN, SAY_SERVER};
use super::*;
use crate::admin::{
    self, DropError, Dropping, LIMITS, LaneOrderError, Question, ReloadError, Reloaded,
    explanation, status,
};
use crate::door::taps::Taps;
use crate::ingress::{http, listener};
use clap::CommandFactory;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

fn house() -> House {
    House {
        run: |config, _| Err(format!("ran with {}", config.display())),
        check: |file| Told {
            ok: !file.ends_with("bad.toml"),
            text: format!("checked {}", file.display()),
            json: Value::Null,
        },
        explain: |file, sample| Err(format!("explained {} by {}", sample.topic, file.display())),
        save_case: |file, _, _, _| Ok(file.to_path_buf()),
        test: |file, files| Err(format!("tested {files:?} by {}", file.display())),
        admin_address: |config| match config.ends_with("quiet.toml") {
            true => Ok(None),
            false => Err(format!("{} is not there", config.display())),
        },
        http_address: |config| match config.ends_with("quiet.toml") {
            true => Ok(None),
            false => Err(format!("{} is not there", config.display())),
        },
        verify_journal: |_| {
            Ok(Told {
                ok: false,
                text: "counts differ".into(),
                json: json!(1),
            })
        },
        repair_journal: |_, accept_loss| match accept_loss {
            true => Err("the journal is in use".into()),
            false => Ok(Told {
                ok: false,
                text: "it would be repaired".into(),
                json: json!({}),
            }),
        },
    }
}

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(words.split(' '))
}

fn told(words: &str) -> Result<Option<Reply>, String> {
    ended(words).map_err(|failure| failure.text)
}

fn ended(words: &str) -> Result<Option<Reply>, Failure> {
    answer(&parse(words).expect("understood"), &house(), false)
}

/// An admin listener on its own thread, until the sender is dropped.
fn listener() -> (SocketAddr, oneshot::Sender<()>) {
    let (address_to, address) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let served = block_on(async {
            let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = listener::bind(any_port, "listen.admin")
                .await
                .expect("a free port");
            address_to
                .send(listener.local_addr().expect("bound"))
                .expect("the test waits");
            let (control, questions) = admin::control();
            let router = http::App::from(admin::admin_router(control));
            let counters = Arc::new(listener::Counters::default());
            let never = watch::Sender::new(false);
            tokio::select! {
                () = listener::serve(listener, router, LIMITS, counters, never.subscribe()) => {}
                () = gateway(questions) => {}
                _ = stopped => {}
            }
            Ok(())
        });
        served.expect("a runtime");
    });
    (address.recv().expect("the listener starts"), stop)
}

async fn gateway(mut questions: tokio::sync::mpsc::Receiver<Question>) {
    let mut reloads = 0;
    let taps = Arc::new(Taps::default());
    while let Some(question) = questions.recv().await {
        match question {
            Question::Status(answer) => drop(answer.send(status::sample())),
            Question::Reload(answer) => {
                reloads += 1;
                drop(answer.send(reload(reloads)));
            }
            Question::Tap { wanted, answer } => drop(answer.send(taps.open(*wanted))),
            // Dead letters are asked of real gateways: tests/dead_letters.
            Question::Letters(_) => {}
            Question::Explain { envelope, answer } => {
                drop(answer.send(explanation::of_nothing(&envelope)));
            }
            Question::OrderLane { lane, answer, .. } => {
                let told = Err(LaneOrderError::UnknownLane {
                    lane,
                    known: vec!["old/one".into()],
                });
                drop(answer.send(told));
            }
            Question::DropLane {
                lane,
                discard,
                answer,
            } => {
                let told = match lane.as_str() {
                    "old/one" => Ok(Dropping {
                        lane,
                        deliveries: 3,
                        bytes: 4_096,
                        discard,
                    }),
                    _ => Err(DropError::UnknownLane {
                        lane,
                        known: vec!["old/one".into()],
                    }),
                };
                drop(answer.send(told));
            }
        }
    }
}

/// The first is taken.
fn reload(number: u64) -> Result<Reloaded, ReloadError> {
    match number {
        1 => Ok(Reloaded {
            generation: 2,
            changed: vec!["+destination events".into(), "~route orders".into()],
            restart_needed: vec!["[listen] http".into()],
        }),
        2 => Err(ReloadError::Refused {
            generation: 2,
            text: "routes.toml:3:1: error: no\n  |".into(),
            problems: json!([]),
        }),
        _ => Err(ReloadError::Stopping),
    }
}

#[test]
fn a_reload_says_what_it_did_or_why_not() {
    let (address, _stop) = listener();
    let words = format!("causeway reload --admin {address}");
    let told = told(&words).expect("it answers").expect("it tells");
    assert_eq!(
        told.text,
        "generation 2\n+destination events\n~route orders\nwaits for a restart: [listen] http"
    );
    assert_eq!(told.json["generation"], 2);
    let failure = ended(&words).expect_err("refused");
    assert_eq!(failure.code, Code::Failed);
    assert_eq!(
        failure.text,
        "the gateway refused (422): routes.toml:3:1: error: no\n  |"
    );
    assert_eq!(failure.problem.expect("a problem")["generation"], 2);
    let failure = ended(&words).expect_err("refused");
    assert_eq!(failure.code, Code::TryAgain);
}

#[test]
fn a_message_is_explained_by_the_file_or_by_the_gateway() {
    assert_eq!(
        told("causeway explain a/b --config a.toml"),
        Err("explained a/b by a.toml".into())
    );
    let (address, stop) = listener();
    let live = format!("causeway explain a/b --live --from clicks -d x --admin {address}");
    let reply = told(&live).expect("answered").expect("something");
    assert_eq!(reply.json["topic"], "a/b");
    assert_eq!(reply.json["routes"][0]["route"], "source:clicks");
    let saved = told(&format!("{live} --save=b.toml")).expect("answered");
    let saved = saved.expect("something");
    let words = "saved as a case in ./routes.toml";
    assert!(saved.text.contains(words), "{}", saved.text);
    assert_eq!(saved.json["saved_to"], "./routes.toml");
    drop(stop);
    for bad in ["causeway explain", "causeway explain a -H novalue"] {
        assert_eq!(
            parse(bad).expect_err("not understood").exit_code(),
            2,
            "{bad}"
        );
    }
}

#[test]
fn cases_are_those_that_are_named() {
    assert_eq!(
        told("causeway test"),
        Err("tested [] by ./routes.toml".into())
    );
    assert_eq!(
        told("causeway test a.toml b.toml"),
        Err("tested [\"a.toml\", \"b.toml\"] by ./routes.toml".into())
    );
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn without_a_command_the_gateway_runs() {
    assert_eq!(told("causeway"), Err("ran with ./routes.toml".into()));
    assert_eq!(
        told("causeway --config a.toml"),
        Err("ran with a.toml".into())
    );
    assert_eq!(
        told("causeway run --config a.toml"),
        Err("ran with a.toml".into())
    );
}

#[test]
fn check_takes_the_file_as_its_argument() {
    for (words, ok, file) in [
        ("causeway check", true, "./routes.toml"),
        ("causeway check bad.toml", false, "bad.toml"),
        ("causeway --config bad.toml check", false, "bad.toml"),
        (
            "causeway --config bad.toml check good.toml",
            true,
            "good.toml",
        ),
    ] {
        let told = told(words).expect("it checks").expect("it tells");
        assert_eq!(
            (told.code == Code::Done, told.text),
            (ok, format!("checked {file}")),
            "{words}"
        );
    }
}

#[test]
fn a_repair_needs_the_word() {
    let said = told("causeway journal repair").expect("it looks");
    assert_eq!(said.expect("it tells").text, "it would be repaired");
    let repair = told("causeway journal repair --accept-loss");
    assert_eq!(repair, Err("the journal is in use".into()));
    let verify = told("causeway journal verify")
        .expect("it walks")
        .expect("it tells");
    assert_eq!(verify.code, Code::Failed);
}

#[test]
fn what_is_not_understood_is_2_and_help_is_0() {
    for (words, code) in [
        ("causeway fly", 2),
        ("causeway lane drop", 2),
        ("causeway check --nothing", 2),
        ("causeway --log-level loud", 2),
        ("causeway --help", 0),
        ("causeway --version", 0),
    ] {
        assert_eq!(
            parse(words).expect_err("not a command").exit_code(),
            code,
            "{words}"
        );
    }
    let help = Cli::command().render_long_help().to_string();
    assert!(!help.contains("\n  replay "), "{help}");
    assert!(help.contains("\n  dlq "), "{help}");
}

#[test]
fn status_is_asked_of_a_running_gateway() {
    let (address, _stop) = listener();
    let told = told(&format!("causeway status --admin http://{address}"));
    let told = told.expect("it answers").expect("it tells");
    assert_eq!(told.code, Code::Done);
    assert_eq!(told.text, table::render(&status::sample(), false));
    assert_eq!(Some(told.json), serde_json::to_value(status::sample()).ok());
}

#[test]
fn a_lane_is_dropped_by_name() {
    let (address, _stop) = listener();
    let drop = |name: &str, flag: &str| {
        told(&format!(
            "causeway lane drop {name}{flag} --admin {address}"
        ))
    };
    let told = drop("old/one", "").expect("it answers").expect("it tells");
    assert!(
        told.text
            .starts_with("lane \"old/one\" puts into its dead letters"),
        "{}",
        told.text
    );
    assert!(told.text.contains("3 deliveries, 4.0 KiB"), "{}", told.text);
    let told = drop("old/one", " --discard")
        .expect("it answers")
        .expect("it tells");
    assert!(
        told.text.starts_with("lane \"old/one\" discards"),
        "{}",
        told.text
    );
    assert_eq!(
        drop("new", ""),
        Err("the gateway refused (404): there is no lane \"new\"; there are: old/one".into())
    );
}

#[test]
fn a_gateway_that_is_not_there_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    drop(taken);
    let failure = ended(&format!("causeway status --admin {address}"));
    let failure = failure.expect_err("nobody is there");
    assert_eq!(failure.code, Code::TryAgain);
    let (error, help) = (failure.text, failure.help);
    assert!(
        error.starts_with(&format!("no gateway answers at http://{address}: ")),
        "{error}"
    );
    assert!(
        help.contains("causeway run") && help.contains("--admin URL"),
        "{help}"
    );

    for (command, how) in [
        ("--config a.toml status", SAY_ADMIN),
        ("--config a.toml tail inbox", SAY_SERVER),
        ("--config a.toml trace i --topic a", SAY_SERVER),
        ("--config a.toml publish a -d x", SAY_SERVER),
    ] {
        let failure = ended(&format!("causeway {command}")).expect_err("no file");
        assert_eq!(failure.text, "a.toml is not there");
        let help = format!("or say where the gateway is with {how}");
        assert!(failure.help.ends_with(&help), "{}", failure.help);
    }
    let error = told("causeway --config quiet.toml status").expect_err("no listener");
    assert!(
        error.starts_with("quiet.toml has no admin listener"),
        "{error}"
    );
    let error = told("causeway --config quiet.toml tail inbox").expect_err("no listener");
    assert!(
        error.starts_with("quiet.toml has no http listener"),
        "{error}"
    );
    let failure = ended("causeway status --admin ftp://x:1").expect_err("no");
    assert_eq!(failure.code, Code::Usage);
    assert!(
        failure.text.contains("is no address of a gateway"),
        "{}",
        failure.text
    );
}
