use super::*;
use std::collections::HashMap;
use std::time::{Duration, Instant};

fn disk() -> (tempfile::TempDir, VolatileDisk, VolatileControl) {
    let control = VolatileControl::default();
    let dir = tempfile::tempdir().unwrap();
    (dir, VolatileDisk::new(control.clone()), control)
}

fn content(disk: &VolatileDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut buf = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut buf, 0).unwrap();
    buf
}

/// What a kill now would leave.
fn survivors(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = RealDisk.list(dir).unwrap();
    let paths = names.into_iter().map(|name| dir.join(name));
    paths.map(|p| (p.clone(), fs::read(p).unwrap())).collect()
}

#[test]
fn bytes_reach_the_file_at_sync_and_names_at_the_sync_of_the_folder() {
    let (dir, disk, _) = disk();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let file = disk.create(&a).unwrap();
    file.write_at(b"synced", 0).unwrap();
    file.sync().unwrap();
    file.write_at(b"not", 0).unwrap();
    assert!(survivors(dir.path()).is_empty());
    disk.sync_dir(dir.path()).unwrap();
    assert_eq!(fs::read(&a).unwrap(), b"synced");
    assert_eq!(content(&disk, &a), b"notced");
    file.sync().unwrap();
    assert_eq!(fs::read(&a).unwrap(), b"notced");

    disk.rename(&a, &b).unwrap();
    assert_eq!(disk.list(dir.path()).unwrap(), ["b"]);
    assert!(a.exists() && !b.exists());
    disk.sync_dir(dir.path()).unwrap();
    assert!(!a.exists() && b.exists());
    disk.remove(&b).unwrap();
    assert!(disk.list(dir.path()).unwrap().is_empty() && disk.open(&b).is_err());
    assert!(b.exists());
    disk.sync_dir(dir.path()).unwrap();
    assert!(!b.exists());
    assert_eq!(file.len().unwrap(), 6, "an open file outlives its name");
}

#[test]
fn a_failed_sync_forgets_what_reads_still_show() {
    let (dir, disk, control) = disk();
    let path = dir.path().join("a");
    let file = disk.create(&path).unwrap();
    disk.sync_dir(dir.path()).unwrap();
    file.write_at(b"lost", 0).unwrap();
    control.fail_nth(VolatileCall::Sync, dir.path(), 0);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.write_at(b"kept", 10).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk, &path), b"lost\0\0\0\0\0\0kept");
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0\0\0\0\0\0\0\0kept");
    file.write_at(b"lost", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"lost\0\0\0\0\0\0kept");
}

#[test]
fn the_script_counts_calls_of_its_kind_and_folder() {
    let (dir, disk, control) = disk();
    let file = disk.create(&dir.path().join("a")).unwrap();
    control.fail_nth(VolatileCall::Write, Path::new("/elsewhere"), 0);
    control.fail_nth(VolatileCall::Write, dir.path(), 1);
    control.fail_nth(VolatileCall::SyncDir, dir.path(), 0);
    let failed: Vec<_> = (0..4).map(|_| file.write_at(b"a", 0).is_err()).collect();
    assert_eq!(failed, [false, true, false, false]);
    assert!(disk.sync_dir(dir.path()).is_err());
    assert!(survivors(dir.path()).is_empty());
    disk.sync_dir(dir.path()).unwrap();
    assert!(dir.path().join("a").exists());

    assert!(disk.free_bytes(dir.path()).unwrap() > 7);
    control.set_free_bytes(Some(7));
    assert_eq!(disk.free_bytes(dir.path()).unwrap(), 7);
}

#[test]
fn a_delayed_sync_is_half_done_in_the_meantime() {
    let (dir, disk, control) = disk();
    let path = dir.path().join("a");
    let file = disk.create(&path).unwrap();
    file.write_at(&[1; 100 * 512], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(dir.path()).unwrap();
    file.write_at(&[2; 100 * 512], 0).unwrap();
    let delay = Duration::from_millis(300);
    control.set_sync_delay(delay);
    let started = Instant::now();
    let in_the_meantime = std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync().unwrap());
        let mut real = fs::read(&path).unwrap();
        while !real.contains(&2) {
            real = fs::read(&path).unwrap();
        }
        assert_eq!(
            content(&disk, &path),
            [2; 100 * 512],
            "reads aren't held up"
        );
        sync.join().unwrap();
        real
    });
    assert!(started.elapsed() >= delay);
    assert!(in_the_meantime.contains(&1));
    assert_eq!(fs::read(&path).unwrap(), [2; 100 * 512]);
}

#[test]
fn zeros_cost_no_memory_and_unused_files_are_let_go() {
    let (dir, disk, _) = disk();
    for i in 0..4 {
        let path = dir.path().join(format!("{i}"));
        let file = disk.create(&path).unwrap();
        for chunk in 0..8 {
            file.write_at(&vec![0; 1024 * 1024], chunk * 1024 * 1024)
                .unwrap();
        }
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 8 * 1024 * 1024);
        let mut buf = [1; 100];
        file.read_at(&mut buf, 5 * 1024 * 1024 - 50).unwrap();
        assert_eq!(buf, [0; 100]);
        disk.remove(&path).unwrap();
        let file = disk.create(&path).unwrap();
        file.write_at(b"x", 4095).unwrap();
        file.sync().unwrap();
    }
    assert_eq!(disk.names().files.len(), 4);
    disk.sync_dir(dir.path()).unwrap();
    assert_eq!(disk.names().files.len(), 0);
    assert!(
        survivors(dir.path())
            .values()
            .all(|bytes| bytes.len() == 4096)
    );
}

/// Files by number, so that names and bytes can go different ways.
#[derive(Default)]
struct Model {
    visible: HashMap<u64, Vec<u8>>,
    durable: HashMap<u64, Vec<u8>>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Files whose last sync failed: the platter may hold anything of them.
    lost: BTreeSet<u64>,
}

#[test]
fn random_calls_match_a_plain_model() {
    for seed in 0..15 {
        random_calls(seed);
    }
}

fn random_calls(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (dir, disk, control) = disk();
    let mut model = Model::default();
    let mut handles: HashMap<u64, Arc<dyn DiskFile>> = HashMap::new();
    for next_id in 0..150 {
        let any = |rng: &mut fastrand::Rng| dir.path().join(["a", "b", "c", "d"][rng.usize(0..4)]);
        let path = any(&mut rng);
        let known = model.names.get(&path).copied();
        match (rng.u8(0..12), known) {
            (0, _) => {
                disk.sync_dir(dir.path()).unwrap();
                model.durable_names = model.names.clone();
            }
            (1, Some(id)) => {
                disk.remove(&path).unwrap();
                model.names.remove(&path);
                assert!(disk.remove(&path).is_err(), "seed {seed}");
                handles.remove(&id);
            }
            (2, Some(id)) => {
                let to = any(&mut rng);
                disk.rename(&path, &to).unwrap();
                model.names.remove(&path);
                model.names.insert(to, id);
            }
            (3, Some(id)) => {
                disk.open(&path).unwrap().sync().unwrap();
                model.durable.insert(id, model.visible[&id].clone());
            }
            (4, Some(id)) if rng.u8(0..4) == 0 => {
                control.fail_nth(VolatileCall::Sync, dir.path(), 0);
                assert!(disk.open(&path).unwrap().sync().is_err(), "seed {seed}");
                model.lost.insert(id);
            }
            (5, Some(id)) => {
                let len = rng.usize(0..2000);
                disk.open(&path).unwrap().set_len(len as u64).unwrap();
                model.visible.get_mut(&id).unwrap().resize(len, 0);
            }
            (6, Some(id)) => {
                // Handles come and go; what is unsynced stays.
                if handles.remove(&id).is_none() {
                    handles.insert(id, disk.open(&path).unwrap());
                }
            }
            (_, Some(id)) => {
                let bytes = vec![rng.u8(0..3); rng.usize(0..900)];
                let offset = rng.usize(0..1500);
                disk.open(&path)
                    .unwrap()
                    .write_at(&bytes, offset as u64)
                    .unwrap();
                let old = model.visible.get_mut(&id).unwrap();
                let end = offset + bytes.len();
                if !bytes.is_empty() {
                    old.resize(old.len().max(end), 0);
                    old[offset..end].copy_from_slice(&bytes);
                }
            }
            (_, None) => {
                handles.insert(next_id, disk.create(&path).unwrap());
                assert!(disk.create(&path).is_err(), "seed {seed}");
                model.names.insert(path, next_id);
                model.visible.insert(next_id, Vec::new());
                model.durable.insert(next_id, Vec::new());
            }
        }
        check(seed, &disk, dir.path(), &model, &mut rng);
    }
}

fn check(seed: u64, disk: &VolatileDisk, dir: &Path, model: &Model, rng: &mut fastrand::Rng) {
    let mut seen = disk.list(dir).unwrap();
    seen.sort();
    let names = model
        .names
        .keys()
        .map(|p| p.file_name().unwrap().to_str().unwrap());
    assert_eq!(seen, names.collect::<Vec<_>>(), "seed {seed}");
    for (path, id) in &model.names {
        let wanted = &model.visible[id];
        assert_eq!(&content(disk, path), wanted, "seed {seed}");
        let from = rng.usize(0..=wanted.len());
        let to = rng.usize(from..=wanted.len());
        let mut part = vec![9; to - from];
        let file = disk.open(path).unwrap();
        file.read_at(&mut part, from as u64).unwrap();
        assert_eq!(part, wanted[from..to], "seed {seed}");
        assert!(
            file.read_at(&mut [0], wanted.len() as u64).is_err(),
            "seed {seed}"
        );
    }
    let real = survivors(dir);
    assert!(real.keys().eq(model.durable_names.keys()), "seed {seed}");
    for (path, id) in &model.durable_names {
        if !model.lost.contains(id) {
            assert_eq!(real[path], model.durable[id], "seed {seed}");
        }
    }
}
