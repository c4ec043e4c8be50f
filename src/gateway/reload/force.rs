//! Which of a file's settings a running gateway can take. Pure.

use crate::config::Settings;
use crate::config::settings::{Dedup, Gateway, Listen};
use crate::door::limits::Limits;

/// The settings that hold once `wanted` is taken by a gateway that was started with `started`, and
/// the names of those that wait for a restart. Each setting is named here once: a new one must
/// say which it is.
pub fn in_force(started: &Settings, wanted: Settings) -> (Settings, Vec<String>) {
    let mut waits = Waits(Vec::new());
    let in_force = Settings {
        gateway: waits.gateway(&started.gateway, wanted.gateway),
        listen: waits.listen(&started.listen, wanted.listen),
        // It is the listeners': they are guarded by it from their start.
        anonymous: waits.keep("[auth] anonymous", &started.anonymous, wanted.anonymous),
        limits: waits.limits(&started.limits, wanted.limits),
        journal: wanted.journal,
        dedup: waits.dedup(&started.dedup, wanted.dedup),
        identities: wanted.identities,
        destinations: wanted.destinations,
        door_dead_letters_max_bytes: wanted.door_dead_letters_max_bytes,
        dead_letters: wanted.dead_letters,
        routes: wanted.routes,
        unrouted: wanted.unrouted,
    };
    (in_force, waits.0)
}

struct Waits(Vec<String>);

impl Waits {
    /// What was at the start stays.
    fn keep<T: PartialEq + Clone>(&mut self, name: &str, started: &T, wanted: T) -> T {
        if *started != wanted {
            self.0.push(name.to_owned());
        }
        started.clone()
    }

    /// Segments, and buffers of listeners, are made for as much as it was at the start.
    fn cap(&mut self, name: &str, started: usize, wanted: usize) -> usize {
        if wanted > started {
            self.0.push(name.to_owned());
        }
        wanted.min(started)
    }

    fn gateway(&mut self, started: &Gateway, wanted: Gateway) -> Gateway {
        Gateway {
            name: self.keep("[gateway] name", &started.name, wanted.name),
            data_dir: self.keep("[gateway] data_dir", &started.data_dir, wanted.data_dir),
            drain_timeout: wanted.drain_timeout,
            reload_on_change: wanted.reload_on_change,
        }
    }

    fn listen(&mut self, started: &Listen, wanted: Listen) -> Listen {
        Listen {
            grpc: self.keep("[listen] grpc", &started.grpc, wanted.grpc),
            http: self.keep("[listen] http", &started.http, wanted.http),
            admin: self.keep("[listen] admin", &started.admin, wanted.admin),
            health: self.keep("[listen] health", &started.health, wanted.health),
        }
    }

    fn limits(&mut self, started: &Limits, wanted: Limits) -> Limits {
        let (was, now) = (started, wanted);
        Limits {
            payload_bytes: self.cap("[limits] payload", was.payload_bytes, now.payload_bytes),
            headers: self.cap("[limits] headers", was.headers, now.headers),
            header_bytes: self.cap("[limits] header_bytes", was.header_bytes, now.header_bytes),
            topic_bytes: self.cap("[limits] topic_bytes", was.topic_bytes, now.topic_bytes),
            topic_levels: now.topic_levels,
            connections: self.keep("[limits] connections", &was.connections, now.connections),
            in_flight_bytes: self.keep(
                "[limits] in_flight_bytes",
                &was.in_flight_bytes,
                now.in_flight_bytes,
            ),
        }
    }

    fn dedup(&mut self, started: &Dedup, wanted: Dedup) -> Dedup {
        Dedup {
            window: self.keep("[dedup] window", &started.window, wanted.window),
            max_entries: self.keep(
                "[dedup] max_entries",
                &started.max_entries,
                wanted.max_entries,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn what_can_not_change_while_running_stays_and_is_named() {
        let started = settings("[limits]\nheaders = 8\npayload = \"1KiB\"\n");
        let wanted = settings(
            "[gateway]\nname = \"other\"\ndrain_timeout = \"7s\"\n\
             [limits]\nheaders = 7\npayload = \"2KiB\"\ntopic_levels = 99\n\
             [journal]\nmax_bytes = \"2GiB\"\n[dedup]\nwindow = \"1h\"\n",
        );
        let (mut in_force, waits) = in_force(&started, wanted.clone());
        assert_eq!(
            waits,
            ["[gateway] name", "[limits] payload", "[dedup] window"]
        );
        let limits = &in_force.limits;
        assert_eq!((limits.headers, limits.payload_bytes), (7, 1024));
        // The rest is as wanted.
        in_force.gateway.name = "other".into();
        in_force.limits.payload_bytes = 2048;
        in_force.dedup = wanted.dedup.clone();
        assert_eq!(in_force, wanted);
    }

    #[test]
    fn nothing_waits_once_the_file_says_what_it_said_at_the_start() {
        let started = settings("");
        let (in_force, waits) = in_force(&started, started.clone());
        assert_eq!((in_force, waits), (started, Vec::<String>::new()));
    }
}
