//! Every way to log in, of a build with `kafka-tls`.

use super::{counts, gateway, lane, settings, wait_delivered};
use crate::egress::kafka::shared;
use crate::support::brokers::done;
use crate::support::kafka::{create_topic, read_topic};
use crate::support::wait::wait_for;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_brokers::kafka::USER;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PATIENCE: Duration = Duration::from_secs(60);

/// One that nobody signed, for an hour.
fn token(user: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let claims = format!(
        "{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{}}}",
        now + 3_600
    );
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part("{\"alg\":\"none\"}"), part(&claims))
}

#[test]
fn by_every_way_in() {
    let test = "kafka::secure::by_every_way_in";
    let Some(kafka) = shared(test) else { return };
    let (ports, tls) = (kafka.ports(), kafka.dist().tls());
    create_topic(&ports.plain().to_string(), "secure", 1, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let secret = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("it can be written");
        format!("{{ file = {path:?} }}")
    };
    let (user, password) = USER;
    let password = secret("password", password);
    let token = secret("token", &token(user));
    let sasl = |mechanism: &str, password: &str| {
        format!(
            "sasl = {{ mechanism = \"{mechanism}\", username = \"{user}\", password = {password} }}"
        )
    };
    let ca = format!("ca = {:?}", tls.ca());
    let (cert, key) = (tls.client_certificate(), tls.client_key());
    let ways = [
        (ports.sasl(), sasl("PLAIN", &password)),
        (ports.sasl(), sasl("SCRAM-SHA-256", &password)),
        (ports.sasl(), sasl("SCRAM-SHA-512", &password)),
        (ports.sasl(), sasl("OAUTHBEARER", &token)),
        (ports.tls(), format!("tls = {{ {ca} }}")),
        (
            ports.mtls(),
            format!("tls = {{ {ca}, cert = {cert:?}, key = {key:?} }}"),
        ),
        // Its authority isn't ours: held, and said.
        (ports.tls(), "tls = {}".to_owned()),
    ];
    let last = ways.len() - 1;
    let (mut file, mut names) = (String::new(), Vec::new());
    for (n, (address, how)) in ways.iter().enumerate() {
        let name = if n == last {
            "sink".to_owned()
        } else {
            format!("way-{n}")
        };
        file.push_str(&format!(
            "[destinations.{name}]\ntype = \"kafka\"\nbrokers = [\"{address}\"]\ntopic = \"secure\"\n{how}\n"
        ));
        names.push(format!(
            "{{ destination = \"{name}\", headers = {{ way = \"{n}\" }} }}"
        ));
    }
    let to = names.join(", ");
    file.push_str(&format!(
        "[[routes]]\nname = \"all\"\ntopic = \"#\"\nto = [{to}]\n"
    ));
    let gateway = gateway(&file);
    let response = gateway.client(PATIENCE).post("/v1/topics/a", &[], b"x");
    assert_eq!(response.expect("it answers").status, 202);
    let plain = ports.plain().to_string();
    let expected: Vec<String> = (0..last).map(|n| n.to_string()).collect();
    wait_for(PATIENCE, || {
        let records = read_topic(&plain, "secure");
        let mut came: Vec<String> = records.iter().map(|record| record.text("way")).collect();
        came.sort();
        (came == expected).then_some(()).ok_or(format!("{came:?}"))
    });
    wait_for(PATIENCE, || {
        let lane = lane(&gateway);
        let error = lane["last_error"].as_str().unwrap_or_default();
        error
            .contains("certificate")
            .then_some(())
            .ok_or(lane.to_string())
    });
    assert_eq!(counts(&gateway).pending, 1);
}

/// The password is put right at the brokers: no reload is needed.
#[test]
fn a_refused_login_stops_the_lane_until_it_is_mended() {
    let test = "kafka::secure::a_refused_login_stops_the_lane_until_it_is_mended";
    let Some(kafka) = shared(test) else { return };
    let (plain, sasl) = (
        kafka.ports().plain().to_string(),
        kafka.ports().sasl().to_string(),
    );
    create_topic(&plain, "refused", 1, 1, &[]);
    let change_password = |password: &str| {
        let password = format!("SCRAM-SHA-256=[password={password}]");
        let who = ["--entity-type", "users", "--entity-name", "changed"];
        let how = ["--bootstrap-server", &plain, "--alter", "--add-config"];
        let args = [&how[..], &[&password], &who].concat();
        done(kafka.dist().tool("kafka.admin.ConfigCommand", &args));
    };
    change_password("another-one");
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "hunter2").expect("it can be written");
    let more = format!(
        "topic = \"refused\"\nbreaker = {{ failures = 5, probe_every = \"1s\" }}\nsasl = {{ mechanism = \"SCRAM-SHA-256\", \
         username = \"changed\", password = {{ file = {password:?} }} }}"
    );
    let gateway = gateway(&settings(&format!("{sasl:?}"), &more));
    let response = gateway.client(PATIENCE).post("/v1/topics/a", &[], b"x");
    assert_eq!(response.expect("it answers").status, 202);
    wait_for(PATIENCE, || {
        let lane = lane(&gateway);
        let error = lane["last_error"].as_str().unwrap_or_default();
        let is_said = lane["state"] == "stopped" && error.contains("uthentication failed");
        is_said.then_some(()).ok_or(lane.to_string())
    });
    let shown = gateway.log_tail() + &lane(&gateway).to_string();
    assert!(!shown.contains("hunter2"), "a secret is shown: {shown}");
    assert_eq!(counts(&gateway).pending, 1);
    change_password("hunter2");
    wait_delivered(&gateway, 1);
}
