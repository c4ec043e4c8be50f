//! `cargo xtask …`: the project's own commands. Needs cargo; `tools` also pip, go and npm;
//! `brokers` also Java, Maven and Debian's apt.
//!
//! What lives here: which cargo commands make a test run, a lint, a torture run, a bench; what tests
//! use of others, and how it is fetched. What must not: tests themselves (`tests/`), figures (`benches/`).

mod brokers;
mod commands;
mod process;
mod proto;
mod task;
mod tools;

use process::Failure;
use std::env;
use std::process::ExitCode;
use task::Task;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [FILTER]                 all tests, or those whose name contains FILTER
  tools [NAME…]                 fetches what tests use of others into target/tools, if it isn't there:
                                python, go, node, or all of them; `test` does it too
  brokers up|down|status [NAME…]
                                servers for tests and for trying things out: kafka, rabbitmq, and kafka2, a
                                second node of kafka's cluster, started only when named. Others are used
                                where CAUSEWAY_TEST_KAFKA or CAUSEWAY_TEST_RABBITMQ names them.
                                up --docker: by deploy/compose.yaml; status --json. `test` does `up`, too
  lint                          formatting and clippy, with and without the faults build; and that what is
                                made from proto/ is what `proto` makes
  proto                         proto/ → the Rust that is checked in
  torture [--seed N] [--minutes M]
                                the oracle for M minutes (default 10), from seed N (default: the time)
  torture --shown-by            the big scenarios at full size, against the release build
  torture --freeze SECONDS      Kafka's broker killed, then frozen for so long, under load: 60 and 600 are what
                                a release is shown by
  bench [--small] [NAME]        the figures of docs/BENCHMARKS.md, or those whose name contains NAME;
                                --small: a hundredth of the size, to see that they run

CI=true makes a skipped test a failed one.";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match task::parse(&args).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => {
            eprintln!("{problem}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Test { filter } => commands::test(filter),
        Task::Tools { kits } => tools::fetch(&kits),
        Task::Brokers { order, names } => brokers::run(&order, &names),
        Task::Lint => commands::lint(),
        Task::Proto => proto::make(),
        Task::Torture { seed, minutes } => commands::torture(seed, minutes),
        Task::ShownBy => commands::shown_by(),
        Task::Freeze { seconds } => commands::freeze(seconds),
        Task::Bench { args } => commands::bench(&args),
    }
}
