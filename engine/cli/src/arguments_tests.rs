//! What the command line takes, and what it refuses.

use super::*;
use clap::CommandFactory as _;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_prints_the_exit_codes() {
    let help = Cli::command().render_help().to_string();
    assert!(
        help.contains("Exit codes:") && help.contains("  78  "),
        "{help}"
    );
}

#[test]
fn options_of_every_command_go_before_and_behind_it() {
    for line in [
        "amends --server http://a:1 -o json saga get X",
        "amends saga get X --server http://a:1 -o json",
    ] {
        let cli = parse(line).expect(line);
        assert_eq!(
            (cli.global.server.as_str(), cli.global.output),
            ("http://a:1", Format::Json)
        );
    }
}

#[test]
fn what_the_documentation_shows_is_understood() {
    for line in [
        "amends dev",
        "amends server --database-url sqlite:a.db --listen 127.0.0.1:0 --node a --insecure-listen",
        "amends migrate up --database-url postgres://localhost/a",
        "amends lint a.yaml b.yaml --format json",
        "amends lint sagas - --format sarif",
        "amends lint sagas --format github",
        "amends graph a.yaml",
        "amends graph - --format mermaid --to a.mmd",
        "amends schema",
        "amends apply -f a.yaml b.yaml -f c.yaml",
        "amends definition list",
        "amends definition get place-order --revision 2",
        "amends saga start place-order -i order.json --key A --revision 1 --wait --timeout 1m30s",
        "amends saga list --state parked --state running --definition d --key k --limit 10",
        "amends saga history X --follow",
        "amends saga wait X --timeout 500ms",
        "amends saga cancel X --reason stolen",
        "amends demo --orders 100 --seed 3 --keep",
        "amends bench --store sqlite --sagas 100 --in-flight 8 --seconds 5 --floor",
    ] {
        parse(line).expect(line);
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "amends",
        "amends saga start",
        "amends saga start d --timeout 5s",
        "amends saga cancel X",
        "amends saga list --state lost",
        "amends saga list --limit 0",
        "amends saga wait X --timeout 5",
        "amends bench --floor",
        "amends demo --orders 0",
        "amends lint",
        "amends graph",
        "amends graph a.yaml b.yaml",
        "amends graph a.yaml --format png",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn durations_have_units() {
    assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
    assert_eq!(duration("0s"), Ok(Duration::ZERO));
    assert_eq!(duration("1d1ms"), Ok(Duration::from_millis(86_400_001)));
    for text in [
        "",
        "5",
        "s",
        "5x",
        "-1s",
        "1s2",
        "99999999999999999999s",
        "18446744073709551615d",
        "1 s",
        "1µs",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
}
