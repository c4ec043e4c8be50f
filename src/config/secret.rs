//! Passwords and the like: from an environment variable, a file, or the text itself, which is
//! warned of. What one says is never shown.

use super::document::Focus;
use super::path::Path;
use super::problem::Place;
use super::reader::{Entry, Reader, Table};
use super::shape::Shape;
use figment::value::Value;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path as FilePath;

/// A key with its chain of certificates is smaller.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// What people who aren't the owner and aren't of its group may do with a file: read it.
const OTHERS_READ: u32 = 0o004;
const FORMS: &str = "write { env = \"NAME\" } or { file = \"PATH\" }";

/// A value that is never shown: what prints it prints asterisks.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// For the one place that must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secret at a key of a table.
pub(super) fn read_secret(table: &Table<'_>, key: &'static str) -> Option<Secret> {
    table.note(key, || Shape::Secret);
    read_entry(table.entry(key)?)
}

/// The secret that an entry is.
pub(super) fn read_entry(entry: Entry<'_>) -> Option<Secret> {
    let (reader, path) = (entry.reader, entry.path.clone());
    let text = match entry.value {
        Value::String(_, text) => {
            // What the environment or a flag says is in no file.
            if let Place::At(_) = reader.place(&path, Focus::Value) {
                reader.warn(
                    &path,
                    "a plain-text secret: whoever can read this file has it",
                    FORMS,
                );
            }
            text.clone()
        }
        Value::Dict(..) => read_reference(entry.into_table()?)?,
        value => {
            reader.wrong_type(&path, value, "a secret", "{ env = \"NAME\" }");
            return None;
        }
    };
    if text.is_empty() {
        reader.error(&path, "the secret is empty", FORMS);
        return None;
    }
    Some(Secret(text))
}

/// `{ env = "NAME" }` or `{ file = "PATH" }`
fn read_reference(table: Table<'_>) -> Option<String> {
    let (reader, path) = (table.reader, table.path.clone());
    let env = table.raw_text("env");
    let file = table.raw_text("file");
    let is_one = table.has("env") != table.has("file");
    if !is_one {
        reader.error(&path, "a secret is of one `env` or of one `file`", FORMS);
    }
    table.finish();
    if !is_one {
        return None;
    }
    match (env, file) {
        (Some(name), _) => read_variable(reader, &path.name("env"), &name),
        (_, Some(file)) => {
            let secret = read_file(reader, &path.name("file"), &file)?;
            Some(secret.0)
        }
        _ => None,
    }
}

fn read_variable(reader: &Reader<'_>, path: &Path, name: &str) -> Option<String> {
    // Who wrote the secret itself there mustn't see it again.
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let variable = match is_name {
        true => format!("the environment variable {name}"),
        false => "the environment variable of this name".to_owned(),
    };
    let why = match reader.sources.variable(name).map(|value| value.to_str()) {
        None => "isn't set",
        Some(None) => "is no UTF-8",
        Some(Some("")) => "is empty",
        Some(Some(value)) => return Some(value.to_owned()),
    };
    reader.error(
        path,
        format!("{variable} {why}"),
        "set it where the gateway is started, or name another",
    );
    None
}

/// A secret that is a file's text.
pub(super) fn read_file(reader: &Reader<'_>, path: &Path, file: &str) -> Option<Secret> {
    // Shown only where it is surely a path: it may be the secret itself by mistake.
    let shown = match file.contains('/') {
        true => format!("the secret's file {file:?}"),
        false => "the secret's file".to_owned(),
    };
    match read_text(&reader.folder_of(path).join(file)) {
        Ok((text, mode)) => {
            if mode & OTHERS_READ != 0 {
                reader.warn(
                    path,
                    format!("{shown} can be read by everybody on this machine"),
                    "take that right away: chmod o-r",
                );
            }
            if text.is_empty() {
                reader.error(path, format!("{shown} is empty"), FORMS);
                return None;
            }
            Some(Secret(text))
        }
        Err(why) => {
            reader.error(
                path,
                format!("{shown} can't be read: {why}"),
                "name a file that the gateway may read; it is looked for beside the file that names it",
            );
            None
        }
    }
}

/// The text, without the newline at its end that editors put there, and the file's mode.
fn read_text(file: &FilePath) -> Result<(String, u32), String> {
    let metadata = fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("it has more than {MAX_SECRET_BYTES} bytes"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok((line.to_owned(), metadata.permissions().mode()))
}
