//! The bytes of one simulated file: what the platter has, what the page cache has, and the
//! changes between them.

use std::io;

pub const SECTOR_BYTES: usize = 512;
/// The unit in which space is allocated.
pub const BLOCK_BYTES: usize = 4096;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
pub struct Inode {
    /// What a power cut leaves, were it now and nothing unsynced survived.
    durable: Vec<u8>,
    /// What reads see. Differs from `durable` by `pending` and by what a failed sync lost.
    cached: Vec<u8>,
    /// Unsynced changes in order.
    pending: Vec<Change>,
    /// Which blocks are allocated: written, not only covered by a length.
    blocks: Vec<bool>,
    /// A sync failed: parts of `cached` are in neither `durable` nor `pending`.
    lost: bool,
    /// Open handles: while there is one, a removed file keeps its space.
    pub open: usize,
}

/// Which of the unsynced sectors of a file a power cut leaves on the platter.
#[derive(Clone, Copy, Debug)]
enum Survival {
    Nothing,
    Everything,
    First(usize),
    Last(usize),
    AllBut(usize),
    Only(usize),
    Coin(f64),
}

impl Survival {
    fn pick(sectors: usize, rng: &mut fastrand::Rng) -> Self {
        let at = rng.usize(0..=sectors);
        match rng.u8(0..8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::First(at),
            3 => Self::Last(at),
            4 => Self::AllBut(at),
            5 => Self::Only(at),
            6 => Self::Coin(0.5),
            _ => Self::Coin(rng.f64()),
        }
    }

    fn keeps(self, i: usize, sectors: usize, rng: &mut fastrand::Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::First(n) => i < n,
            Self::Last(n) => i + n >= sectors,
            Self::AllBut(n) => i != n,
            Self::Only(n) => i == n,
            Self::Coin(p) => rng.f64() < p,
        }
    }
}

impl Inode {
    pub fn len(&self) -> usize {
        self.cached.len()
    }

    pub fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = to_usize(offset);
        let bytes = start
            .checked_add(buf.len())
            .and_then(|end| self.cached.get(start..end))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) {
        let offset = to_usize(offset);
        if bytes.is_empty() {
            return;
        }
        put(&mut self.cached, bytes, offset);
        for block in blocks_of(offset, bytes.len()) {
            if self.blocks.len() <= block {
                self.blocks.resize(block + 1, false);
            }
            self.blocks[block] = true;
        }
        self.pending.push(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    pub fn set_len(&mut self, len: u64) {
        let len = to_usize(len);
        self.cached.resize(len, 0);
        self.blocks.truncate(len.div_ceil(BLOCK_BYTES));
        self.pending.push(Change::SetLen(len));
    }

    pub fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, &bytes, offset),
                Change::SetLen(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// As Linux does: the pages are marked clean, whatever of them reached the platter. Reads
    /// still see them, a later sync says yes, and a power cut loses them.
    pub fn fail_sync(&mut self, rng: &mut fastrand::Rng) {
        self.persist_some(rng);
        self.lost = true;
    }

    /// The power went out.
    pub fn crash(&mut self, rng: &mut fastrand::Rng) {
        self.persist_some(rng);
        self.cached = self.durable.clone();
        self.blocks
            .truncate(self.cached.len().div_ceil(BLOCK_BYTES));
        self.lost = false;
    }

    /// Memory got tight: pages that count as clean are dropped, so what a failed sync lost shows.
    pub fn evict(&mut self) {
        if !self.lost {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.cached = self.durable.clone();
        for change in &pending {
            match change {
                Change::Write { offset, bytes } => put(&mut self.cached, bytes, *offset),
                Change::SetLen(len) => self.cached.resize(*len, 0),
            }
        }
        self.pending = pending;
        self.lost = false;
    }

    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Flips bits of a byte in platter and cache.
    pub fn rot(&mut self, offset: usize, mask: u8) {
        self.durable[offset] ^= mask;
        self.cached[offset] ^= mask;
    }

    pub fn allocated_bytes(&self) -> u64 {
        (self.blocks.iter().filter(|b| **b).count() * BLOCK_BYTES) as u64
    }

    /// What a write would allocate.
    pub fn growth_bytes(&self, len: usize, offset: u64) -> u64 {
        let new = blocks_of(to_usize(offset), len)
            .filter(|b| !self.blocks.get(*b).copied().unwrap_or(false))
            .count();
        (new * BLOCK_BYTES) as u64
    }

    /// Moves some of the pending changes to the platter and forgets the others.
    fn persist_some(&mut self, rng: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let sectors = pending.iter().map(sector_count).sum::<usize>();
        let survival = Survival::pick(sectors, rng);
        let torn = (sectors > 0 && rng.bool()).then(|| rng.usize(0..sectors));
        let mut longest = self.durable.len();
        let mut i = 0;
        for change in pending {
            match change {
                Change::SetLen(len) => {
                    if rng.bool() {
                        self.durable.resize(len, 0);
                    }
                    longest = len;
                }
                Change::Write { offset, bytes } => {
                    longest = longest.max(offset + bytes.len());
                    for (at, piece) in sectors_of(offset, &bytes) {
                        if torn == Some(i) {
                            let kept = rng.usize(0..piece.len());
                            put(&mut self.durable, &piece[..kept], at);
                        } else if survival.keeps(i, sectors, rng) {
                            put(&mut self.durable, piece, at);
                        }
                        i += 1;
                    }
                }
            }
        }
        // The length may be on the platter without the bytes.
        if self.durable.len() < longest && rng.u8(0..8) == 0 {
            self.durable.resize(longest, 0);
        }
    }
}

fn sector_count(change: &Change) -> usize {
    match change {
        Change::Write { offset, bytes } => sectors_of(*offset, bytes).count(),
        Change::SetLen(_) => 0,
    }
}

/// A write, cut where the platter's sectors end.
fn sectors_of(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let tail = rest
        .chunks(SECTOR_BYTES)
        .enumerate()
        .map(move |(i, piece)| (offset + first + i * SECTOR_BYTES, piece));
    std::iter::once((offset, head)).chain(tail)
}

fn blocks_of(offset: usize, len: usize) -> std::ops::Range<usize> {
    offset / BLOCK_BYTES..(offset + len).div_ceil(BLOCK_BYTES)
}

fn put(content: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    let end = offset + bytes.len();
    if content.len() < end && !bytes.is_empty() {
        content.resize(end, 0);
    }
    if !bytes.is_empty() {
        content[offset..end].copy_from_slice(bytes);
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).expect("simulated files are small")
}
