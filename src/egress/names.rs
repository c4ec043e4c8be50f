//! What a delivery is called at its destination: its public id, its delivery id, its route.

use crate::message::{Delivery, LogUuid, Origin, RouteId, delivery_id, generated_id};
use std::sync::{Arc, PoisonError, RwLock};

/// The journal's identity, and the names behind the numbers in plans.
pub struct NameBook {
    journal: LogUuid,
    /// By route number; it only grows.
    routes: RwLock<Vec<Arc<str>>>,
}

/// The names of one delivery.
pub struct DeliveryNames {
    journal: LogUuid,
    /// Only if the message came without an id.
    generated: Option<String>,
    given: Option<String>,
    delivery_id: String,
    route: Option<Arc<str>>,
}

impl NameBook {
    #[must_use]
    pub fn new(journal: LogUuid, routes: Vec<Arc<str>>) -> Self {
        Self {
            journal,
            routes: RwLock::new(routes),
        }
    }

    /// All names that there are now. Called before any delivery of a new route.
    pub fn learn(&self, routes: Vec<Arc<str>>) {
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        *known = routes;
    }

    fn route(&self, id: RouteId) -> Option<Arc<str>> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        known.get(id.0 as usize).cloned()
    }

    #[must_use]
    pub fn of(&self, delivery: &Delivery, destination: &str) -> DeliveryNames {
        let given = delivery.message.envelope.id.as_str().map(str::to_owned);
        let generated = given
            .is_none()
            .then(|| generated_id(self.journal, delivery.epoch, delivery.at.position));
        let route = self.route(delivery.target().route);
        let origin = match (delivery.identity, &generated, &given) {
            (Some(key), _, _) => Origin::Identity(key),
            (None, Some(id), _) | (None, None, Some(id)) => Origin::Generated(id),
            (None, None, None) => Origin::Generated(""),
        };
        let nth = delivery.message.plan.nth_of_its_kind(delivery.at.ordinal);
        let delivery_id = delivery_id(
            origin,
            route.as_deref().unwrap_or_default(),
            destination,
            nth,
        );
        DeliveryNames {
            journal: self.journal,
            generated,
            given,
            delivery_id,
            route,
        }
    }
}

impl DeliveryNames {
    #[must_use]
    pub fn borrowed(&self) -> Names<'_> {
        Names {
            journal: self.journal,
            id: self
                .given
                .as_deref()
                .or(self.generated.as_deref())
                .unwrap_or_default(),
            delivery_id: &self.delivery_id,
            route: self.route.as_deref(),
        }
    }
}

/// What a delivery is called, as its journal's owner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub journal: LogUuid,
    /// The publisher's or derived id, else the one that the journal generated.
    pub id: &'a str,
    pub delivery_id: &'a str,
    pub route: Option<&'a str>,
}
