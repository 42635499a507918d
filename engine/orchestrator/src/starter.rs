//! Starting many sagas and hearing what becomes of them. One caller has one channel: a start costs it a number and two
//! events at most, no task, no timer and no read. How a saga settled rides on the commit that settled it; only a start that
//! finds its saga by the key has to read, since that saga may have settled long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amends_core::SagaId;
use amends_core::journal::SagaState;
use amends_core::saga::Saga;
use amends_core::shard::{StartAnswer, StartRefusal};
use tokio::sync::mpsc;

use crate::api::StartRequest;
use crate::backoff::Backoff;
use crate::definitions::Revision;
use crate::lane::{Message, StartOrder};
use crate::limits::SETTLED_BYTES_MAX;
use crate::node::Node;
use crate::reads;
use crate::refusal::{Kind, Refusal};
use crate::starts::{self, Ready};
use crate::status::Ticket;

/// One start of many.
#[derive(Debug)]
pub struct StartItem {
    /// The caller's own number for it.
    pub sequence: u64,
    /// Tell how the saga settles as well.
    pub tell_settled: bool,
    /// What to start.
    pub request: StartRequest,
}

/// Something that became of a start.
#[derive(Debug)]
pub enum StartEvent {
    /// The saga's start is durable, or there is none. Told once of each start.
    Answered {
        /// The caller's number.
        sequence: u64,
        /// The saga, or why there is none.
        result: Result<StartAnswer, Box<Refusal>>,
    },
    /// The saga has ended or is parked. Told once, after the answer, if the caller asked for it: of a saga that existed
    /// already only after [`Starter::catch_up`].
    Settled {
        /// The caller's number.
        sequence: u64,
        /// Which saga.
        saga: SagaId,
        /// How.
        settlement: Settlement,
    },
}

/// How a saga settled.
#[derive(Debug)]
pub struct Settlement {
    /// Where it is; none if it had ended before its start was repeated, and retention has deleted it since.
    pub state: Option<SagaState>,
    /// The saga; none if it cannot be read, or if too much waits for the caller to take it.
    pub saga: Option<Arc<Saga>>,
    /// The saga is left out, because too much waits for the caller to take it.
    pub omitted: bool,
    _held: Option<Held>,
}

/// Starts sagas for one caller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Starter {
    node: Arc<Node>,
    teller: Teller,
}

impl Starter {
    pub(crate) fn new(node: Arc<Node>) -> (Self, mpsc::UnboundedReceiver<StartEvent>) {
        let (events, told) = mpsc::unbounded_channel();
        let teller = Teller(Arc::new(Channel {
            events,
            held_bytes: Arc::default(),
        }));
        (Self { node, teller }, told)
    }

    /// Orders starts, in their order; each is answered by an event. The caller bounds how many are unanswered.
    pub async fn start(&self, items: Vec<StartItem>) {
        let admitted = self.node.status.admit();
        let mut orders = Vec::with_capacity(items.len());
        let mut known = None;
        for item in items {
            let StartItem {
                sequence,
                tell_settled,
                request,
            } = item;
            let ready = match &admitted {
                Ok(()) => self.ready(request, &mut known).await,
                Err(refusal) => Err(refusal.clone()),
            };
            match ready {
                Ok(Ready {
                    start,
                    name,
                    ticket,
                }) => orders.push(StartOrder {
                    start,
                    caller: Caller {
                        told: Some(self.teller.clone()),
                        sequence,
                        tell_settled,
                        name,
                        _ticket: ticket,
                    },
                }),
                Err(refusal) => self.refuse(sequence, refusal),
            }
        }
        let lanes = &self.node.lanes;
        lanes.scatter(orders, |order| order.start.id.shard(), Message::Starts);
    }

    /// Answers a start that is refused before it is ordered.
    pub fn refuse(&self, sequence: u64, refusal: Refusal) {
        self.teller.tell(StartEvent::Answered {
            sequence,
            result: Err(Box::new(refusal)),
        });
    }

    /// Tells how a saga settles that existed before its start: at once if it has, else when it does. Resolves when that is
    /// known, however long the store does not answer.
    pub async fn catch_up(&self, namespace: &str, sequence: u64, saga: SagaId) {
        // Listen first, then read: what changes in between is not missed.
        let listener = Listener {
            sequence,
            teller: self.teller.clone(),
        };
        let subscriptions = &self.node.subscriptions;
        subscriptions.listen(saga, listener.clone());
        let mut backoff = Backoff::new();
        let found = loop {
            match reads::saga(&self.node, namespace, saga).await {
                Ok(view) => break Some(view),
                Err(refusal) if refusal.kind == Kind::NotFound => break None,
                Err(_) => backoff.wait().await,
            }
        };
        let (state, saga_then) = match found {
            None => (None, None),
            Some(view) => match view.saga {
                Ok(found) => (Some(found.state()), Some(Arc::new(found))),
                Err(_) => (Some(SagaState::Parked), None),
            },
        };
        let settled = state.is_none_or(SagaState::is_settled);
        // Whoever takes the listener away tells: so it is told once.
        if settled && subscriptions.unlisten(saga, &listener) {
            listener.tell(saga, state, saga_then);
        }
    }

    async fn ready(
        &self,
        request: StartRequest,
        known: &mut Option<Known>,
    ) -> Result<Ready, Refusal> {
        // Most messages are about one definition.
        let revision = match known {
            Some(known) if known.is_of(&request) => known.revision.clone(),
            Some(_) | None => {
                let (namespace, name) = (&request.namespace, &request.definition);
                let number = request.revision;
                let revision = reads::revision(&self.node, namespace, name, number).await?;
                *known = Some(Known {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    number,
                    revision: revision.clone(),
                });
                revision
            }
        };
        starts::check(&self.node, &revision, request)
    }
}

/// Starts a saga; returns when its start is durable.
pub(crate) async fn start_one(
    node: &Arc<Node>,
    request: StartRequest,
) -> Result<StartAnswer, Refusal> {
    let (starter, mut events) = Starter::new(node.clone());
    let item = StartItem {
        sequence: 0,
        tell_settled: false,
        request,
    };
    starter.start(vec![item]).await;
    match events.recv().await {
        Some(StartEvent::Answered { result, .. }) => result.map_err(|refusal| *refusal),
        Some(StartEvent::Settled { .. }) | None => Err(unavailable()),
    }
}

/// A revision that a start before asked for.
#[derive(Debug)]
struct Known {
    namespace: String,
    name: String,
    number: Option<u32>,
    revision: Arc<Revision>,
}

impl Known {
    fn is_of(&self, request: &StartRequest) -> bool {
        self.number == request.revision
            && self.name == request.definition
            && self.namespace == request.namespace
    }
}

/// The caller's channel.
#[derive(Clone, Debug)]
struct Teller(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    events: mpsc::UnboundedSender<StartEvent>,
    /// Payload bytes of settled sagas that the caller has not taken yet.
    held_bytes: Arc<AtomicUsize>,
}

impl Teller {
    fn tell(&self, event: StartEvent) {
        // The caller may have gone.
        let _ = self.0.events.send(event);
    }
}

/// Who is told what became of a start. Dropping it tells them that it cannot be said.
#[derive(Debug)]
pub(crate) struct Caller {
    told: Option<Teller>,
    sequence: u64,
    tell_settled: bool,
    /// The definition's.
    name: Arc<str>,
    _ticket: Ticket,
}

impl Caller {
    /// Tells the answer. If it is to be told as well how the saga settles, and the saga is new: who listens for that.
    pub(crate) fn answer(
        mut self,
        result: Result<StartAnswer, StartRefusal>,
    ) -> Option<(SagaId, Listener)> {
        let teller = self.told.take()?;
        let created = match &result {
            Ok(answer) if answer.created => Some(answer.saga),
            Ok(_) | Err(_) => None,
        };
        teller.tell(StartEvent::Answered {
            sequence: self.sequence,
            result: result.map_err(|refusal| Box::new(starts::refused(&refusal, &self.name))),
        });
        let sequence = self.sequence;
        created
            .filter(|_| self.tell_settled)
            .map(|saga| (saga, Listener { sequence, teller }))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(teller) = self.told.take() {
            teller.tell(StartEvent::Answered {
                sequence: self.sequence,
                result: Err(Box::new(unavailable())),
            });
        }
    }
}

/// Who is told how a saga settles.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    sequence: u64,
    teller: Teller,
}

impl Listener {
    /// Nobody takes what it is told.
    pub(crate) fn has_gone(&self) -> bool {
        self.teller.0.events.is_closed()
    }

    /// They are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.sequence == other.sequence && Arc::ptr_eq(&self.teller.0, &other.teller.0)
    }

    /// The saga has ended, or is parked.
    pub(crate) fn settled(&self, saga: SagaId, state: SagaState, settled: Option<Arc<Saga>>) {
        self.tell(saga, Some(state), settled);
    }

    fn tell(&self, saga: SagaId, state: Option<SagaState>, settled: Option<Arc<Saga>>) {
        let mut settlement = Settlement {
            state,
            saga: None,
            omitted: false,
            _held: None,
        };
        if let Some(settled) = settled {
            let bytes = usize::try_from(settled.payload_bytes()).unwrap_or(usize::MAX);
            match Held::take(&self.teller.0.held_bytes, bytes) {
                Some(held) => {
                    settlement.saga = Some(settled);
                    settlement._held = Some(held);
                }
                None => settlement.omitted = true,
            }
        }
        self.teller.tell(StartEvent::Settled {
            sequence: self.sequence,
            saga,
            settlement,
        });
    }
}

/// Bytes that wait for a caller; given back when dropped.
#[derive(Debug)]
struct Held {
    held_bytes: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    /// One saga always fits: else a large one would never be told whole.
    fn take(held_bytes: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let fits = |held: usize| {
            let sum = held.saturating_add(bytes);
            (held == 0 || sum <= SETTLED_BYTES_MAX).then_some(sum)
        };
        held_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        Some(Self {
            held_bytes: held_bytes.clone(),
            bytes,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Nobody can say whether the saga was started.
fn unavailable() -> Refusal {
    starts::refused(&StartRefusal::Unavailable, "")
}

#[cfg(test)]
mod tests {
    use amends_core::{ShardId, Time};

    use super::*;
    use crate::status::Load;

    fn teller() -> (Teller, mpsc::UnboundedReceiver<StartEvent>) {
        let (events, told) = mpsc::unbounded_channel();
        let held_bytes = Arc::default();
        (Teller(Arc::new(Channel { events, held_bytes })), told)
    }

    fn caller(teller: &Teller, tell_settled: bool) -> Caller {
        let load = Load::new(1, 10, 10);
        Caller {
            told: Some(teller.clone()),
            sequence: 7,
            tell_settled,
            name: "order".into(),
            _ticket: load.start(0).expect("there is room"),
        }
    }

    fn answer(created: bool) -> StartAnswer {
        StartAnswer {
            saga: SagaId::new(Time::from_micros(1_000_000), ShardId(0), 1),
            created,
            revision: 1,
        }
    }

    #[test]
    fn only_who_asked_listens_and_only_to_a_saga_that_is_new() {
        let (teller, _told) = teller();
        let listens = |asked, created| {
            let listener = caller(&teller, asked).answer(Ok(answer(created)));
            listener.is_some()
        };
        assert!(listens(true, true));
        assert!(!listens(true, false) && !listens(false, true));
        let refused = caller(&teller, true).answer(Err(StartRefusal::Unavailable));
        assert!(refused.is_none());
    }

    #[test]
    fn a_caller_that_is_dropped_is_told_once_that_nobody_knows() {
        let (teller, mut told) = teller();
        drop(caller(&teller, true));
        caller(&teller, false).answer(Ok(answer(true)));
        let mut reasons = Vec::new();
        while let Ok(StartEvent::Answered { sequence, result }) = told.try_recv() {
            reasons.push((sequence, result.map_err(|refusal| refusal.reason)));
        }
        assert_eq!(reasons, [(7, Err("UNAVAILABLE")), (7, Ok(answer(true)))]);
    }

    #[test]
    fn payloads_are_held_up_to_their_bound_and_one_saga_always() {
        let held_bytes = Arc::default();
        let large = Held::take(&held_bytes, SETTLED_BYTES_MAX + 1);
        assert!(large.is_some() && Held::take(&held_bytes, 1).is_none());
        drop(large);
        let most = Held::take(&held_bytes, SETTLED_BYTES_MAX - 1);
        let last = Held::take(&held_bytes, 1);
        assert!(most.is_some() && last.is_some());
        assert!(Held::take(&held_bytes, 1).is_none());
        drop((most, last));
        assert_eq!(held_bytes.load(Ordering::Relaxed), 0);
    }
}
