//! What is in force, and how the last reload ended: written by the reloader, read by whoever shows
//! or needs it.

use super::Trigger;
use crate::admin::Reloaded;
use crate::admin::status::{ConfigStatus, LastReload};
use crate::clock::Wall;
use crate::clock::show_rfc3339;
use crate::config::Settings;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub struct Board(RwLock<Shown>);

struct Shown {
    settings: Arc<Settings>,
    status: ConfigStatus,
}

impl Board {
    /// At the start.
    pub fn new(settings: Settings, now: Wall) -> Self {
        Self(RwLock::new(Shown {
            settings: Arc::new(settings),
            status: ConfigStatus {
                generation: 1,
                since: show_rfc3339(now),
                restart_needed: Vec::new(),
                reloads_ok: 0,
                reloads_refused: 0,
                last_reload: None,
            },
        }))
    }

    fn read(&self) -> RwLockReadGuard<'_, Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shown> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.read().settings)
    }

    pub fn status(&self) -> ConfigStatus {
        self.read().status.clone()
    }

    pub fn taken(&self, settings: Arc<Settings>, reloaded: &Reloaded, by: Trigger, now: Wall) {
        let mut shown = self.write();
        let old = std::mem::replace(&mut shown.settings, settings);
        let at = show_rfc3339(now);
        let status = &mut shown.status;
        status.generation = reloaded.generation;
        status.since.clone_from(&at);
        status.restart_needed.clone_from(&reloaded.restart_needed);
        status.reloads_ok += 1;
        status.last_reload = Some(LastReload {
            at,
            by: by.as_str().to_owned(),
            ok: true,
            changed: reloaded.changed.clone(),
            error: None,
        });
        drop(shown);
        // Ten thousand routes are freed outside of the lock.
        drop(old);
    }

    /// The generation stays.
    pub fn refused(&self, error: &str, by: Trigger, now: Wall) {
        let status = &mut self.write().status;
        status.reloads_refused += 1;
        status.last_reload = Some(LastReload {
            at: show_rfc3339(now),
            by: by.as_str().to_owned(),
            ok: false,
            changed: Vec::new(),
            error: Some(error.to_owned()),
        });
    }
}
