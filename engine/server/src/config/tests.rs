//! B45: what a configuration is refused for, each in one line and without a secret.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;

fn flags(flags: &[(&'static str, &str)]) -> Sources {
    let with_database = [("database_url", "postgres://amends:hunter2@db/amends")];
    let all = with_database
        .iter()
        .chain(flags)
        .map(|(key, value)| (*key, (*value).to_owned()));
    Sources {
        flags: all.collect(),
        ..Sources::default()
    }
}

fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    (file, sources)
}

fn refusal(sources: Sources) -> String {
    let error = Config::load(sources).unwrap_err();
    assert_eq!(error.exit_code(), 78);
    let line = error.to_string();
    assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
    line
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let (_file, sources) = file(
        "listen = '127.0.0.1:1'\nnode = 'file'\nlanes = 2\nnamespaces = ['a']\ndatabase_url = 'sqlite:x'",
    );
    let sources = Sources {
        environment: vec![
            ("AMENDS__LISTEN".into(), "127.0.0.1:2".into()),
            ("AMENDS__NODE".into(), "environment".into()),
            ("AMENDS__NAMESPACES".into(), "b,c".into()),
            ("AMENDS__ALLOW_INSECURE_LISTEN".into(), "true".into()),
            ("AMENDS_LISTEN".into(), "not ours".into()),
            ("AMENDS_LOG".into(), "debug".into()),
        ],
        flags: vec![("listen", "127.0.0.1:3".into())],
        ..sources
    };
    let config = Config::load(sources).unwrap();
    assert_eq!(
        (config.listen.as_str(), config.node.as_deref(), config.lanes),
        ("127.0.0.1:3", Some("environment"), 2)
    );
    assert_eq!(config.namespaces, ["b", "c"]);
    assert!(config.allow_insecure_listen);
}

#[test]
fn b45_an_unknown_key_is_refused_wherever_it_stands() {
    let (_file, sources) = file("database_ulr = 'postgres://amends:hunter2@db/amends'");
    assert!(refusal(sources).contains("database_ulr"));
    let environment = vec![("AMENDS__LISTNE".into(), "x".into())];
    assert!(
        refusal(Sources {
            environment,
            ..flags(&[])
        })
        .contains("listne")
    );
    assert!(refusal(flags(&[("nodes", "x")])).contains("nodes"));
}

#[test]
fn b45_a_wrong_type_is_refused_without_quoting_what_was_found() {
    let (_file, sources) = file("lanes = 'postgres://amends:hunter2@db/amends'");
    assert!(refusal(sources).contains("lanes"));
    let (_file, sources) = file("database_url = ['postgres://amends:hunter2@db/amends']");
    refusal(sources);
    let (_file, sources) = file("database_url = 'postgres://amends:hunter2@db/amends\nlisten = 3");
    assert!(refusal(sources).contains("TOML parse error at line"));
    assert!(refusal(flags(&[("log_format", "xml")])).contains("xml"));
    assert!(refusal(flags(&[("active_max", "-1")])).contains("active_max"));
}

#[test]
fn b45_a_missing_file_and_a_missing_database_are_refused() {
    let missing = Sources {
        file: Some("/nonexistent/amends.toml".into()),
        ..Sources::default()
    };
    assert!(refusal(missing).contains("/nonexistent/amends.toml"));
    assert!(refusal(Sources::default()).contains("database_url"));
}

#[test]
fn b45_values_out_of_range_are_refused_at_n_plus_1() {
    for (key, good, bad) in [
        ("lease_ms", "3000", "2999"),
        ("lease_ms", "300000", "300001"),
        ("lanes", "2", "3"),
        ("lanes", "1", "0"),
        ("shards", "4096", "4097"),
        ("queue_max", "1", "0"),
        ("active_max", "1", "0"),
        ("calls_max", "1", "0"),
        ("connections_per_peer_max", "4096", "4097"),
        ("session_lease_ms", "100", "99"),
        ("request_timeout_ms", "100", "99"),
        ("drain_grace_ms", "600000", "600001"),
        ("retention_batch", "1", "0"),
        ("retention_interval_ms", "0", "86400001"),
        ("listen", "[::1]:0", "127.0.0.1"),
        ("listen", "localhost:65535", "localhost:65536"),
        ("node", "a", "a\u{7}"),
        ("admin_token_file", "a", ""),
    ] {
        assert!(
            Config::load(flags(&[(key, good)])).is_ok(),
            "{key} = {good}"
        );
        assert!(refusal(flags(&[(key, bad)])).contains(key), "{key} = {bad}");
    }
    let (_file, sources) = file("database_url = 'sqlite:x'\nnamespaces = ['ok', '../x']");
    assert!(refusal(sources).contains("namespaces"));
}

/// Settings whose default is no value that could be written.
const WITHOUT_DEFAULT: [&str; 5] = [
    "admin_token_file",
    "database_url",
    "namespaces",
    "node",
    "shards",
];

#[test]
fn every_field_is_documented_with_its_true_default() {
    let error = Config::load(flags(&[("no_such_key", "x")]))
        .unwrap_err()
        .to_string();
    let (_, expected) = error
        .split_once("expected one of")
        .expect("serde names the fields");
    let known: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
    let documented: BTreeSet<&str> = FIELDS.iter().map(|field| field.key).collect();
    assert_eq!(known, documented);
    assert!(FIELDS.is_sorted_by_key(|field| field.key));
    for field in FIELDS
        .iter()
        .filter(|field| !WITHOUT_DEFAULT.contains(&field.key))
    {
        let config = Config::load(flags(&[(field.key, field.default)])).unwrap();
        let default = Config {
            database_url: config.database_url.clone(),
            ..Config::default()
        };
        assert_eq!(config, default, "{}", field.key);
    }
}

#[test]
fn the_reference_page_is_fresh() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/CONFIG.md");
    if std::env::var_os("AMENDS_UPDATE_EXPECT").is_some() {
        std::fs::write(page, Config::reference()).unwrap();
    }
    let found = std::fs::read_to_string(page).unwrap();
    assert!(
        found == Config::reference(),
        "CONFIG.md is stale: run this test with AMENDS_UPDATE_EXPECT=1"
    );
}

#[test]
fn a_configuration_shows_itself_without_its_password() {
    let config = Config::load(flags(&[])).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
