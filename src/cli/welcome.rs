//! What whoever started the gateway by hand sees once it listens: where, and what to type next.

use super::locate::reachable;
use super::publish::path;
use crate::config::Settings;
use crate::config::settings::DestinationKind;
use std::path::Path;

/// Lines for a terminal, among the log's lines.
pub(super) fn text(settings: &Settings, commands: &Commands) -> String {
    let listen = &settings.listen;
    let mut lines = vec![format!("{} listens:", settings.gateway.name)];
    for (name, address, what) in [
        (
            "http",
            listen.http,
            "takes messages, looks them up, reads streams",
        ),
        ("grpc", listen.grpc, "the same over gRPC, with reflection"),
        ("admin", listen.admin, "status and control"),
        ("health", listen.health, "/healthz, /readyz, /metrics"),
    ] {
        if let Some(address) = address {
            lines.push(format!("  {name:<6}  http://{address}  {what}"));
        }
    }
    let next = commands.next(settings);
    if !next.is_empty() {
        lines.push("Try, in another terminal:".to_owned());
        lines.extend(next.iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

/// The same as log lines.
pub(super) fn log(settings: &Settings, commands: &Commands) {
    let listen = &settings.listen;
    if let Some(address) = listen.http {
        tracing::info!(%address, "http: takes messages");
    }
    if let Some(address) = listen.grpc {
        tracing::info!(%address, "grpc: takes messages");
    }
    if let Some(address) = listen.admin {
        tracing::info!(%address, "admin: status and control");
    }
    if let Some(address) = listen.health {
        tracing::info!(%address, "health: /healthz, /readyz, /metrics");
    }
    for line in commands.next(settings) {
        tracing::info!("try: {line}");
    }
}

/// How this program is called from where it was started.
pub(super) struct Commands {
    program: String,
    /// `--config FILE`, if it isn't the default.
    config: String,
}

impl Commands {
    pub fn new(program: Option<String>, config: &Path) -> Self {
        let config = match config == Path::new(super::DEFAULT_CONFIG) {
            true => String::new(),
            false => format!(" --config {}", shell(&config.display().to_string())),
        };
        Self {
            program: shell(&program.unwrap_or_else(|| "causeway".to_owned())),
            config,
        }
    }

    /// A publish that a route takes, and the reading of a stream.
    fn next(&self, settings: &Settings) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(http) = settings.listen.http else {
            return lines;
        };
        if let Some(route) = settings.routes.first() {
            let path = path(&example(&route.pattern.to_string()));
            lines.push(format!("curl -d hello http://{}{path}", reachable(http)));
        }
        let is_stream = |kind: &DestinationKind| matches!(kind, DestinationKind::Stream { .. });
        if let Some(stream) = settings.destinations.iter().find(|d| is_stream(&d.kind)) {
            let (program, config) = (&self.program, &self.config);
            lines.push(format!("{program}{config} tail {}", shell(&stream.name)));
        }
        lines
    }
}

/// A topic that the pattern matches.
fn example(pattern: &str) -> String {
    let level = |level: &str| match level {
        "#" => "greetings/world".to_owned(),
        "+" => "any".to_owned(),
        level => level
            .trim_start_matches('{')
            .trim_end_matches('}')
            .to_owned(),
    };
    let levels: Vec<String> = pattern.split('/').map(level).collect();
    levels.join("/")
}

/// A word that a shell takes as it is.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn settings() -> Settings {
        // Cargo runs tests in the package.
        let (settings, _) = load(&Sources::file("routes.toml")).expect("it is sound");
        settings
    }

    #[test]
    fn the_words_fit_the_file() {
        let commands = Commands::new(
            Some("target/release/causeway".into()),
            "./routes.toml".as_ref(),
        );
        assert_eq!(
            text(&settings(), &commands),
            "edge-1 listens:\n\
             \x20 http    http://127.0.0.1:8080  takes messages, looks them up, reads streams\n\
             \x20 grpc    http://127.0.0.1:50051  the same over gRPC, with reflection\n\
             \x20 admin   http://127.0.0.1:9190  status and control\n\
             \x20 health  http://127.0.0.1:9191  /healthz, /readyz, /metrics\n\
             Try, in another terminal:\n\
             \x20 curl -d hello http://127.0.0.1:8080/v1/topics/greetings/world\n\
             \x20 target/release/causeway tail inbox"
        );
        let mut without = settings();
        without.listen.http = None;
        assert!(!text(&without, &commands).contains("Try"));
        let elsewhere = Commands::new(None, "my file.toml".as_ref());
        let next = elsewhere.next(&settings());
        assert_eq!(next[1], "causeway --config 'my file.toml' tail inbox");
    }

    #[test]
    fn an_example_matches_its_pattern() {
        use crate::routing::Pattern;
        for (pattern, topic) in [
            ("#", "greetings/world"),
            ("orders/{shop}/created", "orders/shop/created"),
            ("jobs/+/#", "jobs/any/greetings/world"),
        ] {
            let parsed = Pattern::parse(pattern).expect("a pattern");
            assert_eq!(example(&parsed.to_string()), topic);
        }
    }
}
