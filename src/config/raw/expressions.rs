//! CEL and templates in the file: compiled where they are read, so that what is wrong is underlined
//! to the letter.

use crate::config::path::Path;
use crate::config::reader::{Reader, Table, has_template};
use crate::config::shape::Shape;
use crate::expression::{CompileError, Program, Template};

/// The names that a pattern binds, also where it isn't quite one: an expression with such a name in it
/// is right all the same.
pub(super) fn levels_of(topic: &str) -> Vec<&str> {
    topic
        .split('/')
        .filter_map(|level| level.strip_prefix('{')?.strip_suffix('}'))
        .collect()
}

/// An expression: `when`, `transform`.
pub(super) fn read_program(
    table: &Table<'_>,
    key: &'static str,
    levels: &[&str],
) -> Option<Program> {
    let source = table.raw_text(key)?;
    let path = table.path.name(key);
    if source.trim().is_empty() {
        table.reader.error(
            &path,
            format!("`{key}` is empty"),
            "write an expression, or take the line out",
        );
        return None;
    }
    if source.trim_start().starts_with("${") {
        table.reader.error(
            &path,
            format!("`{key}` is an expression itself"),
            "take the `${` and the `}` around it out",
        );
        return None;
    }
    match Program::compile(&source, levels) {
        Ok(program) => Some(program),
        Err(error) => {
            refuse(table.reader, &path, &source, error);
            None
        }
    }
}

/// Text with `${…}` in it.
pub(super) fn read_template(
    table: &Table<'_>,
    key: &'static str,
    levels: &[&str],
) -> Option<Template> {
    table.note(key, || Shape::Template);
    let text = table.raw_text(key)?;
    parse_template(table.reader, &table.path.name(key), &text, levels)
}

pub(super) fn parse_template(
    reader: &Reader<'_>,
    path: &Path,
    text: &str,
    levels: &[&str],
) -> Option<Template> {
    warn_of_bare(reader, path, text);
    match Template::parse(text, levels) {
        Ok(template) => Some(template),
        Err(error) => {
            refuse(reader, path, text, error);
            None
        }
    }
}

/// The plain text of a template without any `${…}`.
pub(super) fn plain(text: &str) -> Option<String> {
    (!has_template(text)).then(|| text.replace("$${", "${"))
}

fn refuse(reader: &Reader<'_>, path: &Path, source: &str, error: CompileError) {
    const HELP: &str = "docs/routes.md tells what can stand in an expression";
    let end = error.range.end.min(source.len());
    let part = error.range.start.min(end)..end;
    let help = error.help.unwrap_or_else(|| HELP.to_owned());
    reader.error_in(path, part, error.message, help);
}

/// What looks like an expression, and is plain text.
pub(super) fn is_bare(text: &str) -> bool {
    const STARTS: [&str; 5] = ["payload.", "payload[", "headers.", "headers[", "levels["];
    !has_template(text) && STARTS.iter().any(|start| text.starts_with(start))
}

fn warn_of_bare(reader: &Reader<'_>, path: &Path, text: &str) {
    if is_bare(text) {
        reader.warn(
            path,
            "this is plain text: it is sent as these very letters",
            format!("an expression stands in `${{…}}`: write \"${{{text}}}\""),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_pattern_are_found_even_in_a_bad_one() {
        assert_eq!(levels_of("a/{shop}/#/{id}"), ["shop", "id"]);
        assert_eq!(levels_of("a#/{shop}/x{y}/{"), ["shop"]);
        assert_eq!(levels_of(""), [""; 0]);
    }

    #[test]
    fn text_without_a_template_is_plain() {
        assert_eq!(plain("a $${b} c").as_deref(), Some("a ${b} c"));
        assert_eq!(plain("a ${b}"), None);
    }
}
