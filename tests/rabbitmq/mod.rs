//! RabbitMQ destinations through the real gateway on real servers: what goes where, and what comes of
//! trouble. The contract of all destinations, for this kind too, is in tests/egress/.

mod alternate;
mod emails;
mod house;
mod queues;
mod refusals;
mod routing;
mod secure;
mod trouble;
