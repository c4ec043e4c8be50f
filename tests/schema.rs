//! docs/routes.schema.json: it is what the program prints, it takes every good file, and it refuses
//! what the program refuses, as far as a schema can tell. `UPDATE_EXPECT=1` writes it anew.

use causeway::config::schema;
use figment::providers::{Format, Toml};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const FILE: &str = "docs/routes.schema.json";
const CASES: &str = "tests/config";

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the cases") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') {
            files.push(path.clone());
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("a case");
    Toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn what_is_checked_in_is_what_is_printed() {
    let printed = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(FILE, &printed).expect("it can be written");
    }
    let file = fs::read_to_string(FILE).expect("it is checked in");
    assert!(file == printed, "{FILE} is old: UPDATE_EXPECT=1");
}

#[test]
fn good_files_are_taken() {
    let schema = schema();
    let mut files = toml_files(Path::new(CASES));
    files.retain(|file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        name.starts_with("good_") || name == "sample"
    });
    assert!(files.len() >= 8, "{files:?}");
    files.push("routes.toml".into());
    files.push("src/config/everything.toml".into());
    for file in files {
        let wrong = problems(&schema, &read(&file), "");
        assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
    }
    let mut part = schema.clone();
    part.as_object_mut().expect("an object").remove("required");
    for file in toml_files(&Path::new(CASES).join("include/good")) {
        let wrong = problems(&part, &read(&file), "");
        assert!(wrong.is_empty(), "{}: {wrong:?}", file.display());
    }
}

/// Those of which a schema can tell.
#[test]
fn broken_files_are_refused() {
    let schema = schema();
    for name in [
        "choices",
        "cloud",
        "connections",
        "empty",
        "include_no_list",
        "journal_kafka",
        "kafka",
        "listeners",
        "missing_keys",
        "rabbitmq",
        "route_types",
        "routes_one_bracket",
        "routes_table",
        "section_is_no_table",
        "services",
        "sources",
        "types",
        "unknown_keys",
        "wrong_types",
    ] {
        let file = Path::new(CASES).join(name).with_extension("toml");
        let wrong = problems(&schema, &read(&file), "");
        assert!(!wrong.is_empty(), "{} is taken", file.display());
    }
}

#[test]
fn a_key_of_one_type_is_none_of_another() {
    let schema = schema();
    let file = |table: &str| -> Value {
        Toml::from_str(&format!("version = 1\n[destinations.x]\n{table}")).expect("TOML")
    };
    for good in [
        "type = \"stream\"",
        "type = \"kafka\"\nbrokers = [\"a:1\"]",
        "connection = \"bus\"\ntopic = \"x\"",
        "type = \"sqs\"\nqueue_url = \"https://a\"\nsecret_access_key = { env = \"X\" }",
    ] {
        let wrong = problems(&schema, &file(good), "");
        assert!(wrong.is_empty(), "{good}: {wrong:?}");
    }
    for bad in [
        "",
        "type = \"stream\"\nbrokers = [\"a:1\"]",
        "type = \"kafka\"",
        "type = \"kafka\"\nbrokers = [\"a:1\"]\nurl = \"amqp://a\"",
        "type = \"kafka\"\nbrokers = [\"a:1\"]\nconnection = \"bus\"\ncolour = \"red\"",
        "type = \"sqs\"\nqueue_url = \"https://a\"\nsecret_access_key = { evn = \"X\" }",
        "type = \"rabbit\"",
    ] {
        assert!(
            !problems(&schema, &file(bad), "").is_empty(),
            "{bad} is taken"
        );
    }
}

/// What is wrong with a value, by the keywords that our schema has; others are not passed over.
fn problems(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let is_good = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => has_type(rule, value),
            "enum" => rule.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value
                .as_i64()
                .is_none_or(|n| n >= rule.as_i64().expect("a number")),
            "maximum" => value
                .as_u64()
                .is_none_or(|n| n <= rule.as_u64().expect("a number")),
            "pattern" => value
                .as_str()
                .is_none_or(|text| has_unit(text, rule.as_str().expect("text"))),
            "required" => required(rule, value),
            "properties" | "additionalProperties" | "items" => {
                wrong.extend(inner(schema, keyword, value, at));
                true
            }
            "anyOf" => matching(rule, value) >= 1,
            "oneOf" => matching(rule, value) == 1,
            _ => panic!("the schema has {keyword:?}, which this test doesn't know"),
        };
        if !is_good {
            wrong.push(format!("{at}: {keyword}"));
        }
    }
    wrong
}

fn has_type(rule: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => panic!("no type: {name}"),
    };
    match rule {
        Value::Array(names) => names.iter().any(|name| is(name.as_str().expect("text"))),
        name => is(name.as_str().expect("text")),
    }
}

fn required(rule: &Value, value: &Value) -> bool {
    let mut names = rule.as_array().expect("a list").iter();
    let has = |name: &Value| value.get(name.as_str().expect("text")).is_some();
    !value.is_object() || names.all(has)
}

/// Digits, a space or none, and one of the units that the pattern names.
fn has_unit(text: &str, pattern: &str) -> bool {
    let (start, rest) = pattern.split_once('(').expect("our patterns have units");
    assert_eq!(start, "^[0-9]+ ?", "{pattern}");
    let (units, end) = rest.split_once(')').expect("our patterns have units");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = &text[digits..];
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    digits > 0 && (units.split('|').any(|known| known == unit) || (end == "?$" && unit.is_empty()))
}

fn matching(rule: &Value, value: &Value) -> usize {
    let schemas = rule.as_array().expect("a list").iter();
    schemas
        .filter(|schema| problems(schema, value, "").is_empty())
        .count()
}

/// What is wrong inside of a table or a list.
fn inner(schema: &Value, keyword: &str, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    match (keyword, value) {
        ("properties", Value::Object(entries)) => {
            for (name, value) in entries {
                if let Some(schema) = schema["properties"].get(name) {
                    wrong.extend(problems(schema, value, &format!("{at}.{name}")));
                }
            }
        }
        ("additionalProperties", Value::Object(entries)) => {
            let known = |name: &str| {
                schema
                    .get("properties")
                    .is_some_and(|p| p.get(name).is_some())
            };
            for (name, value) in entries.iter().filter(|(name, _)| !known(name)) {
                match &schema["additionalProperties"] {
                    Value::Bool(allowed) if !allowed => wrong.push(format!("{at}.{name}: unknown")),
                    schema => wrong.extend(problems(schema, value, &format!("{at}.{name}"))),
                }
            }
        }
        ("items", Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                wrong.extend(problems(&schema["items"], item, &format!("{at}[{index}]")));
            }
        }
        _ => {}
    }
    wrong
}
