//! Parses the command line, runs a command, says how it ended.

use causeway::cli::{self, House};
use causeway::gateway;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&House {
        run: gateway::run,
        check: gateway::check,
        explain: gateway::explain,
        save_case: gateway::save_case,
        test: gateway::test,
        admin_address: gateway::admin_address,
        http_address: gateway::http_address,
        verify_journal: gateway::verify_journal,
        repair_journal: gateway::repair_journal,
    })
}
