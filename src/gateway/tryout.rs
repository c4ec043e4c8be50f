//! What commands do with a file's routes and no running gateway: explain a message, run the cases
//! beside the file, add one to them.

use super::data_dir::disk;
use super::offline::{Told, load};
use super::rehearsal::Rehearsal;
use super::trials::{Judged, case_of, differences};
use crate::admin::explanation::Explanation;
use crate::clock::Clock;
use crate::config::cases::{self, Case, Sample, to_toml};
use crate::config::{Report, Settings};
use crate::door::Rules;
use crate::door::identity::Identities;
use crate::journal::{self, fingerprint::Hasher};
use crate::routing::{Catalog, Router};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// More than a hundred thousand cases need.
const MAX_CASES_BYTES: u64 = 16 << 20;

/// What a file's rules would make of a message.
pub fn explain(file: &Path, sample: &Sample) -> Result<Explanation, String> {
    let rules = FileRules::load(file)?;
    let hasher = hasher(&rules.settings);
    Ok(rules.explain(sample, hasher))
}

/// Runs the cases of these files, or of the one beside the configuration.
pub fn test(file: &Path, files: &[PathBuf]) -> Result<Told, String> {
    let rules = FileRules::load(file)?;
    let beside = [beside(file)];
    let files = if files.is_empty() { &beside } else { files };
    let mut tally = Tally::default();
    for path in files {
        let name = path.display().to_string();
        match cases::read(&name, &read(path)?) {
            Err(report) => tally.add_broken(&report),
            Ok(cases) => {
                for case in &cases {
                    tally.add(&rules.judge(&name, case));
                }
            }
        }
    }
    Ok(tally.into_told())
}

/// What came of cases so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    text: String,
    cases: Vec<Value>,
    /// Of files that can't be read as cases.
    broken: Vec<Value>,
}

impl Tally {
    fn add(&mut self, judged: &Judged<'_>) {
        self.passed += usize::from(judged.holds());
        self.text.push_str(&judged.to_text());
        self.cases.push(judged.to_json());
    }

    fn add_broken(&mut self, report: &Report) {
        self.text.push_str(&report.to_text());
        self.broken.push(report.to_json());
    }

    fn into_told(mut self) -> Told {
        let (passed, failed) = (self.passed, self.cases.len() - self.passed);
        let broken = match self.broken.len() {
            0 => String::new(),
            1 => ", 1 file with errors".to_owned(),
            more => format!(", {more} files with errors"),
        };
        writeln!(self.text, "{passed} passed, {failed} failed{broken}").expect("in memory");
        let ok = failed == 0 && self.broken.is_empty();
        Told {
            ok,
            text: self.text,
            json: json!({
                "ok": ok,
                "passed": passed,
                "failed": failed,
                "cases": self.cases,
                "broken": self.broken,
            }),
        }
    }
}

/// Appends the case that holds for what was found; says where.
pub fn save_case(
    file: &Path,
    to: Option<&Path>,
    sample: &Sample,
    found: &Explanation,
) -> Result<PathBuf, String> {
    let to = to.map_or_else(|| beside(file), Path::to_path_buf);
    append(&to, &to_toml(&case_of(sample, found))).map_err(|error| {
        format!(
            "the case can't be written to {}: {error}\nhelp: name a file that may be written \
                 with --save=FILE",
            to.display()
        )
    })?;
    Ok(to)
}

/// `routes.test.toml` beside `routes.toml`.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("test.toml")
}

/// With an empty line before it, if something stands there.
fn append(to: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(to)?;
    let before = if file.metadata()?.len() == 0 {
        ""
    } else {
        "\n"
    };
    file.write_all(format!("{before}{text}").as_bytes())
}

fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let error = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no {shown}\nhelp: name the file of your cases, or let `causeway explain … \
             --save` begin one"
        ),
        _ => format!("{shown} can't be read: {why}\nhelp: name a file that may be read"),
    };
    if fs::metadata(path).map_err(error)?.len() > MAX_CASES_BYTES {
        return Err(format!(
            "{shown} has more than {MAX_CASES_BYTES} bytes\nhelp: part it into several, and name \
             them all"
        ));
    }
    fs::read_to_string(path).map_err(error)
}

/// Keys the delivery ids, if there is a journal. Whatever keeps it from being read, the running
/// gateway can be asked.
fn hasher(settings: &Settings) -> Option<Hasher> {
    let dir = settings.gateway.data_dir.join("journal");
    journal::read_hasher(&*disk().ok()?, &dir).ok().flatten()
}

/// A file's settings, compiled.
struct FileRules {
    settings: Settings,
    identities: Identities,
    router: Router,
}

impl FileRules {
    fn load(file: &Path) -> Result<Self, String> {
        let (settings, _) = load(file)?;
        let catalog = Catalog::made_up(&settings.routes);
        let limits = settings.limits.of_plans();
        let router = Router::new(&settings.routes, settings.unrouted, &catalog, limits)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            identities: Identities::new(settings.identities.clone()),
            router,
            settings,
        })
    }

    fn explain(&self, sample: &Sample, hasher: Option<Hasher>) -> Explanation {
        let rehearsal = Rehearsal {
            rules: Rules {
                limits: &self.settings.limits,
                identities: &self.identities,
                router: &self.router,
            },
            hasher,
            now: Clock::system().wall(),
        };
        rehearsal.explain(sample.envelope())
    }

    fn judge<'a>(&self, file: &'a str, case: &'a Case) -> Judged<'a> {
        // What a case can say doesn't hang on the journal.
        let found = self.explain(&case.publish, None);
        Judged {
            file,
            case,
            differences: differences(&case.expected, &found),
        }
    }
}

#[cfg(test)]
mod tests;
