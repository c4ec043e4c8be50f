//! Newtypes for ids and positions, so that none is ever taken for another.

use std::fmt;

/// An accepted envelope's dense number in the journal, kept for ever. Starts at 0.
/// In a stream or dead-letter log it is the record's offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// From here on they number what lives in memory alone (`at_most_once`), anew in each run; no
    /// journal comes so far.
    pub const IN_MEMORY: Self = Self(1 << 63);

    #[must_use]
    pub const fn is_in_memory(self) -> bool {
        self.0 >= Self::IN_MEMORY.0
    }

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Which target of a plan: its index there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u16);

/// One delivery: (position, ordinal in the plan). Ordered as the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    pub position: Position,
    pub ordinal: Ordinal,
}

impl DeliveryId {
    #[must_use]
    pub const fn new(position: u64, ordinal: u16) -> Self {
        Self {
            position: Position(position),
            ordinal: Ordinal(ordinal),
        }
    }
}

/// A destination's number in this journal's catalog; it never changes and is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// A route's number in this journal's catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// The identity of one log, made once when its folder is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogUuid(pub u128);

/// One run of the gateway over one journal: a counter (high half) and a random half, so that
/// two runs over copies of one folder still differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.position, self.ordinal)
    }
}

impl fmt::Display for LogUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LogUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogUuid({self})")
    }
}
