use super::*;
use fastrand::Rng;

const HISTORIES: u64 = 3_000;
const STEPS: usize = 120;

/// The same promise, written down naively.
#[derive(Clone)]
struct Model {
    limits: WindowLimits,
    /// In the order of acceptance.
    entries: Vec<ExactlyOnce>,
    evicted: Vec<ExactlyOnce>,
    youngest_evicted: Option<Running>,
}

impl Model {
    fn is_live(&self, e: &ExactlyOnce, now: Running) -> bool {
        e.started
            .is_none_or(|start| now.since(start) < self.limits.window)
    }

    fn expire(&mut self, now: Running) {
        let this = self.clone();
        self.entries.retain(|e| this.is_live(e, now));
    }

    fn get(&self, key: u128, now: Running) -> Option<Seen> {
        let live = |e: &&ExactlyOnce| e.entry.key == key && self.is_live(e, now);
        self.entries.iter().find(live).map(|e| Seen {
            position: e.entry.position,
            content: e.entry.content,
            shape: e.entry.shape,
            exactly_once: e.entry.exactly_once,
            is_held: e.started.is_none(),
        })
    }

    fn admit(&mut self, entry: Entry, now: Running) -> bool {
        self.expire(now);
        if self.entries.len() >= self.limits.max_entries {
            let normal = self.entries.iter().position(|e| !e.entry.exactly_once);
            let Some(oldest) = normal else {
                return false;
            };
            let oldest = self.entries.remove(oldest);
            self.youngest_evicted = oldest.started;
            self.evicted.push(oldest);
        }
        let started = (!entry.exactly_once).then_some(now);
        self.entries.push(ExactlyOnce { entry, started });
        true
    }

    fn durable(&mut self, first: u64, now: Running) {
        let fresh = |e: &&mut ExactlyOnce| e.entry.position.0 >= first && e.started.is_some();
        for e in self.entries.iter_mut().filter(fresh) {
            e.started = Some(now);
        }
    }

    fn settled(&mut self, position: Position, now: Running) -> bool {
        let held = |e: &&mut ExactlyOnce| e.entry.position == position && e.started.is_none();
        match self.entries.iter_mut().find(held) {
            Some(e) => {
                e.started = Some(now);
                true
            }
            None => false,
        }
    }

    fn true_window(&self, now: Running) -> Duration {
        let age = self
            .youngest_evicted
            .map_or(Duration::MAX, |start| now.since(start));
        age.min(self.limits.window)
    }
}

struct History {
    seed: u64,
    rng: Rng,
    now: Running,
    position: u64,
    keys: Vec<u128>,
    window: Window,
    model: Model,
    seen: Tally,
}

/// So that no test passes because nothing happened.
#[derive(Default)]
struct Tally {
    admitted: u64,
    refused: u64,
    duplicates: u64,
    settled: u64,
    evicted: u64,
    restarts: u64,
    readmitted: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = WindowLimits {
            window: Duration::from_millis(rng.u64(1..80)),
            max_entries: rng.usize(0..14),
        };
        // Close keys share a shard, odd ones don't.
        let spread = if rng.bool() { 1 } else { rng.u128(..) | 1 };
        Self {
            seed,
            now: Running(rng.u64(..1000)),
            position: 0,
            keys: (0..20u128).map(|k| k.wrapping_mul(spread)).collect(),
            window: Window::new(limits, Faults::none()),
            model: Model {
                limits,
                entries: vec![],
                evicted: vec![],
                youngest_evicted: None,
            },
            seen: Tally::default(),
            rng,
        }
    }

    fn step(&mut self) {
        match self.rng.u8(..20) {
            0..=9 => self.publishes(),
            10..=12 => self.settle(),
            13..=16 => self.now.0 += self.rng.u64(..12),
            17 => {
                let budget = self.rng.usize(..4);
                assert!(self.window.expire(self.now, budget) <= budget);
            }
            18 => self.restart(),
            _ => self.count(),
        }
        self.compare();
    }

    /// A batch of publishes, which is durable a little later than it was decided.
    fn publishes(&mut self) {
        let first = self.position;
        for _ in 0..self.rng.u8(1..4) {
            self.publish();
        }
        self.now.0 += self.rng.u64(..4);
        self.window.durable(self.now);
        self.model.durable(first, self.now);
    }

    fn publish(&mut self) {
        let key = self.keys[self.rng.usize(..self.keys.len())];
        if self.window.get(key, self.now).is_some() {
            self.seen.duplicates += 1;
            return;
        }
        let entry = Entry {
            key,
            content: self.rng.u64(..),
            position: Position(self.position),
            shape: self.rng.u32(..),
            exactly_once: self.rng.u8(..3) == 0,
        };
        self.seen.readmitted += u64::from(self.window.find(key).is_some());
        let expected = self.model.admit(entry, self.now);
        assert_eq!(
            self.window.has_room(self.now),
            expected,
            "seed {}",
            self.seed
        );
        let admitted = self.window.admit(entry, self.now);
        if expected {
            assert_eq!(admitted, Ok(()), "seed {}", self.seed);
            self.position += 1;
            self.seen.admitted += 1;
        } else {
            let entries = self.model.entries.len();
            assert_eq!(admitted, Err(WindowFull { entries }), "seed {}", self.seed);
            self.seen.refused += 1;
        }
    }

    fn settle(&mut self) {
        let position = Position(self.rng.u64(..=self.position));
        let expected = self.model.settled(position, self.now);
        let settled = self.window.settled(position, self.now);
        assert_eq!(settled, expected, "seed {}", self.seed);
        self.seen.settled += u64::from(settled);
    }

    fn count(&mut self) {
        self.model.expire(self.now);
        self.window.expire(self.now, usize::MAX);
        assert_eq!(
            self.window.len(),
            self.model.entries.len(),
            "seed {}",
            self.seed
        );
        assert_eq!(
            self.window.slab.len(),
            self.window.len(),
            "seed {}",
            self.seed
        );
    }

    /// The exactly-once ids come from a checkpoint, the normal ones from the log, which has the
    /// evicted ones too.
    fn restart(&mut self) {
        let mut window = Window::new(self.model.limits, Faults::none());
        for kept in self.window.exactly_once() {
            window.restore(kept.entry, kept.started, self.now);
        }
        let all = self.model.entries.iter().chain(&self.model.evicted);
        let mut normal: Vec<_> = all.filter(|e| !e.entry.exactly_once).copied().collect();
        normal.sort_by_key(|e| e.entry.position);
        for e in normal {
            window.restore(e.entry, e.started, self.now);
            // A second reading of the same place changes nothing.
            window.restore(e.entry, e.started, self.now);
        }
        self.window = window;
        self.seen.restarts += 1;
        self.take_back_evicted();
    }

    /// Where ids ended meanwhile, evicted ones have found room again; no other may be there.
    fn take_back_evicted(&mut self) {
        self.model.expire(self.now);
        for key in &self.keys {
            let expected = self.model.get(*key, self.now);
            let seen = self.window.get(*key, self.now);
            if expected.is_none()
                && let Some(seen) = seen
            {
                let is_it = |e: &ExactlyOnce| e.entry.position == seen.position;
                let found = self.model.evicted.iter().position(is_it);
                let found = found.unwrap_or_else(|| panic!("seed {}: {seen:?}", self.seed));
                self.model.entries.push(self.model.evicted.remove(found));
            }
        }
        self.model.entries.sort_by_key(|e| e.entry.position);
        self.seen.evicted += self.window.evictions();
        let youngest = self.window.youngest_evicted;
        let mut starts = self.model.evicted.iter().map(|e| e.started);
        assert!(youngest.is_none() || starts.any(|s| s == youngest));
        self.model.youngest_evicted = youngest;
        // One that ended, or whose key has a younger entry, is missed by nobody.
        self.model.evicted.retain(|e| {
            let ended = |start| self.now.since(start) >= self.model.limits.window;
            let is_seen = self.window.get(e.entry.key, self.now).is_some();
            !is_seen && !e.started.is_some_and(ended)
        });
        let true_window = self.window.true_window(self.now);
        for start in self.model.evicted.iter().filter_map(|e| e.started) {
            assert!(self.now.since(start) >= true_window, "seed {}", self.seed);
        }
    }

    fn compare(&mut self) {
        let (seed, now) = (self.seed, self.now);
        for key in &self.keys {
            let expected = self.model.get(*key, now);
            assert_eq!(
                self.window.get(*key, now),
                expected,
                "seed {seed}, {key:#x}"
            );
        }
        assert_eq!(
            self.window.true_window(now),
            self.model.true_window(now),
            "seed {seed}"
        );
        let held = self.model.entries.iter().filter(|e| e.started.is_none());
        assert_eq!(self.window.held(), held.count(), "seed {seed}");
        let max = self.model.limits.max_entries;
        assert!(self.window.slab.len() <= max, "seed {seed}");
    }
}

#[test]
fn the_window_is_as_the_model_says_over_restarts_too() {
    let mut total = Tally::default();
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        for _ in 0..STEPS {
            history.step();
        }
        total.admitted += history.seen.admitted;
        total.refused += history.seen.refused;
        total.duplicates += history.seen.duplicates;
        total.settled += history.seen.settled;
        total.evicted += history.seen.evicted;
        total.restarts += history.seen.restarts;
        total.readmitted += history.seen.readmitted;
    }
    let all = [
        total.admitted,
        total.refused,
        total.duplicates,
        total.settled,
        total.evicted,
        total.restarts,
        total.readmitted,
    ];
    assert!(
        all.iter().all(|n| *n > 1_000),
        "too little happened: {all:?}"
    );
}

fn entry(key: u64, exactly_once: bool) -> Entry {
    Entry {
        key: u128::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        content: key,
        position: Position(key),
        shape: 0,
        exactly_once,
    }
}

fn limits(seconds: u64, max_entries: usize) -> WindowLimits {
    WindowLimits {
        window: Duration::from_secs(seconds),
        max_entries,
    }
}

fn window(max_entries: usize) -> Window {
    Window::new(limits(600, max_entries), Faults::none())
}

#[test]
fn an_id_is_remembered_for_the_window_and_no_longer() {
    let mut window = window(10);
    let id = entry(1, false);
    window.admit(id, Running(5)).unwrap();
    assert!(window.get(id.key, Running(600_004)).is_some());
    assert_eq!(window.get(id.key, Running(600_005)), None);
    window.admit(id, Running(600_005)).unwrap();
    assert!(window.get(id.key, Running(1_200_004)).is_some());
}

#[test]
fn an_exactly_once_id_is_held_until_it_is_settled() {
    let mut window = window(10);
    let id = entry(1, true);
    window.admit(id, Running(0)).unwrap();
    let late = Running(1 << 40);
    assert!(window.get(id.key, late).unwrap().is_held);
    assert!(window.settled(id.position, late));
    assert!(!window.settled(id.position, late));
    assert!(!window.get(id.key, late).unwrap().is_held);
    assert_eq!(window.get(id.key, Running((1 << 40) + 600_000)), None);
}

#[test]
fn recovery_takes_exactly_once_ids_beyond_the_limit_and_admits_none() {
    let mut window = window(2);
    for key in 0..5 {
        window.restore(entry(key, true), None, Running(0));
    }
    assert_eq!(window.len(), 5);
    let refused = window.admit(entry(9, false), Running(0));
    assert_eq!(refused, Err(WindowFull { entries: 5 }));
    window.restore(entry(10, false), Some(Running(0)), Running(0));
    assert_eq!((window.len(), window.evictions()), (5, 1));
}

#[test]
fn recovery_forgets_an_id_that_was_accepted_again_though_that_has_ended_too() {
    let mut window = window(10);
    let now = Running(1_000_000);
    // When it was settled isn't known any more: its window starts anew.
    window.restore(entry(1, true), Some(now), now);
    let again = Entry {
        position: Position(2),
        ..entry(1, false)
    };
    window.restore(again, Some(Running(400_000)), now);
    assert_eq!(window.get(again.key, now), None);
}

/// The constant: a chunk, the empty tables, and what few ids waste in many small ones.
const CONSTANT_BYTES: usize = 128 << 10;
const BYTES_AN_ID: usize = 90;

fn check_memory(window: &Window) -> usize {
    let growing = window.by_key.largest_shard_bytes() + window.by_position.largest_shard_bytes();
    let bytes = window.memory_bytes() + growing;
    let allowed = BYTES_AN_ID * window.len() + CONSTANT_BYTES;
    assert!(bytes <= allowed, "{bytes} bytes for {} ids", window.len());
    bytes
}

#[test]
fn an_id_costs_no_more_than_90_bytes_at_any_fill() {
    for exactly_once in [false, true] {
        let mut window = window(1 << 20);
        check_memory(&window);
        for key in 0..600_000 {
            window
                .admit(entry(key, exactly_once), Running(key))
                .unwrap();
            if key % 509 == 0 {
                check_memory(&window);
            }
        }
    }
}

/// Ids that come and go leave used-up places in the tables.
#[test]
fn an_id_costs_no_more_than_90_bytes_when_full_for_long() {
    for max_entries in [30_000, 60_000, 115_000] {
        let mut window = Window::new(limits(60, max_entries), Faults::none());
        for key in 0..400_000u64 {
            window
                .admit(entry(key, key % 4 == 0), Running(key))
                .unwrap();
            if let Some(before) = key.checked_sub(20_000) {
                window.settled(Position(before), Running(key));
            }
            if key > max_entries as u64 && key % 509 == 0 {
                check_memory(&window);
            }
        }
    }
}

#[cfg(feature = "faults")]
#[test]
fn the_planted_fault_forgets_every_seventh_id() {
    use crate::faults::Fault;
    let mut window = Window::new(limits(600, 100), Faults::only(Fault::ForgetId));
    for key in 1..=70 {
        window.admit(entry(key, false), Running(0)).unwrap();
    }
    assert_eq!(window.len(), 60);
    assert!(window.get(entry(6, false).key, Running(0)).is_some());
    assert_eq!(window.get(entry(7, false).key, Running(0)), None);
}

#[test]
fn warming_changes_nothing() {
    let limits = WindowLimits {
        window: Duration::from_secs(60),
        max_entries: 50,
    };
    let mut window = Window::new(limits, Faults::none());
    let mut rng = fastrand::Rng::with_seed(3);
    for position in 0..500 {
        let entry = Entry {
            key: rng.u128(..),
            content: 0,
            position: Position(position),
            shape: 0,
            exactly_once: false,
        };
        let before = (window.len(), window.evictions(), window.oldest_position());
        window.warm((0..40).map(|_| rng.u128(..)).chain([entry.key]));
        let after = (window.len(), window.evictions(), window.oldest_position());
        assert_eq!(before, after);
        assert!(window.get(entry.key, Running(position)).is_none());
        window.admit(entry, Running(position)).expect("room");
        window.warm([entry.key].into_iter());
        assert!(window.get(entry.key, Running(position)).is_some());
    }
    assert_eq!(window.len(), 50);
}
