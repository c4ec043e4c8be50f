//! The way to one entry of the configuration.

use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

impl Path {
    pub(super) fn root() -> Self {
        Self::default()
    }

    pub(super) fn name(&self, name: &str) -> Self {
        self.with(Step::Name(name.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    pub(super) fn join(mut self, rest: &[Step]) -> Self {
        self.0.extend_from_slice(rest);
        self
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
    }

    /// The table that the path leads to, as a header would name it.
    pub(super) fn as_header(&self) -> String {
        let names: Vec<&str> = self.names().collect();
        match self.0.last() {
            None => "at the top of the file".to_owned(),
            Some(Step::Name(_)) => format!("in [{}]", names.join(".")),
            Some(Step::Index(_)) => format!("in [[{}]]", names.join(".")),
        }
    }
}

/// As people say it: names only, an entry of a list by its list.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join("."))
    }
}
