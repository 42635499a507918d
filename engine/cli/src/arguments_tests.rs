//! What the command line takes, and what it refuses.

use super::*;

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
fn lint_compares_with_a_server_only_where_one_is_named_by_hand() {
    let compared = |line: &str| {
        let matches = Cli::command().get_matches_from(line.split_whitespace());
        let mut cli = Cli::from_arg_matches(&matches).expect(line);
        cli.notice(&matches);
        match cli.command {
            Command::Lint(lint) => lint.compare_with,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(compared("amends lint a.yaml"), None);
    let named = Some("http://a:1".to_owned());
    assert_eq!(compared("amends lint a.yaml --server http://a:1"), named);
    assert_eq!(compared("amends --server http://a:1 lint a.yaml"), named);
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
        "amends saga signal X decided --payload {} --dedupe-id a",
        "amends explain X",
        "amends saga explain X",
        "amends saga retry X s#2 --input @a.json --operation compensate --reason r --dry-run",
        "amends saga skip X s --reason r",
        "amends saga resolve X s --result - --reason r",
        "amends saga resolve X --result {} --reason r",
        "amends saga resolve-absent X s --reason r",
        "amends saga resolve-absent X s --operation compensate --reason r",
        "amends saga list --definition a --revision 2",
        "amends saga list --fingerprint a@1/s/C",
        "amends saga compensate X --reason r",
        "amends saga pause X --reason r",
        "amends saga resume X --reason r",
        "amends saga terminate X --reason r --dry-run",
        "amends incident list --fingerprint a@1/* --definition a --reason PAUSED --limit 9 --page-token t",
        "amends incident groups --definition a",
        "amends incident act a@1/s/C resolve --result {} --reason r --rate 1000 --limit 5 --dry-run",
        "amends participant list",
        "amends definition delete a 2",
        "amends demo --orders 100 --seed 3 --keep",
        "amends bench happy --store sqlite --sagas 100 --in-flight 8,64 --seconds 5 --floor --pairs 7",
        "amends bench happy --rate 100 --starts unary --markdown --plot a.svg",
        "amends bench parked --store postgres --sagas 100 --wake-over 5",
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
        "amends saga retry X --reason r",
        "amends saga retry X s",
        "amends saga retry X s#0 --reason r",
        "amends saga skip X s --reason r --operation compensate",
        "amends saga resolve X --operation compensate --reason r",
        "amends saga list --revision 2",
        "amends saga terminate X",
        "amends incident act a@1/s/C --reason r",
        "amends incident act a@1/s/C undo --reason r",
        "amends incident act a@1/s/C retry --reason r --rate 1001",
        "amends definition delete a",
        "amends definition delete a 0",
        "amends bench",
        "amends bench happy --floor",
        "amends bench happy --store sqlite --floor --rate 5",
        "amends bench happy --in-flight 0",
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
