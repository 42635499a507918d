//! `server` and `dev`: a node in this process, until SIGTERM or Ctrl-C. Deliberately not here: what the settings mean
//! (`amends-server`, `config`).

use std::path::Path;

use amends_server::{
    Config, DatabaseUrl, Node, RunError, Sources, StartError, shutdown_signal, start, telemetry,
};

use crate::arguments::{DevArguments, ServerArguments};
use crate::children::stdin_closed;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::{say, write_out};

/// Runs a server.
///
/// # Errors
/// [`Exit::Configuration`] if it cannot start, [`Exit::Wrong`] if it cannot go on.
pub async fn server(arguments: &ServerArguments) -> Result<(), Failure> {
    let sources = Sources {
        file: arguments.config.clone(),
        // A variable that is no text is none of ours: their names and values are.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        flags: flags(arguments),
    };
    let config = Config::load(sources).map_err(|error| not_started(&error))?;
    run(config, arguments.until_stdin_closes, |address| {
        say(format!("listening on {address}"));
        Ok(())
    })
    .await
}

/// Runs a server over an embedded database.
///
/// # Errors
/// As [`server`].
pub async fn dev(arguments: &DevArguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.data).map_err(|error| {
        Failure::new(
            Exit::Configuration,
            format!("{} cannot be made", arguments.data.display()),
        )
        .because(error)
        .advice("name a directory that can be written with --data")
    })?;
    let database = arguments.data.join("amends.db");
    let config = Config {
        listen: arguments.listen.clone(),
        database_url: DatabaseUrl::new(format!("sqlite:{}", database.display())),
        log_filter: "warn".to_owned(),
        ..Config::default()
    };
    run(config, false, |address| {
        say(next_steps(address, &database));
        // The address alone is data: `amends dev --listen 127.0.0.1:0` tells a script where it is.
        write_out(&format!("http://{address}\n"))
    })
    .await
}

/// A start that takes longer is explained.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

async fn run(
    config: Config,
    until_stdin_closes: bool,
    ready: impl FnOnce(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let telemetry = telemetry::init(config.log_format, &config.log_filter)
        .map_err(|error| not_started(&error))?;
    let shutdown = shutdown_signal().map_err(|error| {
        Failure::wrong("the process cannot listen for its signals").because(error)
    })?;
    let shutdown = async {
        if until_stdin_closes {
            tokio::select! {
                () = shutdown => {}
                () = stdin_closed() => {}
            }
        } else {
            shutdown.await;
        }
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let node = tokio::select! {
        biased;
        () = &mut shutdown => {
            telemetry.shutdown().await;
            return Ok(());
        }
        node = started(config) => node.map_err(|error| not_started(&error))?,
    };
    ready(&node.address().to_string())?;
    let ended = node.run_until(shutdown).await;
    telemetry.shutdown().await;
    ended.map_err(|error| ended_early(&error))
}

/// Starts the node, and says so if that takes long: it waits as long as another one holds the database.
async fn started(config: Config) -> Result<Node, StartError> {
    let mut starting = std::pin::pin!(start(config));
    if let Ok(node) = tokio::time::timeout(PATIENCE, &mut starting).await {
        return node;
    }
    say("waiting: another server holds this database; this one goes on when that one has ended");
    starting.await
}

fn flags(arguments: &ServerArguments) -> Vec<(&'static str, String)> {
    let mut flags = Vec::new();
    let mut add =
        |key, value: &Option<String>| flags.extend(value.clone().map(|value| (key, value)));
    add("listen", &arguments.listen);
    add("database_url", &arguments.database_url);
    add("node", &arguments.node);
    add("admin_token_file", &arguments.admin_token_file);
    if arguments.insecure_listen {
        flags.push(("allow_insecure_listen", "true".to_owned()));
    }
    flags
}

/// What to do with a server that runs, to try it out.
fn next_steps(address: &str, database: &Path) -> String {
    let server = if address == "127.0.0.1:7707" {
        String::new()
    } else {
        format!(" --server http://{address}")
    };
    format!(
        "amends listens on http://{address}, and keeps its sagas in {}\n\
         Ctrl-C ends it; what was accepted goes on at the next start.\n\
         \n\
         In another terminal:\n\
         \x20 amends{server} lint place-order.saga.yaml\n\
         \x20 amends{server} apply -f place-order.saga.yaml\n\
         \x20 amends{server} saga start place-order -i order.json --wait\n\
         \x20 amends{server} saga list\n",
        database.display()
    )
}

fn not_started(error: &StartError) -> Failure {
    Failure::new(Exit::Configuration, "the server was not started")
        .because(chain(error))
        .advice("mend the configuration or the database; nothing was written")
}

fn ended_early(error: &RunError) -> Failure {
    Failure::wrong("the server ended by itself")
        .because(chain(error))
        .advice("start it again: what was accepted goes on from the journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings() {
        let arguments = ServerArguments {
            listen: Some("127.0.0.1:0".to_owned()),
            insecure_listen: true,
            ..ServerArguments::default()
        };
        assert_eq!(
            flags(&arguments),
            [
                ("listen", "127.0.0.1:0".to_owned()),
                ("allow_insecure_listen", "true".to_owned())
            ]
        );
    }

    #[test]
    fn the_next_steps_name_the_server_where_it_is_not_the_usual_one() {
        let database = Path::new(".amends/amends.db");
        assert!(next_steps("127.0.0.1:7707", database).contains("  amends apply -f"));
        assert!(
            next_steps("127.0.0.1:1", database)
                .contains("  amends --server http://127.0.0.1:1 apply -f")
        );
    }
}
