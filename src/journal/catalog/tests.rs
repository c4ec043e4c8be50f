use super::*;
use fastrand::Rng;

fn lane(number: u32, name: &str) -> LaneEntry {
    LaneEntry {
        id: LaneId(number),
        name: name.into(),
        modes: LaneModes::default(),
        sink: None,
    }
}

fn record_of_lane(catalog: &Catalog, id: LaneId) -> Vec<u8> {
    let mut out = Vec::new();
    catalog.lane(id).unwrap().encode(&mut out);
    out
}

fn record_of_route(catalog: &Catalog, id: RouteId) -> Vec<u8> {
    let mut out = Vec::new();
    catalog.route(id).unwrap().encode(&mut out);
    out
}

/// The records alone, and a checkpoint at any place with the records after it, give the catalog.
#[test]
fn records_and_checkpoints_give_the_same_catalog() {
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let mut catalog = Catalog::default();
        let mut replayed = Catalog::default();
        for _ in 0..60 {
            let name = format!("n{}é", rng.u8(..12));
            let record = match rng.u8(..4) {
                0 => {
                    let (id, is_new) = catalog.intern_lane(&name);
                    is_new.then(|| record_of_lane(&catalog, id))
                }
                1 => {
                    let (id, is_new) = catalog.intern_route(&name);
                    is_new.then(|| record_of_route(&catalog, id))
                }
                2 => {
                    let barriers = (1..rng.u64(1..4)).map(|n| Position(n * 1_000));
                    let modes = LaneModes::new(rng.bool(), barriers.collect()).unwrap();
                    let id = LaneId(rng.u32(..12));
                    let changed = catalog.set_modes(id, modes);
                    changed.then(|| record_of_lane(&catalog, id))
                }
                _ => {
                    let id = LaneId(rng.u32(..12));
                    let sink = rng.bool().then(|| LogUuid(rng.u128(..)));
                    let changed = catalog.set_sink(id, sink);
                    changed.then(|| record_of_lane(&catalog, id))
                }
            };
            if let Some(record) = record {
                let entry = CatalogEntry::decode(&record).unwrap();
                assert_eq!(replayed.apply(entry), Ok(()), "seed {seed}");
            }
            assert_eq!(replayed, catalog, "seed {seed}");
            if rng.u8(..8) == 0 {
                let mut checkpoint = Vec::new();
                replayed.encode(&mut checkpoint);
                let mut reader = Reader::new(&checkpoint);
                replayed = Catalog::decode(&mut reader).unwrap();
                assert_eq!(reader.finish("catalog"), Ok(()));
            }
        }
    }
}

#[test]
fn names_have_one_number_each() {
    let mut catalog = Catalog::default();
    assert_eq!(catalog.intern_lane("inbox"), (LaneId(0), true));
    assert_eq!(catalog.intern_lane("events"), (LaneId(1), true));
    assert_eq!(catalog.intern_lane("inbox"), (LaneId(0), false));
    assert_eq!(catalog.intern_route("inbox"), (RouteId(0), true));
    assert_eq!(catalog.lane_named("events").unwrap().id, LaneId(1));
    assert_eq!(catalog.lane_named("other"), None);
    assert_eq!(catalog.route_named("inbox").unwrap().id, RouteId(0));
    assert_eq!(catalog.route(RouteId(1)), None);
    assert!(!catalog.set_modes(LaneId(2), LaneModes::always(true)));
}

#[test]
fn entries_that_contradict_the_catalog_are_refused() {
    let mut catalog = Catalog::default();
    catalog.intern_lane("inbox");
    catalog.intern_route("orders");
    let unchanged = catalog.clone();
    let route = |number, name: &str| {
        CatalogEntry::Route(RouteEntry {
            id: RouteId(number),
            name: name.into(),
        })
    };
    for entry in [
        CatalogEntry::Lane(lane(0, "other")),
        CatalogEntry::Lane(lane(1, "inbox")),
        CatalogEntry::Lane(lane(2, "skips")),
        route(0, "other"),
        route(1, "orders"),
        route(2, "skips"),
    ] {
        let error = catalog.apply(entry).unwrap_err();
        assert!(matches!(error, CatalogError::Contradiction { .. }));
        assert_eq!(catalog, unchanged);
    }
    assert_eq!(catalog.apply(route(0, "orders")), Ok(()));
    assert_eq!(catalog, unchanged);
}

#[test]
fn damaged_entries_never_panic() {
    let mut catalog = Catalog::default();
    for name in ["inbox", "events", "ünïcode"] {
        let (id, _) = catalog.intern_lane(name);
        catalog.set_sink(id, Some(LogUuid(5)));
        catalog.set_modes(
            id,
            LaneModes::new(true, vec![Position(7), Position(900)]).unwrap(),
        );
        catalog.intern_route(name);
    }
    let mut whole = Vec::new();
    catalog.encode(&mut whole);
    for cut in 0..whole.len() {
        assert!(
            Catalog::decode(&mut Reader::new(&whole[..cut])).is_err(),
            "cut at {cut}"
        );
    }
    let mut decodable = 0;
    for seed in 0..5_000 {
        let mut rng = Rng::with_seed(seed);
        let mut damaged = whole.clone();
        let at = rng.usize(..damaged.len());
        damaged[at] = rng.u8(..);
        if let Ok(catalog) = Catalog::decode(&mut Reader::new(&damaged)) {
            decodable += 1;
            let mut again = Vec::new();
            catalog.encode(&mut again);
            assert_eq!(
                Catalog::decode(&mut Reader::new(&again)),
                Ok(catalog),
                "seed {seed}"
            );
        }
    }
    assert!(decodable > 100, "only {decodable} damaged catalogs decode");
}

/// Guards the format against accidental change.
#[test]
fn the_format_is_as_checked_in() {
    let mut catalog = Catalog::default();
    let (id, _) = catalog.intern_lane("in");
    assert_eq!(record_of_lane(&catalog, id), [0x31, 0, 0, 2, b'i', b'n', 0]);
    catalog.set_modes(id, LaneModes::always(true));
    catalog.set_sink(id, Some(LogUuid(0x0102)));
    let mut expected = vec![0x31, 0, 0, 2, b'i', b'n', 3, 2, 1];
    expected.extend([0; 14]);
    assert_eq!(record_of_lane(&catalog, id), expected);
    let modes = LaneModes::new(false, vec![Position(5), Position(0x80)]);
    catalog.set_modes(id, modes.unwrap());
    expected[6] = 6;
    expected.extend([2, 5, 0x80, 1]);
    assert_eq!(record_of_lane(&catalog, id), expected);
    let descending = [&expected[..expected.len() - 2], &[5]].concat();
    assert!(CatalogEntry::decode(&descending).is_err());
    let (id, _) = catalog.intern_route("r");
    assert_eq!(record_of_route(&catalog, id), [0x31, 1, 0, 1, b'r']);
}
