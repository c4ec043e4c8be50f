//! The contract of destinations: what each kind must hold, on its real server, through the real gateway
//! process. One file a scenario, one a kind's harness.
//!
//! A new kind writes a `Harness` and one line `contract!`. What its server can't be made to do it says with a
//! reason, which is printed.

mod confirm;
mod credentials;
#[cfg(feature = "faults")]
mod faulty;
mod grpc;
mod harness;
#[cfg(feature = "faults")]
mod judged;
pub mod kafka;
mod odd_bytes;
mod order;
mod oversize;
mod partial;
mod rabbitmq;
mod reconnect;
mod reject;
mod retry;
mod shutdown;
mod start;
mod stream;
mod unknown;
mod webhook;
mod world;

macro_rules! contract {
    ($kind:ident, $harness:ty) => {
        contract!($kind, $harness: confirm credentials odd_bytes order oversize partial reconnect reject
            retry shutdown start unknown);
    };
    ($kind:ident, $harness:ty: $($scenario:ident)*) => {
        mod $kind {
            $(
                #[test]
                fn $scenario() {
                    let name = concat!("egress::", stringify!($kind), "::", stringify!($scenario));
                    super::super::world::hold::<$harness>(name, super::super::$scenario::holds);
                }
            )*
        }
    };
}

mod kinds {
    contract!(stream, super::super::stream::Stream);
    contract!(rabbitmq, super::super::rabbitmq::RabbitQueue);
    contract!(webhook, super::super::webhook::Webhook);
    contract!(grpc, super::super::grpc::Grpc);
    contract!(kafka, super::super::kafka::Kafka);
    #[cfg(feature = "faults")]
    contract!(faulty, super::super::faulty::Faulty);
}
