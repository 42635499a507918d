//! From a request to a start that a shard can decide: definition, schema, key, home shard, id, room.

use std::sync::Arc;

use amends_core::fact::Started;
use amends_core::key::{hash_128, home_shard};
use amends_core::shard::{Start, StartAnswer, StartKey, StartRefusal};
use amends_core::{SagaId, ShardId};
use amends_definitions::{Definition, Payload, Scope};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::api::StartRequest;
use crate::definitions::Revision;
use crate::lane::{Message, StartOrder, Waiting};
use crate::limits::KEY_BYTES_MAX;
use crate::node::Node;
use crate::reads::revision;
use crate::refusal::{Kind, Refusal};

/// Starts a saga; returns when its start is durable.
pub(crate) async fn start(node: &Node, request: StartRequest) -> Result<StartAnswer, Refusal> {
    node.status.admit()?;
    let namespace = node.namespace(&request.namespace)?;
    let revision = revision(node, &namespace, &request.definition, request.revision).await?;
    let definition = revision.definition.as_ref().map_err(|why| {
        Refusal::new(
            Kind::FailedPrecondition,
            "DEFINITION_UNREADABLE",
            format!("this revision cannot be run: {why}"),
        )
    })?;
    check_input(definition, &request.input)?;
    let key = business_key(definition, request.key, &request.input)?;
    let shard = match &key {
        Some(key) => home_shard(&[&namespace, &revision.name, key], node.lanes.shard_count()),
        None => node.open_shards.next(),
    };
    let ticket = node.load.start(node.lanes.lane_of(shard))?;
    let (reply, answer) = oneshot::channel();
    let start_key = key.as_ref().map(|key| StartKey {
        key_hash: hash_128(key.as_bytes()),
        input_hash: hash_128(&request.input.canonical()),
    });
    let start = Start {
        id: new_id(node, shard),
        started: Started {
            namespace: revision.namespace.clone(),
            definition: revision.name.clone(),
            revision: revision.record.revision,
            hash: revision.record.hash,
            key,
            input: request.input,
            traceparent: request.traceparent,
            tracestate: request.tracestate,
        },
        definition: definition.clone(),
        key: start_key,
        existing: None,
    };
    let order = StartOrder {
        start: Box::new(start),
        waiting: Waiting { reply, ticket },
    };
    node.lanes.send(shard, Message::Start(order));
    match answer.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refusal)) => Err(refused(&refusal, &revision)),
        Err(_) => Err(refused(&StartRefusal::Unavailable, &revision)),
    }
}

fn check_input(definition: &Definition, input: &Payload) -> Result<(), Refusal> {
    let Some(Err(violations)) = definition.input_schema().map(|schema| schema.check(input)) else {
        return Ok(());
    };
    let message = "the input does not satisfy the definition's inputSchema";
    let refusal = Refusal::new(Kind::InvalidArgument, "INPUT_INVALID", message);
    let named = violations
        .into_iter()
        .map(|(pointer, message)| (format!("input{pointer}"), message));
    Err(named.fold(refusal, |refusal, (field, message)| {
        refusal.with_violation(field, message)
    }))
}

/// The request's key and the definition's `key` are one field.
fn business_key(
    definition: &Definition,
    requested: Option<String>,
    input: &Payload,
) -> Result<Option<String>, Refusal> {
    if let Some(key) = &requested {
        check_key(key)?;
    }
    let Some(expression) = definition.key() else {
        return Ok(requested);
    };
    // A key is computed from the input alone: there is no saga yet.
    let scope = Scope::of_input(input);
    let computed = expression.evaluate_key(&scope).map_err(|error| {
        let message = "the definition's key has no value for this input";
        Refusal::new(Kind::InvalidArgument, "KEY_INVALID", message)
            .with_violation("input", error.to_string())
    })?;
    check_key(&computed)?;
    match requested {
        Some(requested) if requested != computed => {
            let message = format!(
                "the request's key {requested:?} is not the one of its input, {computed:?}"
            );
            let refusal = Refusal::new(Kind::InvalidArgument, "KEY_MISMATCH", message);
            Err(refusal.with_violation(
                "key",
                "leave it out, or give the key that the definition computes",
            ))
        }
        _ => Ok(Some(computed)),
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let wrong = if key.is_empty() {
        "must not be empty"
    } else if key.len() > KEY_BYTES_MAX {
        "must not be longer than 512 bytes"
    } else if key.contains('\0') {
        "must not contain U+0000"
    } else {
        return Ok(());
    };
    let refusal = Refusal::new(
        Kind::InvalidArgument,
        "KEY_INVALID",
        format!("a business key {wrong}"),
    );
    Err(refusal.with_violation("key", wrong))
}

fn new_id(node: &Node, shard: ShardId) -> SagaId {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    SagaId::new(node.clock.now(), shard, random)
}

fn refused(refusal: &StartRefusal, revision: &Arc<Revision>) -> Refusal {
    match refusal {
        StartRefusal::KeyReused { saga } => {
            let message = format!(
                "another start of {} has this key, with another input",
                revision.name
            );
            Refusal::new(Kind::AlreadyExists, "KEY_REUSED", message)
                .with_metadata("saga", saga.to_string())
        }
        StartRefusal::Data { message } => {
            let message = format!("the database refuses to store this start: {message}");
            Refusal::new(Kind::InvalidArgument, "RECORD_REFUSED", message)
        }
        StartRefusal::Unavailable => Refusal::unavailable(
            "this node cannot tell whether the saga was started: try again with the same key, which starts it once",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_bounds() {
        assert!(check_key(&"k".repeat(KEY_BYTES_MAX)).is_ok());
        for broken in ["", "a\0b", &"k".repeat(KEY_BYTES_MAX + 1)] {
            assert_eq!(
                check_key(broken).unwrap_err().reason,
                "KEY_INVALID",
                "{broken:?}"
            );
        }
    }
}
