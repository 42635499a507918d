//! The command line, as clap reads it. Deliberately not here: doing anything.

pub mod bench;
pub mod exploring;

mod operator;

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{
    ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};

use crate::arguments::bench::BenchArguments;
use crate::arguments::exploring::{SimulateArguments, VerifyArguments};
use crate::exit::Exit;
use crate::output::Format;

pub use operator::{
    ActArguments, ActChoice, IncidentActArguments, IncidentCommand, IncidentListArguments, Json,
    OperationChoice, ParticipantCommand, Place, ResolveAbsentArguments, ResolveArguments,
    RetryArguments, SignalArguments, StepArguments,
};

/// Saga orchestration: business transactions over several services that end fully done or fully undone.
///
/// Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "amends", version, after_help = Exit::table(), max_term_width = 120)]
pub struct Cli {
    /// Where the server is, and how to write.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the process's command line; ends the process where it is none.
    #[must_use]
    pub fn read() -> Self {
        let matches = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.notice(&matches);
        cli
    }

    /// `--server` has a default and an environment variable; a check without a server is only told of it by hand.
    fn notice(&mut self, matches: &ArgMatches) {
        let by_hand =
            |matches: &ArgMatches| matches.value_source("server") == Some(ValueSource::CommandLine);
        if let Command::Lint(lint) = &mut self.command {
            let own = matches.subcommand_matches("lint");
            let compare = by_hand(matches) || own.is_some_and(by_hand);
            lint.compare_with = compare.then(|| self.global.server.clone());
        }
    }
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The server's address, as http://HOST:PORT
    #[arg(
        long,
        global = true,
        env = "AMENDS_SERVER",
        default_value = "http://127.0.0.1:7707",
        value_name = "URL"
    )]
    pub server: String,
    /// The namespace
    #[arg(
        long,
        global = true,
        env = "AMENDS_NAMESPACE",
        default_value = "default",
        value_name = "NAME"
    )]
    pub namespace: String,
    /// A file with the server's admin token, for acts that it guards: skip, resolve, resolve-absent, terminate
    #[arg(long, global = true, env = "AMENDS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How to write data
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a server and an embedded database for a laptop
    Dev(DevArguments),
    /// Run a server
    Server(ServerArguments),
    /// Create, check or remove the schema of a database
    Migrate(MigrateArguments),
    /// Check definitions, without a server
    Lint(LintArguments),
    /// Draw a definition: its steps, what undoes them, and in which order
    Graph(GraphArguments),
    /// Play one way through a saga, without a server
    Simulate(SimulateArguments),
    /// Explore every way that a saga can go, without a server
    Verify(VerifyArguments),
    /// Print the language's JSON Schema (draft 7), for editors
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Check definitions and make them the newest revisions
    Apply(ApplyArguments),
    /// Read and delete definitions
    #[command(subcommand)]
    Definition(DefinitionCommand),
    /// Start, observe, signal and operate sagas
    #[command(subcommand)]
    Saga(SagaCommand),
    /// Say in words why a saga is where it is; the same as `saga explain`
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// The saga's id or resource name
        saga: String,
    },
    /// List what waits for a person, and act on all of a kind
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// See who serves what
    #[command(subcommand)]
    Participant(ParticipantCommand),
    /// Run a few hundred orders over four services, kill servers and services meanwhile, and audit the books
    Demo(DemoArguments),
    /// Measure sagas per second, latency, CPU time and memory, and what the database alone allows
    Bench(BenchArguments),
    /// One participant of the demo
    #[command(hide = true)]
    DemoParticipant(DemoParticipantArguments),
}

/// Options of `dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7707", value_name = "ADDRESS")]
    pub listen: String,
    /// Where the embedded database is kept
    #[arg(long, default_value = ".amends", value_name = "DIR")]
    pub data: PathBuf,
}

/// Options of `server`; each wins over the configuration file and the environment.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArguments {
    /// A configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The database: postgres://USER@HOST/DATABASE or sqlite:PATH
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// This node's name, unique among those of the database
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// A file with a token: without it, nobody may skip, resolve, resolve-absent or terminate
    #[arg(long, value_name = "FILE")]
    pub admin_token_file: Option<String>,
    /// Listen beyond loopback without TLS and authentication: whoever reaches the port can do everything
    #[arg(long)]
    pub insecure_listen: bool,
    /// End when standard input does: for whoever runs this as a child process
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// Options of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct MigrateArguments {
    /// What to do
    #[arg(value_enum)]
    pub action: MigrateAction,
    /// The database: postgres://USER@HOST/DATABASE or sqlite:PATH
    #[arg(
        long,
        env = "AMENDS__DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: String,
}

/// What `migrate` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MigrateAction {
    /// Bring the schema to the version of this binary
    Up,
    /// Remove the schema with everything in it
    Down,
    /// Say which version there is
    Status,
}

/// Options of `lint`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LINT_HELP)]
pub struct LintArguments {
    /// A server to compare with: only where --server stands on the command line.
    #[arg(skip)]
    pub compare_with: Option<String>,
    /// The documents; `-` is standard input, a directory stands for every *.saga.yaml below it
    #[arg(required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t = LintFormat::Text, value_name = "FORMAT")]
    pub format: LintFormat,
}

const LINT_HELP: &str = "With --server on the command line, it also warns of actions that no attached participant serves.

  amends lint sagas
  amends lint place-order.saga.yaml --server http://127.0.0.1:7707";

const EXPLAIN_HELP: &str =
    "With -o json or yaml: the saga, every attempt, what is owed and what it waits for, as data.

  amends explain SAGA
  amends explain SAGA -o json";

/// How `lint` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// The source line with a caret
    Text,
    /// An object with all diagnostics
    Json,
    /// A log of SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands, which GitHub shows beside the lines of a change
    Github,
}

/// Options of `graph`.
#[derive(Clone, Debug, Args)]
#[command(after_help = GRAPH_HELP)]
pub struct GraphArguments {
    /// The document; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to draw
    #[arg(long, value_enum, default_value_t = GraphFormat::Svg, value_name = "FORMAT")]
    pub format: GraphFormat,
    /// Write into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// What `graph` draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A picture that stands by itself
    Svg,
    /// A flowchart for Markdown
    Mermaid,
    /// For Graphviz
    Dot,
}

const GRAPH_HELP: &str = "Solid edges go forward. A dashed one leads from a step to what undoes it, and from that to what is undone next.

  amends graph place-order.saga.yaml > place-order.svg
  amends graph place-order.saga.yaml --format mermaid
  amends graph place-order.saga.yaml --format dot | dot -Tpng > place-order.png";

const SCHEMA_HELP: &str =
    "Any editor with a YAML language server completes, explains and checks with it:

  amends schema > amends.schema.json

and as the first line of a definition beside it:

  # yaml-language-server: $schema=amends.schema.json";

/// Options of `apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArguments {
    /// The documents; `-` is standard input
    #[arg(short = 'f', long = "file", required = true, num_args = 1.., value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Reading definitions.
#[derive(Debug, Subcommand)]
pub enum DefinitionCommand {
    /// List the newest revisions
    List,
    /// Print a revision's YAML, or with -o all that is known of it
    Get {
        /// The definition
        name: String,
        /// The revision; the newest if absent
        #[arg(long, value_name = "N")]
        revision: Option<u32>,
    },
    /// Delete a revision that no saga in flight is pinned to
    #[command(
        after_help = "Sagas that have ended keep their history.\n\n  amends definition delete place-order 2"
    )]
    Delete {
        /// The definition
        name: String,
        /// The revision
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        revision: u32,
    },
}

/// Starting, observing, signalling and operating.
#[derive(Debug, Subcommand)]
pub enum SagaCommand {
    /// Start a saga; prints its id
    Start(StartArguments),
    /// Show a saga with its steps
    Get {
        /// The saga's id or resource name
        saga: String,
    },
    /// List sagas, the newest first
    List(ListArguments),
    /// Show what happened to a saga, in order
    History {
        /// The saga's id or resource name
        saga: String,
        /// Go on with each fact as it is committed, until the saga ends
        #[arg(long)]
        follow: bool,
    },
    /// Wait until a saga ended or parked; ends with 1 if it did not complete
    Wait {
        /// The saga's id or resource name
        saga: String,
        /// Give up after this, such as 30s or 1h30m; waits for ever if absent
        #[arg(long, value_parser = duration, value_name = "DURATION")]
        timeout: Option<Duration>,
    },
    /// Ask for an abort: everything done so far is compensated
    Cancel {
        /// The saga's id or resource name
        saga: String,
        /// Why; it is recorded
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Send a signal that the saga's definition declares
    Signal(SignalArguments),
    /// Say in words why a saga is where it is, what is owed, and what it waits for
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// The saga's id or resource name
        saga: String,
    },
    /// Try a parked operation again
    Retry(RetryArguments),
    /// Take a step for skipped; never a pivot
    Skip(StepArguments),
    /// Take a parked operation for done, or a saga that lacks its output alone
    Resolve(ResolveArguments),
    /// Say that a parked operation has had no effect, and never will have
    ResolveAbsent(ResolveAbsentArguments),
    /// Undo a saga, also one that is parked
    Compensate(ActArguments),
    /// Begin nothing more going forward; what is under way is awaited
    Pause(ActArguments),
    /// Go on after a pause or a deadline
    Resume(ActArguments),
    /// End a saga as it is, whatever is left of it
    Terminate(ActArguments),
}

/// Options of `saga start`.
#[derive(Clone, Debug, Args)]
pub struct StartArguments {
    /// The definition
    pub definition: String,
    /// A file with the input as JSON; `-` is standard input; `{}` if absent
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Start many over one stream: a file with one input as JSON a line; `-` is standard input. Prints a line for each,
    /// and ends with 1 if one was refused
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "key"])]
    pub many: Option<PathBuf>,
    /// The business key: a second start with it and the same input finds the first saga
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// A revision; the newest if absent
    #[arg(long, value_name = "N")]
    pub revision: Option<u32>,
    /// Wait until it ended or parked, and show it; ends with 1 if it did not complete
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up after this, such as 30s or 1h30m
    #[arg(long, requires = "wait", value_parser = duration, value_name = "DURATION")]
    pub timeout: Option<Duration>,
}

/// Options of `saga list`.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Only this state; can be repeated
    #[arg(long = "state", value_enum, value_name = "STATE")]
    pub states: Vec<StateFilter>,
    /// Only this definition
    #[arg(long, value_name = "NAME")]
    pub definition: Option<String>,
    /// Only the saga with this key
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only of this revision
    #[arg(long, requires = "definition", value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub revision: Option<u32>,
    /// Only those with an open incident like this, as `amends incident groups` lists them; the longest open first
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub limit: u32,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
}

/// A state to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateFilter {
    /// Going forward
    Running,
    /// Every step succeeded or was skipped
    Completed,
    /// Undoing its effects
    Compensating,
    /// Every effect was undone
    Compensated,
    /// A person has to look
    Parked,
    /// An operator gave it up
    Terminated,
}

/// Options of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// How many orders
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=5_000), value_name = "N")]
    pub orders: u32,
    /// Chooses the orders and the misfortunes
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub seed: u64,
    /// Keep the databases and logs, and say where they are
    #[arg(long)]
    pub keep: bool,
}

/// Options of `demo-participant`.
#[derive(Clone, Debug, Args)]
pub struct DemoParticipantArguments {
    /// `inventory`, `payments`, `shipping` or `mail`
    pub participant: String,
    /// Where the books are
    #[arg(long, value_name = "DIR")]
    pub books: PathBuf,
    /// Chooses its misfortunes
    #[arg(long)]
    pub seed: u64,
    /// For how many orders the books were opened
    #[arg(long)]
    pub orders: u32,
}

/// Reads `([0-9]+(ms|s|m|h|d))+`; a bare number is no duration.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write it as 500ms, 30s or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|next: char| !next.is_ascii_digit())
            .ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|next: char| next.is_ascii_digit())
            .unwrap_or(rest.len());
        let millis: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(millis).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(wrong)?;
    }
    Ok(total)
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
