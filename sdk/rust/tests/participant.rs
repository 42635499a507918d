//! A participant against a server that the test plays: what it says, what it runs, and what survives a lost stream.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amends_sdk::{
    Action, Context, Fail, Operation, Participant, ParticipantError, ParticipantOptions, proto,
};
use fake::{FakeServer, Session, command, soon};
use proto::attach_request::Message as Request;
use proto::attach_response::Message as Response;
use proto::attempt_outcome::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

#[derive(Deserialize)]
struct Reserve {
    quantity: u32,
}

#[derive(Serialize)]
struct Reserved {
    left: u32,
}

async fn reserve(_: Context, input: Reserve) -> Result<Reserved, Fail> {
    match 10_u32.checked_sub(input.quantity) {
        Some(left) => Ok(Reserved { left }),
        None => Err(Fail::rejected("OUT_OF_STOCK").message("only 10 are left")),
    }
}

async fn echo_context(context: Context, _: Value) -> Result<Value, Fail> {
    Ok(json!({
        "key": context.operation_key(),
        "forward": context.forward_operation_key(),
        "attempt": context.attempt(),
        "compensates": context.operation() == Operation::Compensate,
        "saga": context.saga(),
        "step": context.step(),
        "traceparent": context.traceparent(),
        "in_time": context.remaining() > Duration::from_secs(10),
    }))
}

async fn nothing(_: Context, _: Value) -> Result<(), Fail> {
    Ok(())
}

fn options() -> ParticipantOptions {
    ParticipantOptions {
        instance: "one".to_owned(),
        concurrency: 4,
        backoff: (Duration::from_millis(1), Duration::from_millis(5)),
        ..Default::default()
    }
}

struct Running {
    task: JoinHandle<Result<(), ParticipantError>>,
    stop: oneshot::Sender<()>,
}

fn run(participant: Participant, server: &FakeServer) -> Running {
    let (stop, stopped) = oneshot::channel();
    let address = server.address.clone();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        participant.run_until(&address, stopped).await
    });
    Running { task, stop }
}

async fn attached(participant: Participant) -> (FakeServer, Session, Running) {
    let mut server = FakeServer::start().await;
    let running = run(participant.options(options()), &server);
    let session = server.session().await;
    (server, session, running)
}

fn with_input(mut command: proto::Command, input: &Value) -> proto::Command {
    command.input = input.to_string().into();
    command
}

fn failure(outcome: &proto::AttemptOutcome) -> (&'static str, &str, &str) {
    match outcome.outcome.as_ref().unwrap() {
        Outcome::Rejected(r) => ("rejected", &r.code, &r.message),
        Outcome::Failed(f) => ("failed", &f.code, &f.message),
        Outcome::Fatal(f) => ("fatal", &f.code, &f.message),
        other => panic!("not a failure: {other:?}"),
    }
}

fn output(outcome: &proto::AttemptOutcome) -> Value {
    match outcome.outcome.as_ref().unwrap() {
        Outcome::Succeeded(succeeded) => serde_json::from_slice(&succeeded.output).unwrap(),
        other => panic!("not a success: {other:?}"),
    }
}

#[tokio::test]
async fn it_says_what_it_serves_and_answers_with_typed_output() {
    let inventory = Participant::new("inventory").action("reserve", reserve);
    let (_server, mut session, _running) = attached(inventory).await;
    assert_eq!(session.hello.namespace, "namespaces/default");
    assert_eq!(session.hello.participant, "inventory");
    assert_eq!(session.hello.credit, 4);
    assert_eq!(session.hello.actions[0].action, "inventory.reserve");
    assert!(!session.hello.actions[0].barrier);
    session.command([with_input(command("a", "reserve"), &json!({"quantity": 3}))]);
    let outcome = session.outcome().await;
    assert_eq!(output(&outcome), json!({"left": 7}));
    assert_eq!((outcome.operation_key.as_str(), outcome.attempt), ("a", 1));
    assert!(outcome.begin_time.is_some() && outcome.end_time.is_some());
}

#[tokio::test]
async fn every_way_not_to_succeed_has_its_outcome() {
    async fn fails(_: Context, _: Value) -> Result<(), Fail> {
        "x".parse::<u32>()?;
        Ok(())
    }
    async fn busy(_: Context, _: Value) -> Result<(), Fail> {
        Err(Fail::failed("BUSY").retry_after(Duration::from_millis(1_500)))
    }
    async fn panics(_: Context, _: Value) -> Result<(), Fail> {
        panic!("the shelf fell")
    }
    let inventory = Participant::new("inventory")
        .action("reserve", reserve)
        .action("fails", fails)
        .action("busy", busy)
        .action("panics", panics);
    let (_server, mut session, _running) = attached(inventory).await;
    let cases = [
        (
            with_input(command("a", "reserve"), &json!({"quantity": 11})),
            ("rejected", "OUT_OF_STOCK", "only 10"),
        ),
        (
            with_input(command("b", "reserve"), &json!({"quantity": "x"})),
            ("fatal", "INPUT_INVALID", "invalid type"),
        ),
        (
            command("c", "fails"),
            ("failed", "INTERNAL_ERROR", "invalid digit"),
        ),
        (
            command("d", "panics"),
            ("failed", "PANIC", "the shelf fell"),
        ),
        (
            command("e", "nowhere"),
            ("fatal", "NO_SUCH_ACTION", "inventory.nowhere"),
        ),
        (
            proto::Command {
                operation: 0,
                ..command("f", "fails")
            },
            ("fatal", "NO_SUCH_OPERATION", "operation"),
        ),
    ];
    for (command, (kind, code, text)) in cases {
        session.command([command]);
        let outcome = session.outcome().await;
        let (was_kind, was_code, was_text) = failure(&outcome);
        assert_eq!((was_kind, was_code), (kind, code));
        assert!(was_text.contains(text), "{was_text}");
        session.acknowledge(&outcome);
    }
    session.command([command("g", "busy")]);
    let Some(Outcome::Failed(busy)) = session.outcome().await.outcome else {
        panic!("busy is failed");
    };
    let delay = busy.retry_after.unwrap();
    assert_eq!((delay.seconds, delay.nanos), (1, 500_000_000));
}

#[tokio::test]
async fn the_handler_sees_its_attempt() {
    let inventory = Participant::new("inventory").action("echo", echo_context);
    let (_server, mut session, _running) = attached(inventory).await;
    session.command([proto::Command {
        attempt: 3,
        operation: proto::OperationKind::Compensate.into(),
        forward_operation_key: "f".to_owned(),
        traceparent: "00-trace".to_owned(),
        ..command("a", "echo")
    }]);
    let seen = output(&session.outcome().await);
    let expected = json!({
        "key": "a", "forward": "f", "attempt": 3, "compensates": true,
        "saga": "namespaces/default/sagas/a", "step": "reserve_stock",
        "traceparent": "00-trace", "in_time": true,
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_output_too_large_travels_as_an_effect_with_an_output_that_is_refused() {
    async fn huge(_: Context, _: Value) -> Result<String, Fail> {
        Ok("x".repeat(amends_sdk::limits::PAYLOAD_BYTES_MAX))
    }
    let inventory = Participant::new("inventory").action("huge", huge);
    let (_server, mut session, _running) = attached(inventory).await;
    session.command([command("a", "huge")]);
    let Some(Outcome::Succeeded(succeeded)) = session.outcome().await.outcome else {
        panic!("the effect is there");
    };
    let just_too_large = amends_sdk::limits::PAYLOAD_BYTES_MAX + 1;
    assert_eq!(succeeded.output.len(), just_too_large);
}

#[tokio::test]
async fn an_outcome_is_sent_again_after_a_lost_stream_until_it_is_acknowledged() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let inventory = Participant::new("inventory").action("count", move |_, _: Value| {
        let runs = counted.clone();
        async move { Ok(runs.fetch_add(1, Ordering::SeqCst)) }
    });
    let (mut server, mut session, running) = attached(inventory).await;
    session.command([command("a", "count")]);
    let first = session.outcome().await;
    session.break_off();
    let mut session = server.session().await;
    let in_hand: Vec<_> = session
        .hello
        .in_hand
        .iter()
        .map(|k| k.operation_key.as_str())
        .collect();
    assert_eq!(in_hand, ["a"]);
    assert_eq!(session.outcome().await, first);
    // The new owner sends what it assumes lost; it does not run again.
    session.command([command("a", "count")]);
    assert_eq!(session.outcome().await, first);
    session.acknowledge(&first);
    session.command([command("b", "count")]);
    let second = session.outcome().await;
    assert_eq!(output(&second), json!(1));
    session.acknowledge(&second);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    running.stop.send(()).unwrap();
    soon(running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_result_says_its_commands_epoch_and_is_kept_where_an_older_owner_has_no_answer() {
    let inventory = Participant::new("inventory").action("nothing", nothing);
    let (mut server, mut session, _running) = attached(inventory).await;
    session.command([proto::Command {
        epoch: 7,
        ..command("a", "nothing")
    }]);
    let first = session.outcome().await;
    assert_eq!(first.epoch, 7);
    // A node whose epoch is older does not refuse it: it ends the stream, here and on the next attempt to attach.
    for _ in 0..2 {
        session.end(tonic::Status::unavailable("the saga is elsewhere"));
        session = server.session().await;
        assert_eq!(session.outcome().await, first);
    }
    session.acknowledge(&first);
    session.command([command("b", "nothing")]);
    let second = session.outcome().await;
    assert_eq!((second.operation_key.as_str(), second.epoch), ("b", 1));
}

#[tokio::test]
async fn a_command_that_runs_is_in_hand_over_a_lost_stream_and_does_not_run_twice() {
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, tell) = (go.clone(), started.clone());
    let inventory = Participant::new("inventory").action("slow", move |_, _: Value| {
        let (wait, tell) = (wait.clone(), tell.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            Ok(())
        }
    });
    let (mut server, session, _running) = attached(inventory).await;
    session.command([command("a", "slow")]);
    soon(started.notified()).await;
    session.break_off();
    let mut session = server.session().await;
    assert_eq!(session.hello.in_hand.len(), 1);
    assert_eq!(session.hello.credit, 3);
    session.command([command("a", "slow")]);
    let beat = loop {
        if let Some(Request::Heartbeats(beat)) = session.next().await {
            break beat;
        }
    };
    assert_eq!(beat.attempts[0].operation_key, "a");
    go.notify_one();
    assert_eq!(session.outcome().await.operation_key, "a");
    session.command([command("b", "slow")]);
    go.notify_one();
    assert_eq!(session.outcome().await.operation_key, "b");
}

#[tokio::test]
async fn credit_comes_back_as_attempts_end_and_never_exceeds_the_concurrency() {
    let inventory = Participant::new("inventory").action("nothing", nothing);
    let (_server, mut session, _running) = attached(inventory).await;
    let mut room = session.hello.credit;
    let mut sent = 0;
    let mut ended = 0;
    while ended < 40 {
        let batch: Vec<_> = (0..room.min(40 - sent))
            .map(|n| command(&format!("{}", sent + n), "nothing"))
            .collect();
        sent += u32::try_from(batch.len()).unwrap();
        room -= u32::try_from(batch.len()).unwrap();
        if !batch.is_empty() {
            session.command(batch);
        }
        match session.next().await.unwrap() {
            Request::Credit(credit) => room += credit.commands,
            Request::Outcomes(outcomes) => {
                ended += outcomes.outcomes.len();
                outcomes
                    .outcomes
                    .iter()
                    .for_each(|o| session.acknowledge(o));
            }
            _ => {}
        }
        assert!(room <= 4, "{room}");
    }
}

#[tokio::test]
async fn a_command_of_a_deposed_owner_does_not_run() {
    let inventory = Participant::new("inventory").action("nothing", nothing);
    let (_server, mut session, _running) = attached(inventory).await;
    let saga = "namespaces/default/sagas/s".to_owned();
    let of_epoch = |key: &str, epoch| proto::Command {
        saga: saga.clone(),
        epoch,
        ..command(key, "nothing")
    };
    session.command([of_epoch("new", 9)]);
    assert_eq!(session.outcome().await.operation_key, "new");
    session.command([of_epoch("old", 8), of_epoch("next", 9)]);
    assert_eq!(session.outcome().await.operation_key, "next");
}

#[tokio::test]
async fn a_withdrawn_attempt_and_one_behind_its_deadline_are_cancelled() {
    async fn until_cancelled(context: Context, _: Value) -> Result<(), Fail> {
        context.cancellation().cancelled().await;
        Err(Fail::failed("STOPPED"))
    }
    let inventory = Participant::new("inventory").action("wait", until_cancelled);
    let (_server, mut session, _running) = attached(inventory).await;
    session.command([command("a", "wait")]);
    session.send(Response::Withdrawals(proto::Withdrawals {
        attempts: vec![proto::AttemptKey {
            operation_key: "a".to_owned(),
            attempt: 1,
        }],
    }));
    assert_eq!(failure(&session.outcome().await).1, "STOPPED");
    let timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 1_000_000,
    });
    session.command([proto::Command {
        timeout,
        ..command("b", "wait")
    }]);
    assert_eq!(failure(&session.outcome().await).1, "STOPPED");
}

#[tokio::test]
async fn a_handler_that_hangs_behind_its_deadline_is_dropped() {
    async fn hang(_: Context, _: Value) -> Result<(), Fail> {
        std::future::pending().await
    }
    let inventory = Participant::new("inventory").action("hang", hang);
    let mut server = FakeServer::start().await;
    let abandon_after = Duration::from_millis(5);
    let inventory = inventory.options(ParticipantOptions {
        abandon_after,
        ..options()
    });
    let _running = run(inventory, &server);
    let mut session = server.session().await;
    let timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 1_000_000,
    });
    session.command([proto::Command {
        timeout,
        ..command("a", "hang")
    }]);
    assert_eq!(failure(&session.outcome().await).1, "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn a_drain_says_so_lets_attempts_end_and_waits_for_the_acknowledgement() {
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, tell) = (go.clone(), started.clone());
    let inventory = Participant::new("inventory").action("slow", move |_, _: Value| {
        let (wait, tell) = (wait.clone(), tell.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            Ok(())
        }
    });
    let (_server, mut session, running) = attached(inventory).await;
    session.command([command("a", "slow")]);
    soon(started.notified()).await;
    running.stop.send(()).unwrap();
    while !matches!(session.next().await, Some(Request::Drain(_))) {}
    assert!(!running.task.is_finished());
    go.notify_one();
    let outcome = session.outcome().await;
    assert!(!running.task.is_finished());
    session.acknowledge(&outcome);
    soon(running.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_goodbye_leads_to_a_new_stream() {
    let inventory = Participant::new("inventory").action("nothing", nothing);
    let (mut server, mut session, _running) = attached(inventory).await;
    session.send(Response::Goodbye(proto::Goodbye {
        reason: "upgrade".to_owned(),
        reattach_after: None,
    }));
    while session.next().await.is_some() {}
    let mut again = server.session().await;
    again.command([command("a", "nothing")]);
    assert_eq!(again.outcome().await.operation_key, "a");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for_and_one_that_refuses_is_not() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let inventory = Participant::new("inventory")
        .action("nothing", nothing)
        .options(options());
    let waited = tokio::time::timeout(
        Duration::from_millis(100),
        inventory
            .clone()
            .run_until(&address, std::future::pending()),
    );
    assert!(waited.await.is_err(), "it goes on trying");

    let server =
        FakeServer::start_refusing(tonic::Status::not_found("no namespace `default`")).await;
    let refused = soon(run(inventory, &server).task)
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        refused.to_string().contains("no namespace `default`"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_participant_that_is_not_well_formed_does_not_start() {
    let many = |count: usize| {
        let served = (0..count).map(|number| format!("a{number}"));
        served.fold(Participant::new("inventory"), |p, name| {
            p.action(name, nothing)
        })
    };
    let cases = [
        (Participant::new("inventory"), "serves nothing"),
        (
            Participant::new("In ventory").action("a", nothing),
            "its name",
        ),
        (
            Participant::new("inventory").action("a.b", nothing),
            "an action's name",
        ),
        (
            Participant::new("inventory")
                .action("a", nothing)
                .options(ParticipantOptions {
                    concurrency: 10_001,
                    ..options()
                }),
            "concurrency",
        ),
        (many(1_001), "too many actions"),
        (
            Participant::new("inventory")
                .action("a", nothing)
                .options(ParticipantOptions {
                    instance: "x".repeat(129),
                    ..options()
                }),
            "instance",
        ),
    ];
    for (participant, text) in cases {
        let error = participant
            .run_until("127.0.0.1:1", async {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
    let at_the_bounds = many(1_000).options(ParticipantOptions {
        concurrency: 10_000,
        instance: "x".repeat(128),
        ..options()
    });
    // Nobody is there, and it is asked to end at once.
    at_the_bounds
        .run_until("127.0.0.1:1", async {})
        .await
        .unwrap();
    let inventory = Participant::new("inventory").action("a", nothing);
    let error = inventory
        .run_until("not an address", async {})
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not an address"), "{error}");
}

#[tokio::test]
async fn a_heartbeat_of_a_handler_is_sent_at_once() {
    let inventory =
        Participant::new("inventory").action("long", |context: Context, _: Value| async move {
            context.heartbeat();
            context.cancellation().cancelled().await;
            Ok(())
        });
    // Heartbeats by themselves come every ten seconds in this lease.
    let mut server = FakeServer::start().await.with_lease_seconds(60);
    let _running = run(inventory.options(options()), &server);
    let mut session = server.session().await;
    session.command([command("a", "long")]);
    let beat = async {
        loop {
            if let Some(Request::Heartbeats(beat)) = session.next().await {
                return beat;
            }
        }
    };
    let beat = tokio::time::timeout(Duration::from_secs(5), beat)
        .await
        .unwrap();
    assert_eq!(beat.attempts[0].operation_key, "a");
}

#[tokio::test]
async fn an_attempt_beats_three_times_within_its_heartbeat_timeout() {
    let inventory =
        Participant::new("inventory").action("long", |context: Context, _: Value| async move {
            context.cancellation().cancelled().await;
            Ok(())
        });
    let mut server = FakeServer::start().await.with_lease_seconds(60);
    let _running = run(inventory.options(options()), &server);
    let mut session = server.session().await;
    let heartbeat_timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 300_000_000,
    });
    session.command([proto::Command {
        heartbeat_timeout,
        ..command("a", "long")
    }]);
    let began = std::time::Instant::now();
    for _ in 0..3 {
        let beat = loop {
            if let Some(Request::Heartbeats(beat)) = session.next().await {
                break beat;
            }
        };
        assert_eq!(beat.attempts[0].operation_key, "a");
    }
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(150)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_query_says_present_absent_or_not_known() {
    let payments = Participant::new("inventory").query(
        "was_charged",
        |context: Context, _: Value| async move {
            match context.forward_operation_key() {
                Some("charged") => Ok(Some(json!({"id": "ch_1"}))),
                Some("never") => Ok(None),
                _ => Err(Fail::failed("NOT_YET_KNOWN")),
            }
        },
    );
    let (_server, mut session, _running) = attached(payments).await;
    let ask = |key: &str, forward: &str| proto::Command {
        operation: proto::OperationKind::Query.into(),
        forward_operation_key: forward.to_owned(),
        ..command(key, "was_charged")
    };
    session.command([ask("q1", "charged")]);
    assert_eq!(output(&session.outcome().await), json!({"id": "ch_1"}));
    session.command([ask("q2", "never")]);
    let absent = session.outcome().await.outcome;
    assert!(
        matches!(absent, Some(proto::attempt_outcome::Outcome::Absent(_))),
        "{absent:?}"
    );
    session.command([ask("q3", "other")]);
    assert_eq!(failure(&session.outcome().await).1, "NOT_YET_KNOWN");
    // It does nothing but answer.
    session.command([command("f1", "was_charged")]);
    assert_eq!(failure(&session.outcome().await).1, "WRONG_OPERATION");
}

#[tokio::test]
async fn a_preparation_that_fails_ends_the_attempt_before_its_handler() {
    let ready = Arc::new(AtomicU32::new(0));
    let asked = ready.clone();
    let action = Action::new(nothing).before(move |_| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                Err(Fail::failed("NOT_YET"))
            } else {
                Ok(())
            }
        }
    });
    let inventory = Participant::new("inventory").serve("nothing", action);
    let (_server, mut session, _running) = attached(inventory).await;
    session.command([command("a", "nothing")]);
    assert_eq!(failure(&session.outcome().await).1, "NOT_YET");
    session.command([command("b", "nothing")]);
    assert_eq!(output(&session.outcome().await), Value::Null);
}

#[tokio::test]
async fn an_observer_sees_each_answer_before_it_is_reported() {
    let seen = Arc::new(AtomicU32::new(0));
    let counted = seen.clone();
    let action = Action::new(nothing).inspect(move |context, answer| {
        assert_eq!(context.operation_key(), "a");
        assert_eq!(answer.code(), None);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let inventory = Participant::new("inventory").serve("nothing", action);
    let (_server, mut session, _running) = attached(inventory).await;
    session.command([command("a", "nothing")]);
    session.outcome().await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_participant_whose_instance_attached_elsewhere_ends_and_does_not_come_back() {
    use tonic_types::{ErrorDetails, StatusExt as _};
    let started = Arc::new(Notify::new());
    let (starts, cancelled) = (started.clone(), Arc::new(Notify::new()));
    let seen = cancelled.clone();
    let waits = move |context: Context, _: Value| {
        let (starts, seen) = (starts.clone(), seen.clone());
        async move {
            starts.notify_one();
            context.cancellation().cancelled().await;
            seen.notify_one();
            Ok::<_, Fail>(())
        }
    };
    let participant = Participant::new("inventory").action("reserve", waits);
    let (_server, session, running) = attached(participant).await;
    session.command([command("k", "reserve")]);
    soon(started.notified()).await;
    let details = ErrorDetails::with_error_info("SESSION_REPLACED", "amends.dev", []);
    session.end(tonic::Status::with_error_details(
        tonic::Code::Aborted,
        "a newer stream replaced this one",
        details,
    ));
    let ended = soon(running.task).await.unwrap().unwrap_err();
    assert!(
        matches!(&ended, ParticipantError::Replaced { instance, .. } if instance == "one"),
        "{ended}"
    );
    soon(cancelled.notified()).await;
}
