//! What a start is made of, once its definition, input and keys are known to fit each other. Follows `Beginning` in
//! `engine/orchestrator/src/starts.rs`. Deliberately not here: who asks for it.

use std::sync::Arc;

use amends_core::fact::{Parent, Started};
use amends_core::key::{hash_128, home_shard};
use amends_core::shard::{Start, StartKey};
use amends_core::{SagaId, ShardId};
use amends_definitions::{Definition, Payload, Scope};

use crate::clients::NAMESPACE;

/// A start in the making.
pub struct Beginning {
    definition: Arc<Definition>,
    key: Option<String>,
    ordering_key: Option<String>,
    input: Payload,
    /// Where the saga has to live; none if it may live anywhere.
    pub home: Option<ShardId>,
}

impl Beginning {
    /// None if the input does not fit.
    pub fn check(
        definition: Arc<Definition>,
        key: Option<String>,
        input: Payload,
        shards: u16,
    ) -> Option<Self> {
        let scope = Scope::of_input(&input);
        if definition
            .input_schema()
            .is_some_and(|schema| schema.check(&input).is_err())
        {
            return None;
        }
        let key = match definition.key() {
            Some(own) => Some(own.evaluate_key(&scope).ok()?),
            None => key,
        };
        let ordering_key = match definition.ordering_key() {
            Some(own) => Some(own.evaluate_key(&scope).ok()?),
            None => None,
        };
        let name = definition.name();
        let home = match (definition.concurrency(), &ordering_key, &key) {
            (Some(_), _, _) => Some(home_shard(&[NAMESPACE, name], shards)),
            (None, Some(key), _) | (None, None, Some(key)) => {
                Some(home_shard(&[NAMESPACE, name, key], shards))
            }
            (None, None, None) => None,
        };
        Some(Self {
            definition,
            key,
            ordering_key,
            input,
            home,
        })
    }

    pub fn into_start(self, id: SagaId, parent: Option<Parent>) -> Start {
        let key = self.key.as_ref().map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&self.input.canonical()),
        });
        Start {
            id,
            started: Started {
                namespace: NAMESPACE.into(),
                definition: self.definition.name().into(),
                revision: 1,
                hash: self.definition.hash(),
                key: self.key,
                ordering_key: self.ordering_key,
                concurrency_max: self.definition.concurrency().map(|limit| limit.max),
                parent,
                input: self.input,
                traceparent: None,
                tracestate: None,
            },
            definition: self.definition,
            key,
            existing: None,
        }
    }
}
