//! Two shards, and what is said between them: the parents' and the children's. Messages can be held, lost and repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amends_core::fact::Started;
use amends_core::journal::SagaState;
use amends_core::key::hash_128;
use amends_core::shard::{
    ChildAnswer, ChildRequest, ChildState, ChildWish, Input, Output, Start, StartKey,
};
use amends_core::{SagaId, ShardId};
use amends_definitions::Definition;

use crate::pump::{Pump, definition};

pub struct Family {
    pub parents: Pump,
    pub children: Pump,
    definitions: BTreeMap<String, Arc<Definition>>,
}

impl Family {
    pub fn new(child: &str) -> Self {
        let child = definition(child);
        Self {
            parents: Pump::new(),
            children: Pump::of_shard(ShardId(5)),
            definitions: BTreeMap::from([(child.name().to_owned(), child)]),
        }
    }

    /// Everything that is said arrives, until nobody says anything.
    pub fn talk(&mut self) {
        for _ in 0..1_000 {
            self.run();
            let mail = self.mail();
            if mail.is_empty() {
                return;
            }
            for output in mail {
                self.deliver(output);
            }
        }
        panic!("they never stop");
    }

    pub fn run(&mut self) {
        self.parents.run();
        self.children.run();
    }

    /// What is said and has not arrived.
    pub fn mail(&mut self) -> Vec<Output> {
        let mut mail = std::mem::take(&mut self.parents.mail);
        mail.append(&mut self.children.mail);
        mail
    }

    /// One message arrives.
    pub fn deliver(&mut self, output: Output) {
        match output {
            Output::ResolveChild(request) => {
                let answer = self.resolve(&request);
                self.answer_parent(answer);
            }
            Output::AnswerParent(answer) => self.answer_parent(*answer),
            Output::AskChild(wish) => self.ask_child(*wish),
            other => panic!("nobody carries {other:?}"),
        }
    }

    fn answer_parent(&mut self, answer: ChildAnswer) {
        assert_eq!(answer.parent.saga.shard(), self.parents.shard.id());
        let input = Input::ChildAnswered(Box::new(answer));
        self.parents.shard.handle(input, self.parents.now);
    }

    /// Who looks for the child's definition.
    fn resolve(&self, request: &ChildRequest) -> ChildAnswer {
        let parent = request.parent.clone();
        let state = match self.definitions.get(&request.requested.name) {
            None => ChildState::Refused {
                code: "DEFINITION_NOT_FOUND".into(),
                message: "no such definition".into(),
            },
            Some(definition) => ChildState::Pinned {
                child: SagaId::child(
                    parent.saga,
                    &parent.step,
                    parent.item,
                    parent.round,
                    self.children.shard.id(),
                ),
                revision: 1,
                hash: definition.hash(),
            },
        };
        ChildAnswer { parent, state }
    }

    /// Who makes a start of a wish.
    fn ask_child(&mut self, mut wish: ChildWish) {
        let definition = Arc::clone(&self.definitions[&*wish.start.name]);
        self.children
            .definitions
            .insert(wish.child, Arc::clone(&definition));
        let key = wish.start.key.as_ref().map(|key| StartKey {
            key_hash: hash_128(key.as_bytes()),
            input_hash: hash_128(&wish.start.input.canonical()),
        });
        let existing = key.and_then(|key| self.children.keys.get(&key.key_hash).copied());
        wish.start.resolved = Some(Box::new(Start {
            id: wish.child,
            started: Started {
                namespace: wish.namespace.clone(),
                definition: wish.start.name.clone(),
                revision: wish.start.revision,
                hash: wish.start.hash,
                key: wish.start.key.clone(),
                ordering_key: None,
                concurrency_max: definition.concurrency().map(|limit| limit.max),
                parent: Some(wish.parent.clone()),
                input: wish.start.input.clone(),
                traceparent: None,
                tracestate: None,
            },
            definition,
            key,
            existing,
        }));
        let input = Input::Child(Box::new(wish));
        self.children.shard.handle(input, self.children.now);
    }

    /// Lets time pass for both, timer by timer, and lets them talk.
    pub fn pass(&mut self, time: Duration) {
        let until = self.parents.now + time;
        loop {
            let wakes = [
                self.parents.shard.next_wake(),
                self.children.shard.next_wake(),
            ];
            let next = wakes.into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= until) else {
                break;
            };
            self.set_now(self.parents.now.max(at));
            self.talk();
        }
        self.set_now(until);
        self.talk();
    }

    pub fn set_now(&mut self, now: amends_core::Time) {
        self.parents.now = now;
        self.children.now = now;
    }

    /// The one child that there is.
    pub fn child(&self) -> SagaId {
        assert_eq!(self.children.states.len(), 1, "there is one child (I28)");
        *self.children.states.keys().next().expect("there is one")
    }

    pub fn child_state(&self) -> SagaState {
        self.children.state(self.child())
    }
}
