//! Secrets: where they are read from, and that they are never shown.

use super::*;

/// What a RabbitMQ destination with this password is told.
fn password(
    folder: &tempfile::TempDir,
    password: &str,
    environment: &[(&str, &str)],
) -> Vec<String> {
    let text = format!(
        "{FILE}\n[destinations.tasks]\ntype = \"rabbitmq\"\nurl = \"amqp://a\"\npassword = {password}\n"
    );
    let file = folder.path().join("routes.toml");
    std::fs::write(&file, text).expect("it can be written");
    let mut sources = Sources::file(file);
    let variables = environment.iter();
    sources.environment = variables.map(|(n, v)| ((*n).into(), (*v).into())).collect();
    let problems = check(&sources).problems;
    problems.into_iter().map(|p| p.message).collect()
}

#[test]
fn a_secret_is_read_from_where_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s/secret");
    std::fs::create_dir(folder.path().join("s")).expect("a folder");
    let write = |text: &[u8], mode: u32| {
        std::fs::write(&file, text).expect("it can be written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, mode).expect("it is ours");
    };
    let said = |text: &str| password(&folder, text, &[("SECRET", "x"), ("EMPTY", "")]);
    let beside = "{ file = \"s/secret\" }";
    write(b"hunter2\n", 0o640);
    assert_eq!(said(beside), [""; 0]);
    assert_eq!(said(&format!("{{ file = {file:?} }}")), [""; 0]);
    assert_eq!(said("{ env = \"SECRET\" }"), [""; 0]);
    assert!(said("{ env = \"EMPTY\" }")[0].contains("EMPTY is empty"));
    assert!(said("{ env = \"SECRETS\" }")[0].contains("SECRETS isn't set"));
    assert!(said("\"hunter2\"")[0].contains("plain-text secret"));
    write(b"hunter2", 0o644);
    assert!(said(beside)[0].contains("\"s/secret\" can be read by everybody"));
    write(b"\n", 0o600);
    assert!(said(beside)[0].contains("is empty"));
    write(b"\xff", 0o600);
    assert!(said(beside)[0].contains("UTF-8"));
    write(&[b'x'; 65_537], 0o600);
    assert!(said(beside)[0].contains("more than 65536 bytes"));
}

#[test]
fn a_secret_of_the_environment_is_text_and_no_plain_text_in_a_file() {
    let text = format!("{FILE}\n[destinations.tasks]\ntype = \"rabbitmq\"\nurl = \"amqp://a\"\n");
    for written in ["", "password = { env = \"X\" }\n"] {
        let name = "CAUSEWAY__DESTINATIONS__TASKS__PASSWORD";
        let config = config(&format!("{text}{written}"), &[(name, "111111")], &[]);
        let report = check(&config.sources);
        assert!(report.problems.is_empty(), "{}", report.to_text());
        assert!(!format!("{:?}", config.sources).contains("111111"));
    }
}

#[test]
fn a_secret_is_never_printed() {
    let text = "password = \"hunter2\"";
    let document = Document::parse(FileName::new(0, "a"), text).expect("TOML");
    let sources = Sources::file("a");
    let mut problems = Vec::new();
    let whole = files::to_dict(&document, &mut problems);
    let files = Files::one(document);
    let layers = Layers::merge(whole, &sources, &mut problems);
    let reader = Reader::new(&files, &layers, &sources);
    let secret = secret::read_secret(&reader.root(), "password").expect("it is there");
    assert_eq!(secret.expose(), "hunter2");
    assert_eq!(format!("{secret} {secret:?}"), "*** ***");
}
