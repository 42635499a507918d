//! Clients: they start sagas, with and without keys, again after no answer, again with another input; and they cancel. The
//! node's part before a start is decided follows `engine/orchestrator/src/starts.rs`. Deliberately not here: what an answer
//! must be (the checker).

use std::sync::Arc;
use std::time::Duration;

use amends_core::shard::{CancelDisposition, CancelRefusal, Input, Signal, StartRefusal};
use amends_core::{SagaId, ShardId};
use amends_definitions::Payload;

use crate::beginning::Beginning;
use crate::history::{Answer, Ask, Event as Happened, Wish};
use crate::lane::Message;
use crate::marks::Mark;
use crate::node::{Process, Waiter};
use crate::world::{Event, World};

/// The tenant of every saga here.
pub const NAMESPACE: &str = "default";

/// Something that a client asked for.
#[derive(Clone, Debug)]
pub struct Operation {
    pub ask: Ask,
    pub answered: bool,
    /// It is asked again if it stays unanswered.
    patient: bool,
}

impl World {
    /// Clients come at random times within the span.
    pub fn schedule_clients(&mut self) {
        let span = u64::try_from(self.plan.span.as_millis()).expect("short");
        for _ in 0..self.plan.sagas {
            let at = self.dice.millis(5, span);
            self.after(at, Event::Client);
            if self.dice.chance(self.plan.client.cancel) {
                let later = at + self.dice.millis(0, 20_000);
                self.after(later, Event::Client);
            }
        }
    }

    /// Operators come in the second half of the span, when there is something to mend, and once the network has healed.
    pub fn schedule_operators(&mut self) {
        if self.plan.client.operate == 0 {
            return;
        }
        let span = u64::try_from(self.plan.span.as_millis()).expect("short");
        for _ in 0..self.dice.below(16) {
            let at = self.dice.millis(span / 2, span + 60_000);
            self.after(at, Event::Operator);
        }
    }

    /// A client wants something.
    pub fn client(&mut self) {
        // Also those that have expired: a client may not know.
        let sagas: Vec<SagaId> = self.store.all_sagas().map(|saga| saga.id).collect();
        if !sagas.is_empty() && self.dice.chance(self.plan.client.cancel) {
            let saga = *self.dice.pick(&sagas).expect("there are some");
            let other = self.dice.chance(30);
            let namespace = if other { "other" } else { NAMESPACE };
            self.invoke(Ask::Cancel { saga, namespace });
            return;
        }
        if !sagas.is_empty() && self.dice.chance(250) {
            let saga = *self.dice.pick(&sagas).expect("there are some");
            let signal = if self.dice.chance(500) { "go" } else { "more" };
            self.signal(saga, signal);
        }
        if !sagas.is_empty() && self.dice.chance(self.plan.client.operate) {
            self.operate();
            return;
        }
        if self.dice.chance(self.plan.client.repeat)
            && let Some(again) = self.repeated()
        {
            self.invoke(again);
            return;
        }
        let definition = usize::try_from(self.dice.below(3)).expect("few") % self.documents.len();
        let number = self.operations.len();
        let keyed = self.dice.chance(self.plan.client.keyed);
        let own = self.documents[definition].definition.key().is_some();
        let id = format!("k{number}");
        let poison = self.dice.chance(self.plan.store.poison);
        let word = if poison { crate::world::POISON } else { "fine" };
        let (n, who) = (self.dice.below(10), self.dice.below(3));
        let items = ["", "1", "1, 2", "1, 2, 3, 4", "1, 1"]
            [usize::try_from(self.dice.below(5)).expect("few")];
        let due = if self.dice.chance(100) {
            "soon".to_owned()
        } else {
            (self.now + self.dice.millis(0, 200_000)).to_string()
        };
        let ask = Ask::Start {
            definition,
            key: (keyed || own).then(|| id.clone()),
            input: format!(
                "{{\"id\":\"{id}\",\"count\":{n},\"who\":\"w{who}\",\"items\":[{items}],\"due\":\"{due}\",\"word\":\"{word}\"}}"
            ),
            again: None,
        };
        self.invoke(ask);
    }

    /// A start like one before: the same, or its key with another input.
    fn repeated(&mut self) -> Option<Ask> {
        let keyed: Vec<Ask> = self
            .operations
            .iter()
            .map(|operation| operation.ask.clone())
            .filter(|ask| matches!(ask, Ask::Start { key: Some(_), .. }))
            .collect();
        let Ask::Start {
            definition,
            key,
            mut input,
            ..
        } = self.dice.pick(&keyed)?.clone()
        else {
            return None;
        };
        if self.dice.chance(300) {
            input = input.replace("\"word\":\"fine\"", "\"word\":\"other\"");
        } else {
            self.marks.hit(Mark::StartRepeated);
        }
        Some(Ask::Start {
            definition,
            key,
            input,
            again: None,
        })
    }

    fn invoke(&mut self, ask: Ask) {
        let number = u32::try_from(self.operations.len()).expect("few");
        let patient = !self.dice.chance(self.plan.client.gives_up);
        self.happened(Happened::Asked {
            operation: number,
            ask: ask.clone(),
        });
        let node = self.route_to(&ask);
        self.operations.push(Operation {
            ask,
            answered: false,
            patient,
        });
        let delay = self.hop();
        self.after(delay, Event::Request(number, node));
        self.after(Duration::from_secs(30), Event::Impatient(number));
    }

    /// The node that a client's request is led to: mostly the owner.
    fn route_to(&mut self, ask: &Ask) -> usize {
        let any = usize::try_from(self.dice.below(1_000)).expect("few") % self.nodes.len();
        if !self.calm() && self.dice.chance(self.plan.client.wrong_node) {
            return any;
        }
        let shard = match ask {
            Ask::Start {
                definition,
                key,
                input,
                ..
            } => {
                let definition = Arc::clone(&self.documents[*definition].definition);
                let input = Payload::trusted(input.clone().into_bytes().into());
                let (key, shards) = (key.clone(), self.plan.shards);
                let home = Beginning::check(definition, key, input, shards)
                    .and_then(|beginning| beginning.home);
                if home.is_none() {
                    let up = |node: &usize| self.nodes[*node].process != Process::Down;
                    return (0..self.nodes.len()).rfind(up).unwrap_or(any);
                }
                home
            }
            Ask::Cancel { saga, .. } | Ask::Signal { saga, .. } | Ask::Order { saga, .. } => {
                Some(saga.shard())
            }
        };
        shard
            .and_then(|shard| self.store.owner(shard))
            .unwrap_or(any)
    }

    /// A request reaches a node.
    pub fn request(&mut self, operation: u32, node: usize) {
        let ask = self.operations[operation as usize].ask.clone();
        match ask {
            Ask::Start {
                definition,
                key,
                input,
                ..
            } => self.request_start(operation, node, definition, key, &input),
            Ask::Signal {
                saga,
                signal,
                dedupe,
            } => self.request_signal(operation, node, saga, signal, dedupe),
            Ask::Order { saga, wish } => self.request_order(operation, node, saga, &wish),
            Ask::Cancel { saga, namespace } => {
                let target = &mut self.nodes[node];
                let token = target.wait(Waiter::Client(operation));
                let input = Input::Cancel {
                    token,
                    namespace: namespace.into(),
                    saga,
                    by: "ann".into(),
                    reason: "changed her mind".into(),
                };
                let lane = target.lane_of(saga.shard());
                self.tell(node, lane, Message::Input(saga.shard(), input));
            }
        }
    }

    fn request_signal(
        &mut self,
        operation: u32,
        node: usize,
        saga: SagaId,
        signal: &'static str,
        dedupe: Option<String>,
    ) {
        let target = &mut self.nodes[node];
        let token = target.wait(Waiter::Client(operation));
        let signal = Signal {
            namespace: NAMESPACE.into(),
            saga,
            signal: signal.to_owned(),
            payload: Payload::trusted(b"{\"count\":1}".to_vec().into()),
            by: "ann".into(),
            dedupe_id: dedupe,
        };
        let lane = target.lane_of(saga.shard());
        let signal = Box::new(signal);
        let input = Input::Signal { token, signal };
        self.tell(node, lane, Message::Input(saga.shard(), input));
    }

    fn request_order(&mut self, operation: u32, node: usize, saga: SagaId, wish: &Wish) {
        let target = &mut self.nodes[node];
        let token = target.wait(Waiter::Client(operation));
        let lane = target.lane_of(saga.shard());
        let order = Box::new(crate::operators::order(saga, wish));
        let input = Input::Order { token, order };
        self.tell(node, lane, Message::Input(saga.shard(), input));
    }

    /// Somebody sends a signal.
    pub fn signal(&mut self, saga: SagaId, signal: &'static str) {
        let dedupe = self.dice.chance(300).then(|| format!("the-one-{signal}"));
        self.invoke(Ask::Signal {
            saga,
            signal,
            dedupe,
        });
    }

    /// An operator acts.
    pub fn order(&mut self, saga: SagaId, wish: Wish) {
        self.invoke(Ask::Order { saga, wish });
    }

    fn request_start(
        &mut self,
        operation: u32,
        node: usize,
        definition: usize,
        key: Option<String>,
        input: &str,
    ) {
        let document = &self.documents[definition];
        let definition = crate::planted::definition(&document.definition, self.plant);
        let input = Payload::check(input.to_owned().into_bytes().into()).expect("it is JSON");
        let beginning = Beginning::check(definition, key, input, self.plan.shards);
        let beginning = beginning.expect("clients know what fits");
        let any = self.dice.pick(&self.nodes[node].shards()).copied();
        let Some(shard) = beginning.home.or(any) else {
            let refused = Answer::Started(Err(StartRefusal::Unavailable));
            self.after(Duration::from_millis(1), Event::Replied(operation, refused));
            return;
        };
        let random = self.dice.number();
        let target = &mut self.nodes[node];
        let now = target.clock.now(self.now);
        let start = beginning.into_start(SagaId::new(now, shard, random), None);
        let token = target.wait(Waiter::Client(operation));
        let lane = target.lane_of(shard);
        self.tell(node, lane, Message::Start(token, Box::new(start)));
    }

    /// A client is answered.
    pub fn replied(&mut self, operation: u32, answer: Answer) {
        self.operations[operation as usize].answered = true;
        match &answer {
            Answer::Started(Ok(_)) => {}
            Answer::Started(Err(StartRefusal::KeyReused { .. })) => {
                self.marks.hit(Mark::StartKeyReused);
            }
            Answer::Started(Err(StartRefusal::Data { .. })) => self.marks.hit(Mark::StartRefused),
            Answer::Started(Err(StartRefusal::Unavailable)) => self.try_again(operation),
            Answer::Started(Err(StartRefusal::LimitReached { .. })) => {
                self.marks.hit(Mark::LimitReached);
            }
            Answer::Cancelled(Err(CancelRefusal::NotFound)) => {
                let ask = &self.operations[operation as usize].ask;
                let own = matches!(ask, Ask::Cancel { namespace, .. } if *namespace == NAMESPACE);
                self.marks.hit_if(own, Mark::CancelOfExpired);
                self.marks.hit_if(!own, Mark::CancelOfOtherNamespace);
            }
            Answer::Cancelled(result) => self.mark_cancel(result),
            Answer::Signalled(result) => {
                self.marks.hit_if(*result == Ok(true), Mark::SignalAccepted);
                self.marks
                    .hit_if(*result == Ok(false), Mark::SignalRepeated);
            }
            Answer::Acted(result) => {
                self.marks.hit_if(result.is_ok(), Mark::OrderObeyed);
                self.marks.hit_if(result.is_err(), Mark::OrderRefused);
            }
        }
        self.happened(Happened::Answered { operation, answer });
    }

    fn mark_cancel(&mut self, result: &Result<CancelDisposition, CancelRefusal>) {
        let mark = match result {
            Ok(CancelDisposition::Aborted) => Mark::CancelAborted,
            Ok(CancelDisposition::AlreadyAborted) => Mark::CancelRepeated,
            Ok(CancelDisposition::Pending) => Mark::CancelPending,
            Err(CancelRefusal::Ended { .. }) => Mark::CancelEnded,
            Err(CancelRefusal::BehindPointOfNoReturn) => Mark::CancelTooLate,
            Err(
                CancelRefusal::NotFound | CancelRefusal::Unreadable | CancelRefusal::Unavailable,
            ) => return,
        };
        self.marks.hit(mark);
    }

    /// A client has waited long enough.
    pub fn impatient(&mut self, operation: u32) {
        if self.is_dark() {
            // A day of tries would teach nothing.
            return self.after(Duration::from_secs(3_600), Event::Impatient(operation));
        }
        if !self.operations[operation as usize].answered {
            self.try_again(operation);
        }
    }

    /// Whether a start happened is not known: with its key it can be asked again.
    fn try_again(&mut self, operation: u32) {
        let asked = &mut self.operations[operation as usize];
        if !std::mem::take(&mut asked.patient) {
            return;
        }
        let Ask::Start {
            definition,
            key: Some(key),
            input,
            ..
        } = asked.ask.clone()
        else {
            return;
        };
        self.marks.hit(Mark::StartRetriedAfterUnknown);
        self.invoke(Ask::Start {
            definition,
            key: Some(key),
            input,
            again: Some(operation),
        });
    }

    /// The shard of a request is nobody's: for routing alone.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.plan.shards).map(ShardId)
    }
}
