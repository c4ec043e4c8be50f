//! `cargo xtask …`: the project's own commands. Needs cargo and nothing else.
//!
//! What lives here: which cargo commands make a test run, a lint, a torture run, a bench.
//! What must not: tests themselves (`tests/`), figures (`benches/`).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [FILTER]                 all tests, or those whose name contains FILTER
  lint                          formatting and clippy, with and without the faults build
  torture [--seed N] [--minutes M]
                                the oracle for M minutes (default 10), from seed N (default: the time)
  torture --shown-by            the big scenarios at full size, against the release build
  bench [--small] [NAME]        the figures of docs/BENCHMARKS.md, or those whose name contains NAME;
                                --small: a hundredth of the size, to see that they run

CI=true makes a skipped test a failed one.";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match parse(&args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("xtask: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
enum Task {
    Test { filter: Option<String> },
    Lint,
    Torture { seed: Option<u64>, minutes: u64 },
    ShownBy,
    Bench { args: Vec<String> },
}

#[derive(Debug)]
#[allow(dead_code, reason = "read by Debug, which is what the user sees")]
enum Failure {
    Usage(String),
    /// The command ran and failed; it has said why itself.
    Failed(String),
    NotStarted(String, io::Error),
    NotCopied(PathBuf, io::Error),
}

fn parse(args: &[String]) -> Result<Task, Failure> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test"] => Ok(Task::Test { filter: None }),
        ["test", filter] => Ok(Task::Test {
            filter: Some((*filter).to_owned()),
        }),
        ["lint"] => Ok(Task::Lint),
        ["torture", "--shown-by"] => Ok(Task::ShownBy),
        ["torture", options @ ..] => parse_torture(options),
        ["bench", args @ ..] if args.len() <= 2 => Ok(Task::Bench {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }),
        [] => Err(Failure::Usage("which command?".to_owned())),
        _ => Err(Failure::Usage(format!(
            "not understood: {}",
            args.join(" ")
        ))),
    }
}

fn parse_torture(options: &[&str]) -> Result<Task, Failure> {
    let (mut seed, mut minutes) = (None, 10);
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(Failure::Usage(format!("{} needs a number", pair[0])));
        };
        let number: u64 = value
            .parse()
            .map_err(|_| Failure::Usage(format!("{name} needs a number")))?;
        match *name {
            "--seed" => seed = Some(number),
            "--minutes" => minutes = number,
            _ => return Err(Failure::Usage(format!("torture has no option {name}"))),
        }
    }
    Ok(Task::Torture { seed, minutes })
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Test { filter } => test(filter),
        Task::Lint => lint(),
        Task::Torture { seed, minutes } => torture(seed, minutes),
        Task::ShownBy => shown_by(),
        Task::Bench { args } => bench(&args),
    }
}

/// Builds the plain binary first: that it builds at all is worth knowing, and scenarios that need
/// the machine's own disk (fsync faults, a full file system) run it. The dependencies are the
/// same units in both builds, so only the package itself is built twice.
fn test(filter: Option<String>) -> Result<(), Failure> {
    cargo(&["build", "--package", "causeway"], &[])?;
    let plain = keep_binary("debug", "causeway-plain")?;
    let mut args = vec![
        "test",
        "--workspace",
        "--features",
        "causeway/faults",
        "--no-fail-fast",
    ];
    if let Some(filter) = &filter {
        args.push(filter);
    }
    cargo(
        &args,
        &[("CAUSEWAY_TEST_PLAIN_BIN", plain.into_os_string())],
    )
}

/// The next build with other features has the same name and would replace it.
fn keep_binary(profile: &str, name: &str) -> Result<PathBuf, Failure> {
    let built = target_dir().join(profile).join("causeway");
    let kept = target_dir().join(profile).join(name);
    // Removed first: a process may still run it, and its text can't be written over.
    match fs::remove_file(&kept) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::NotCopied(kept, e));
        }
        _ => {}
    }
    fs::copy(&built, &kept).map_err(|e| Failure::NotCopied(built, e))?;
    Ok(kept)
}

fn lint() -> Result<(), Failure> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let deny = ["--", "--deny", "warnings"];
    let faults = ["--features", "causeway/faults"];
    cargo(&[&clippy[..], &faults, &deny].concat(), &[])?;
    cargo(&[&clippy[..], &deny].concat(), &[])
}

fn torture(seed: Option<u64>, minutes: u64) -> Result<(), Failure> {
    let mut variables = vec![("CAUSEWAY_TEST_MINUTES", minutes.to_string().into())];
    if let Some(seed) = seed {
        variables.push(("CAUSEWAY_TEST_SEED", seed.to_string().into()));
    }
    let args = ["test", "--features", "faults", "--test", "main", "--"];
    let what = ["--ignored", "--exact", "--nocapture", "oracle::torture"];
    cargo(&[&args[..], &what].concat(), &variables)
}

/// The plain build is put aside first, as for `test`; a destination that hangs needs the faults
/// build, which comes with the test. All in release: the clients take their share of the machine.
fn shown_by() -> Result<(), Failure> {
    cargo(&["build", "--release", "--package", "causeway"], &[])?;
    let plain = keep_binary("release", "causeway-plain")?;
    let variables = [
        ("CAUSEWAY_TEST_PLAIN_BIN", plain.into_os_string()),
        ("CAUSEWAY_TEST_SCALE", "full".into()),
    ];
    let args = ["test", "--release", "--features", "faults"];
    let which = ["--test", "main", "--", "--nocapture", "--test-threads=1"];
    cargo(&[&args[..], &which, &["shown_by::"]].concat(), &variables)
}

/// Figures are of the plain build; one needs a destination that hangs, so the faults build is
/// made first and put aside.
fn bench(words: &[String]) -> Result<(), Failure> {
    let faults = ["build", "--release", "--package", "causeway"];
    cargo(&[&faults[..], &["--features", "faults"]].concat(), &[])?;
    let faults = keep_binary("release", "causeway-faults")?;
    let mut args = vec!["bench", "--package", "causeway", "--bench", "main", "--"];
    args.extend(words.iter().map(String::as_str));
    cargo(
        &args,
        &[("CAUSEWAY_BENCH_FAULTS_BIN", faults.into_os_string())],
    )
}

/// Runs cargo in the workspace's root, its output going where ours goes.
fn cargo(args: &[&str], variables: &[(&str, OsString)]) -> Result<(), Failure> {
    let shown = format!("cargo {}", args.join(" "));
    eprintln!("xtask: {shown}");
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(args)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(root())
        .status()
        .map_err(|e| Failure::NotStarted(shown.clone(), e))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(shown))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, Failure> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn commands_are_read_as_the_usage_shows_them() {
        assert_eq!(parsed("test").unwrap(), Task::Test { filter: None });
        assert_eq!(
            parsed("test log::").unwrap(),
            Task::Test {
                filter: Some("log::".into())
            }
        );
        assert_eq!(parsed("lint").unwrap(), Task::Lint);
        assert_eq!(
            parsed("torture --minutes 3 --seed 7").unwrap(),
            Task::Torture {
                seed: Some(7),
                minutes: 3
            }
        );
        assert_eq!(
            parsed("torture").unwrap(),
            Task::Torture {
                seed: None,
                minutes: 10
            }
        );
        assert_eq!(parsed("torture --shown-by").unwrap(), Task::ShownBy);
        assert_eq!(
            parsed("bench rss").unwrap(),
            Task::Bench {
                args: vec!["rss".into()]
            }
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "",
            "tests",
            "test a b",
            "torture --seed",
            "torture --seed x",
            "torture --x 1",
        ] {
            assert!(matches!(parsed(line), Err(Failure::Usage(_))), "{line:?}");
        }
    }
}
