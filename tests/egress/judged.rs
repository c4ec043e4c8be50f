//! The contract itself is judged: with a fault planted in the gateway it must not hold.

use super::faulty::Faulty;
use super::grpc::Grpc;
use super::harness::{Cannot, Harness};
use super::world::World;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn assert_fails<H: Harness>(
    harness: H,
    fault: &str,
    scenario: fn(&mut World<H>) -> Result<(), Cannot>,
) {
    let mut world = World::new(harness);
    world.gateway.variable("CAUSEWAY_FAULT", fault);
    let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut world)));
    assert!(result.is_err(), "{fault} went unnoticed: {result:?}");
}

fn faulty() -> Faulty {
    Faulty::start("judged").expect("it needs nothing")
}

fn grpc() -> Grpc {
    let harness = Grpc::start("judged").expect("it needs nothing");
    harness.without_circuit()
}

#[test]
fn a_key_out_of_order_is_noticed() {
    assert_fails(faulty(), "reorder-on-retry", super::order::holds);
}

#[test]
fn what_was_settled_too_early_is_missed() {
    assert_fails(faulty(), "settle-before-delivery", super::shutdown::holds);
}

#[test]
fn a_key_out_of_order_is_noticed_before_a_real_server() {
    assert_fails(grpc(), "reorder-on-retry", super::order::holds);
}

#[test]
fn what_was_settled_too_early_is_missed_by_a_real_server() {
    assert_fails(grpc(), "settle-before-delivery", super::shutdown::holds);
}
