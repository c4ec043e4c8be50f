//! The ids of one segment: what its index file keeps of them, and what compaction leaves of a
//! record that is settled but whose id is still in the window. 40 bytes an id.

use super::shapes::Shapes;
use crate::log::Record;
use crate::message::wire::{Problem, Reader, WireError, put_u16, put_u32, put_u64, put_u128};
use crate::message::{LaneId, Position, RouteId};

/// First byte of the record that carries a table in a compacted segment.
pub const IDS_V1: u8 = 0x51;
const EXACTLY_ONCE: u32 = 1 << 31;
const ENTRY_BYTES: usize = 40;
/// A record carries at most this many, so that no record is larger than a message may be.
const MAX_IDS_A_RECORD: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdEntry {
    pub key: u128,
    pub content: u64,
    pub position: Position,
    /// When it was durable, or up to one batch later.
    pub running_ms: u64,
    /// Where its deliveries go, as interned in `Shapes`.
    pub shape: u32,
    pub exactly_once: bool,
}

/// Appends a table: u32 count of shapes, each u16 count of (u32 route, u32 lane); u64 base
/// position; u32 count of entries; then the entries, ascending by position.
pub fn encode(entries: &[IdEntry], shapes: &Shapes, out: &mut Vec<u8>) {
    let mut used: Vec<u32> = entries.iter().map(|e| e.shape).collect();
    used.sort_unstable();
    used.dedup();
    put_u32(out, used.len() as u32);
    for shape in &used {
        let targets = shapes.get(*shape).unwrap_or_default();
        put_u16(out, targets.len() as u16);
        for (route, lane) in targets {
            put_u32(out, route.0);
            put_u32(out, lane.0);
        }
    }
    let base = entries.first().map_or(0, |e| e.position.0);
    put_u64(out, base);
    put_u32(out, entries.len() as u32);
    out.reserve(entries.len() * ENTRY_BYTES);
    for entry in entries {
        let local = used.binary_search(&entry.shape).expect("collected above") as u32;
        put_u128(out, entry.key);
        put_u64(out, entry.content);
        put_u64(out, entry.running_ms);
        put_u32(out, (entry.position.0 - base) as u32);
        put_u32(
            out,
            local | if entry.exactly_once { EXACTLY_ONCE } else { 0 },
        );
    }
}

/// Reads what `encode` wrote, shapes interned.
pub fn decode(bytes: &[u8], shapes: &mut Shapes) -> Result<Vec<IdEntry>, WireError> {
    let (local, mut reader) = decode_shapes(bytes)?;
    let interned: Vec<u32> = local
        .into_iter()
        .map(|targets| shapes.intern(targets))
        .collect();
    let base = reader.u64("base position")?;
    let count = reader.u32("count of ids")? as usize;
    let mut entries = Vec::with_capacity(count.min(reader.rest().len() / ENTRY_BYTES));
    for _ in 0..count {
        let raw = RawEntry::read(&mut reader)?;
        let shape = interned.get(raw.shape()).copied();
        entries.push(IdEntry {
            key: raw.key,
            content: raw.content,
            position: Position(base + u64::from(raw.delta)),
            running_ms: raw.running_ms,
            shape: shape.ok_or_else(|| reader.error("shape of an id", Problem::OutOfRange))?,
            exactly_once: raw.shape_and_flag & EXACTLY_ONCE != 0,
        });
    }
    Ok(entries)
}

/// Where the deliveries of a position went, if the table has it.
pub fn find(bytes: &[u8], position: Position) -> Result<Option<Targets>, WireError> {
    search(bytes, |at, _| at == position).map(|found| found.map(|(_, targets)| targets))
}

/// The position of an identity, and where its deliveries went. The newest wins.
pub fn find_key(bytes: &[u8], key: u128) -> Result<Option<(Position, Targets)>, WireError> {
    search(bytes, |_, found| found == key)
}

/// (route, lane) for each ordinal.
pub type Targets = Vec<(RouteId, LaneId)>;

fn search(
    bytes: &[u8],
    wanted: impl Fn(Position, u128) -> bool,
) -> Result<Option<(Position, Targets)>, WireError> {
    let (mut shapes, mut reader) = decode_shapes(bytes)?;
    let base = reader.u64("base position")?;
    let mut last = None;
    for _ in 0..reader.u32("count of ids")? {
        let raw = RawEntry::read(&mut reader)?;
        let position = Position(base + u64::from(raw.delta));
        if wanted(position, raw.key) {
            last = Some((position, raw.shape()));
        }
    }
    let Some((position, shape)) = last else {
        return Ok(None);
    };
    if shape >= shapes.len() {
        return Err(reader.error("shape of an id", Problem::OutOfRange));
    }
    Ok(Some((position, shapes.swap_remove(shape))))
}

struct RawEntry {
    key: u128,
    content: u64,
    running_ms: u64,
    delta: u32,
    shape_and_flag: u32,
}

impl RawEntry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            key: reader.u128("key of an id")?,
            content: reader.u64("content hash of an id")?,
            running_ms: reader.u64("time of an id")?,
            delta: reader.u32("position of an id")?,
            shape_and_flag: reader.u32("shape of an id")?,
        })
    }

    const fn shape(&self) -> usize {
        (self.shape_and_flag & !EXACTLY_ONCE) as usize
    }
}

fn decode_shapes(bytes: &[u8]) -> Result<(Vec<Targets>, Reader<'_>), WireError> {
    let mut reader = Reader::new(bytes);
    let mut shapes = Vec::new();
    for _ in 0..reader.u32("count of shapes")? {
        let mut targets = Vec::new();
        for _ in 0..reader.u16("count of targets")? {
            targets.push((RouteId(reader.u32("route")?), LaneId(reader.u32("lane")?)));
        }
        shapes.push(targets);
    }
    Ok((shapes, reader))
}

/// The table as records of a compacted segment.
#[must_use]
pub fn records(entries: &[IdEntry], shapes: &Shapes) -> Vec<Record> {
    entries
        .chunks(MAX_IDS_A_RECORD)
        .map(|chunk| {
            let mut body = vec![IDS_V1];
            encode(chunk, shapes, &mut body);
            Record::new(body)
        })
        .collect()
}
