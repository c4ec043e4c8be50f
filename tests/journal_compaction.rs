//! Rewriting segments while the disk fails at one step of it: ids are remembered all the same.

use crate::support::journal_house::{House, manual_clock};
use crate::support::sim_disk::{Call, SimDisk};
use causeway::log::disk::Disk;
use causeway::message::{DeliveryId, Guarantee, Outcome};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// These come with an id, the others without: the last of the segments that are rewritten has no ids.
const WITH_ID: u64 = 30;
const MESSAGES: u64 = 120;
/// Of the first ones without an id, owed while the segments are rewritten.
const OWED: std::ops::Range<u64> = 34..37;
/// More steps than a rewriting has of one kind.
const STEPS: u64 = 8;

fn publish(house: &mut House, position: u64) -> bool {
    let id = (position < WITH_ID).then(|| format!("id-{position}"));
    let payload = vec![position as u8; 900];
    let submission = house.submission(id.as_deref(), &payload, 1, Guarantee::AtLeastOnce);
    house.publish(submission).is_duplicate()
}

fn settle(house: &mut House, positions: impl Iterator<Item = u64>) {
    let at: Vec<DeliveryId> = positions.map(|p| DeliveryId::new(p, 0)).collect();
    house.settle(0, &at, Outcome::Delivered, Default::default());
}

/// Whether the fault was met.
fn ids_survive(call: Call, skip: u64) -> bool {
    let sim = SimDisk::new(skip);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let (dir, clock) = (Path::new("/data/journal"), manual_clock());
    let mut house = House::open(&disk, dir, &clock).expect("opens");
    for position in 0..MESSAGES {
        assert!(!publish(&mut house, position));
        house.keeper.step();
    }
    settle(&mut house, (0..MESSAGES).filter(|p| !OWED.contains(p)));
    sim.fail_nth_under(dir, call, skip, ErrorKind::Other);
    let image = house.journal.checkpoint_image();
    house.keeper.checkpoint(&image);
    house.keeper.step();
    let was_met = sim.faults_hit() > 0;
    sim.clear_faults();
    settle(&mut house, OWED);
    for _ in 0..3 {
        house.checkpoint();
    }
    drop(house);
    let mut house = House::open(&disk, dir, &clock).expect("opens again");
    for position in 0..WITH_ID {
        let is_known = publish(&mut house, position);
        assert!(is_known, "id-{position} is forgotten: {call:?} {skip}");
    }
    was_met
}

#[test]
fn ids_are_remembered_whichever_step_of_a_rewriting_fails() {
    for call in [Call::Remove, Call::Rename, Call::SyncDir, Call::Sync] {
        let met = (0..STEPS).filter(|skip| ids_survive(call, *skip)).count();
        assert!(met > 0, "{call:?} was never met");
    }
}
