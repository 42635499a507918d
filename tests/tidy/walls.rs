//! Which room imports which: what `cargo metadata` says of the manifests, compared with the table of rooms.

use serde_json::Value;

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Debug, Clone)]
pub struct Dependency {
    pub name: String,
    /// For tests alone.
    pub dev: bool,
    /// A package of this workspace.
    pub internal: bool,
}

/// What each room may import of the others, in what it ships.
const ROOMS: [(&str, &[&str]); 17] = [
    ("amends-definitions", &[]),
    ("amends-proto", &[]),
    ("amends-core", &["amends-definitions"]),
    ("amends-verify", &["amends-core", "amends-definitions"]),
    ("amends-store", &["amends-core", "amends-definitions"]),
    // Payloads and hashes of definitions are stored as they are.
    (
        "amends-store-postgres",
        &["amends-store", "amends-core", "amends-definitions"],
    ),
    (
        "amends-store-sqlite",
        &["amends-store", "amends-core", "amends-definitions"],
    ),
    (
        "amends-orchestrator",
        &["amends-store", "amends-core", "amends-definitions"],
    ),
    (
        "amends-grpc",
        &[
            "amends-orchestrator",
            "amends-core",
            "amends-definitions",
            "amends-proto",
        ],
    ),
    (
        "amends-server",
        &[
            "amends-core",
            "amends-definitions",
            "amends-grpc",
            "amends-orchestrator",
            "amends-store",
            "amends-store-postgres",
            "amends-store-sqlite",
        ],
    ),
    (
        "amends",
        &[
            "amends-server",
            "amends-verify",
            "amends-sdk",
            "amends-definitions",
            "amends-proto",
            // The demo's story.
            "amends-example-order-fulfilment",
            // What is measured runs on a cluster of its own.
            "amends-postgres-cluster",
        ],
    ),
    ("amends-postgres-cluster", &[]),
    ("amends-sdk", &["amends-proto"]),
    (
        "amends-example-order-fulfilment",
        &["amends-sdk", "amends-proto"],
    ),
    (
        "amends-example-trip-booking",
        &["amends-sdk", "amends-proto"],
    ),
    (
        "amends-example-money-transfer",
        &["amends-sdk", "amends-proto"],
    ),
    ("amends-tests", &["amends-postgres-cluster"]),
];

/// Crates that live behind a wall, and the rooms inside of it. A name that ends in `*` stands for all that begin so.
const WALLS: [(&str, &[&str]); 21] = [
    ("petgraph", &["amends-definitions"]),
    ("cel", &["amends-definitions"]),
    ("jsonschema", &["amends-definitions"]),
    ("regex", &["amends-definitions"]),
    ("serde-saphyr", &["amends-definitions"]),
    ("granit-parser", &["amends-definitions"]),
    ("annotate-snippets", &["amends-definitions"]),
    (
        "sqlx",
        &[
            "amends-store-postgres",
            "amends-store-sqlite",
            "amends-sdk",
            "amends-example-order-fulfilment",
            "amends-example-trip-booking",
            "amends-example-money-transfer",
            // The measurements read the database's own counters.
            "amends",
        ],
    ),
    ("tonic*", SPEAKERS),
    ("prost*", SPEAKERS),
    ("protox", &["amends-proto"]),
    ("clap", AT_A_TERMINAL),
    ("config", &["amends-server"]),
    ("opentelemetry*", &["amends-server", "amends-orchestrator"]),
    ("tracing-opentelemetry", &["amends-server"]),
    (
        "tracing-subscriber",
        &[
            "amends-server",
            "amends",
            "amends-example-order-fulfilment",
            "amends-example-trip-booking",
            "amends-example-money-transfer",
        ],
    ),
    ("anyhow", AT_A_TERMINAL),
    ("indicatif", &["amends"]),
    ("comfy-table", &["amends"]),
    ("rand", &[]),
    ("chrono", &[]),
];

/// The rooms that a person starts.
const AT_A_TERMINAL: &[&str] = &[
    "amends",
    "amends-example-order-fulfilment",
    "amends-example-trip-booking",
    "amends-example-money-transfer",
];

/// The rooms that speak gRPC.
const SPEAKERS: &[&str] = &[
    "amends-proto",
    "amends-grpc",
    "amends-sdk",
    "amends",
    "amends-server",
];

/// Rooms without a runtime, and what must not come in.
const PURE: [(&str, &[&str]); 3] = [
    (
        "amends-core",
        &[
            "tokio*",
            "futures*",
            "async-trait",
            "serde*",
            "tracing*",
            "petgraph",
            "jiff",
        ],
    ),
    (
        "amends-definitions",
        &["tokio*", "futures*", "async-trait", "tracing*"],
    ),
    ("amends-proto", &["tokio*", "serde*"]),
];

/// Rooms that must not look into the engine, not even in tests.
const STRANGERS: [&str; 4] = [
    "amends-sdk",
    "amends-example-order-fulfilment",
    "amends-example-trip-booking",
    "amends-example-money-transfer",
];

/// Reads `cargo metadata --no-deps`.
pub fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let package = |package: &Value| Package {
        name: text(&package["name"]),
        dependencies: list(&package["dependencies"])
            .iter()
            .map(|dependency| Dependency {
                name: text(&dependency["name"]),
                dev: dependency["kind"] == "dev",
                internal: dependency["path"].is_string(),
            })
            .collect(),
    };
    list(&metadata["packages"]).iter().map(package).collect()
}

/// A sentence for each import that the table does not allow.
pub fn breaches(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
            found.push(format!(
                "{name}: is no room of the table; add it with what it may import"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            if dependency.dev {
                if STRANGERS.contains(&name) && is_engine(to) {
                    found.push(format!(
                        "{name}: its tests import {to}, which is the engine's"
                    ));
                }
            } else if dependency.internal && !allowed.contains(&to) {
                found.push(format!(
                    "{name}: imports the room {to}, which the table does not allow"
                ));
            } else {
                found.extend(behind_walls(name, to));
            }
        }
    }
    found
}

fn behind_walls(name: &str, to: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (wall, inside) in &WALLS {
        if matches(wall, to) && !inside.contains(&name) {
            found.push(format!(
                "{name}: imports {to}, which lives in {inside:?} alone"
            ));
        }
    }
    for (room, outside) in &PURE {
        if *room == name && outside.iter().any(|wall| matches(wall, to)) {
            found.push(format!("{name}: imports {to}, and has to stay without"));
        }
    }
    found
}

fn matches(wall: &str, name: &str) -> bool {
    match wall.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == wall,
    }
}

fn is_engine(name: &str) -> bool {
    let engine = ["core", "store", "orchestrator", "grpc", "server"];
    let room = name.strip_prefix("amends-").unwrap_or_default();
    name == "amends" || engine.iter().any(|part| room.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn breaches_of(name: &str, to: &str, kind: Option<&str>, internal: bool) -> Vec<String> {
        let path = internal.then_some("somewhere");
        let metadata = json!({"packages": [
            {"name": name, "dependencies": [{"name": to, "kind": kind, "path": path}]},
        ]});
        breaches(&packages(&metadata))
    }

    #[test]
    fn an_import_against_the_table_is_found() {
        assert_eq!(
            breaches_of("amends-core", "amends-store", None, true).len(),
            1
        );
        assert_eq!(
            breaches_of("amends-sdk", "amends-core", None, true).len(),
            1
        );
        assert_eq!(
            breaches_of("amends-core", "amends-definitions", None, true).len(),
            0
        );
        assert_eq!(
            breaches_of("amends-new", "amends-core", None, true).len(),
            1
        );
    }

    #[test]
    fn tests_may_import_what_they_like_but_for_strangers() {
        assert_eq!(
            breaches_of("amends-core", "amends-store", Some("dev"), true).len(),
            0
        );
        assert_eq!(
            breaches_of("amends-sdk", "amends-server", Some("dev"), true).len(),
            1
        );
        assert_eq!(
            breaches_of("amends-sdk", "amends-tests", Some("dev"), true).len(),
            0
        );
    }

    #[test]
    fn a_walled_crate_outside_of_its_wall_is_found() {
        for (name, to) in [
            ("amends-core", "tokio"),
            ("amends-core", "serde_json"),
            ("amends-definitions", "tokio-util"),
            ("amends-orchestrator", "tonic-types"),
            ("amends-server", "sqlx"),
            ("amends-grpc", "cel"),
            ("amends-sdk", "rand"),
        ] {
            assert!(
                !breaches_of(name, to, None, false).is_empty(),
                "{name} {to}"
            );
        }
        assert_eq!(
            breaches_of("amends-definitions", "cel", None, false).len(),
            0
        );
        assert_eq!(
            breaches_of("amends-proto", "prost", Some("build"), false).len(),
            0
        );
    }
}
