//! What is made from the command line's own description: completions for shells, and man pages.

use super::exit::{Code, Failure, Kind, Reply};
use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};

const PROGRAM: &str = "causeway";

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell reads them
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page a command into this folder, which is made if need be
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A script on stdout.
pub(super) fn completions(asked: &Completions) -> Reply {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut command(), PROGRAM, &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let shell = asked.shell.to_possible_value();
    let shell = shell.map_or_else(String::new, |value| value.get_name().to_owned());
    Reply {
        code: Code::Done,
        json: json!({ "shell": shell, "script": script }),
        text: script,
    }
}

/// The page of the program on stdout, or all pages as files.
pub(super) fn man(asked: &Man) -> Result<Reply, Failure> {
    let pages = pages().map_err(|error| not_written(Path::new("memory"), &error))?;
    let Some(dir) = &asked.dir else {
        let named: Vec<Value> = pages
            .iter()
            .map(|(name, page)| json!({ "name": name, "page": page }))
            .collect();
        return Ok(Reply {
            code: Code::Done,
            text: pages
                .into_iter()
                .next()
                .map_or_else(String::new, |(_, page)| page),
            json: json!({ "pages": named }),
        });
    };
    std::fs::create_dir_all(dir).map_err(|error| not_written(dir, &error))?;
    let mut written = Vec::new();
    for (name, page) in pages {
        let path = dir.join(name);
        std::fs::write(&path, page).map_err(|error| not_written(&path, &error))?;
        written.push(path.display().to_string());
    }
    Ok(Reply {
        code: Code::Done,
        text: written.join("\n"),
        json: json!({ "written": written }),
    })
}

/// With their file names; that of the program is the first.
fn pages() -> io::Result<Vec<(String, String)>> {
    let mut command = command();
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &Command, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    let source = format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone()).source(source);
    let mut page = Vec::new();
    man.render(&mut page)?;
    pages.push((
        man.get_filename(),
        String::from_utf8_lossy(&page).into_owned(),
    ));
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        add_pages(sub, pages)?;
    }
    Ok(())
}

fn command() -> Command {
    super::Cli::command()
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Code::Failed,
        Kind::Output,
        format!("can't write {}: {error}", path.display()),
        "name a folder that you may write to with --dir",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(command: &Command, look: &mut impl FnMut(&Command)) {
        look(command);
        for sub in command.get_subcommands() {
            each(sub, look);
        }
    }

    #[test]
    fn every_command_and_option_says_what_it_is_for() {
        let mut command = command();
        command.build();
        let mut silent = Vec::new();
        each(&command, &mut |command| {
            if command.get_about().is_none() {
                silent.push(command.to_string());
            }
            for arg in command.get_arguments() {
                if arg
                    .get_help()
                    .is_none_or(|help| help.to_string().is_empty())
                {
                    silent.push(format!("{command} {arg}"));
                }
            }
        });
        assert!(silent.is_empty(), "{silent:#?}");
    }

    #[test]
    fn each_command_has_a_page_that_says_what_its_help_says() {
        let pages = pages().expect("in memory");
        assert_eq!(pages[0].0, "causeway.1");
        let page = |name: &str| {
            let page = pages.iter().find(|(page, _)| page == name);
            &page.unwrap_or_else(|| panic!("no {name}")).1
        };
        assert!(page("causeway-publish.1").contains("give\\-up\\-after"));
        assert!(page("causeway-lane-drop.1").contains("discard"));
        let mut commands = 0;
        each(&command(), &mut |_| commands += 1);
        assert_eq!(pages.len(), commands);
    }
}
