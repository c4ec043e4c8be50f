//! The servers that other scenarios lean on: they start, stand still, go on, die and come back as told.

use crate::support::brokers::{
    done, kafka_java, kcat, own_kafka, own_rabbitmq, second_node, shared_kafka, shared_rabbitmq,
};
use crate::support::wait::{wait_for, wait_until};
use causeway_brokers::rabbitmq::{self, Rabbitmq};
use causeway_brokers::{ANSWER_LIMIT, Probe, Server};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for a server that runs to answer.
const SILENCE: Duration = Duration::from_millis(500);

/// What kcat says of a topic, or why it doesn't.
fn described(test: &str, address: SocketAddr, topic: &str) -> Result<String, String> {
    let mut kcat = kcat(test).ok_or("no kcat")?;
    let broker = address.to_string();
    let output = kcat
        .args(["-b", &broker, "-L", "-J", "-t", topic, "-m", "5"])
        .output();
    let output = output.expect("kcat runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(said + &String::from_utf8_lossy(&output.stderr))
    }
}

/// Writes one message by kcat, with these settings.
fn produced(kcat: &mut Command, settings: &[&str], topic: &str) -> Result<(), String> {
    let settings = settings.iter().flat_map(|setting| ["-X", setting]);
    let patience = ["-X", "message.timeout.ms=15000"];
    kcat.args(settings).args(patience).args(["-P", "-t", topic]);
    let pipes = kcat
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("kcat runs");
    let mut input = child.stdin.take().expect("it was piped");
    // If it has ended already it says why.
    let _ = input.write_all(b"hello\n");
    drop(input);
    let output = child.wait_with_output().expect("kcat ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

/// Asks until it answers: a server that goes on may first do what waited.
fn wait_answer(server: &Server) {
    wait_for(PATIENCE, || server.answers(ANSWER_LIMIT));
}

/// Frozen: silent, not refused. Resumed: there again.
fn freeze_and_resume(server: &Server) {
    assert_eq!(server.answers(ANSWER_LIMIT), Ok(()));
    done(server.freeze());
    let seen = server
        .answers(SILENCE)
        .expect_err("a frozen server is silent");
    assert!(!seen.contains("refused"), "{seen}");
    done(server.resume());
    wait_answer(server);
}

/// Killed: refused.
fn kill(server: &mut Server) {
    server.kill();
    let seen = server
        .answers(ANSWER_LIMIT)
        .expect_err("a killed server is gone");
    assert!(seen.contains("refused"), "{seen}");
    assert_eq!(server.pid(), None);
}

#[test]
fn kafka_freezes_dies_and_comes_back_with_its_data() {
    let test = "brokers::kafka_freezes_dies_and_comes_back_with_its_data";
    let Some(mut kafka) = own_kafka(test) else {
        return;
    };
    done(kafka.create_topic("kept", 3, 1));
    freeze_and_resume(&kafka);
    for how in [kill, |server: &mut Server| done(server.stop())] {
        how(&mut kafka);
        done(kafka.start());
        let address = kafka.ports().plain();
        wait_for(PATIENCE, || {
            let said = described(test, address, "kept")?;
            (said.matches("\"leader\":1").count() == 3)
                .then_some(())
                .ok_or(said)
        });
    }
}

/// What leader changes need: a topic on both nodes outlives the second one.
#[test]
fn kafka_takes_a_second_node() {
    let test = "brokers::kafka_takes_a_second_node";
    let Some(kafka) = own_kafka(test) else {
        return;
    };
    let mut second = second_node(&kafka);
    done(kafka.create_topic("both", 2, 2));
    let address = kafka.ports().plain();
    let leaders = |one: usize, two: usize| {
        wait_for(PATIENCE, || {
            let said = described(test, address, "both")?;
            let of = |node| said.matches(&format!("\"leader\":{node}")).count();
            ((of(1), of(2)) == (one, two)).then_some(()).ok_or(said)
        });
    };
    leaders(1, 1);
    kill(&mut second);
    leaders(2, 0);
    done(second.start());
    wait_until(PATIENCE, "both copies are in sync", || {
        let what = [
            "--describe",
            "--topic",
            "both",
            "--under-replicated-partitions",
        ];
        done(kafka.tool("TopicCommand", &what)).trim().is_empty()
    });
    let how = ["--election-type", "preferred", "--all-topic-partitions"];
    done(kafka.tool("LeaderElectionCommand", &how));
    leaders(1, 1);
}

#[test]
fn kafka_lets_in_whom_it_should() {
    let test = "brokers::kafka_lets_in_whom_it_should";
    let Some(kafka) = own_kafka(test) else {
        return;
    };
    done(kafka.create_topic("open", 1, 1));
    done(kafka.create_topic("closed", 1, 1));
    done(kafka.refuse_writes("closed"));
    let to = |address: SocketAddr, settings: &[&str], topic: &str| {
        let mut kcat = kcat(test).expect("it comes with kafka's security tests");
        kcat.args(["-b", &format!("localhost:{}", address.port())]);
        produced(&mut kcat, settings, topic)
    };
    let ports = kafka.ports();
    assert_eq!(to(ports.plain(), &[], "open"), Ok(()));
    let refused = to(ports.plain(), &[], "closed").expect_err("nobody may write there");
    assert!(refused.contains("authorization failed"), "{refused}");

    let plain = ["security.protocol=sasl_plaintext", "sasl.mechanism=PLAIN"];
    let user = ["sasl.username=causeway", "sasl.password=causeway-secret"];
    assert_eq!(to(ports.sasl(), &[plain, user].concat(), "open"), Ok(()));
    let wrong = ["sasl.username=causeway", "sasl.password=wrong"];
    let refused = to(ports.sasl(), &[plain, wrong].concat(), "open").expect_err("wrong");
    assert!(refused.contains("uthentication failed"), "{refused}");
    let admin = ["sasl.username=admin", "sasl.password=admin-secret"];
    assert_eq!(to(ports.sasl(), &[plain, admin].concat(), "closed"), Ok(()));

    let tls = kafka.dist().tls();
    let setting = |name: &str, path: std::path::PathBuf| format!("{name}={}", path.display());
    let ca = setting("ssl.ca.location", tls.ca());
    let certificate = setting("ssl.certificate.location", tls.client_certificate());
    let key = setting("ssl.key.location", tls.client_key());
    let server_only = ["security.protocol=ssl", &ca];
    assert_eq!(to(ports.tls(), &server_only, "open"), Ok(()));
    let both = ["security.protocol=ssl", &ca, &certificate, &key];
    assert_eq!(to(ports.mtls(), &both, "open"), Ok(()));
    let refused = to(ports.mtls(), &server_only, "open").expect_err("no certificate");
    assert!(refused.contains("certificate"), "{refused}");
}

/// By Kafka's own client, since kcat's can't.
#[test]
fn kafka_knows_its_scram_users() {
    let test = "brokers::kafka_knows_its_scram_users";
    let Some(kafka) = own_kafka(test) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("client.properties");
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for (password, is_right) in [("causeway-secret", true), ("wrong", false)] {
            let text = format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n\
                 sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
                 required username=\"causeway\" password=\"{password}\";\n"
            );
            fs::write(&settings, text).expect("the test's folder is writable");
            let mut java = kafka_java(test).expect("a Kafka was started by it");
            let output = java
                .args(["org.apache.kafka.tools.TopicCommand", "--list"])
                .args(["--bootstrap-server", &kafka.ports().sasl().to_string()])
                .arg("--command-config")
                .arg(&settings)
                .output()
                .expect("java runs");
            let said =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.success(),
                is_right,
                "{mechanism} {password}: {said}"
            );
            assert_eq!(said.contains("Authentication failed"), !is_right, "{said}");
        }
    }
}

fn vhosts(rabbit: &Rabbitmq) -> Vec<String> {
    let said = done(rabbit.ctl(&["list_vhosts", "--no-table-headers"]));
    let mut names: Vec<String> = said.lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn rabbitmq_freezes_dies_and_comes_back_with_its_data() {
    let test = "brokers::rabbitmq_freezes_dies_and_comes_back_with_its_data";
    let Some(mut rabbit) = own_rabbitmq(test) else {
        return;
    };
    done(rabbit.ctl(&["add_vhost", "kept"]));
    let (user, password) = rabbitmq::USER;
    done(rabbit.ctl(&["authenticate_user", user, password]));
    freeze_and_resume(&rabbit);
    kill(&mut rabbit);
    done(rabbit.start());
    assert_eq!(vhosts(&rabbit), ["/", "kept"]);

    done(rabbit.ctl(&["stop_app"]));
    assert!(rabbit.answers(ANSWER_LIMIT).is_err());
    done(rabbit.ctl(&["start_app"]));
    wait_answer(&rabbit);
    done(rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]));
    done(rabbit.ctl(&["close_all_connections", "a test"]));
    assert_eq!(vhosts(&rabbit), ["/", "kept"]);
    done(rabbit.stop());
}

#[test]
fn shared_servers_answer() {
    let test = "brokers::shared_servers_answer";
    let host = |url: &str| {
        let (_, rest) = url.rsplit_once('@').unwrap_or(("", url));
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let shared = [
        (Probe::Kafka, shared_kafka(test)),
        (Probe::Amqp, shared_rabbitmq(test).map(|url| host(&url))),
    ];
    for (probe, address) in shared {
        let Some(address) = address else { continue };
        let mut found = std::net::ToSocketAddrs::to_socket_addrs(&address).expect("an address");
        let socket = found.next().expect("an address");
        assert_eq!(probe.ask(socket, ANSWER_LIMIT), Ok(()), "{address}");
    }
}
