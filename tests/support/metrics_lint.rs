//! What `promtool check metrics` finds wrong with a page, and what Prometheus wouldn't take: names,
//! help, types, units, suffixes, labels, and histograms that don't add up.

use super::metrics::{Sample, parse};
use std::collections::{BTreeMap, BTreeSet};

/// Names end in a base unit, never in one of these.
const OTHER_UNITS: [&str; 16] = [
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "ms",
    "us",
    "sec",
    "secs",
    "kilobytes",
    "megabytes",
    "kb",
    "mb",
    "kib",
    "percent",
];

#[derive(Clone, Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

/// By name. Lines of one family stand together, under its help and its type.
///
/// # Errors
/// What isn't of the text format.
pub fn families(page: &str) -> Result<BTreeMap<String, Family>, String> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("no help: {line}"))?;
            current = name.to_owned();
            let family = Family {
                help: help.to_owned(),
                ..Family::default()
            };
            if all.insert(current.clone(), family).is_some() {
                return Err(format!("{name} stands there twice"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(format!("no type: {line}"))?;
            let family = all.get_mut(name).filter(|_| name == current);
            let family = family.ok_or(format!("a type without its help before it: {line}"))?;
            kind.clone_into(&mut family.kind);
        } else {
            let sample = parse(line)?
                .pop()
                .ok_or(format!("not a sample: {line:?}"))?;
            let family = all
                .get_mut(&current)
                .ok_or(format!("of no family: {line}"))?;
            let parts: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            let part = sample.name.strip_prefix(&current);
            if !part.is_some_and(|part| parts.contains(&part)) {
                return Err(format!("under {current}: {line}"));
            }
            family.samples.push(sample);
        }
    }
    Ok(all)
}

/// Everything that is wrong; empty is right.
pub fn lint(page: &str) -> Vec<String> {
    let families = match families(page) {
        Ok(families) => families,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = Vec::new();
    for (name, family) in &families {
        let mut say = |what: &str| wrong.push(format!("{name}: {what}"));
        lint_name(name, family, &mut say);
        lint_samples(family, &mut say);
        if family.kind == "histogram" {
            lint_histogram(name, family, &mut say);
        }
    }
    if !page.ends_with('\n') {
        wrong.push("the last line has no end".to_owned());
    }
    wrong
}

fn lint_name(name: &str, family: &Family, say: &mut impl FnMut(&str)) {
    let is_counter = family.kind == "counter";
    if !["counter", "gauge", "histogram"].contains(&family.kind.as_str()) {
        say(&format!("is of the type {:?}", family.kind));
    }
    if family.help.trim().is_empty() {
        say("has no help");
    }
    if is_counter != name.ends_with("_total") {
        say("counters, and nothing else, end in _total");
    }
    let parts = ["_bucket", "_sum", "_count"];
    if parts.iter().any(|part| name.ends_with(part)) {
        say("is named as a part of a histogram");
    }
    if !is_word(name) {
        say("isn't in lower-case words");
    }
    for word in name.split('_') {
        if OTHER_UNITS.contains(&word) {
            say("isn't in a base unit");
        }
        if ["counter", "gauge", "histogram", "summary"].contains(&word) {
            say("has its type in its name");
        }
    }
    if family.kind == "histogram" && !name.ends_with("_seconds") {
        say("has no unit");
    }
}

fn is_word(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(legal)
}

fn lint_samples(family: &Family, say: &mut impl FnMut(&str)) {
    let mut seen = BTreeSet::new();
    let mut label_sets = BTreeSet::new();
    for sample in &family.samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            say(&format!("the same sample twice: {sample:?}"));
        }
        let names: Vec<_> = sample.labels.keys().filter(|name| *name != "le").collect();
        if names
            .iter()
            .any(|name| !is_word(name) || name.starts_with("__"))
        {
            say(&format!("has a label that isn't a word: {names:?}"));
        }
        label_sets.insert(names);
        if sample.labels.contains_key("le") && !sample.name.ends_with("_bucket") {
            say("has the label of a bucket");
        }
        if family.kind != "gauge" && !(sample.value.is_finite() && sample.value >= 0.0) {
            say(&format!("counted to {}", sample.value));
        }
    }
    if label_sets.len() > 1 {
        say(&format!("has samples of different labels: {label_sets:?}"));
    }
}

/// Buckets rise in bound and in count, the last is `+Inf` and equals the count; there is a sum.
fn lint_histogram(name: &str, family: &Family, say: &mut impl FnMut(&str)) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        labels.remove("le");
        series.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in series {
        let value = |part: &str| {
            let mut found = samples.iter().filter(|s| s.name == format!("{name}{part}"));
            found.next().map(|sample| sample.value)
        };
        let buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|s| Some((s.labels.get("le")?.parse().unwrap_or(f64::NAN), s.value)))
            .collect();
        let rises = buckets
            .windows(2)
            .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
        let last = buckets.last().copied();
        if !rises || last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            say(&format!(
                "{labels:?}: its buckets don't rise to +Inf: {buckets:?}"
            ));
        }
        if value("_count").is_none() || last.map(|(_, count)| count) != value("_count") {
            say(&format!("{labels:?}: +Inf isn't the count"));
        }
        let sum = value("_sum");
        if sum.is_none() || (value("_count") == Some(0.0) && sum != Some(0.0)) {
            say(&format!("{labels:?}: the sum is {sum:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "# HELP a_seconds How long.\n# TYPE a_seconds histogram\n\
        a_seconds_bucket{le=\"0.1\"} 1\na_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 2.5\na_seconds_count 3\n\
        # HELP b_total How often.\n# TYPE b_total counter\nb_total{why=\"x\"} 1\n";

    #[test]
    fn what_is_wrong_is_found() {
        assert_eq!(lint(RIGHT), Vec::<String>::new());
        for (from, to, words) in [
            ("b_total", "b", "end in _total"),
            ("a_seconds", "a_ms", "base unit"),
            ("a_seconds", "a", "no unit"),
            ("How often.", " ", "no help"),
            ("# TYPE b_total counter\n", "", "is of the type"),
            ("# HELP b_total How often.\n", "", "type without its help"),
            ("0.1\"} 1", "0.1\"} 4", "don't rise"),
            ("a_seconds_bucket{le=\"+Inf\"} 3\n", "", "+Inf"),
            ("count 3", "count 4", "isn't the count"),
            ("a_seconds_sum 2.5\n", "", "the sum is None"),
            ("b_total{why=\"x\"} 1", "b_total 1\nb_total 1", "twice"),
            (
                "b_total{why=\"x\"} 1",
                "b_total{why=\"x\"} 1\nb_total 1",
                "different labels",
            ),
            ("b_total{why=\"x\"} 1", "c_total 1", "under b_total"),
            ("} 1\na_s", "} x\na_s", "not a metric"),
            ("b_total{", "b_total{Why=\"x\",", "isn't a word"),
        ] {
            let page = RIGHT.replace(from, to);
            assert_ne!(page, RIGHT, "{from}");
            let wrong = lint(&page).join("\n");
            assert!(wrong.contains(words), "{from} → {to}: {wrong:?}");
        }
    }
}
