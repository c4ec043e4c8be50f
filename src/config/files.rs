//! The main file and what it includes: found, read, and put together as if they were one.
//!
//! A path of the whole leads to one file: lists are appended, and a name stands in one file only.

use super::document::{Document, Focus};
use super::path::{Path, Step};
use super::problem::{FileName, Place, Problem, Severity};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use glob::MatchOptions;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

/// More than ten thousand routes need.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// More than a folder of one file a team holds.
const MAX_INCLUDED_FILES: usize = 1_000;

/// All of them together: they are in memory at one time.
const MAX_INCLUDED_BYTES: usize = 64 << 20;

/// What an included file may hold: lists, and tables with names of the user's.
const LISTS: [&str; 2] = ["routes", "identity"];
const NAMED: [&str; 3] = ["destinations", "sources", "connections"];

/// A file that was read.
pub(super) struct Text {
    pub(super) name: FileName,
    pub(super) text: String,
}

/// All files, parsed.
pub(super) struct Files<'t> {
    /// The main one first.
    documents: Vec<Document<'t>>,
    /// For each entry of a list: the file that it is from, and where it stands there.
    entries: BTreeMap<&'static str, Vec<(usize, usize)>>,
    /// The file that a name is from, if that isn't the main one.
    owners: BTreeMap<(&'static str, String), usize>,
}

impl Text {
    /// The main file.
    pub(super) fn main(file: &FilePath) -> Result<Self, Problem> {
        let name = FileName::new(0, file.display().to_string());
        let place = Place::File(name.clone());
        match read(file) {
            Ok(text) => Ok(Self { name, text }),
            Err(Unreadable::NoUtf8 { line }) => Err(no_utf8(place, line)),
            Err(why) => Err(error(
                place,
                format!("the file {why}"),
                "name another with --config FILE",
            )),
        }
    }

    /// What the main file includes, in the order of its patterns, then of names.
    pub(super) fn included(
        main: &Document<'_>,
        file: &FilePath,
        problems: &mut Vec<Problem>,
    ) -> Vec<Self> {
        let mut included = Included {
            main: fs::canonicalize(file).ok(),
            seen: HashSet::new(),
            texts: Vec::new(),
            bytes: 0,
        };
        for (index, pattern) in main.texts_at("include") {
            let place = main.place(&Path::root().name("include").index(index), Focus::Value);
            match find(file, &pattern) {
                Ok(found) => {
                    let added = found.iter().map(|path| included.add(path, &place));
                    problems.extend(added.filter_map(Result::err));
                }
                Err((message, help)) => problems.push(error(place, message, help)),
            }
        }
        included.texts
    }
}

/// What was included so far.
struct Included {
    main: Option<PathBuf>,
    seen: HashSet<PathBuf>,
    texts: Vec<Text>,
    /// Of the texts.
    bytes: usize,
}

impl Included {
    /// Reads a file, unless it was read before. `place` is where it is included.
    fn add(&mut self, path: &FilePath, place: &Place) -> Result<(), Problem> {
        let wrong = |message: String, help: &str| Err(error(place.clone(), message, help));
        let real = fs::canonicalize(path).ok();
        if real.is_some() && real == self.main {
            return wrong(
                "this includes the very file that it stands in".to_owned(),
                "name the other files only: a folder of their own is best",
            );
        }
        if !self.seen.insert(real.unwrap_or_else(|| path.to_owned())) {
            return Ok(());
        }
        if self.texts.len() == MAX_INCLUDED_FILES {
            let message = format!("more than {MAX_INCLUDED_FILES} files are included");
            return wrong(message, "put several routes into one file");
        }
        let name = FileName::new(self.texts.len() + 1, printable(path));
        match read_plain(path) {
            Ok(text) if self.bytes + text.len() > MAX_INCLUDED_BYTES => {
                let message = format!("more than {MAX_INCLUDED_BYTES} bytes are included");
                return wrong(message, "take files out that hold no routes");
            }
            Ok(text) => {
                self.bytes += text.len();
                self.texts.push(Text { name, text });
            }
            Err(Unreadable::NoUtf8 { line }) => return Err(no_utf8(Place::File(name), line)),
            Err(why) => {
                let help = "name a file that can be read, or take it out";
                return wrong(format!("{name} {why}"), help);
            }
        }
        Ok(())
    }
}

impl<'t> Files<'t> {
    /// The file alone.
    pub(super) fn one(main: Document<'t>) -> Self {
        Self {
            documents: vec![main],
            entries: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Adds what an included file holds. What it must not hold is a problem.
    pub(super) fn include(
        &mut self,
        document: Document<'t>,
        whole: &mut Dict,
        problems: &mut Vec<Problem>,
    ) {
        let held = to_dict(&document, problems);
        let number = self.documents.len();
        self.documents.push(document);
        for (key, value) in held {
            let list = LISTS.into_iter().find(|list| *list == key);
            let named = NAMED.into_iter().find(|named| *named == key);
            match (list, named, value) {
                (Some(list), _, Value::Array(_, values)) => {
                    self.append(list, values, number, whole);
                }
                (_, Some(table), Value::Dict(_, entries)) => {
                    self.add_names(table, entries, number, whole, problems);
                }
                (None, None, _) => problems.push(self.wrong(number, &key, Focus::Key)),
                _ => problems.push(self.wrong(number, &key, Focus::Value)),
            }
        }
    }

    fn append(&mut self, list: &'static str, values: Vec<Value>, number: usize, whole: &mut Dict) {
        let all = whole
            .entry(list.to_owned())
            .or_insert_with(|| Value::from(Vec::<Value>::new()));
        // Otherwise the main file has something else there, of which the reader will complain.
        let Value::Array(_, all) = all else {
            return;
        };
        let entries = self
            .entries
            .entry(list)
            .or_insert_with(|| (0..all.len()).map(|at| (0, at)).collect());
        entries.extend((0..values.len()).map(|at| (number, at)));
        all.extend(values);
    }

    fn add_names(
        &mut self,
        table: &'static str,
        entries: Dict,
        number: usize,
        whole: &mut Dict,
        problems: &mut Vec<Problem>,
    ) {
        let all = whole
            .entry(table.to_owned())
            .or_insert_with(|| Value::from(Dict::new()));
        let Value::Dict(_, all) = all else {
            return;
        };
        for (name, value) in entries {
            let path = Path::root().name(table).name(&name);
            if all.contains_key(&name) {
                let first = self.place(&path, Focus::Key);
                problems.push(error(
                    self.documents[number].place(&path, Focus::Key),
                    format!("[{table}.{name}] is in two files: it is at {first} too"),
                    "keep one of them, or give this one another name",
                ));
                continue;
            }
            self.owners.insert((table, name.clone()), number);
            all.insert(name, value);
        }
    }

    /// What an included file says and must not.
    fn wrong(&self, number: usize, key: &str, focus: Focus) -> Problem {
        let place = self.documents[number].place(&Path::root().name(key), focus);
        if focus == Focus::Value {
            let (what, example) = match LISTS.contains(&key) {
                true => ("a list", "[…]"),
                false => ("a table", "{…}"),
            };
            let help = format!("write it like {key} = {example}");
            return error(place, format!("`{key}` must be {what}"), &help);
        }
        if key == "include" {
            return error(
                place,
                "an included file can't include others",
                "name them all in the `include` of the main file",
            );
        }
        error(
            place,
            format!("`{key}` can't stand in an included file"),
            "write it in the main file: included ones have routes, identity, destinations, \
             sources and connections",
        )
    }

    /// Where the entry at a path stands, or the nearest thing around it.
    pub(super) fn place(&self, path: &Path, focus: Focus) -> Place {
        let (document, path) = self.locate(path);
        document.place(&path, focus)
    }

    pub(super) fn place_in(&self, path: &Path, part: Range<usize>) -> Option<Place> {
        let (document, path) = self.locate(path);
        document.place_in(&path, part)
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        let (document, path) = self.locate(path);
        document.has(&path)
    }

    /// The folder of the file that holds an entry: what the entry names is relative to it.
    pub(super) fn folder_of(&self, path: &Path) -> PathBuf {
        let (document, _) = self.locate(path);
        let file = FilePath::new(document.name.as_str());
        file.parent().map(PathBuf::from).unwrap_or_default()
    }

    /// The file that has an entry, and the way to it there.
    fn locate(&self, path: &Path) -> (&Document<'t>, Path) {
        let found = match path.steps() {
            [Step::Name(list), Step::Index(index), rest @ ..] => self
                .entries
                .get(list.as_str())
                .and_then(|entries| entries.get(*index))
                .map(|(file, at)| (*file, Path::root().name(list).index(*at).join(rest))),
            [Step::Name(table), Step::Name(name), ..] => NAMED
                .into_iter()
                .find(|named| named == table)
                .and_then(|table| self.owners.get(&(table, name.clone())))
                .map(|file| (*file, path.clone())),
            _ => None,
        };
        let (file, path) = found.unwrap_or_else(|| (0, path.clone()));
        (&self.documents[file], path)
    }
}

/// The main file and what it includes, as far as it can be told.
pub(super) fn paths(file: &FilePath) -> Vec<PathBuf> {
    let mut paths = vec![file.to_owned()];
    // Most files include nothing, and somebody may ask every second.
    let text = read_plain(file).ok();
    let text = text.filter(|text| text.contains("include"));
    let name = FileName::new(0, "");
    let main = text.as_deref().map(|text| Document::parse(name, text));
    if let Some(Ok(main)) = main {
        for (_, pattern) in main.texts_at("include") {
            paths.extend(find(file, &pattern).unwrap_or_default());
            paths.truncate(1 + MAX_INCLUDED_FILES);
        }
    }
    let mut seen = HashSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

/// The values of a file as figment takes them.
pub(super) fn to_dict(document: &Document<'_>, problems: &mut Vec<Problem>) -> Dict {
    Toml::from_str::<Dict>(document.text()).unwrap_or_else(|why| {
        // The positions' parser let it pass: the two readers of TOML disagree.
        problems.push(error(
            Place::File(document.name.clone()),
            why.to_string(),
            "write it in plainer TOML",
        ));
        Dict::new()
    })
}

/// The files that an entry of `include` means, by name, or why there are none.
fn find(main: &FilePath, pattern: &str) -> Result<Vec<PathBuf>, (String, &'static str)> {
    const LIKE: &str = "write it like include = [\"routes.d/*.toml\"]";
    if pattern.is_empty() || pattern.contains('\0') {
        return Err(("this names no file".to_owned(), LIKE));
    }
    let folder = main.parent().unwrap_or(FilePath::new(""));
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![folder.join(pattern)]);
    }
    if pattern.contains("**") {
        let message = "`**` would search whole trees of folders".to_owned();
        return Err((message, "name each folder: [\"a/*.toml\", \"b/*.toml\"]"));
    }
    let Some(folder) = folder.to_str() else {
        return Err((
            "the folder of this file has a name that is no UTF-8".to_owned(),
            "name the files without wildcards",
        ));
    };
    let whole = FilePath::new(&glob::Pattern::escape(folder)).join(pattern);
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // `..data` is how Kubernetes swaps the files of a ConfigMap.
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(&whole.to_string_lossy(), options)
        .map_err(|why| (format!("this is no pattern: {}", why.msg), LIKE))?;
    let mut files = Vec::new();
    for path in found.take(MAX_INCLUDED_FILES + 1) {
        let path = path.map_err(|why| {
            let message = format!("{} can't be read: {}", printable(why.path()), why.error());
            (message, "name a folder that can be read")
        })?;
        if !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("can't be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is no file")]
    NoFile,
    #[error("has more than {MAX_FILE_BYTES} bytes")]
    TooLong,
    #[error("has no UTF-8 in line {line}")]
    NoUtf8 { line: usize },
}

/// A pipe or a device would never end, or never begin.
fn read_plain(path: &FilePath) -> Result<String, Unreadable> {
    if !fs::metadata(path)?.is_file() {
        return Err(Unreadable::NoFile);
    }
    read(path)
}

fn read(path: &FilePath) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unreadable::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Unreadable::NoUtf8 { line }
    })
}

fn no_utf8(place: Place, line: usize) -> Problem {
    let message = format!("line {line} is no UTF-8");
    error(place, message, "write the file in UTF-8")
}

/// A name of the file system may have anything in it.
fn printable(path: &FilePath) -> String {
    let name = path.display().to_string();
    name.replace(|c: char| c.is_control(), "\u{fffd}")
}

fn error(place: Place, message: impl Into<String>, help: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        place,
        message: message.into(),
        help: Some(help.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_included_is_bounded_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut included = Included {
            main: None,
            seen: HashSet::new(),
            texts: Vec::new(),
            bytes: MAX_INCLUDED_BYTES - 3,
        };
        let mut add = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("writable");
            let place = Place::File(FileName::new(0, "routes.toml"));
            included.add(&file, &place).map_err(|why| why.message)
        };
        assert_eq!(add("a.toml", "# a"), Ok(()));
        let refused = Err("more than 67108864 bytes are included".to_owned());
        assert_eq!(add("b.toml", "#"), refused);
        assert_eq!(add("empty.toml", ""), Ok(()));
    }
}
