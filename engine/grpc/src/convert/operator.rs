//! Operators' acts as they come in, and incidents and participants as they go out.

use std::sync::Arc;

use amends_core::OperationKind;
use amends_core::fact::IncidentReason;
use amends_core::journal::IncidentInsert;
use amends_core::shard::{Target, Verb};
use amends_definitions::Payload;
use amends_orchestrator::{
    Fingerprint, GroupActed, GroupVerb, IncidentGroup, ParticipantView, Reader, Refusal, Sees,
};
use amends_proto::v1;
use amends_proto::v1::act::Act;

use super::payload::payload;
use super::saga::{actions, state};
use super::time::timestamp;
use crate::name::{self, is_step_id};
use crate::status::invalid;

/// What is done about one saga.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field; `RESOURCE_EXHAUSTED` for a payload over its bound.
pub fn verb(act: Option<v1::Act>) -> Result<Verb, Refusal> {
    Ok(match given(act)? {
        Act::Retry(retry) => Verb::Retry {
            target: target("act.retry.target", retry.target)?,
            input: new_input(retry.input)?,
        },
        Act::Skip(skip) => Verb::Skip {
            target: action("act.skip.target", skip.target)?,
        },
        Act::Resolve(resolve) => {
            let output = output(resolve.output)?;
            match resolve.target {
                None => Verb::ResolveSaga { output },
                named => Verb::Resolve {
                    target: target("act.resolve.target", named)?,
                    output,
                },
            }
        }
        Act::ResolveAbsent(resolve) => Verb::ResolveAbsent {
            target: target("act.resolve_absent.target", resolve.target)?,
        },
        Act::Compensate(_) => Verb::Compensate,
        Act::Pause(_) => Verb::Pause,
        Act::Resume(_) => Verb::Resume,
        Act::Terminate(_) => Verb::Terminate,
    })
}

/// What is done about every saga of a group.
///
/// # Errors
/// As [`verb`]; `INVALID_ARGUMENT` for a target, too: each incident's own is meant.
pub fn group_verb(act: Option<v1::Act>) -> Result<GroupVerb, Refusal> {
    Ok(match given(act)? {
        Act::Retry(retry) => {
            no_target("act.retry.target", retry.target.as_ref())?;
            let input = new_input(retry.input)?;
            GroupVerb::Retry { input }
        }
        Act::Skip(skip) => {
            no_target("act.skip.target", skip.target.as_ref())?;
            GroupVerb::Skip
        }
        Act::Resolve(resolve) => {
            no_target("act.resolve.target", resolve.target.as_ref())?;
            let output = output(resolve.output)?;
            GroupVerb::Resolve { output }
        }
        Act::ResolveAbsent(resolve) => {
            no_target("act.resolve_absent.target", resolve.target.as_ref())?;
            GroupVerb::ResolveAbsent
        }
        Act::Compensate(_) => GroupVerb::Compensate,
        Act::Pause(_) => GroupVerb::Pause,
        Act::Resume(_) => GroupVerb::Resume,
        Act::Terminate(_) => GroupVerb::Terminate,
    })
}

/// Reads a reason for incidents, by its name; none if it is empty.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn incident_reason(field: &str, text: &str) -> Result<Option<IncidentReason>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let known = IncidentReason::ALL.into_iter();
    let found = known.clone().find(|reason| reason.as_str() == text);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = known.map(IncidentReason::as_str).collect();
        let description = format!("incidents have one of these reasons: {}", names.join(", "));
        invalid("FILTER_INVALID", field, description)
    })
}

/// An incident as lists show it.
#[must_use]
pub fn incident(incident: &IncidentInsert) -> v1::Incident {
    v1::Incident {
        reason: incident.reason.as_str().to_owned(),
        step: incident.step.clone().unwrap_or_default(),
        message: incident.message.clone(),
        open_time: timestamp(incident.opened_at),
        suggested_actions: actions(incident.reason, incident.operation),
        item: incident.item,
        operation: incident
            .operation
            .map(|operation| operation.as_str().to_owned())
            .unwrap_or_default(),
        code: incident.code.clone().unwrap_or_default(),
        fingerprint: Fingerprint::of(incident).to_string(),
        number: incident.name.number,
        saga: name::of_saga(&incident.namespace, incident.name.saga),
    }
}

/// A group of incidents.
#[must_use]
pub fn group(group: &IncidentGroup) -> v1::IncidentGroup {
    v1::IncidentGroup {
        fingerprint: group.fingerprint().to_string(),
        reason: group.reason.as_str().to_owned(),
        incidents: group.count,
        oldest_time: timestamp(group.oldest),
        newest_time: timestamp(group.newest),
    }
}

/// What became of one incident of a group.
#[must_use]
pub fn acted(acted: &GroupActed) -> v1::OperateIncidentsResponse {
    let incident = &acted.incident;
    let saga = name::of_saga(&incident.namespace, incident.name.saga);
    match &acted.result {
        Ok(acted) => v1::OperateIncidentsResponse {
            saga,
            state: state(acted.state).into(),
            readers: acted.readers.iter().map(reader).collect(),
            ..v1::OperateIncidentsResponse::default()
        },
        Err(refusal) => v1::OperateIncidentsResponse {
            saga,
            state: v1::SagaState::Unspecified.into(),
            reason: refusal.reason.to_owned(),
            message: refusal.message.clone(),
            readers: Vec::new(),
        },
    }
}

/// Who reads an output that there will not be.
#[must_use]
pub fn reader(reader: &Reader) -> v1::OutputReader {
    let sees = match reader.sees {
        Sees::Nothing => v1::output_reader::Sees::Nothing,
        Sees::Absence => v1::output_reader::Sees::Absence,
        Sees::NullInList => v1::output_reader::Sees::NullInList,
    };
    v1::OutputReader {
        step: reader.step.clone().unwrap_or_default(),
        field: reader.field.to_owned(),
        sees: sees.into(),
    }
}

/// An attached participant instance.
#[must_use]
pub fn participant(view: &ParticipantView) -> v1::Participant {
    let named = |barrier_only: bool| {
        let offered = view.actions.iter();
        let chosen = offered.filter(move |(_, barrier)| *barrier || !barrier_only);
        chosen
            .map(|(action, _)| action.as_str().to_owned())
            .collect()
    };
    v1::Participant {
        participant: view.participant.clone(),
        instance: view.instance.clone(),
        sdk: view.sdk.clone(),
        actions: named(false),
        barrier_actions: named(true),
        credit: view.credit,
        in_hand: u32::try_from(view.in_hand).unwrap_or(u32::MAX),
        attach_time: timestamp(view.attached_at),
    }
}

fn given(act: Option<v1::Act>) -> Result<Act, Refusal> {
    act.and_then(|act| act.act).ok_or_else(|| {
        let description = "it says what to do: retry, skip, resolve, resolve_absent, compensate, pause, resume or terminate";
        invalid("ACT_MISSING", "act", description)
    })
}

fn target(field: &str, target: Option<v1::Target>) -> Result<Target, Refusal> {
    let target = target.unwrap_or_default();
    if !is_step_id(&target.step) {
        let description = "it is the id of a step of the saga's definition";
        return Err(invalid(
            "TARGET_INVALID",
            &format!("{field}.step"),
            description,
        ));
    }
    let operation = match target.operation.as_str() {
        "" | "forward" => OperationKind::Forward,
        "compensate" => OperationKind::Compensate,
        _ => {
            let field = format!("{field}.operation");
            let description = "it is forward or compensate, or empty for forward";
            return Err(invalid("TARGET_INVALID", &field, description));
        }
    };
    Ok(Target {
        step: Arc::from(target.step),
        item: target.item,
        operation,
    })
}

/// A target of an act that is about actions alone.
fn action(field: &str, named: Option<v1::Target>) -> Result<Target, Refusal> {
    let target = target(field, named)?;
    if target.operation == OperationKind::Forward {
        return Ok(target);
    }
    let description =
        "this act is about an action, never about a compensation: resolve that one, or retry it";
    let field = format!("{field}.operation");
    Err(invalid("TARGET_INVALID", &field, description))
}

fn no_target(field: &str, target: Option<&v1::Target>) -> Result<(), Refusal> {
    match target {
        Some(target) if *target != v1::Target::default() => {
            let description = "it stays empty: each incident's own step and operation are meant";
            Err(invalid("TARGET_INVALID", field, description))
        }
        Some(_) | None => Ok(()),
    }
}

/// A field that is there has JSON in it: only one that is absent means the recorded input.
fn new_input(input: Option<bytes::Bytes>) -> Result<Option<Payload>, Refusal> {
    input
        .map(|input| {
            if input.is_empty() {
                return Err(invalid(
                    "PAYLOAD_INVALID",
                    "act.retry.input",
                    "it is JSON, and nothing is none; leave it out for the recorded input",
                ));
            }
            payload("act.retry.input", input)
        })
        .transpose()
}

fn output(output: bytes::Bytes) -> Result<Payload, Refusal> {
    if output.is_empty() {
        return Ok(Payload::null());
    }
    payload("act.resolve.output", output)
}

#[cfg(test)]
mod tests {
    use amends_orchestrator::Kind;

    use super::*;

    fn wrap(act: Act) -> Option<v1::Act> {
        Some(v1::Act { act: Some(act) })
    }

    fn at(step: &str, operation: &str) -> Option<v1::Target> {
        Some(v1::Target {
            step: step.into(),
            item: 2,
            operation: operation.into(),
        })
    }

    #[test]
    fn acts_are_read_with_their_targets_and_payloads() {
        let input = Some(bytes::Bytes::from_static(b"{\"a\": 1}"));
        let target = at("charge", "compensate");
        let Ok(Verb::Retry { target, input }) = verb(wrap(Act::Retry(v1::Retry { target, input })))
        else {
            panic!("it is a retry");
        };
        assert_eq!((&*target.step, target.item), ("charge", 2));
        assert_eq!(target.operation, OperationKind::Compensate);
        assert_eq!(input.unwrap().as_bytes(), b"{\"a\": 1}");
        let resolve = v1::Resolve {
            target: at("charge", ""),
            output: bytes::Bytes::new(),
        };
        let Ok(Verb::Resolve { target, output }) = verb(wrap(Act::Resolve(resolve))) else {
            panic!("it is a resolve");
        };
        assert_eq!(target.operation, OperationKind::Forward);
        assert_eq!(output, Payload::null());
        let resolve = v1::Resolve {
            target: None,
            output: bytes::Bytes::from_static(b"[1]"),
        };
        let Ok(Verb::ResolveSaga { output }) = verb(wrap(Act::Resolve(resolve))) else {
            panic!("it is about the saga");
        };
        assert_eq!(output.as_bytes(), b"[1]");
        let absent = v1::ResolveAbsent {
            target: at("charge", "compensate"),
        };
        let Ok(Verb::ResolveAbsent { target }) = verb(wrap(Act::ResolveAbsent(absent))) else {
            panic!("it says that something is absent");
        };
        assert_eq!(target.operation, OperationKind::Compensate);
    }

    #[test]
    fn b15_acts_without_sense_are_invalid_arguments() {
        let skip = |target| wrap(Act::Skip(v1::Skip { target }));
        let retry = |target, input: Option<&'static [u8]>| {
            let input = input.map(bytes::Bytes::from_static);
            wrap(Act::Retry(v1::Retry { target, input }))
        };
        let long = "s".repeat(1 << 20);
        for (act, reason) in [
            (None, "ACT_MISSING"),
            (Some(v1::Act { act: None }), "ACT_MISSING"),
            (skip(None), "TARGET_INVALID"),
            (skip(at("", "")), "TARGET_INVALID"),
            (skip(at("a b", "")), "TARGET_INVALID"),
            (skip(at(&long, "")), "TARGET_INVALID"),
            (skip(at("s", "compensate")), "TARGET_INVALID"),
            (skip(at("s", "query")), "TARGET_INVALID"),
            (retry(at("s", "undo"), None), "TARGET_INVALID"),
            (retry(at("s", ""), Some(b"")), "PAYLOAD_INVALID"),
            (retry(at("s", ""), Some(b"{")), "PAYLOAD_INVALID"),
            (
                retry(at("s", ""), Some(b"{\"a\":1,\"a\":2}")),
                "PAYLOAD_INVALID",
            ),
        ] {
            let refusal = verb(act).unwrap_err();
            assert_eq!(
                (refusal.kind, refusal.reason),
                (Kind::InvalidArgument, reason)
            );
        }
    }

    #[test]
    fn an_act_on_a_group_names_no_step() {
        let named = wrap(Act::Skip(v1::Skip {
            target: at("s", ""),
        }));
        assert_eq!(group_verb(named).unwrap_err().reason, "TARGET_INVALID");
        let unnamed = wrap(Act::Skip(v1::Skip { target: None }));
        assert_eq!(group_verb(unnamed).unwrap(), GroupVerb::Skip);
        assert_eq!(group_verb(None).unwrap_err().reason, "ACT_MISSING");
    }

    #[test]
    fn b12_a_reason_is_one_that_incidents_have() {
        assert_eq!(incident_reason("reason", "").unwrap(), None);
        for reason in IncidentReason::ALL {
            let read = incident_reason("reason", reason.as_str());
            assert_eq!(read.unwrap(), Some(reason));
        }
        for text in ["paused", "' OR 1=1", &"X".repeat(1 << 20)] {
            let refusal = incident_reason("reason", text).unwrap_err();
            assert_eq!(refusal.reason, "FILTER_INVALID");
            assert!(refusal.message.len() < 1_000);
        }
    }
}
