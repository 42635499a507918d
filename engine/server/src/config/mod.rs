//! What an operator can set: one flat table. A file (TOML) is the weakest, then the environment (`AMENDS__LISTEN`), then
//! flags. An unknown key, a wrong type and a value out of its range are refused before anything is opened. The page
//! `CONFIG.md` beside this package is generated from [`FIELDS`].

mod database;
mod fields;

use std::path::PathBuf;
use std::time::Duration;

use config::{ConfigError, Environment, File, FileFormat};
use serde::Deserialize;

pub use database::{Database, DatabaseUrl};
pub use fields::{FIELDS, Field};

use crate::error::StartError;

/// A node's configuration. What each field means is said once, in [`FIELDS`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "FIELDS documents each field, and a test compares the two"
)]
pub struct Config {
    pub active_max: usize,
    pub admin_token_file: Option<PathBuf>,
    pub allow_insecure_listen: bool,
    pub calls_max: usize,
    pub connections_per_peer_max: usize,
    pub database_url: DatabaseUrl,
    pub drain_grace_ms: u64,
    pub lanes: usize,
    pub lease_ms: u64,
    pub listen: String,
    pub log_filter: String,
    pub log_format: LogFormat,
    pub namespaces: Vec<String>,
    pub node: Option<String>,
    pub queue_max: usize,
    pub request_timeout_ms: u64,
    pub retention_batch: usize,
    pub retention_interval_ms: u64,
    pub session_lease_ms: u64,
    pub shards: Option<u16>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the configuration comes from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file; it has to exist if it is named.
    pub file: Option<PathBuf>,
    /// Variables of the environment; only those that begin with `AMENDS__` count.
    pub environment: Vec<(String, String)>,
    /// Keys and values from the command line.
    pub flags: Vec<(&'static str, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active_max: 200_000,
            admin_token_file: None,
            allow_insecure_listen: false,
            calls_max: 8_192,
            connections_per_peer_max: amends_grpc::limits::CONNECTIONS_PER_PEER_MAX,
            database_url: DatabaseUrl::default(),
            drain_grace_ms: 10_000,
            lanes: 1,
            lease_ms: 10_000,
            listen: "127.0.0.1:7707".into(),
            log_filter: "info".into(),
            log_format: LogFormat::Text,
            namespaces: Vec::new(),
            node: None,
            queue_max: 20_000,
            request_timeout_ms: 30_000,
            retention_batch: 1_000,
            retention_interval_ms: 60_000,
            session_lease_ms: 5_000,
            shards: None,
        }
    }
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// In one line: which key, and what is wrong with it. No value of `database_url` is ever part of it.
    pub fn load(sources: Sources) -> Result<Self, StartError> {
        let mut builder = config::Config::builder();
        if let Some(file) = &sources.file {
            builder = builder.add_source(File::from(file.as_path()).format(FileFormat::Toml));
        }
        // The separator of the prefix has to be given as well: it follows the other one silently.
        let environment = Environment::with_prefix("AMENDS")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("namespaces")
            .ignore_empty(true)
            .source(Some(sources.environment.into_iter().collect()));
        builder = builder.add_source(environment);
        for (key, value) in sources.flags {
            builder = builder
                .set_override(key, value)
                .map_err(|error| refused(&error))?;
        }
        let read = builder
            .build()
            .and_then(config::Config::try_deserialize::<Self>);
        let config = read.map_err(|error| refused(&error))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first value that is out of it.
    pub fn check(&self) -> Result<(), StartError> {
        self.database_url.database()?;
        within("active_max", self.active_max, 1, 10_000_000)?;
        within("calls_max", self.calls_max, 1, 1_000_000)?;
        let all = amends_grpc::limits::CONNECTIONS_MAX;
        let per_peer = self.connections_per_peer_max;
        within("connections_per_peer_max", per_peer, 1, all)?;
        within("drain_grace_ms", self.drain_grace_ms, 0, 600_000)?;
        within("lanes", self.lanes, 1, 2)?;
        // It is renewed every third of it: a lease under three seconds would leave less than a second for a renewal.
        within("lease_ms", self.lease_ms, 3_000, 300_000)?;
        within("queue_max", self.queue_max, 1, 10_000_000)?;
        within("request_timeout_ms", self.request_timeout_ms, 100, 600_000)?;
        within("retention_batch", self.retention_batch, 1, 10_000)?;
        let interval = self.retention_interval_ms;
        within("retention_interval_ms", interval, 0, 86_400_000)?;
        within("session_lease_ms", self.session_lease_ms, 100, 600_000)?;
        if self
            .admin_token_file
            .as_ref()
            .is_some_and(|file| file.as_os_str().is_empty())
        {
            return Err(StartError::Config(
                "admin_token_file: it names no file".into(),
            ));
        }
        let shards = self.shards.unwrap_or(1);
        within("shards", shards, 1, amends_core::limits::SHARDS_MAX)?;
        if !self
            .listen
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(StartError::Config(format!(
                "listen: {:?} is not host:port",
                self.listen
            )));
        }
        for namespace in &self.namespaces {
            if !amends_grpc::name::is_label(namespace) {
                let rule = "1 to 63 of a-z, 0-9 and -, with a letter or a digit at both ends";
                return Err(StartError::Config(format!(
                    "namespaces: {namespace:?} is not a DNS label: {rule}"
                )));
            }
        }
        let sound = |node: &String| {
            !node.is_empty() && node.len() <= 128 && !node.contains(char::is_control)
        };
        if !self.node.as_ref().is_none_or(sound) {
            return Err(StartError::Config(
                "node: it has 1 to 128 bytes, none of them a control character".into(),
            ));
        }
        Ok(())
    }

    /// How long a lease lives without renewal.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How long commands wait for a participant's return.
    #[must_use]
    pub fn session_lease(&self) -> Duration {
        Duration::from_millis(self.session_lease_ms)
    }

    /// How long the end waits for what is in flight.
    #[must_use]
    pub fn drain_grace(&self) -> Duration {
        Duration::from_millis(self.drain_grace_ms)
    }

    /// How long a short request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// The reference page, in Markdown.
    #[must_use]
    pub fn reference() -> String {
        fields::reference()
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), StartError> {
    if value < min || value > max {
        return Err(StartError::Config(format!(
            "{key}: {value} is not within {min} to {max}"
        )));
    }
    Ok(())
}

/// A source's error in one line. What was found in the place of a value is left out: it may be a secret in the wrong place.
fn refused(error: &ConfigError) -> StartError {
    StartError::Config(describe(error))
}

fn describe(error: &ConfigError) -> String {
    let place = |origin: &Option<String>, key: &Option<String>| {
        let key = key.clone().unwrap_or_else(|| "a value".into());
        origin
            .as_ref()
            .map_or_else(|| key.clone(), |origin| format!("{key} in {origin}"))
    };
    match error {
        ConfigError::Type {
            origin,
            expected,
            key,
            ..
        } => format!("{}: expected {expected}", place(origin, key)),
        ConfigError::At { error, origin, key } => {
            format!("{}: {}", place(origin, key), describe(error))
        }
        ConfigError::FileParse { uri, cause } => {
            let file = uri.as_deref().unwrap_or("the file");
            format!("{file}: {}", without_source(&cause.to_string()))
        }
        ConfigError::NotFound(key) => format!("{key} is missing"),
        ConfigError::Message(message) => one_line(message),
        other @ (ConfigError::Frozen | ConfigError::PathParse { .. } | ConfigError::Foreign(_)) => {
            one_line(&other.to_string())
        }
        // The enum is open: a kind that this version does not know says no more than that.
        _ => "it cannot be read".into(),
    }
}

/// A TOML error without the line that it quotes: that line may hold a password.
fn without_source(text: &str) -> String {
    let quoted = |line: &&str| {
        line.trim_start()
            .trim_start_matches(|digit: char| digit.is_ascii_digit())
            .trim_start()
            .starts_with('|')
    };
    one_line(
        &text
            .lines()
            .filter(|line| !quoted(line))
            .collect::<Vec<_>>()
            .join(" "),
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
