//! What people do about sagas: cancel, signal, operators' acts. Each is asked of the shard that owns the saga, and what
//! stands against it is said in words.

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::shard::{
    CancelDisposition, CancelRefusal, Order, OrderRefusal, Signal, SignalRefusal, Target, Verb,
};
use tokio::sync::oneshot;

use crate::api::{ActRequest, Acted, Reader, Sees, SignalRequest};
use crate::lane::{ActOrder, CancelOrder, Message, SignalOrder, Waiting};
use crate::limits::KEY_BYTES_MAX;
use crate::node::Node;
use crate::reads::{no_saga, not_answered, record};
use crate::refusal::{Kind, Refusal};

/// Asks for an abort.
pub(crate) async fn cancel(
    node: &Node,
    namespace: &str,
    id: SagaId,
    by: &str,
    reason: &str,
) -> Result<CancelDisposition, Refusal> {
    let order = |waiting| {
        Message::Cancel(CancelOrder {
            namespace: namespace.into(),
            saga: id,
            by: by.to_owned(),
            reason: reason.to_owned(),
            waiting,
        })
    };
    let answer = ask(node, namespace, id, order).await?;
    answer
        .unwrap_or(Err(CancelRefusal::Unavailable))
        .map_err(|refusal| not_cancelled(namespace, id, refusal))
}

/// Sends a signal. True if it was accepted, false if one with this dedupe id had been before.
pub(crate) async fn signal(node: &Node, request: SignalRequest) -> Result<bool, Refusal> {
    let SignalRequest {
        namespace,
        saga,
        signal,
        payload,
        by,
        dedupe_id,
    } = request;
    if let Some(wrong) = dedupe_id.as_deref().and_then(wrong_dedupe_id) {
        let message = format!("a dedupe id {wrong}");
        let refusal = Refusal::new(Kind::InvalidArgument, "DEDUPE_ID_INVALID", message);
        return Err(refusal.with_violation("dedupe_id", wrong));
    }
    let named = signal.clone();
    let order = |waiting| {
        let signal = Signal {
            namespace: namespace.as_str().into(),
            saga,
            signal,
            payload,
            by,
            dedupe_id,
        };
        Message::Signal(SignalOrder {
            signal: Box::new(signal),
            waiting,
        })
    };
    let answer = ask(node, &namespace, saga, order).await?;
    answer
        .unwrap_or(Err(SignalRefusal::Unavailable))
        .map_err(|refusal| not_signalled(&namespace, saga, &named, refusal))
}

/// Does something about a saga, or says what would become of it.
pub(crate) async fn act(node: &Node, request: ActRequest) -> Result<Acted, Refusal> {
    // Read before: what was done is told, whatever becomes of a read.
    let readers = if let Verb::Skip { target } = &request.verb {
        readers(node, &request, target).await?
    } else {
        Vec::new()
    };
    let ActRequest {
        namespace,
        saga,
        by,
        reason,
        dry_run,
        verb,
    } = request;
    let order = |waiting| {
        let order = Order {
            namespace: namespace.as_str().into(),
            saga,
            by,
            reason,
            dry_run,
            verb,
        };
        Message::Act(ActOrder {
            order: Box::new(order),
            waiting,
        })
    };
    let answer = ask(node, &namespace, saga, order).await?;
    let state = answer
        .unwrap_or(Err(OrderRefusal::Unavailable))
        .map_err(|refusal| not_done(&namespace, saga, refusal))?;
    Ok(Acted { state, readers })
}

/// Who reads the output of a step that is to be skipped: a matter of the saga's definition alone. Nobody, where saga, step or
/// definition cannot be found; why not is for the saga's shard to say.
async fn readers(
    node: &Node,
    request: &ActRequest,
    target: &Target,
) -> Result<Vec<Reader>, Refusal> {
    let record = record(node, &request.namespace, request.saga).await?;
    let Some(record) = record else {
        return Ok(Vec::new());
    };
    let definition = node.definitions.pinned(&*node.store, record.hash).await;
    let definition = definition.map_err(|error| not_answered("read a definition", &error))?;
    let Ok(definition) = definition else {
        return Ok(Vec::new());
    };
    let Some(skipped) = definition.step_index(&target.step) else {
        return Ok(Vec::new());
    };
    let listed = definition.step(skipped).foreach().is_some();
    let readers = definition.output_readers(skipped).into_iter();
    let readers = readers.map(|reader| Reader {
        step: reader
            .step
            .map(|step| definition.step(step).id().to_owned()),
        field: reader.field,
        sees: match (listed, reader.asks_first) {
            (true, _) => Sees::NullInList,
            (false, true) => Sees::Absence,
            (false, false) => Sees::Nothing,
        },
    });
    Ok(readers.collect())
}

/// Asks the shard of a saga; none if nobody answers.
async fn ask<T>(
    node: &Node,
    namespace: &str,
    id: SagaId,
    message: impl FnOnce(Waiting<T>) -> Message,
) -> Result<Option<T>, Refusal> {
    node.status.admit()?;
    node.namespace(namespace)?;
    if !node.lanes.has(id.shard()) {
        return Err(no_saga(namespace, id));
    }
    let ticket = node.load.input(node.lanes.lane_of(id.shard()))?;
    let (reply, answer) = oneshot::channel();
    node.lanes
        .send(id.shard(), message(Waiting { reply, ticket }));
    Ok(answer.await.ok())
}

fn wrong_dedupe_id(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("must not be empty: leave it out")
    } else if id.len() > KEY_BYTES_MAX {
        Some("must not be longer than 512 bytes")
    } else if id.contains('\0') {
        Some("must not contain U+0000")
    } else {
        None
    }
}

fn precondition(reason: &'static str, message: String) -> Refusal {
    Refusal::new(Kind::FailedPrecondition, reason, message)
}

fn ended(id: SagaId, state: SagaState) -> Refusal {
    let message = format!("saga {id} has ended: it is {}", state.as_str());
    precondition("SAGA_ENDED", message).with_metadata("state", state.as_str())
}

fn unreadable(id: SagaId) -> Refusal {
    let message = format!("the history of saga {id} cannot be read by this version");
    precondition("RECORD_UNREADABLE", message)
}

fn undecided() -> Refusal {
    Refusal::unavailable("this node cannot decide about the saga for now: try again")
}

fn not_cancelled(namespace: &str, id: SagaId, refusal: CancelRefusal) -> Refusal {
    match refusal {
        CancelRefusal::NotFound => no_saga(namespace, id),
        CancelRefusal::Ended { state } => ended(id, state),
        CancelRefusal::BehindPointOfNoReturn => precondition(
            "BEHIND_POINT_OF_NO_RETURN",
            format!("saga {id} is behind its point of no return: it can only go forward"),
        ),
        CancelRefusal::Unreadable => unreadable(id),
        CancelRefusal::Unavailable => undecided(),
    }
}

fn not_signalled(namespace: &str, id: SagaId, signal: &str, refusal: SignalRefusal) -> Refusal {
    match refusal {
        SignalRefusal::NotFound => no_saga(namespace, id),
        SignalRefusal::Undeclared { declared } => {
            let cure = if declared.is_empty() {
                "its definition declares none".to_owned()
            } else {
                format!("its definition declares {}", declared.join(", "))
            };
            let message = format!("saga {id} takes no signal {signal:?}: {cure}");
            Refusal::new(Kind::InvalidArgument, "SIGNAL_UNDECLARED", message)
                .with_violation("signal", cure)
        }
        SignalRefusal::Invalid { violations } => {
            let message = format!("the payload does not satisfy the schema of signal {signal:?}");
            let refusal = Refusal::new(Kind::InvalidArgument, "SIGNAL_INVALID", message);
            violations
                .into_iter()
                .fold(refusal, |refusal, (at, wrong)| {
                    refusal.with_violation(format!("payload{at}"), wrong)
                })
        }
        SignalRefusal::Ended { state } => ended(id, state),
        SignalRefusal::Full => {
            let message = format!(
                "as many signals wait in saga {id} as one saga keeps: {}; none is taken before a step of it takes some",
                amends_core::limits::SIGNALS_PENDING_MAX
            );
            let kind = Kind::ResourceExhausted { retry_after: None };
            Refusal::new(kind, "SIGNALS_FULL", message)
        }
        SignalRefusal::Unreadable => unreadable(id),
        SignalRefusal::Unavailable => undecided(),
    }
}

fn not_done(namespace: &str, id: SagaId, refusal: OrderRefusal) -> Refusal {
    match refusal {
        OrderRefusal::NotFound => no_saga(namespace, id),
        OrderRefusal::UnknownStep => {
            let message = format!("saga {id} has no such step, or the step no such item");
            Refusal::new(Kind::InvalidArgument, "STEP_UNKNOWN", message)
                .with_violation("target", "name a step of the saga's own revision")
        }
        // One reason for one thing, whatever was asked.
        OrderRefusal::Refused {
            code: "ENDED",
            message,
        } => precondition("SAGA_ENDED", message),
        OrderRefusal::Refused { code, message } => precondition(code, message),
        OrderRefusal::Unreadable => unreadable(id),
        OrderRefusal::Unavailable => undecided(),
    }
}
