use super::*;
use crate::admin::explanation::DeliveryIdAnswer;
use tempfile::TempDir;

const ROUTES: &str = r#"
version = 1

[listen]
http = "127.0.0.1:0"

[destinations.inbox]
type = "stream"

[[routes]]
name = "orders"
topic = "orders/{shop}"
to = [{ destination = "inbox", key = "${shop}" }]
"#;

/// A folder with `routes.toml` and these files; the first is the configuration.
fn folder(files: &[(&str, &str)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("routes.toml");
    fs::write(&file, ROUTES).expect("the folder is writable");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("the folder is writable");
    }
    (folder, file)
}

fn case(shop: &str, key: &str) -> String {
    format!(
        "[[test]]\npublish = {{ topic = \"orders/{shop}\" }}\n\
         expect = [{{ route = \"orders\", destination = \"inbox\", key = \"{key}\" }}]\n"
    )
}

#[test]
fn the_cases_beside_the_file_are_run_or_those_that_are_named() {
    let (good, bad) = (case("a", "a"), case("b", "a"));
    let both = format!("{good}\n{bad}");
    let files = [("routes.test.toml", good.as_str()), ("more.toml", &both)];
    let (folder, file) = folder(&files);
    let told = test(&file, &[]).expect("it can be read");
    assert!(told.ok, "{}", told.text);
    assert!(told.text.ends_with("1 passed, 0 failed\n"), "{}", told.text);

    let more = folder.path().join("more.toml");
    let told = test(&file, &[more]).expect("it can be read");
    assert!(!told.ok);
    assert_eq!(
        (&told.json["passed"], &told.json["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(told.json["cases"][1]["line"], 5);
    let difference = "orders → inbox: key is \"b\", not \"a\"";
    assert_eq!(told.json["cases"][1]["differences"], json!([difference]));
    assert!(told.text.contains(&format!("\n          {difference}\n")));
}

#[test]
fn a_file_with_errors_keeps_the_others_from_nothing() {
    let good = case("a", "a");
    let files = [("broken.toml", "[[test]]\n"), ("good.toml", good.as_str())];
    let (folder, file) = folder(&files);
    let paths = ["broken.toml", "good.toml"].map(|name| folder.path().join(name));
    let told = test(&file, &paths).expect("they can be read");
    assert!(!told.ok);
    let summary = "1 passed, 0 failed, 1 file with errors\n";
    assert!(told.text.ends_with(summary), "{}", told.text);
    assert_eq!(told.json["broken"][0]["ok"], false);
    assert_eq!(told.json["cases"][0]["ok"], true);

    let missing = [folder.path().join("missing.toml")];
    let why = test(&file, &missing).expect_err("it isn't there");
    assert!(
        why.contains("there is no") && why.contains("--save"),
        "{why}"
    );
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_first() {
    let (folder, file) = folder(&[]);
    fs::write(&file, "version = 2\n").expect("the folder is writable");
    let why = test(&file, &[]).expect_err("it has errors");
    assert!(why.contains("version 2"), "{why}");
    let sample = Sample::default();
    let why = explain(&file, &sample).expect_err("it has errors");
    assert!(why.contains("version 2"), "{why}");
    drop(folder);
}

#[test]
fn cases_are_appended_and_hold() {
    let (folder, file) = folder(&[]);
    for (topic, data) in [("orders/a", "x"), ("none", "y"), ("orders//", "z")] {
        let sample = Sample {
            topic: topic.to_owned(),
            data: Some(cases::Data::Text(data.to_owned())),
            ..Sample::default()
        };
        let found = explain(&file, &sample).expect("the file holds");
        let ids = found.targets.iter().map(|target| &target.delivery_id);
        assert!(ids.into_iter().all(|id| *id == DeliveryIdAnswer::New));
        let to = save_case(&file, None, &sample, &found).expect("the folder is writable");
        assert_eq!(to, folder.path().join("routes.test.toml"));
    }
    let told = test(&file, &[]).expect("they can be read");
    assert!(told.ok, "{}", told.text);
    assert_eq!(told.json["passed"], 3);
    let nowhere = folder.path().join("missing/cases.toml");
    let found = explain(&file, &Sample::default()).expect("the file holds");
    let why = save_case(&file, Some(&nowhere), &Sample::default(), &found);
    assert!(
        why.expect_err("no such folder")
            .contains("can't be written")
    );
}

/// Without a data folder nobody knows what delivery ids are made with; nothing is made there.
#[test]
fn a_delivery_id_needs_the_journal() {
    let (folder, file) = folder(&[]);
    let data = folder.path().join("data");
    let text = format!("{ROUTES}\n[gateway]\ndata_dir = {data:?}\n");
    fs::write(&file, text).expect("the folder is writable");
    let sample = Sample {
        topic: "orders/a".to_owned(),
        id: Some("i".to_owned()),
        ..Sample::default()
    };
    let found = explain(&file, &sample).expect("the file holds");
    assert_eq!(found.targets[0].delivery_id, DeliveryIdAnswer::Unknown);
    assert!(!data.exists());
}
