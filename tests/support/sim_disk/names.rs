//! The folder tree of the simulated disk: which names are visible, and which a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub type InodeId = u64;

/// A change of names in one folder. It happens whole or not at all.
#[derive(Clone, Debug)]
enum NameOp {
    Create {
        path: PathBuf,
        id: InodeId,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        id: InodeId,
    },
    Remove {
        path: PathBuf,
        id: InodeId,
    },
    Folder {
        path: PathBuf,
    },
}

#[derive(Clone, Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, InodeId>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Names {
    visible: Tree,
    durable: Tree,
    /// Changes that no `sync_dir` covered yet, in order.
    pending: Vec<NameOp>,
}

impl NameOp {
    fn folder(&self) -> &Path {
        let path = match self {
            Self::Create { path, .. } | Self::Remove { path, .. } | Self::Folder { path } => path,
            Self::Rename { from, .. } => from,
        };
        path.parent().expect("names are in a folder")
    }
}

impl Tree {
    /// Applies a change that may come without those before it.
    fn apply(&mut self, op: &NameOp) {
        match op {
            NameOp::Create { path, id } => {
                self.files.insert(path.clone(), *id);
            }
            NameOp::Rename { from, to, id } => {
                if self.files.get(from) == Some(id) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), *id);
            }
            NameOp::Remove { path, id } => {
                if self.files.get(path) == Some(id) {
                    self.files.remove(path);
                }
            }
            NameOp::Folder { path } => {
                self.folders.insert(path.clone());
            }
        }
    }
}

impl Names {
    pub fn new() -> Self {
        let root = Tree {
            files: BTreeMap::new(),
            folders: BTreeSet::from([PathBuf::from("/")]),
        };
        Self {
            visible: root.clone(),
            durable: root,
            pending: Vec::new(),
        }
    }

    pub fn is_folder(&self, path: &Path) -> bool {
        self.visible.folders.contains(path)
    }

    pub fn get(&self, path: &Path) -> Option<InodeId> {
        self.visible.files.get(path).copied()
    }

    pub fn in_folder<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.visible
            .files
            .keys()
            .map(PathBuf::as_path)
            .filter(move |p| p.parent() == Some(dir))
    }

    pub fn files(&self) -> impl Iterator<Item = (&Path, InodeId)> {
        self.visible
            .files
            .iter()
            .map(|(path, id)| (path.as_path(), *id))
    }

    /// Every file that has a name now or may have one after a power cut.
    pub fn reachable(&self) -> BTreeSet<InodeId> {
        let pending = self.pending.iter().filter_map(|op| match op {
            NameOp::Create { id, .. } | NameOp::Rename { id, .. } | NameOp::Remove { id, .. } => {
                Some(*id)
            }
            NameOp::Folder { .. } => None,
        });
        let named = self
            .visible
            .files
            .values()
            .chain(self.durable.files.values());
        named.copied().chain(pending).collect()
    }

    pub fn create_folder(&mut self, path: &Path) {
        let missing: Vec<_> = path
            .ancestors()
            .filter(|p| !self.is_folder(p))
            .map(Path::to_path_buf)
            .collect();
        for path in missing.into_iter().rev() {
            self.change(NameOp::Folder { path });
        }
    }

    pub fn create(&mut self, path: &Path, id: InodeId) {
        self.change(NameOp::Create {
            path: path.to_path_buf(),
            id,
        });
    }

    pub fn rename(&mut self, from: &Path, to: &Path, id: InodeId) {
        self.change(NameOp::Rename {
            from: from.to_path_buf(),
            to: to.to_path_buf(),
            id,
        });
    }

    pub fn remove(&mut self, path: &Path, id: InodeId) {
        self.change(NameOp::Remove {
            path: path.to_path_buf(),
            id,
        });
    }

    fn change(&mut self, op: NameOp) {
        self.visible.apply(&op);
        self.pending.push(op);
    }

    pub fn sync_dir(&mut self, dir: &Path) {
        let durable = &mut self.durable;
        self.pending.retain(|op| {
            let covered = op.folder() == dir;
            if covered {
                durable.apply(op);
            }
            !covered
        });
    }

    /// A sync of the folder that failed: each change may be durable, or wait for the next sync.
    pub fn fail_sync_dir(&mut self, dir: &Path, rng: &mut fastrand::Rng) {
        let durable = &mut self.durable;
        self.pending.retain(|op| {
            let lucky = op.folder() == dir && rng.bool();
            if lucky {
                durable.apply(op);
            }
            !lucky
        });
    }

    /// The power went out: of the pending changes a prefix survives, or any subset. What is in a
    /// folder that did not survive is gone with it.
    pub fn crash(&mut self, rng: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let prefix = rng.bool().then(|| rng.usize(0..=pending.len()));
        let odds = rng.f64();
        for (i, op) in pending.iter().enumerate() {
            let survives = prefix.map_or_else(|| rng.f64() < odds, |n| i < n);
            if survives {
                self.durable.apply(op);
            }
        }
        self.drop_orphans();
        self.visible = self.durable.clone();
    }

    fn drop_orphans(&mut self) {
        let folders = std::mem::take(&mut self.durable.folders);
        let reachable = |path: &Path| path.ancestors().all(|p| folders.contains(p));
        self.durable
            .files
            .retain(|path, _| path.parent().is_some_and(reachable));
        self.durable.folders = folders.iter().filter(|p| reachable(p)).cloned().collect();
    }
}
