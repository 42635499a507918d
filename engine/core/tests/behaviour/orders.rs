//! Signals and operators' acts, as the shard takes them: answered once, recorded before they are answered, told apart from
//! rehearsals. What they mean for a saga is tested where its steps are.

use amends_core::SagaId;
use amends_core::ShardId;
use amends_core::Time;
use amends_core::fact::IncidentReason;
use amends_core::journal::SagaState;
use amends_core::shard::{OrderRefusal, SignalRefusal, Verb};

use crate::forward::ORDER;
use crate::pump::{Pump, definition, failed, succeeded};

#[test]
fn a_rehearsed_order_says_what_it_would_do_and_does_nothing() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    let rows = pump.journal.len();
    assert_eq!(pump.order(saga, Verb::Pause, true), Ok(SagaState::Parked));
    assert_eq!(pump.journal.len(), rows, "nothing is recorded");
    assert_eq!(pump.state(saga), SagaState::Running);
    assert_eq!(pump.order(saga, Verb::Pause, false), Ok(SagaState::Parked));
    assert_eq!(pump.state(saga), SagaState::Parked);
}

#[test]
fn an_order_for_a_saga_that_does_not_exist_or_is_in_memory_no_more_is_answered() {
    let mut pump = Pump::new();
    let absent = SagaId::new(Time::EPOCH, ShardId(3), 5);
    assert_eq!(
        pump.order(absent, Verb::Pause, false),
        Err(OrderRefusal::NotFound)
    );
    assert_eq!(
        pump.signal(absent, "go", "{}"),
        Err(SignalRefusal::NotFound)
    );
    let ended = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    for step in ["reserve", "charge", "ship"] {
        pump.answer(step, succeeded());
    }
    assert_eq!(pump.state(ended), SagaState::Completed);
    assert!(matches!(
        pump.order(ended, Verb::Pause, true),
        Err(OrderRefusal::Refused { .. })
    ));
    assert_eq!(pump.shard.active(), 0, "it left memory again");
}

#[test]
fn incidents_are_rows_while_they_are_open() {
    let mut pump = Pump::new();
    let saga = pump.start(&definition(ORDER), r#"{"sku":"a"}"#);
    pump.answer("reserve", succeeded());
    pump.answer("charge", failed());
    pump.pass(std::time::Duration::from_secs(1));
    pump.answer("charge", failed());
    let open: Vec<_> = pump.incidents.values().collect();
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].reason, open[0].step.as_deref(), open[0].name.number),
        (IncidentReason::PivotInDoubt, Some("charge"), 1)
    );
    pump.order(saga, Verb::Pause, false)
        .expect("it can be paused");
    assert_eq!(pump.incidents.len(), 2);
    pump.order(saga, Verb::Resume, false)
        .expect("it can be resumed");
    assert_eq!(pump.incidents.len(), 1);
    pump.order(saga, Verb::Terminate, false)
        .expect("it can be given up");
    assert!(pump.incidents.is_empty(), "the end of a saga closes them");
    let row = &pump.rows[&saga];
    assert_eq!(row.state, SagaState::Terminated);
    let retention = pump.definitions[&saga].retention();
    assert_eq!(row.expires_at, row.ended_at.map(|at| at + retention));
}
