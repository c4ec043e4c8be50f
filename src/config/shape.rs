//! What an entry of the file may be, as the reader notes it: the schema for editors is made of it.

use std::ops::RangeInclusive;

/// The kind of a table that names a connection instead of its type.
pub(super) const WITH_CONNECTION: &str = "connection";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Somebody wants to know this key.
    Asked,
    Is(Shape),
    /// It can't be left out.
    Required,
    /// A table of this kind, where several can stand: the `type` of a destination.
    Kind(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Boolean,
    Count(RangeInclusive<u64>),
    Size,
    Duration,
    Words(Vec<&'static str>),
    /// `{ env = "NAME" }`, `{ file = "PATH" }`, or the text itself.
    Secret,
    /// Text with `${…}` in it.
    Template,
    /// Text, a number or true and false.
    Plain,
    Table,
    /// A table whose keys are names of the user's.
    Names,
    List,
}
