//! The text format's syntax: families, samples, escapes.

use crate::histogram::Observed;
use std::fmt::{Display, Write};

/// The page in the making.
pub struct Page(pub String);

/// One metric, under whose help and type its samples are put.
pub struct Family<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Page {
    pub fn family<'a>(&'a mut self, name: &'a str, kind: &str, help: &str) -> Family<'a> {
        write(
            &mut self.0,
            format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        );
        Family {
            page: &mut self.0,
            name,
        }
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help).sample(&[], value);
    }

    pub fn histogram(&mut self, name: &str, help: &str, observed: &Observed) {
        self.family(name, "histogram", help).observed(&[], observed);
    }

    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help).sample(&[], value);
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample_of("", labels, value);
    }

    /// A histogram's buckets, each with all below it, its sum and its count.
    pub fn observed(&mut self, labels: &[(&str, &str)], observed: &Observed) {
        let mut bucket = |bound: &str, count| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
            self.sample_of("_bucket", &labels, count);
        };
        for (bound, count) in &observed.buckets {
            bucket(&bound.to_string(), *count);
        }
        bucket("+Inf", observed.count);
        self.sample_of("_sum", labels, observed.sum_seconds);
        self.sample_of("_count", labels, observed.count);
    }

    fn sample_of(&mut self, part: &str, labels: &[(&str, &str)], value: impl Display) {
        self.page.push_str(self.name);
        self.page.push_str(part);
        for (i, (name, text)) in labels.iter().enumerate() {
            let mark = if i == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write(self.page, format_args!("{mark}{name}=\"{text}\""));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        write(self.page, format_args!("{end} {value}\n"));
    }
}

fn write(page: &mut String, words: std::fmt::Arguments<'_>) {
    page.write_fmt(words)
        .expect("writing to a String can't fail");
}
