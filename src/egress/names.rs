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
    id: String,
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
        let envelope = &delivery.message.envelope;
        let was = envelope.redrive_names();
        let made = || generated_id(self.journal, delivery.epoch, delivery.position());
        let id = match (was, envelope.id.as_str()) {
            (Some(was), _) => was.id.clone(),
            (None, Some(given)) => given.to_owned(),
            (None, None) => made(),
        };
        let route = self.route(delivery.target().route);
        let new = envelope
            .redrive_of()
            .filter(|_| was.is_none())
            .map(|_| made());
        let identity = was.map_or(delivery.identity, |was| was.identity);
        let origin = match (&new, identity) {
            // It was redriven to be another one: its publisher's id doesn't count.
            (Some(new), _) => Origin::Generated(new),
            (None, Some(key)) => Origin::Identity(key),
            (None, None) => Origin::Generated(&id),
        };
        let nth = delivery.message.plan.nth_of_its_kind(delivery.at.ordinal);
        let made = || {
            let route = route.as_deref().unwrap_or_default();
            delivery_id(origin, route, destination, nth)
        };
        let same = was.and_then(|was| was.delivery_id.clone());
        let delivery_id = same.unwrap_or_else(made);
        DeliveryNames {
            journal: self.journal,
            id,
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
            id: &self.id,
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
