use super::*;
use std::collections::BTreeSet;
use std::io::ErrorKind;

const SEEDS: u64 = 300;

fn at(name: &str) -> PathBuf {
    Path::new("/data").join(name)
}

/// A disk with a durable folder /data.
fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// A durable file.
fn file(disk: &SimDisk, name: &str, content: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(&at(name)).unwrap();
    file.write_at(content, 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    file
}

fn content(disk: &SimDisk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(&at(name))?;
    let mut buf = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_at(&mut buf, 0)?;
    Ok(buf)
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|e| e.kind())
}

/// What each of many power cuts leaves of a file: `None` when the name is gone.
fn fates(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS)
        .map(|seed| content(&disk.crash(&mut fastrand::Rng::with_seed(seed)), name).ok())
        .collect()
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    let disk = disk(1);
    let content = vec![7; 3000];
    file(&disk, "a", &content);
    assert_eq!(fates(&disk, "a"), BTreeSet::from([Some(content)]));
}

#[test]
fn unsynced_bytes_survive_in_any_part() {
    let disk = disk(2);
    let old = vec![1; 4 * SECTOR_BYTES];
    let file = file(&disk, "a", &old);
    file.write_at(&vec![2; 3 * SECTOR_BYTES], 100).unwrap();
    let fates = fates(&disk, "a");
    for fate in fates.iter().flatten() {
        assert_eq!(fate.len(), old.len());
        assert!(
            fate[..100]
                .iter()
                .chain(&fate[3 * SECTOR_BYTES + 100..])
                .all(|b| *b == 1)
        );
    }
    let holds = |wanted: &dyn Fn(&[u8]) -> bool| fates.iter().flatten().any(|f| wanted(f));
    assert!(holds(&|f| f.iter().all(|b| *b == 1)), "nothing survived");
    assert!(
        holds(&|f| f[100..100 + 3 * SECTOR_BYTES].iter().all(|b| *b == 2)),
        "all survived"
    );
    assert!(
        holds(&|f| f[SECTOR_BYTES - 1] == 1 && f[SECTOR_BYTES] == 2),
        "a later part alone"
    );
    assert!(
        holds(&|f| f[SECTOR_BYTES] == 2 && f[2 * SECTOR_BYTES - 1] == 1),
        "a torn sector"
    );
}

#[test]
fn unsynced_growth_and_cuts_survive_or_not() {
    let disk = disk(3);
    let file = file(&disk, "a", &[1; 600]);
    file.set_len(100).unwrap();
    assert_eq!(content(&disk, "a").unwrap(), [1; 100]);
    file.write_at(&[2; 10], 700).unwrap();
    let lens: BTreeSet<_> = fates(&disk, "a")
        .into_iter()
        .flatten()
        .map(|f| f.len())
        .collect();
    for wanted in [100, 600, 710] {
        assert!(lens.contains(&wanted), "{wanted} not among {lens:?}");
    }
    file.sync().unwrap();
    let mut wanted = vec![1; 100];
    wanted.resize(700, 0);
    wanted.extend([2; 10]);
    assert_eq!(fates(&disk, "a"), BTreeSet::from([Some(wanted)]));
}

#[test]
fn names_need_a_sync_of_their_folder() {
    let disk = disk(4);
    let file = disk.create(&at("a")).unwrap();
    file.write_at(b"synced", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(
        fates(&disk, "a"),
        BTreeSet::from([None, Some(b"synced".to_vec())])
    );
    disk.sync_dir(Path::new("/data")).unwrap();
    disk.remove(&at("a")).unwrap();
    assert_eq!(kind(disk.open(&at("a"))), Some(ErrorKind::NotFound));
    assert_eq!(
        fates(&disk, "a"),
        BTreeSet::from([None, Some(b"synced".to_vec())])
    );
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(fates(&disk, "a"), BTreeSet::from([None]));
}

#[test]
fn folders_need_a_sync_of_their_parent() {
    let disk = SimDisk::new(5);
    disk.create_dir_all(Path::new("/data/deep")).unwrap();
    let path = Path::new("/data/deep/a");
    disk.create(path).unwrap().sync().unwrap();
    disk.sync_dir(Path::new("/data/deep")).unwrap();
    let survives = |disk: &SimDisk| -> BTreeSet<bool> {
        let rng = |seed| fastrand::Rng::with_seed(seed);
        (0..SEEDS)
            .map(|seed| disk.crash(&mut rng(seed)).open(path).is_ok())
            .collect()
    };
    assert_eq!(
        survives(&disk.kill(&mut fastrand::Rng::with_seed(0))),
        BTreeSet::from([false, true])
    );
    let disk = disk.kill(&mut fastrand::Rng::with_seed(0));
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(
        survives(&disk.kill(&mut fastrand::Rng::with_seed(0))),
        BTreeSet::from([false, true])
    );
    let disk = disk.kill(&mut fastrand::Rng::with_seed(0));
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(survives(&disk), BTreeSet::from([true]));
}

#[test]
fn renames_are_whole_and_come_in_any_subset() {
    let disk = disk(6);
    for name in ["a", "b", "target"] {
        file(&disk, name, name.as_bytes());
    }
    disk.rename(&at("a"), &at("target")).unwrap();
    disk.rename(&at("b"), &at("c")).unwrap();
    assert_eq!(content(&disk, "target").unwrap(), b"a");
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let after = disk.crash(&mut fastrand::Rng::with_seed(seed));
        let first = after.open(&at("a")).is_err();
        let target = content(&after, "target").unwrap();
        assert_eq!(
            target,
            if first { b"a".as_slice() } else { b"target" },
            "seed {seed}"
        );
        let second = after.open(&at("b")).is_err();
        assert_eq!(second, after.open(&at("c")).is_ok(), "seed {seed}");
        seen.insert((first, second));
    }
    assert_eq!(seen.len(), 4, "not all subsets: {seen:?}");
}

#[test]
fn a_failed_sync_forgets_what_reads_still_show() {
    let disk = disk(7);
    let file = file(&disk, "a", &[1; 2000]);
    file.write_at(&[2; 2000], 0).unwrap();
    disk.fail_nth(Call::Sync, 0, ErrorKind::Other);
    assert!(file.sync().is_err());
    assert_eq!(content(&disk, "a").unwrap(), [2; 2000]);
    file.sync().unwrap();
    let after_power_cut = fates(&disk, "a");
    assert!(
        after_power_cut.iter().flatten().any(|f| f.contains(&1)),
        "it was lost: {after_power_cut:?}"
    );
    // Only to write it again helps.
    file.write_at(&[2; 2000], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(fates(&disk, "a"), BTreeSet::from([Some(vec![2; 2000])]));
}

#[test]
fn pages_that_a_failed_sync_lost_are_evicted_at_some_seeds() {
    for seed in 0..SEEDS {
        let disk = disk(seed);
        let file = file(&disk, "a", &[1; 2000]);
        file.write_at(&[2; 2000], 0).unwrap();
        disk.fail_nth(Call::Sync, 0, ErrorKind::Other);
        assert!(file.sync().is_err());
        file.write_at(&[3; 10], 50).unwrap();
        let killed = content(&disk.kill(&mut fastrand::Rng::with_seed(seed)), "a").unwrap();
        assert_eq!(killed[50..60], [3; 10], "seed {seed}");
        if killed.contains(&1) {
            return;
        }
    }
    panic!("no page was evicted");
}

#[test]
fn a_failed_sync_of_a_folder_may_be_tried_again() {
    let disk = disk(8);
    disk.create(&at("a")).unwrap();
    disk.fail_nth(Call::SyncDir, 0, ErrorKind::Other);
    assert!(disk.sync_dir(Path::new("/data")).is_err());
    assert!(disk.open(&at("a")).is_ok());
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(fates(&disk, "a"), BTreeSet::from([Some(Vec::new())]));
}

#[test]
fn a_killed_process_leaves_its_unsynced_changes_in_the_cache() {
    let disk = disk(8);
    let file = file(&disk, "a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.create(&at("b")).unwrap();
    let after = disk.kill(&mut fastrand::Rng::with_seed(0));
    assert_eq!(content(&after, "a").unwrap(), b"new");
    assert!(after.open(&at("b")).is_ok());
    assert_eq!(after.durable(&at("a")).unwrap(), b"old");
    assert!(fates(&after, "a").contains(&Some(b"old".to_vec())));
    file.write_at(b"zombie", 0).unwrap();
    assert_eq!(
        content(&after, "a").unwrap(),
        b"new",
        "the dead process must not write"
    );
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites() {
    let block = BLOCK_BYTES as u64;
    let disk = disk(9);
    disk.set_capacity(Some(3 * block));
    let a = file(&disk, "a", &[1; 2 * BLOCK_BYTES]);
    assert_eq!(disk.free_bytes(Path::new("/data")).unwrap(), block);
    a.set_len(10 * block).unwrap();
    assert_eq!(
        disk.used_bytes(),
        2 * block,
        "a length alone takes no space"
    );
    let b = disk.create(&at("b")).unwrap();
    assert_eq!(
        kind(b.write_at(&[2; 2 * BLOCK_BYTES], 0)),
        Some(ErrorKind::StorageFull)
    );
    assert_eq!(b.len().unwrap(), block, "what fits is written");
    a.write_at(&[3; 2 * BLOCK_BYTES], 0).unwrap();
    assert_eq!(
        kind(a.write_at(&[3], 2 * block)),
        Some(ErrorKind::StorageFull)
    );
    disk.remove(&at("b")).unwrap();
    assert_eq!(
        disk.free_bytes(Path::new("/data")).unwrap(),
        0,
        "an open file keeps its space"
    );
    drop(b);
    assert_eq!(disk.free_bytes(Path::new("/data")).unwrap(), block);
    a.set_len(1).unwrap();
    assert_eq!(disk.used_bytes(), block);
}

#[test]
fn scripted_calls_fail_once() {
    let disk = disk(10);
    let a = file(&disk, "a", b"a");
    let b = file(&disk, "b", b"b");
    disk.fail_nth(Call::Read, 1, ErrorKind::TimedOut);
    let mut buf = [0];
    let reads: Vec<_> = (0..4).map(|_| kind(a.read_at(&mut buf, 0))).collect();
    assert_eq!(reads, [None, Some(ErrorKind::TimedOut), None, None]);
    disk.fail_nth_under(&at("b"), Call::Write, 0, ErrorKind::Other);
    a.write_at(b"c", 0).unwrap();
    assert!(b.write_at(b"c", 0).is_err());
    b.write_at(b"c", 0).unwrap();

    let next = disk.changes();
    disk.fail_change(next + 1, ErrorKind::Other);
    a.set_len(5).unwrap();
    assert!(a.len().is_ok(), "reads don't count");
    assert_eq!(disk.faults_hit(), 2);
    assert!(disk.rename(&at("a"), &at("c")).is_err());
    assert_eq!(disk.faults_hit(), 3);
    assert_eq!(disk.changes(), next + 2);

    for call in [
        Call::Create,
        Call::Remove,
        Call::SetLen,
        Call::CreateDir,
        Call::Open,
    ] {
        disk.fail_nth(call, 0, ErrorKind::Other);
    }
    assert!(disk.create(&at("new")).is_err());
    assert!(disk.remove(&at("b")).is_err());
    assert!(b.set_len(0).is_err());
    assert!(disk.create_dir_all(&at("deeper")).is_err());
    assert!(disk.open(&at("b")).is_err());
    disk.fail_nth(Call::Sync, 0, ErrorKind::Other);
    disk.clear_faults();
    b.sync().unwrap();
}

#[test]
fn the_power_goes_at_the_scripted_change_and_stays_out() {
    let mut written = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = disk(seed);
        let a = file(&disk, "a", &[1; 100]);
        disk.crash_at(disk.changes() + 1);
        a.write_at(&[2; 50], 0).unwrap();
        assert!(a.write_at(&[3; 50], 50).is_err());
        assert!(disk.is_off());
        assert!(a.len().is_err() && a.sync().is_err() && disk.open(&at("a")).is_err());
        let after = disk.crash(&mut fastrand::Rng::with_seed(seed));
        assert_eq!(after.changes(), 0);
        written.insert(content(&after, "a").unwrap()[99]);
    }
    assert_eq!(
        written,
        BTreeSet::from([1, 3]),
        "the call at the power cut may have worked"
    );
}

#[test]
fn rot_flips_a_durable_byte() {
    let disk = disk(11);
    file(&disk, "a", &[0; 10]);
    disk.rot(&at("a"), 3, 0x40);
    assert_eq!(content(&disk, "a").unwrap()[3], 0x40);
    assert_eq!(disk.durable(&at("a")).unwrap()[3], 0x40);
}

#[test]
fn errors_are_those_of_a_file_system() {
    let disk = disk(12);
    let a = file(&disk, "a", b"123");
    assert_eq!(kind(disk.create(&at("a"))), Some(ErrorKind::AlreadyExists));
    assert_eq!(
        kind(disk.create(Path::new("/nowhere/a"))),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(
        kind(disk.list(Path::new("/nowhere"))),
        Some(ErrorKind::NotFound)
    );
    assert_eq!(kind(disk.remove(&at("b"))), Some(ErrorKind::NotFound));
    assert_eq!(
        kind(a.read_at(&mut [0; 4], 0)),
        Some(ErrorKind::UnexpectedEof)
    );
    assert_eq!(
        kind(a.read_at(&mut [0; 1], u64::from(u32::MAX))),
        Some(ErrorKind::UnexpectedEof)
    );
    assert_eq!(
        disk.list(Path::new("data")).unwrap(),
        ["a"],
        "relative paths start at the root"
    );
    let unsupported = disk.rename(&at("a"), Path::new("/a"));
    assert_eq!(kind(unsupported), Some(ErrorKind::Unsupported));
}

/// Random calls; what is visible is compared with a plain map after each, and the same seed gives
/// the same disk.
#[test]
fn reads_are_right_and_everything_follows_from_the_seed() {
    for seed in 0..50 {
        let (first, second) = (random_history(seed), random_history(seed));
        assert_eq!(first, second, "seed {seed}");
    }
}

fn random_history(seed: u64) -> Vec<(PathBuf, Vec<u8>)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let disk = disk(seed);
    let mut plain: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for _ in 0..80 {
        let path = at(["a", "b", "c", "d"][rng.usize(0..4)]);
        let known = plain.contains_key(&path);
        match rng.u8(0..8) {
            0 if !known => {
                disk.create(&path).unwrap();
                plain.insert(path, Vec::new());
            }
            1 if known && rng.bool() => {
                disk.remove(&path).unwrap();
                plain.remove(&path);
            }
            2 if known => {
                let to = at(["a", "b", "c", "d"][rng.usize(0..4)]);
                disk.rename(&path, &to).unwrap();
                let bytes = plain.remove(&path).unwrap();
                plain.insert(to, bytes);
            }
            3 if known => {
                let len = rng.usize(0..5000);
                disk.open(&path).unwrap().set_len(len as u64).unwrap();
                plain.get_mut(&path).unwrap().resize(len, 0);
            }
            4 if known => disk.open(&path).unwrap().sync().unwrap(),
            5 => disk.sync_dir(Path::new("/data")).unwrap(),
            _ if known => {
                let (offset, byte) = (rng.usize(0..4000), rng.u8(..));
                let bytes = vec![byte; rng.usize(0..3000)];
                disk.open(&path)
                    .unwrap()
                    .write_at(&bytes, offset as u64)
                    .unwrap();
                let old = plain.get_mut(&path).unwrap();
                if !bytes.is_empty() {
                    old.resize(old.len().max(offset + bytes.len()), 0);
                    old[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
            }
            _ => {}
        }
        let seen: BTreeMap<_, _> = disk
            .files()
            .into_iter()
            .map(|(p, len)| (p, usize::try_from(len).unwrap()))
            .collect();
        let wanted: BTreeMap<_, _> = plain.iter().map(|(p, b)| (p.clone(), b.len())).collect();
        assert_eq!(seen, wanted, "seed {seed}");
        for (path, bytes) in &plain {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(&content(&disk, name).unwrap(), bytes, "seed {seed}");
        }
    }
    let after = disk.crash(&mut rng);
    after
        .files()
        .into_iter()
        .map(|(p, _)| (p.clone(), after.durable(&p).unwrap()))
        .collect()
}
