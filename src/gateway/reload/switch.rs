//! A reload's steps, in the order that keeps the promises: what can fail comes first and touches
//! nothing that runs; then the lanes are readied; then the generation is replaced, with the cut
//! in the journal's queue; then lanes end that nothing leads to any more.

use super::plan::{self, Steps};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::settings::{Destination, DestinationKind};
use crate::door::Door;
use crate::egress::{DeadLetterLog, Egress, GrpcSink, Rabbitmq, Webhook};
use crate::gateway::lanes::{self, Lane, Lanes};
use crate::gateway::news;
use crate::gateway::open::{
    self, Held, OpenDestination, Site, generation, lane_settings, modes_of, on_reject_of,
};
use crate::journal::{self, DOOR_LANE, DOOR_ROUTE};
use crate::lane::LaneState;
use crate::message::{LaneId, LogUuid, Refusal, RouteId};
use crate::routing::{Catalog, in_memory};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// A lane that takes no command for so long has a stuck journal or disk under it.
const SEAT_PATIENCE: Duration = Duration::from_secs(5);

/// What of the running gateway a reload changes.
pub struct House {
    pub journal: journal::Handle,
    pub door: Arc<Door>,
    pub lanes: Arc<Lanes>,
    pub site: Arc<Site>,
    pub clock: Clock,
    pub stop: watch::Receiver<bool>,
}

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    #[error("the gateway is stopping")]
    Stopping,
    #[error("{0}")]
    Failed(String),
}

impl From<Refusal> for SwitchError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stopping => Self::Stopping,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A destination whose sinks are open, before its lane starts.
struct Opened {
    spec: Destination,
    lane: Arc<journal::LaneState>,
    egress: Egress,
    sink: Option<LogUuid>,
    held: Held,
    dead_letters: Arc<DeadLetterLog>,
}

type Seats = Vec<(Destination, lanes::Seats)>;

/// The lanes, as a plan asks for them. `wanted`: names that a file has.
pub fn lanes(running: &Lanes, wanted: &Settings) -> BTreeMap<String, plan::Lane> {
    let facts = |(name, lane): (String, Arc<Lane>)| {
        let is_dropping = lane.view().state == LaneState::Dropping;
        // Before the ledger is locked: it looks there, too.
        let turns = running.turns_ahead(&lane);
        let ledger = lane.state.ledger();
        let facts = plan::Lane {
            pending: ledger.pending(),
            owed_bytes: ledger.owed_bytes(),
            is_orphan: lane.is_orphan,
            is_dropping,
            is_leaving: false,
            turns,
        };
        (name, facts)
    };
    let mut lanes: BTreeMap<_, _> = running.all().into_iter().map(facts).collect();
    for destination in &wanted.destinations {
        if running.is_leaving(&destination.name) {
            let leaving = plan::Lane {
                is_leaving: true,
                ..plan::Lane::default()
            };
            lanes.entry(destination.name.clone()).or_insert(leaving);
        }
    }
    lanes
}

impl House {
    pub async fn switch(&self, steps: &Arc<Steps>, number: u64) -> Result<(), SwitchError> {
        let catalog = Arc::new(self.name(&steps.settings).await?);
        let (steps_too, catalog_too) = (Arc::clone(steps), Arc::clone(&catalog));
        let next = blocking(move || generation(number, &steps_too.settings, &catalog_too)).await?;
        let opened = self.open_sinks(steps, &catalog).await?;
        let seats = self.seats(steps).await?;
        if *self.stop.borrow() {
            return Err(SwitchError::Stopping);
        }
        let mut ready = Vec::new();
        for opened in opened {
            match self.ready(opened, &steps.settings, &catalog).await {
                Ok(destination) => ready.push(destination),
                Err(e) => {
                    drop(ready);
                    self.hold_again(&steps.take_up).await;
                    return Err(e);
                }
            }
        }
        // From here on nothing fails but the journal, which then takes nothing more anyway.
        for destination in ready {
            self.start(destination).await;
        }
        self.tune(steps, seats, &catalog).await;
        self.open_memories(steps, &catalog);
        let turns = self.turns(steps, &catalog.lanes);
        let door = Arc::clone(&self.door);
        let journal = self.journal.clone();
        let cut = blocking(move || Ok(door.generations.replace(next, || journal.cut(turns)))).await;
        self.decided(cut).await;
        let routes: HashSet<&str> = steps.settings.routes.iter().map(|r| &*r.name).collect();
        self.door.skips.keep_only(|route| routes.contains(route));
        for name in &steps.close {
            self.lanes.close(name).await;
        }
        Ok(())
    }

    /// Every name gets its number; new ones are durable, and known to the sinks, when this returns.
    async fn name(&self, settings: &Settings) -> Result<Catalog, SwitchError> {
        let shared = self.journal.shared();
        let in_memory = || in_memory(&settings.routes).into_iter();
        let (lanes, routes) = shared.read_catalog(|catalog| {
            let is_new = |name: &String| catalog.lane_named(name).is_none();
            let new_lane = |d: &&Destination| catalog.lane_named(&d.name).is_none();
            let new_route = |r: &&crate::routing::RouteSpec| catalog.route_named(&r.name).is_none();
            let lanes = settings.destinations.iter().filter(new_lane);
            let routes = settings.routes.iter().filter(new_route);
            (
                lanes
                    .map(|d| d.name.clone())
                    .chain(in_memory().map(journal::memory_lane).filter(is_new))
                    .collect::<Vec<_>>(),
                routes.map(|r| r.name.clone()).collect::<Vec<_>>(),
            )
        });
        // Also where nothing is new: an earlier try may have left names that aren't durable yet.
        self.journal.name(lanes, routes).await?;
        self.site.names.learn(open::route_names(shared));
        Ok(shared.read_catalog(|catalog| {
            let lane = |d: &Destination| Some((d.name.clone(), catalog.lane_named(&d.name)?.id));
            let route = |r: &crate::routing::RouteSpec| {
                Some((r.name.clone(), catalog.route_named(&r.name)?.id))
            };
            let memory_lane = |name: &str| {
                let entry = catalog.lane_named(&journal::memory_lane(name))?;
                Some((name.to_owned(), entry.id))
            };
            let lanes = settings.destinations.iter().filter_map(lane).collect();
            Catalog {
                memory_lanes: in_memory().filter_map(memory_lane).collect(),
                alternates: open::alternates(settings, &lanes),
                lanes,
                routes: settings.routes.iter().filter_map(route).collect(),
                unrouted_route: DOOR_ROUTE,
                door_lane: DOOR_LANE,
            }
        }))
    }

    /// New destinations, and those whose lanes are held: these have their dead letters open.
    async fn open_sinks(
        &self,
        steps: &Arc<Steps>,
        catalog: &Arc<Catalog>,
    ) -> Result<Vec<Opened>, SwitchError> {
        let (site, lanes) = (Arc::clone(&self.site), Arc::clone(&self.lanes));
        let (steps, catalog) = (Arc::clone(steps), Arc::clone(catalog));
        let shared = Arc::clone(self.journal.shared());
        blocking(move || {
            check_options(&steps)?;
            let next = shared.reader.bounds().1;
            let names = steps.open.iter().chain(&steps.take_up);
            let mut opened = Vec::new();
            for spec in names.filter_map(|name| find(&steps.settings, name)) {
                let number = catalog.lanes.get(&spec.name);
                let lane = number.and_then(|id| shared.lane(*id));
                let lane = lane.ok_or_else(|| format!("{}: it has no lane", spec.name))?;
                let dead_letters = match lanes.get(&spec.name) {
                    Some(held) => Arc::clone(held.dead_letters()),
                    None => {
                        let max_bytes = spec.lane.dead_letters_max_bytes;
                        site.dead_letters(&lane, max_bytes, next)?.0
                    }
                };
                let (egress, sink, held) = site.egress(&lane, spec, next)?;
                opened.push(Opened {
                    spec: spec.clone(),
                    lane,
                    egress,
                    sink,
                    held,
                    dead_letters,
                });
            }
            Ok(opened)
        })
        .await
    }

    /// A place for a command in each lane that is told something: all of them, or none is told.
    async fn seats(&self, steps: &Steps) -> Result<Seats, SwitchError> {
        let mut seats = Vec::new();
        for name in &steps.tune {
            let (Some(spec), Some(lane)) = (find(&steps.settings, name), self.lanes.get(name))
            else {
                continue;
            };
            let of_both = timeout(SEAT_PATIENCE, lane.seats()).await;
            let of_both = of_both.map_err(|_| {
                SwitchError::Failed(format!(
                    "the lane of {name:?} takes no orders for {} s: its disk or the journal hangs",
                    SEAT_PATIENCE.as_secs()
                ))
            })?;
            seats.push((spec.clone(), of_both));
        }
        Ok(seats)
    }

    /// Readies a lane. No plan names it before the cut, so what it is told here is exact. What a held
    /// lane owes, and its stream has already, is settled first.
    async fn ready(
        &self,
        opened: Opened,
        settings: &Settings,
        catalog: &Catalog,
    ) -> Result<OpenDestination, SwitchError> {
        let Opened {
            spec,
            lane,
            egress,
            sink,
            held,
            dead_letters,
        } = opened;
        if let Some(held_lane) = self.lanes.get(&spec.name) {
            // Since the plan was made an operator may have said so.
            if held_lane.view().state == LaneState::Dropping {
                let destination = spec.name;
                let refusal = plan::Refusal::Dropping { destination };
                return Err(SwitchError::Failed(refusal.to_string()));
            }
            held_lane.end().await;
            self.journal.settled(Vec::new()).await?;
        }
        if lane.owed().is_some() {
            let (site, lane) = (Arc::clone(&self.site), Arc::clone(&lane));
            let group = blocking(move || site.held(&lane, &held, &VecDeque::new())).await?;
            self.journal.settled(group.into_iter().collect()).await?;
        }
        let modes = self
            .journal
            .open_lane(lane.id, spec.lane.strict, sink)
            .await?;
        let (mode, changes) = modes_of(&modes);
        let words = on_reject_of(&settings.routes, &spec.name, &catalog.routes);
        let id = catalog.memory_lanes.get(&spec.name);
        Ok(OpenDestination {
            memory: id.map(|id| open::open_memory(*id, &spec, &egress)),
            lane: lane_settings(lane.id, Some(&spec), mode, &egress, words),
            name: spec.name.as_str().into(),
            backlog_bytes: spec.lane.backlog_bytes,
            dead_letters_max_bytes: spec.lane.dead_letters_max_bytes,
            is_orphan: false,
            changes,
            egress,
            dead_letters,
        })
    }

    /// Only when all are ready: a lane that ran behind a refused reload would have its stream
    /// opened a second time by the next one.
    async fn start(&self, destination: OpenDestination) {
        let name = destination.name.to_string();
        let log = Arc::clone(&destination.dead_letters);
        let max_bytes = destination.dead_letters_max_bytes;
        if let Err(e) = spawn_blocking(move || log.set_max_bytes(max_bytes)).await {
            tracing::error!("a reload could not limit the dead letters of {name}: {e}");
        }
        if let Some(lane) = self.lanes.open(destination) {
            news::watch(name, lane, &self.clock);
        }
    }

    /// Running destinations that at_most_once targets lead to now. One that had some keeps its second
    /// lane, which ends with it.
    fn open_memories(&self, steps: &Steps, catalog: &Catalog) {
        for (name, id) in &catalog.memory_lanes {
            if let (Some(spec), Some(lane)) = (find(&steps.settings, name), self.lanes.get(name)) {
                let open = lane.memory_settings(*id, spec);
                self.lanes.open_memory(name, &lane, open);
            }
        }
    }

    /// The reload is refused: lanes that were ended to be taken up are held as before.
    async fn hold_again(&self, names: &[String]) {
        for name in names {
            let Some(lane) = self.lanes.get(name).filter(|lane| lane.has_ended()) else {
                continue;
            };
            let id = lane.state.id;
            let is_strict = self.journal.shared().read_catalog(|catalog| {
                let entry = catalog.lane(id);
                entry.is_some_and(|lane| lane.modes.is_strict_last())
            });
            match self.journal.open_lane(id, is_strict, None).await {
                Ok(modes) => self.start(lane.held(name, &modes)).await,
                Err(e) => tracing::error!("the lane of {name} ended, and can't be held: {e}"),
            }
        }
    }

    /// Tells running lanes, and the journal, what changes live.
    async fn tune(&self, steps: &Arc<Steps>, seats: Seats, catalog: &Catalog) {
        let settings = &steps.settings;
        let max_bytes = open::journal_max_bytes(&self.site.started, settings.journal.max_bytes);
        let shared = self.journal.shared();
        shared.max_bytes.store(max_bytes, Ordering::Relaxed);
        for (spec, of_both) in seats {
            if let Some(lane) = self.lanes.get(&spec.name) {
                let words: HashMap<RouteId, _> =
                    on_reject_of(&settings.routes, &spec.name, &catalog.routes);
                lane.tune(&spec, words, of_both);
            }
        }
        let (lanes, steps) = (Arc::clone(&self.lanes), Arc::clone(steps));
        let adopted = spawn_blocking(move || {
            for name in &steps.tune {
                if let (Some(spec), Some(lane)) = (find(&steps.settings, name), lanes.get(name)) {
                    lane.adopt(spec);
                }
            }
            if let Some(door) = lanes.get(journal::DOOR_NAME) {
                door.limit_dead_letters(steps.settings.door_dead_letters_max_bytes);
            }
        });
        if let Err(e) = adopted.await {
            tracing::error!("a reload could not tell every lane: {e}");
        }
    }

    fn turns(&self, steps: &Steps, numbers: &HashMap<String, LaneId>) -> Vec<(LaneId, bool)> {
        let turns = steps.turn.iter();
        turns
            .filter_map(|(name, is_strict)| Some((*numbers.get(name)?, *is_strict)))
            .collect()
    }

    /// Waits until nothing of the old generation is on its way: the next plan leans on it. A gateway
    /// that stops makes no further plan.
    async fn decided(
        &self,
        cut: Result<Result<tokio::sync::oneshot::Receiver<()>, Refusal>, SwitchError>,
    ) {
        let mut stop = self.stop.clone();
        match cut {
            Ok(Ok(decided)) => {
                tokio::select! {
                    told = decided => if told.is_err() {
                        tracing::error!("the journal failed during a reload");
                    },
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            Ok(Err(refusal)) => tracing::error!("during a reload: {refusal}"),
            Err(e) => tracing::error!("during a reload: {e}"),
        }
    }
}

fn find<'a>(settings: &'a Settings, name: &str) -> Option<&'a Destination> {
    settings.destinations.iter().find(|d| d.name == name)
}

/// What running destinations would be told must be right before anything is told.
fn check_options(steps: &Steps) -> Result<(), String> {
    for name in &steps.tune {
        let Some(spec) = find(&steps.settings, name) else {
            continue;
        };
        match &spec.kind {
            DestinationKind::Webhook(hook) => {
                Webhook::check(&open::webhook_options(hook, spec.lane.timeout))
                    .map_err(|why| format!("{name}: {why}"))?;
            }
            DestinationKind::Grpc(sink) => {
                GrpcSink::check(&open::grpc_options(sink, spec.lane.timeout))
                    .map_err(|why| format!("{name}: {why}"))?;
            }
            DestinationKind::Rabbitmq(broker) => {
                Rabbitmq::check(open::rabbitmq_options(broker, spec.lane.timeout))
                    .map_err(|why| format!("{name}: {why}"))?;
            }
            #[cfg(feature = "faults")]
            DestinationKind::Faulty { script, .. } => {
                open::script_of(name, script)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// On a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SwitchError> {
    match spawn_blocking(work).await {
        Ok(result) => result.map_err(SwitchError::Failed),
        Err(e) => Err(SwitchError::Failed(format!("a bug: {e}"))),
    }
}
