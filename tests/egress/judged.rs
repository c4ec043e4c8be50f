//! The contract itself is judged: with a fault planted in the gateway it must not hold.

use super::faulty::Faulty;
use super::harness::{Cannot, Harness as _};
use super::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn assert_fails(fault: &str, scenario: fn(&mut World<Faulty>) -> Result<(), Cannot>) {
    let harness = Faulty::start(fault).expect("it needs nothing");
    let mut world = World::new(harness);
    world.gateway.variable("CAUSEWAY_FAULT", fault);
    let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut world)));
    assert!(result.is_err(), "{fault} went unnoticed: {result:?}");
}

#[test]
fn a_key_out_of_order_is_noticed() {
    assert_fails("reorder-on-retry", super::order::holds);
}

#[test]
fn what_was_settled_too_early_is_missed() {
    assert_fails("settle-before-delivery", super::shutdown::holds);
}
