//! From a request to a start that a shard can decide: schema, key, home shard, id, room. Who orders it and who is told what
//! became of it is in `starter`.

use std::sync::Arc;

use amends_core::fact::{Parent, Started};
use amends_core::key::{hash_128, home_shard};
use amends_core::shard::{Start, StartKey, StartRefusal};
use amends_core::{SagaId, ShardId};
use amends_definitions::{Definition, DefinitionHash, Kind as StepKind, Payload, Scope};
use uuid::Uuid;

use crate::api::StartRequest;
use crate::definitions::Revision;
use crate::limits::{KEY_BYTES_MAX, OVERLOAD_RETRY_AFTER};
use crate::node::Node;
use crate::refusal::{Kind, Refusal};
use crate::status::Ticket;

/// A revision that a saga is to be pinned to.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) revision: u32,
    pub(crate) hash: DefinitionHash,
    pub(crate) definition: Arc<Definition>,
}

/// What a start is made of, once its definition, input and keys are known to fit each other.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) pinned: Pinned,
    key: Option<String>,
    ordering_key: Option<String>,
    input: Payload,
    /// Where the saga has to live; none if it may live anywhere.
    pub(crate) home: Option<ShardId>,
}

/// A start that may be ordered.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) start: Box<Start>,
    /// The definition's.
    pub(crate) name: Arc<str>,
    /// Its room among what waits in its lane.
    pub(crate) ticket: Ticket,
}

/// Makes of a request what its lane needs, and finds the lane room: everything but the order itself.
pub(crate) fn check(
    node: &Node,
    revision: &Revision,
    request: StartRequest,
) -> Result<Ready, Refusal> {
    let pinned = Pinned::of(revision)?;
    let name = pinned.name.clone();
    let beginning = Beginning::check(node, pinned, request.key, request.input)?;
    let shard = beginning.home.unwrap_or_else(|| node.open_shards.next());
    let ticket = node.load.start(node.lanes.lane_of(shard))?;
    let trace = (request.traceparent, request.tracestate);
    let start = Box::new(beginning.into_start(new_id(node, shard), None, trace));
    Ok(Ready {
        start,
        name,
        ticket,
    })
}

impl Pinned {
    /// # Errors
    /// If this version cannot read the revision.
    pub(crate) fn of(revision: &Revision) -> Result<Self, Refusal> {
        let definition = revision.definition.clone().map_err(|why| {
            Refusal::new(
                Kind::FailedPrecondition,
                "DEFINITION_UNREADABLE",
                format!("this revision cannot be run: {why}"),
            )
        })?;
        Ok(Self {
            namespace: revision.namespace.clone(),
            name: revision.name.clone(),
            revision: revision.record.revision,
            hash: revision.record.hash,
            definition,
        })
    }
}

impl Beginning {
    /// Checks an input and a key against a revision, and computes what is computed from the input alone.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn check(
        node: &Node,
        pinned: Pinned,
        key: Option<String>,
        input: Payload,
    ) -> Result<Self, Refusal> {
        let definition = &*pinned.definition;
        check_input(definition, &input)?;
        let key = business_key(definition, key, &input)?;
        let ordering_key = ordering_key(definition, &input)?;
        // Sagas that wait for each other live together, so that one owner knows their order.
        let (namespace, name) = (&*pinned.namespace, &*pinned.name);
        let shards = node.lanes.shard_count();
        let home = match (definition.concurrency(), &ordering_key, &key) {
            (Some(_), _, _) => Some(home_shard(&[namespace, name], shards)),
            (None, Some(key), _) | (None, None, Some(key)) => {
                Some(home_shard(&[namespace, name, key], shards))
            }
            (None, None, None) => None,
        };
        Ok(Self {
            pinned,
            key,
            ordering_key,
            input,
            home,
        })
    }

    /// The definition has a point of no return: a saga of it may come to where it cannot be undone.
    pub(crate) fn can_pass_point_of_no_return(&self) -> bool {
        let only_forward = |step: &amends_definitions::Step| step.kind() != StepKind::Compensatable;
        self.pinned.definition.steps().iter().any(only_forward)
    }

    /// The start, ready to be decided but for the look-up of its key.
    pub(crate) fn into_start(
        self,
        id: SagaId,
        parent: Option<Parent>,
        (traceparent, tracestate): (Option<String>, Option<String>),
    ) -> Start {
        let key = self.key.as_ref().map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&self.input.canonical()),
        });
        let definition = self.pinned.definition;
        Start {
            id,
            started: Started {
                namespace: self.pinned.namespace,
                definition: self.pinned.name,
                revision: self.pinned.revision,
                hash: self.pinned.hash,
                key: self.key,
                ordering_key: self.ordering_key,
                concurrency_max: definition.concurrency().map(|limit| limit.max),
                parent,
                input: self.input,
                traceparent,
                tracestate,
            },
            definition,
            key,
            existing: None,
        }
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

/// Sagas with the same ordering key run one after the other.
fn ordering_key(definition: &Definition, input: &Payload) -> Result<Option<String>, Refusal> {
    let Some(expression) = definition.ordering_key() else {
        return Ok(None);
    };
    let computed = expression
        .evaluate_key(&Scope::of_input(input))
        .map_err(|error| {
            let message = "the definition's orderingKey has no value for this input";
            Refusal::new(Kind::InvalidArgument, "ORDERING_KEY_INVALID", message)
                .with_violation("input", error.to_string())
        })?;
    Ok(Some(computed))
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

/// What a shard's refusal is to the caller.
pub(crate) fn refused(refusal: &StartRefusal, name: &str) -> Refusal {
    match refusal {
        StartRefusal::KeyReused { saga } => {
            let message = format!("another start of {name} has this key, with another input");
            Refusal::new(Kind::AlreadyExists, "KEY_REUSED", message)
                .with_metadata("saga", saga.to_string())
        }
        StartRefusal::LimitReached { max } => {
            let message = format!(
                "{max} sagas of {name} run, which is as many as its concurrency allows: try again when one has ended"
            );
            let kind = Kind::ResourceExhausted {
                retry_after: Some(OVERLOAD_RETRY_AFTER),
            };
            Refusal::new(kind, "CONCURRENCY_LIMIT", message).with_metadata("max", max.to_string())
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
