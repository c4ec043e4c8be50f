//! The names of lanes and routes, as numbers.
//!
//! What lives here: the numbering and its bytes. What must not: what a name stands for in the
//! configuration, what a lane owes.
//!
//! A number is given once, counted up from 0, and never reused, because records hold it. The
//! catalog grows by each name that was ever used and by nothing else.
//!
//! An entry's record, integers as varints unless said otherwise:
//!
//! ```text
//! u8    0x31: an entry of the catalog (high half), version 1 (low half)
//! u8    0 lane, 1 route
//! number; name with its length in front
//! lane: u8 flags: 1 strict, 2 sink, 4 barriers; [u128 uuid of the sink, little-endian];
//!       [number of barriers; each, ascending: a position]
//! ```
//!
//! A later record of a lane replaces its flags, sink and barriers.
//!
//! A lane is its destination's, and has its name. Where at_most_once targets lead to one it has a second
//! lane for these, `NAME@memory` (a name has no '@'): that one owes nothing, ever.

use super::modes::LaneModes;
use crate::message::wire::{Problem, Reader, WireError, put_str, put_u128, put_varint};
use crate::message::{LaneId, LogUuid, Position, RouteId};
use std::collections::HashMap;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// The first byte (see `message::record::ENVELOPE_V1`).
pub const CATALOG_V1: u8 = 0x31;

const KIND_LANE: u8 = 0;
const KIND_ROUTE: u8 = 1;
const FLAG_STRICT: u8 = 1;
const FLAG_SINK: u8 = 2;
const FLAG_BARRIERS: u8 = 4;
const ENTRY_LEAST_BYTES: usize = 3;

const MEMORY: &str = "@memory";

/// The name of the lane of a destination's at_most_once deliveries.
#[must_use]
pub fn memory_lane(destination: &str) -> String {
    format!("{destination}{MEMORY}")
}

/// The destination of a lane of this name, if it is one of those.
pub(super) fn destination_of(name: &str) -> Option<&str> {
    name.strip_suffix(MEMORY)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneEntry {
    pub id: LaneId,
    /// Its destination's, or `memory_lane` of it.
    pub name: Arc<str>,
    pub modes: LaneModes,
    /// The log that it delivers to, once there is one: positions in another one mean nothing.
    pub sink: Option<LogUuid>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    pub id: RouteId,
    pub name: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogEntry {
    Lane(LaneEntry),
    Route(RouteEntry),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A number skipped or used twice: entries are missing, or of another journal.
    #[error("{what} {name:?} can't be number {number}: {known} are known, and names keep theirs")]
    Contradiction {
        what: &'static str,
        name: Arc<str>,
        number: u32,
        known: usize,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Both indexed by number.
    lanes: Vec<LaneEntry>,
    routes: Vec<RouteEntry>,
    lane_numbers: HashMap<Arc<str>, LaneId>,
    route_numbers: HashMap<Arc<str>, RouteId>,
}

impl Catalog {
    /// In the order of their numbers.
    #[must_use]
    pub fn lanes(&self) -> &[LaneEntry] {
        &self.lanes
    }

    #[must_use]
    pub fn routes(&self) -> &[RouteEntry] {
        &self.routes
    }

    #[must_use]
    pub fn lane(&self, id: LaneId) -> Option<&LaneEntry> {
        self.lanes.get(id.0 as usize)
    }

    #[must_use]
    pub fn route(&self, id: RouteId) -> Option<&RouteEntry> {
        self.routes.get(id.0 as usize)
    }

    #[must_use]
    pub fn lane_named(&self, name: &str) -> Option<&LaneEntry> {
        self.lane(*self.lane_numbers.get(name)?)
    }

    #[must_use]
    pub fn route_named(&self, name: &str) -> Option<&RouteEntry> {
        self.route(*self.route_numbers.get(name)?)
    }

    /// The lane's number, and whether it was given now: then its entry must be recorded before
    /// any record names it.
    pub fn intern_lane(&mut self, name: &str) -> (LaneId, bool) {
        if let Some(id) = self.lane_numbers.get(name) {
            return (*id, false);
        }
        let id = LaneId(next_number(self.lanes.len()));
        self.add_lane(LaneEntry {
            id,
            name: name.into(),
            modes: LaneModes::default(),
            sink: None,
        });
        (id, true)
    }

    /// As `intern_lane`.
    pub fn intern_route(&mut self, name: &str) -> (RouteId, bool) {
        if let Some(id) = self.route_numbers.get(name) {
            return (*id, false);
        }
        let id = RouteId(next_number(self.routes.len()));
        self.add_route(RouteEntry {
            id,
            name: name.into(),
        });
        (id, true)
    }

    /// True if that changed the lane's entry, which must then be recorded. False, too, for a lane
    /// that isn't there.
    pub fn set_modes(&mut self, id: LaneId, modes: LaneModes) -> bool {
        match self.lanes.get_mut(id.0 as usize) {
            Some(lane) if lane.modes != modes => {
                lane.modes = modes;
                true
            }
            _ => false,
        }
    }

    /// As `set_modes`.
    pub fn set_sink(&mut self, id: LaneId, sink: Option<LogUuid>) -> bool {
        match self.lanes.get_mut(id.0 as usize) {
            Some(lane) if lane.sink != sink => {
                lane.sink = sink;
                true
            }
            _ => false,
        }
    }

    /// Takes in an entry that was recorded, new or changed. On error nothing is changed.
    pub fn apply(&mut self, entry: CatalogEntry) -> Result<(), CatalogError> {
        match entry {
            CatalogEntry::Lane(lane) => self.apply_lane(lane),
            CatalogEntry::Route(route) => self.apply_route(route),
        }
    }

    fn apply_lane(&mut self, lane: LaneEntry) -> Result<(), CatalogError> {
        let known = self.lane_numbers.get(&lane.name);
        let is_next = lane.id.0 as usize == self.lanes.len();
        match known {
            Some(id) if *id == lane.id => self.lanes[id.0 as usize] = lane,
            None if is_next => self.add_lane(lane),
            _ => {
                return Err(CatalogError::Contradiction {
                    what: "lane",
                    name: lane.name,
                    number: lane.id.0,
                    known: self.lanes.len(),
                });
            }
        }
        Ok(())
    }

    fn apply_route(&mut self, route: RouteEntry) -> Result<(), CatalogError> {
        let known = self.route_numbers.get(&route.name);
        let is_next = route.id.0 as usize == self.routes.len();
        match known {
            Some(id) if *id == route.id => {}
            None if is_next => self.add_route(route),
            _ => {
                return Err(CatalogError::Contradiction {
                    what: "route",
                    name: route.name,
                    number: route.id.0,
                    known: self.routes.len(),
                });
            }
        }
        Ok(())
    }

    fn add_lane(&mut self, lane: LaneEntry) {
        self.lane_numbers.insert(lane.name.clone(), lane.id);
        self.lanes.push(lane);
    }

    fn add_route(&mut self, route: RouteEntry) {
        self.route_numbers.insert(route.name.clone(), route.id);
        self.routes.push(route);
    }

    /// Appends the whole for the checkpoint: the number of entries, then each as its record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, (self.lanes.len() + self.routes.len()) as u64);
        for lane in &self.lanes {
            lane.encode(out);
        }
        for route in &self.routes {
            route.encode(out);
        }
    }

    /// Reads what `encode` wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for _ in 0..reader.count("catalog", ENTRY_LEAST_BYTES)? {
            catalog.apply(read_entry(reader)?)?;
        }
        Ok(catalog)
    }
}

impl LaneEntry {
    /// Nothing of it is kept: its deliveries are at_most_once.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        destination_of(&self.name).is_some()
    }

    /// As people know it.
    #[must_use]
    pub fn destination(&self) -> Arc<str> {
        match destination_of(&self.name) {
            Some(name) => name.into(),
            None => Arc::clone(&self.name),
        }
    }

    /// Appends the entry's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([CATALOG_V1, KIND_LANE]);
        put_varint(out, self.id.0.into());
        put_str(out, &self.name);
        let barriers = self.modes.barriers();
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.push(
            flag(self.modes.is_strict_first(), FLAG_STRICT)
                | flag(self.sink.is_some(), FLAG_SINK)
                | flag(!barriers.is_empty(), FLAG_BARRIERS),
        );
        if let Some(uuid) = self.sink {
            put_u128(out, uuid.0);
        }
        if !barriers.is_empty() {
            put_varint(out, barriers.len() as u64);
            barriers.iter().for_each(|at| put_varint(out, at.0));
        }
    }
}

impl RouteEntry {
    /// Appends the entry's record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend([CATALOG_V1, KIND_ROUTE]);
        put_varint(out, self.id.0.into());
        put_str(out, &self.name);
    }
}

impl CatalogEntry {
    pub fn decode(record: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(record);
        let entry = read_entry(&mut reader)?;
        reader.finish("entry of the catalog")?;
        Ok(entry)
    }
}

fn read_entry(reader: &mut Reader) -> Result<CatalogEntry, WireError> {
    let before = reader.clone();
    if reader.u8("entry's version")? != CATALOG_V1 {
        return Err(before.error("entry's version", Problem::OutOfRange));
    }
    let before = reader.clone();
    let kind = reader.u8("entry's kind")?;
    let number = reader.varint_as("entry's number")?;
    let name = reader.str("entry's name")?.into();
    match kind {
        KIND_LANE => read_lane(reader, LaneId(number), name).map(CatalogEntry::Lane),
        KIND_ROUTE => Ok(CatalogEntry::Route(RouteEntry {
            id: RouteId(number),
            name,
        })),
        _ => Err(before.error("entry's kind", Problem::OutOfRange)),
    }
}

fn read_lane(reader: &mut Reader, id: LaneId, name: Arc<str>) -> Result<LaneEntry, WireError> {
    let before = reader.clone();
    let flags = reader.u8("lane's flags")?;
    if flags & !(FLAG_STRICT | FLAG_SINK | FLAG_BARRIERS) != 0 {
        return Err(before.error("lane's flags", Problem::OutOfRange));
    }
    let sink = if flags & FLAG_SINK == 0 {
        None
    } else {
        Some(LogUuid(reader.u128("lane's sink")?))
    };
    let before = reader.clone();
    let barriers = if flags & FLAG_BARRIERS == 0 {
        Vec::new()
    } else {
        let count = reader.count("lane's barriers", 1)?;
        (0..count)
            .map(|_| reader.varint("lane's barrier").map(Position))
            .collect::<Result<_, _>>()?
    };
    let modes = LaneModes::new(flags & FLAG_STRICT != 0, barriers)
        .ok_or_else(|| before.error("lane's barriers", Problem::OutOfRange))?;
    Ok(LaneEntry {
        id,
        name,
        modes,
        sink,
    })
}

fn next_number(known: usize) -> u32 {
    u32::try_from(known).expect("names come from configuration files: fewer than 2^32")
}
