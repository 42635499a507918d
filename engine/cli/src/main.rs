//! The one binary: reads the command line, does what it says, ends with a documented code. Deliberately not here: the
//! commands themselves (`verbs`), the demo (`demo`) and the measurements (`bench`).

mod arguments;
mod bench;
mod children;
mod connection;
mod demo;
mod drawing;
mod exit;
mod failure;
mod output;
mod token;
mod verbs;
mod view;

use std::io::Write as _;
use std::process::ExitCode;

use crate::arguments::{Cli, Command};
use crate::exit::Exit;
use crate::failure::Failure;

/// A batch is allocated by whoever received its parts and freed by the lane: the system's allocator pays for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .map_err(|error| Failure::wrong("the process cannot start its threads").because(error))
        .and_then(|runtime| runtime.block_on(run(&cli)));
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Nobody may be listening; the exit code says it too.
            let _ = std::io::stderr()
                .lock()
                .write_all(failure.render().as_bytes());
            failure.exit().into()
        }
    }
}

/// Half of the cores, unless `TOKIO_WORKER_THREADS` says another number: the database and participants want the others, and
/// a step from one thread to another costs more than the work that it hands over. On two cores one thread took a fifth off the
/// time of a saga that is alone.
fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = std::env::var("TOKIO_WORKER_THREADS").ok();
    let asked = asked.and_then(|threads| threads.parse().ok());
    asked.unwrap_or(cores / 2).max(1)
}

async fn run(cli: &Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Apply(arguments) => verbs::definition::apply(global, arguments).await.map(done),
        Command::Definition(command) => verbs::definition::run(global, command).await.map(done),
        Command::Saga(command) => verbs::saga::run(global, command).await,
        Command::Explain { saga } => verbs::operate::run_explain(global, saga).await.map(done),
        Command::Incident(command) => verbs::incident::run(global, command).await,
        Command::Participant(command) => {
            let ran = verbs::participant::run(global, *command).await;
            ran.map(done)
        }
        Command::Lint(arguments) => verbs::lint::run(global, arguments).await,
        Command::Graph(arguments) => verbs::graph::run(arguments),
        Command::Simulate(arguments) => verbs::exploring::simulated(global, arguments),
        Command::Verify(arguments) => verbs::exploring::verified(global, arguments),
        Command::Schema => verbs::schema::run(),
        Command::Dev(arguments) => verbs::serve::dev(arguments).await.map(done),
        Command::Server(arguments) => verbs::serve::server(arguments).await.map(done),
        Command::Migrate(arguments) => verbs::migrate::run(global, arguments).await.map(done),
        Command::Demo(arguments) => demo::run(global, arguments).await,
        Command::DemoParticipant(arguments) => demo::participant(global, arguments).await,
        Command::Bench(arguments) => bench::run(global, arguments).await,
    }
}

fn done((): ()) -> Exit {
    Exit::Ok
}
