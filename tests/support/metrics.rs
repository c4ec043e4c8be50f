//! What `/metrics` says, read without the server's libraries, and the equation of promise 12.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One line of the text format.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// # Errors
/// The line that isn't of the format.
pub fn parse(text: &str) -> Result<Vec<Sample>, String> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| sample(line).ok_or_else(|| format!("not a metric: {line:?}")))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample {
            name: series.to_owned(),
            labels: BTreeMap::new(),
            value,
        });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let (content, after) = quoted(after)?;
        labels.insert(label.to_owned(), content);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The content up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => content.push('\n'),
                other => content.push(other),
            },
            other => content.push(other),
        }
    }
    None
}

/// What became of the deliveries of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub planned: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    pub discarded: BTreeMap<String, u64>,
    pub pending: u64,
}

pub type CountsByDestination = BTreeMap<String, Counts>;

impl Counts {
    pub fn accounted(&self) -> u64 {
        self.delivered + self.dead_lettered + self.discarded.values().sum::<u64>() + self.pending
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            planned,
            delivered,
            dead_lettered,
            discarded,
            pending,
        } = self;
        write!(
            f,
            "planned {planned}, delivered {delivered}, dead-lettered {dead_lettered}, "
        )?;
        write!(f, "discarded {discarded:?}, pending {pending}")
    }
}

/// # Errors
/// If the text isn't of the format.
pub fn counts(text: &str) -> Result<CountsByDestination, String> {
    let mut all = CountsByDestination::new();
    for sample in parse(text)? {
        let Some(destination) = sample.labels.get("lane") else {
            continue;
        };
        let counts = all.entry(destination.clone()).or_default();
        // Counters are whole numbers, far below where a float skips one.
        let value = sample.value as u64;
        match sample.name.as_str() {
            "causeway_lane_planned_total" => counts.planned = value,
            "causeway_lane_delivered_total" => counts.delivered = value,
            "causeway_lane_dead_lettered_total" => counts.dead_lettered = value,
            "causeway_lane_pending" => counts.pending = value,
            "causeway_lane_discarded_total" if value > 0 => {
                let reason = sample.labels.get("reason").cloned().unwrap_or_default();
                counts.discarded.insert(reason, value);
            }
            _ => {}
        }
    }
    Ok(all)
}

/// The walk of `causeway journal verify --json`: `lanes` as in `causeway status --json`.
///
/// # Errors
/// What is missing in it.
pub fn walked_counts(report: &Value) -> Result<CountsByDestination, String> {
    let lanes = report["lanes"].as_array();
    let lanes = lanes.ok_or_else(|| format!("no `lanes` in {report}"))?;
    lanes.iter().map(walked_lane).collect()
}

fn walked_lane(lane: &Value) -> Result<(String, Counts), String> {
    let missing = |field: &str| format!("no `{field}` in {lane}");
    let number = |field: &str| lane[field].as_u64().ok_or_else(|| missing(field));
    let name = lane["name"].as_str().ok_or_else(|| missing("name"))?;
    let discarded = lane["discarded"]
        .as_object()
        .ok_or_else(|| missing("discarded"))?;
    let discarded = discarded.iter().filter_map(|(reason, count)| {
        let count = count.as_u64().filter(|count| *count > 0)?;
        Some((reason.clone(), count))
    });
    let counts = Counts {
        planned: number("planned")?,
        delivered: number("delivered")?,
        dead_lettered: number("dead_lettered")?,
        discarded: discarded.collect(),
        pending: number("pending")?,
    };
    Ok((name.to_owned(), counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_escapes_are_read() {
        let text = "# HELP x y\n# TYPE x counter\nx 1\ny{a=\"b\",c=\"d,\\\"}\\\\\\n\"} 2.5\n";
        let samples = parse(text).unwrap();
        assert_eq!(
            samples[0],
            Sample {
                name: "x".into(),
                labels: BTreeMap::new(),
                value: 1.0
            }
        );
        assert_eq!(samples[1].labels["c"], "d,\"}\\\n");
        assert_eq!(samples[1].value, 2.5);
        assert!(parse("x{a=\"b} 1").is_err());
        assert!(parse("x").is_err());
    }

    #[test]
    fn metrics_and_walk_give_the_same_counts() {
        let text = "causeway_lane_planned_total{lane=\"a\"} 9\ncauseway_lane_delivered_total{lane=\"a\"} 4\n\
            causeway_lane_dead_lettered_total{lane=\"a\"} 2\ncauseway_lane_pending{lane=\"a\"} 1\n\
            causeway_lane_discarded_total{lane=\"a\",reason=\"lost\"} 0\n\
            causeway_lane_discarded_total{lane=\"a\",reason=\"expired\"} 2\n";
        let walk = serde_json::json!({"lanes": [{
            "name": "a", "planned": 9, "delivered": 4, "dead_lettered": 2, "pending": 1,
            "discarded": {"lost": 0, "expired": 2},
        }]});
        let counted = counts(text).unwrap();
        assert_eq!(counted, walked_counts(&walk).unwrap());
        assert_eq!(counted["a"].accounted(), counted["a"].planned);
        assert!(walked_counts(&serde_json::json!({"lanes": [{"name": "a"}]})).is_err());
    }
}
