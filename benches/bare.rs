//! What the log is measured against: pwrite and fdatasync of the same bytes in a bare loop, over a
//! file whose blocks are written already, as the log's are.

use super::report::Stopwatch;
use causeway::log::RECORD_HEADER_BYTES;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// As large as the log's largest segment; the loop goes round in it.
const FILE_BYTES: u64 = 64 << 20;
const FILL_BYTES: usize = 1 << 20;

pub struct Bare {
    file: File,
    at: u64,
}

impl Bare {
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("bare");
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(path)
            .expect("a new file");
        let piece = vec![0; FILL_BYTES];
        for offset in (0..FILE_BYTES).step_by(FILL_BYTES) {
            file.write_all_at(&piece, offset).expect("room for it");
        }
        file.sync_all().expect("the disk is sound");
        Self { file, at: 0 }
    }

    /// Writes and syncs the bytes so many times; what that took alone.
    pub fn run(&mut self, bytes: &[u8], times: u64) -> Stopwatch {
        let mut watch = Stopwatch::default();
        for _ in 0..times {
            watch.time(|| self.append(bytes));
        }
        watch
    }

    /// The same for records that lie where they were made: collected behind `overhead`, then written.
    pub fn run_given<T>(
        &mut self,
        overhead: &[u8],
        mut records: impl FnMut() -> Vec<(T, Vec<u8>)>,
        times: u64,
    ) -> Stopwatch {
        let mut watch = Stopwatch::default();
        let mut batch = Vec::new();
        for _ in 0..times {
            let records = records();
            watch.time(|| {
                batch.clear();
                batch.extend_from_slice(overhead);
                for (_, record) in &records {
                    batch.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
                    batch.extend_from_slice(record);
                }
                self.append(&batch);
            });
        }
        watch
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.at + bytes.len() as u64 > FILE_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at).expect("it has room");
        self.file.sync_data().expect("the disk is sound");
        self.at += bytes.len() as u64;
    }
}

/// Bytes that no disk and no file system finds a pattern in.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..bytes).map(|_| rng.u8(..)).collect()
}
