//! `demo`: a server and four services as real processes, a few hundred orders, a SIGKILL of the server and of a service
//! in the middle of them, and the audit of the books. Deliberately not here: the story itself, which is the example
//! package's (`story`), and what is printed at the end (`report`).

mod company;
mod progress;
mod report;
mod starts;
mod story;

use std::time::Duration;

use amends_proto::v1::{self as proto, SagaState};
use tokio::time::Instant;

use crate::arguments::{DemoArguments, DemoParticipantArguments, Global};
use crate::children::{interrupted, stdin_closed};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, say};

use company::Company;
use progress::Progress;
use starts::Starts;

/// The usual time between two starts.
const PACE: Duration = Duration::from_millis(47);
/// Over how long the starts are spread at most: many orders arrive faster.
const STARTS_TAKE_AT_MOST: Duration = Duration::from_secs(14);
/// When the demo gives up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(55);
/// How often it looks at its children and counts what is settled.
const TICK: Duration = Duration::from_millis(100);
/// How long the server stays away after its SIGKILL.
const SERVER_AWAY: Duration = Duration::from_millis(700);
/// How long the killed service stays away.
const SERVICE_AWAY: Duration = Duration::from_millis(400);

/// Runs the demo; the exit is [`Exit::Wrong`] if the audit does not hold.
///
/// # Errors
/// If a process does not do its part, or the sagas do not settle in time.
pub async fn run(global: &Global, arguments: &DemoArguments) -> Result<Exit, Failure> {
    if global.output != Format::Table {
        return Err(Failure::usage("the demo writes for people alone").advice("leave -o out"));
    }
    let directory = tempfile::Builder::new()
        .prefix("amends-demo-")
        .disable_cleanup(arguments.keep)
        .tempdir()
        .map_err(|error| Failure::wrong("there is no temporary directory").because(error))?;
    if arguments.keep {
        say(format!(
            "the databases and logs are kept in {}",
            directory.path().display()
        ));
    }
    tokio::select! {
        // The children end as the company is dropped.
        () = interrupted() => Err(Failure::wrong("the demo was interrupted")
            .advice("nothing of it is left; start it again, or with fewer --orders")),
        result = play(arguments, directory.path()) => result,
    }
}

/// Runs one participant of the demo, until its parent is gone.
///
/// # Errors
/// If it cannot run.
pub async fn participant(
    global: &Global,
    arguments: &DemoParticipantArguments,
) -> Result<Exit, Failure> {
    tokio::select! {
        () = stdin_closed() => {}
        ended = story::participate(&global.server, arguments) => ended?,
    }
    Ok(Exit::Ok)
}

async fn play(arguments: &DemoArguments, directory: &std::path::Path) -> Result<Exit, Failure> {
    let began = Instant::now();
    let orders = story::orders(arguments.seed, arguments.orders);
    let before = story::open_books(directory, arguments.seed, arguments.orders).await?;
    let total = u64::from(arguments.orders);
    let mut progress = Progress::new(total);
    progress.tell("starting a server on SQLite, and inventory, payments, shipping and mail with books of their own");
    let mut company = Company::start(directory, arguments.seed, arguments.orders).await?;
    let connection = Connection::lazy(company.server_address(), "default")?;
    apply(&connection).await?;
    progress.tell(&format!(
        "applied place-order; {total} orders begin to arrive"
    ));

    let starts = Starts::begin(&connection, orders.clone(), pace(arguments.orders));
    follow(&mut company, &connection, &starts, &mut progress).await?;
    progress.tell("every saga is settled");
    progress.finish();

    let started = starts.finish().await?;
    let ends = report::Ends::read(&connection, &started).await?;
    let audit = story::audit(directory, &before, &orders, &ends.endings()).await?;
    report::print(&connection, &ends, &audit, &company, began.elapsed()).await?;
    Ok(if report::holds(&audit) {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

fn pace(orders: u32) -> Duration {
    PACE.min(STARTS_TAKE_AT_MOST / orders.max(1))
}

async fn apply(connection: &Connection) -> Result<(), Failure> {
    let request = proto::ApplyDefinitionRequest {
        parent: connection.parent(),
        source: story::DEFINITION.to_owned(),
        definition_id: story::DEFINITION_NAME.to_owned(),
    };
    let answer = connection.definitions().apply_definition(request).await;
    answer.map_err(|status| Failure::refused("place-order was not applied", &status))?;
    Ok(())
}

/// Keeps the company running, has its misfortunes happen, and returns when every order is started and settled.
async fn follow(
    company: &mut Company,
    connection: &Connection,
    starts: &Starts,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let deadline = Instant::now() + GIVE_UP_AFTER;
    let total = starts.total();
    let mut tick = tokio::time::interval(TICK);
    let (mut server_killed, mut service_killed) = (false, false);
    loop {
        tick.tick().await;
        company.mend(progress)?;
        if !server_killed && starts.begun() >= total * 2 / 5 {
            server_killed = true;
            company.kill_server(progress, SERVER_AWAY).await?;
        }
        if !service_killed && starts.begun() >= total * 7 / 10 {
            service_killed = true;
            company.kill_service(progress, SERVICE_AWAY).await?;
        }
        let active = active_sagas(connection).await.unwrap_or(total);
        let acknowledged = starts.acknowledged();
        progress.update(starts.begun(), acknowledged.saturating_sub(active));
        if let Some(refused) = starts.refused() {
            return Err(refused);
        }
        if acknowledged == total && active == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::wrong(format!(
                "{active} sagas are not settled after {} s",
                GIVE_UP_AFTER.as_secs()
            ))
            .because(format!(
                "{acknowledged} of {total} starts were acknowledged"
            ))
            .advice(
                "run it again with --keep, and read server.log in the directory that it names",
            ));
        }
    }
}

/// How many sagas are neither ended nor parked; none while the server is away.
async fn active_sagas(connection: &Connection) -> Option<u64> {
    let mut count = 0;
    let mut page_token = String::new();
    loop {
        let request = proto::ListSagasRequest {
            parent: connection.parent(),
            page_size: 1_000,
            page_token,
            states: vec![SagaState::Running.into(), SagaState::Compensating.into()],
            ..proto::ListSagasRequest::default()
        };
        let page = connection
            .sagas()
            .list_sagas(request)
            .await
            .ok()?
            .into_inner();
        count += page.sagas.len() as u64;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Some(count);
        }
    }
}
