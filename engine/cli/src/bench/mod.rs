//! `bench`: sagas per second in a closed loop, and the floor: what the database alone allows for the same rows through
//! the same statement; and what sagas cost that only wait. Deliberately not here: comparisons with other systems.

mod floor;
mod journals;
mod load;
mod parked;
mod report;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use amends_server::amends_store::Store;
use amends_server::{Config, DatabaseUrl, open_store};

use crate::arguments::{BenchArguments, BenchStore, Global};
use crate::children::ServerProcess;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::{say, show};

use report::BenchView;

/// Measures; the exit is [`Exit::Wrong`] if a saga failed.
///
/// # Errors
/// If nothing can be measured.
pub async fn run(global: &Global, arguments: &BenchArguments) -> Result<Exit, Failure> {
    if let (Some(store), Some(sagas)) = (arguments.store, arguments.parked) {
        return of_parked(global, store, sagas, arguments).await;
    }
    let view = match arguments.store {
        None => {
            say(format!("measuring the server at {}", global.server));
            let measured = load::run(&global.server, &global.namespace, arguments).await?;
            BenchView::new(
                "three-step sagas, one server",
                global.server.clone(),
                arguments.in_flight,
                measured,
            )
        }
        Some(store) => of_store(store, arguments).await?,
    };
    show(global.output, &view)?;
    Ok(if view.failed() { Exit::Wrong } else { Exit::Ok })
}

async fn of_parked(
    global: &Global,
    store: BenchStore,
    sagas: u64,
    arguments: &BenchArguments,
) -> Result<Exit, Failure> {
    let Database {
        directory,
        name,
        url,
    } = Database::new(store, arguments).await?;
    let plan = parked::Plan {
        sagas,
        over: Duration::from_secs(arguments.wake_over),
    };
    let filled = parked::fill(open(&url).await?, plan).await?;
    let view = parked::measure(directory.path(), name, &url, open(&url).await?, filled).await?;
    show(global.output, &view)?;
    Ok(if view.failed() { Exit::Wrong } else { Exit::Ok })
}

/// A new database.
struct Database {
    directory: tempfile::TempDir,
    name: &'static str,
    url: String,
}

impl Database {
    async fn new(store: BenchStore, arguments: &BenchArguments) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("amends-bench-").tempdir();
        let directory = directory
            .map_err(|error| Failure::wrong("there is no temporary directory").because(error))?;
        let (name, url) = match store {
            BenchStore::Sqlite => (
                "sqlite",
                format!("sqlite:{}", directory.path().join("amends.db").display()),
            ),
            BenchStore::Postgres => ("postgres", postgres_url(arguments)?),
        };
        if store == BenchStore::Postgres {
            crate::verbs::migrate::up(&url).await?;
        }
        Ok(Self {
            directory,
            name,
            url,
        })
    }
}

async fn of_store(store: BenchStore, arguments: &BenchArguments) -> Result<BenchView, Failure> {
    let Database {
        directory,
        name,
        url,
    } = Database::new(store, arguments).await?;
    if arguments.floor {
        say("writing the rows of sagas without an engine");
        let measured = floor::run(open(&url).await?, arguments).await?;
        return Ok(BenchView::new(
            "the floor: the rows alone",
            name.to_owned(),
            arguments.in_flight,
            measured,
        ));
    }
    say(format!("starting a server on {name}"));
    let mut server = ServerProcess::start(directory.path(), &url).await?;
    let measured = load::run(server.address(), "default", arguments).await;
    // A server that ends by itself gives its lease up, so that the next measurement need not wait for it.
    server.process().stop().await?;
    let measured = measured?;
    Ok(BenchView::new(
        "three-step sagas, one server",
        name.to_owned(),
        arguments.in_flight,
        measured,
    ))
}

fn postgres_url(arguments: &BenchArguments) -> Result<String, Failure> {
    let missing = || {
        Failure::usage("--store postgres needs a database")
            .because("none is given")
            .advice("create an empty one and give --database-url postgres://USER@HOST/DATABASE")
    };
    let url = arguments.database_url.clone().ok_or_else(missing)?;
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(url);
    }
    Err(Failure::usage("--database-url is no Postgres URL")
        .advice("give it as postgres://USER@HOST/DATABASE"))
}

async fn open(url: &str) -> Result<Arc<dyn Store>, Failure> {
    let config = Config {
        database_url: DatabaseUrl::new(url),
        ..Config::default()
    };
    let opened = open_store(&config).await;
    opened.map_err(|error| {
        Failure::new(Exit::Configuration, "the database cannot be used").because(chain(&error))
    })
}
