//! What is scripted to go wrong: the power, calls of the disk, its room.

use super::{JOURNAL, World};
use crate::support::sim_disk::Call;
use std::io;
use std::path::Path;

impl World {
    pub(super) fn script_power_cut(&mut self) {
        if self.rng.u8(..3) != 0 {
            let soon = [5, 30, 150, 600][self.rng.usize(..4)];
            let at = self.disk.changes() + self.rng.u64(0..soon);
            self.note(|| format!("the power will go at change {at}"));
            self.disk.crash_at(at);
        }
    }

    pub(super) fn script_trouble(&mut self) {
        match (self.trouble.failing, self.trouble.full) {
            (true, true) if self.rng.bool() => self.script_fault(),
            (true, false) => self.script_fault(),
            (_, true) => self.script_capacity(),
            (false, false) => {}
        }
    }

    fn script_fault(&mut self) {
        let call = Call::to_fail(&mut self.rng);
        let under = ["/data", JOURNAL, "/data/streams", "/data/dead"][self.rng.usize(..4)];
        let skip = self.rng.u64(0..4);
        self.note(|| format!("{call:?} under {under} will fail after {skip} more"));
        self.disk
            .fail_nth_under(Path::new(under), call, skip, io::ErrorKind::Other);
    }

    fn script_capacity(&mut self) {
        let used = self.disk.used_bytes();
        let capacity = match self.rng.u8(..4) {
            0 | 1 => None,
            2 => Some(used),
            _ => Some(used + self.rng.u64(0..60) * 4096),
        };
        self.note(|| format!("{used} bytes used of {capacity:?}"));
        self.disk.set_capacity(capacity);
    }

    pub(super) fn script_recovery(&mut self, scripted: bool) {
        self.disk.clear_faults();
        let soon = self.disk.changes() + self.rng.u64(0..25);
        match self.rng.u8(..4) {
            _ if !scripted => {}
            0 => {}
            1 if self.trouble.failing => self.disk.fail_change(soon, io::ErrorKind::Other),
            2 if self.trouble.failing => {
                let skip = self.rng.u64(0..20);
                self.disk.fail_nth(Call::Read, skip, io::ErrorKind::Other);
            }
            _ => self.disk.crash_at(soon),
        }
    }
}
