//! Several files as one.

use super::*;

/// A folder with files, `routes.toml` among them.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        std::fs::write(file, text).expect("it can be written");
    }
    let sources = Sources::file(folder.path().join("routes.toml"));
    (folder, sources)
}

fn route(name: &str) -> String {
    format!("[[routes]]\nname = {name:?}\ntopic = \"#\"\nto = [\"inbox\"]\n")
}

#[test]
fn included_files_are_read_in_the_order_of_their_names() {
    let main = format!("include = [\"z.toml\", \"r/*.toml\", \"r/b.toml\"]\n{FILE}");
    let (_folder, sources) = folder(&[
        ("routes.toml", &main),
        ("z.toml", &route("z")),
        ("r/b.toml", &route("b")),
        ("r/a.toml", &route("a")),
        ("r/.hidden.toml", "no TOML"),
        ("r/a.toml.bak", "no TOML"),
    ]);
    let (settings, report) = load(&sources).unwrap_or_else(|report| panic!("{}", report.to_text()));
    let names: Vec<&str> = settings.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["all", "z", "a", "b"]);
    let files: Vec<&str> = report
        .files
        .iter()
        .filter_map(|file| file.rsplit('/').next())
        .collect();
    assert_eq!(files, ["routes.toml", "z.toml", "a.toml", "b.toml"]);
}

#[test]
fn the_environment_stands_over_included_files_too() {
    let main = format!("include = [\"more.toml\"]\n{FILE}");
    let more = "[destinations.audit]\ntype = \"stream\"\nbacklog = \"1MiB\"\n";
    let (_folder, mut sources) = folder(&[("routes.toml", &main), ("more.toml", more)]);
    let name = "CAUSEWAY__DESTINATIONS__AUDIT__BACKLOG";
    sources.environment = vec![(name.into(), "5MiB".into())];
    let (settings, _) = load(&sources).unwrap_or_else(|report| panic!("{}", report.to_text()));
    assert_eq!(settings.destinations[0].lane.backlog_bytes, 5 << 20);
    sources.environment[0].1 = "big".into();
    let report = check(&sources);
    assert_eq!(report.problems[0].place, Place::Environment(name.into()));
}

#[test]
fn problems_of_included_files_name_them() {
    let main = format!("include = [\"more.toml\"]\n{FILE}");
    let more = format!("\n{}guarantee = 1\n", route("more"));
    let (folder, sources) = folder(&[("routes.toml", &main), ("more.toml", &more)]);
    let json = check(&sources).to_json();
    let file = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(json["file"], file("routes.toml").as_str());
    assert_eq!(json["problems"][0]["file"], file("more.toml").as_str());
    assert_eq!(json["problems"][0]["line"], 6);
    assert_eq!(json["problems"][0]["column"], 13);
}

#[test]
fn as_many_files_as_are_sensible_are_included() {
    let mut files: Vec<(String, String)> = (0..1_001)
        .map(|n| (format!("r/{n:04}.toml"), route(&format!("r{n}"))))
        .collect();
    files.push((
        "routes.toml".into(),
        format!("include = [\"r/*.toml\"]\n{FILE}"),
    ));
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (&**n, &**t)).collect();
    let (folder, sources) = folder(&files);
    let report = check(&sources);
    let message = "more than 1000 files are included";
    assert_eq!(report.problems.len(), 1, "{}", report.to_text());
    assert_eq!(report.problems[0].message, message);
    std::fs::remove_file(folder.path().join("r/0000.toml")).expect("it is there");
    let (settings, _) = load(&sources).unwrap_or_else(|report| panic!("{}", report.to_text()));
    assert_eq!(settings.routes.len(), 1_001);
}

/// A ConfigMap of Kubernetes: the files are links into a folder that is swapped.
#[test]
fn links_are_followed_and_pipes_are_not_read() {
    use std::os::unix::fs::symlink;
    let main = format!("include = [\"r/*.toml\"]\n{FILE}");
    let real = route("linked");
    let (folder, sources) = folder(&[("routes.toml", &main), ("r/..data/a.toml", &real)]);
    let link = |to: &str, name: &str| symlink(to, folder.path().join(name)).expect("a link");
    link("..data/a.toml", "r/a.toml");
    let (settings, _) = load(&sources).unwrap_or_else(|report| panic!("{}", report.to_text()));
    assert_eq!(settings.routes[1].name, "linked");
    link("gone", "r/b.toml");
    link("/dev/zero", "r/c.toml");
    link("../routes.toml", "r/d.toml");
    let text = check(&sources).to_text();
    for words in ["b.toml can't be read", "c.toml is no file", "the very file"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
