//! What each setting means: its unit, its default, its special values, and what changing it costs. The page is made from it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// What kind of value it takes.
    pub kind: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// What it means, and what changing it costs.
    pub meaning: &'static str,
}

/// Every setting, in the order of the alphabet.
pub const FIELDS: &[Field] = &[
    Field {
        key: "active_max",
        kind: "sagas, 1 to 10,000,000",
        default: "200000",
        meaning: "Sagas that a node keeps in memory. A start beyond it is `RESOURCE_EXHAUSTED`; what was accepted is never shed. A saga in flight costs some kilobytes and its payloads: raise it with the memory of the machine.",
    },
    Field {
        key: "admin_token_file",
        kind: "path of a file",
        default: "",
        meaning: "A file with a token: one line of visible ASCII, 512 bytes at most, such as `openssl rand -hex 32` makes. Who does not send it may not `skip`, `resolve`, `resolve-absent` or `terminate`, neither one saga nor a group, not even as a dry run: `PERMISSION_DENIED`. Clients send it as `authorization: Bearer TOKEN` (`amends --token-file`); without TLS, whoever reads along has it too. Without this setting everybody who reaches the port may do everything. Nobody but the file's owner may have access to it. Another token takes a restart.",
    },
    Field {
        key: "allow_insecure_listen",
        kind: "true or false",
        default: "false",
        meaning: "Listen beyond loopback although there is no TLS and no authentication yet. Whoever reaches the port can start, read and cancel every saga: only behind something that keeps strangers out.",
    },
    Field {
        key: "calls_max",
        kind: "requests, 1 to 1,000,000",
        default: "8192",
        meaning: "Short requests that a node works on at the same time; one more is `RESOURCE_EXHAUSTED`. Each may hold a request of 4 MiB. Waits, watches and participants count apart.",
    },
    Field {
        key: "connections_per_peer_max",
        kind: "connections, 1 to 4,096",
        default: "1024",
        meaning: "Connections from one address (one /64 network of IPv6); one more is closed at once. A node takes 4,096 in all. Behind a proxy or a NAT everybody has one address: raise it there. A connection that does not begin with HTTP/2 within 10 s is closed as well.",
    },
    Field {
        key: "database_url",
        kind: "text",
        default: "",
        meaning: "Where sagas live: `postgres://USER:PASSWORD@HOST/DATABASE` or `sqlite:PATH`. Required. A password is never printed. A SQLite file is made if it does not exist; a PostgreSQL schema is made by `amends migrate up`.",
    },
    Field {
        key: "drain_grace_ms",
        kind: "milliseconds, 0 to 600,000",
        default: "10000",
        meaning: "How long a node that was asked to end waits for what is in flight. What is not done by then goes on after the next start. Keep it below the time after which your supervisor kills the process.",
    },
    Field {
        key: "lanes",
        kind: "lanes, 1 or 2",
        default: "1",
        meaning: "Committer lanes, each with its own task and its own shards. A lane has two connections to PostgreSQL, of which the second is used while the first is at work and enough waits; with two lanes each has one. SQLite has one writer whatever is said here.",
    },
    Field {
        key: "lease_ms",
        kind: "milliseconds, 3,000 to 300,000",
        default: "10000",
        meaning: "How long a node's lease lives without renewal, on the database's clock; it is renewed every third of it. It bounds how long sagas stand still after a crash without a restart. A short one costs a statement more often, and is lost in a short outage.",
    },
    Field {
        key: "listen",
        kind: "host:port",
        default: "127.0.0.1:7707",
        meaning: "Where gRPC is served. Port 0 takes a free one. Beyond loopback only with `allow_insecure_listen`.",
    },
    Field {
        key: "log_filter",
        kind: "text",
        default: "info",
        meaning: "Which log lines are written: a level, or directives such as `info,amends_grpc=debug`. The variable `AMENDS_LOG` wins over it. Payloads are never logged. `debug` costs throughput.",
    },
    Field {
        key: "log_format",
        kind: "`text` or `json`",
        default: "text",
        meaning: "How log lines look on standard error.",
    },
    Field {
        key: "namespaces",
        kind: "list of DNS labels",
        default: "[]",
        meaning: "Namespaces that exist beside `default`. In the environment: with commas between them. Every node of a database needs the same list; a namespace that is taken off it is `NOT_FOUND`, and its sagas go on.",
    },
    Field {
        key: "node",
        kind: "text, 1 to 128 bytes",
        default: "the host's name and the port",
        meaning: "The node's name, unique among those of the database. Two processes with one name are one after the other: the later takes over at once, so a restart need not wait for the lease. Two that run at once under one name depose each other.",
    },
    Field {
        key: "queue_max",
        kind: "requests, 1 to 10,000,000",
        default: "20000",
        meaning: "Starts and cancels that wait for one lane; one more is `RESOURCE_EXHAUSTED`. A longer queue answers later rather than never, and costs memory.",
    },
    Field {
        key: "request_timeout_ms",
        kind: "milliseconds, 100 to 600,000",
        default: "30000",
        meaning: "How long a short request may take before it is `DEADLINE_EXCEEDED`; whether it had its effect is then for a read, or the same key again, to find out. Waits and streams have no such limit.",
    },
    Field {
        key: "retention_batch",
        kind: "sagas, 1 to 10,000",
        default: "1000",
        meaning: "Sagas that retention looks at at once; those that ended and whose retention has passed are deleted in one transaction. A larger batch deletes faster, and holds a longer transaction.",
    },
    Field {
        key: "retention_interval_ms",
        kind: "milliseconds, 0 to 86,400,000",
        default: "60000",
        meaning: "How often a node asks itself whether a sweep for what has expired is worth while, give or take a quarter; 0 deletes nothing. It walks the sagas that are old enough, and rests nine times as long as it looked, three times while most of them have expired, as long as it looked while nearly all have. How long a saga is kept says its definition's `retention`; it may stay for a twentieth longer, an hour at most.",
    },
    Field {
        key: "session_lease_ms",
        kind: "milliseconds, 100 to 600,000",
        default: "5000",
        meaning: "How long attempts wait for the return of a participant whose stream was lost, before their outcome is unknown. A long one delays retries after a crash; a short one makes them needless after a restart.",
    },
    Field {
        key: "shards",
        kind: "shards, 1 to 4,096",
        default: "16 for a new file, or those that it has",
        meaning: "Units of ownership of a SQLite file; PostgreSQL gets its 256 from `amends migrate up`. The number is fixed for a database's life: another than the stored one is refused. More shards cost a file pages in every commit.",
    },
];

/// The reference page.
pub(super) fn reference() -> String {
    let mut page = String::from(
        "# Configuration of a node\n\n\
         `amends server` reads a TOML file (`--config`), then the environment (`AMENDS__` and the key in upper case, such as\n\
         `AMENDS__LISTEN`), then flags; the later wins. An unknown key, a wrong type or a value out of its range ends the process\n\
         with exit code 78 before it listens. This page is generated from `engine/server/src/config/fields.rs`.\n\n\
         Traces are exported by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the other standard `OTEL_` variables apply.\n",
    );
    for field in FIELDS {
        let default = if field.default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{}`", field.default)
        };
        page.push_str(&format!(
            "\n## `{}`\n\n{}. Default: {default}.\n\n{}\n",
            field.key, field.kind, field.meaning
        ));
    }
    page
}
