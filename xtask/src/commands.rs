//! What each command runs.

use crate::brokers;
use crate::process::{Failure, cargo, keep_binary};
use crate::proto;
use crate::tools;
use std::env;
use std::ffi::OsString;

/// Builds the plain binary first: that it builds at all is worth knowing, and scenarios that need
/// the machine's own disk (fsync faults, a full file system) run it. The dependencies are the
/// same units in both builds, so only the package itself is built twice.
pub fn test(filter: Option<String>) -> Result<(), Failure> {
    // What isn't there is for the tests to say: they skip, or fail where CI=true.
    if let Err(failure) = tools::fetch(&tools::ALL) {
        eprintln!("xtask: {failure}; tests that need them are skipped");
    }
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
    let servers = brokers::ForTests::up();
    let mut variables = vec![
        ("CAUSEWAY_TEST_PLAIN_BIN", plain.into_os_string()),
        ("CAUSEWAY_TEST_TOOLS", tools::folder()?.into_os_string()),
    ];
    variables.extend_from_slice(&servers.variables);
    let mut all = cargo(&args, &variables);
    if filter.is_none() {
        all = all.and(other_features(&variables));
    }
    // Elsewhere they stay, for the next run.
    if is_ci() {
        all = all.and(servers.down());
    }
    all
}

fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true")
}

/// What `otlp` makes of traces, and in CI what `kafka-tls` makes of logins: a build of its own, for these families
/// of scenarios. `kafka-tls` compiles an OpenSSL for some minutes, and needs Perl for that.
fn other_features(variables: &[(&str, OsString)]) -> Result<(), Failure> {
    let (features, secure) = match is_ci() {
        true => (
            "causeway/faults,causeway/otlp,causeway/kafka-tls",
            &["kafka::secure"][..],
        ),
        false => ("causeway/faults,causeway/otlp", &[][..]),
    };
    let args = ["test", "--package", "causeway", "--test", "main"];
    let which = ["--features", features, "--", "otlp::", "traces::"];
    cargo(&[&args[..], &which, secure].concat(), variables)
}

pub fn lint() -> Result<(), Failure> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    proto::check()?;
    let clippy = ["clippy", "--workspace", "--all-targets"];
    let deny = ["--", "--deny", "warnings"];
    let all = ["--features", "causeway/faults,causeway/otlp"];
    cargo(&[&clippy[..], &all, &deny].concat(), &[])?;
    let faults = ["--features", "causeway/faults"];
    cargo(&[&clippy[..], &faults, &deny].concat(), &[])?;
    cargo(&[&clippy[..], &deny].concat(), &[])
}

pub fn torture(seed: Option<u64>, minutes: u64) -> Result<(), Failure> {
    let mut variables = vec![("CAUSEWAY_TEST_MINUTES", minutes.to_string().into())];
    if let Some(seed) = seed {
        variables.push(("CAUSEWAY_TEST_SEED", seed.to_string().into()));
    }
    let args = ["test", "--features", "faults", "--test", "main", "--"];
    let what = ["--ignored", "--exact", "--nocapture", "oracle::torture"];
    cargo(&[&args[..], &what].concat(), &variables)
}

/// In release, as `shown_by`: more is accepted meanwhile.
pub fn freeze(seconds: u64) -> Result<(), Failure> {
    let variables = [("CAUSEWAY_TEST_FREEZE_SECONDS", seconds.to_string().into())];
    let args = ["test", "--release", "--features", "faults"];
    let which = ["--test", "main", "--", "--nocapture", "--exact"];
    let what = "kafka::cluster::order_holds_while_the_broker_is_killed_and_frozen";
    cargo(&[&args[..], &which, &[what]].concat(), &variables)
}

/// The plain build is put aside first, as for `test`; a destination that hangs needs the faults
/// build, which comes with the test. All in release: the clients take their share of the machine.
pub fn shown_by() -> Result<(), Failure> {
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
/// made first and put aside. Those of brokers start servers of their own, of what is fetched here.
pub fn bench(words: &[String]) -> Result<(), Failure> {
    let faults = ["build", "--release", "--package", "causeway"];
    cargo(&[&faults[..], &["--features", "faults"]].concat(), &[])?;
    let faults = keep_binary("release", "causeway-faults")?;
    let name = words.iter().find(|word| !word.starts_with("--"));
    brokers::fetch_named(name.map_or("", String::as_str));
    let mut args = vec!["bench", "--package", "causeway", "--bench", "main", "--"];
    args.extend(words.iter().map(String::as_str));
    cargo(
        &args,
        &[("CAUSEWAY_BENCH_FAULTS_BIN", faults.into_os_string())],
    )
}
