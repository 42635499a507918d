//! A participant at the level of the wire, which takes what it is given, holds it until it is told to answer, and keeps
//! books: commands beyond its credit, and which sagas were driven when. The SDK would bound what runs at once by itself,
//! so it cannot tell whether the server keeps to the credit. Deliberately not here: when the server is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amends_proto::v1::attach_request::Message as Sent;
use amends_proto::v1::attach_response::Message as Got;
use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use amends_proto::v1::{
    ActionOffer, AttachRequest, AttemptKey, AttemptOutcome, Command, Credit, Heartbeats, Hello,
    Outcomes, Succeeded, attempt_outcome,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tonic::Status;

use super::workload::result;
use crate::connection::endpoint;
use crate::failure::{Failure, chain};

/// How often a stream that was lost is opened again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How often what is in hand is said to be.
const BEAT: Duration = Duration::from_millis(500);
/// How often held commands are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Keys or outcomes in one message.
const BATCH_MAX: usize = 128;

/// The participant; it ends when it is dropped.
#[derive(Debug)]
pub struct WireParticipant {
    books: Arc<Mutex<Books>>,
    task: JoinHandle<()>,
}

/// What it keeps books of.
#[derive(Debug, Default)]
struct Books {
    /// Answer what comes.
    answers: bool,
    /// Commands in hand.
    in_hand: BTreeMap<(String, u32), String>,
    /// Commands that came without credit for them.
    beyond_credit: u64,
    /// The most that was in hand at once.
    most_in_hand: usize,
    /// Sagas that were driven since it answers.
    driven: BTreeSet<String>,
    /// When so many were.
    goal: Option<(usize, Option<Instant>)>,
    /// Since when, if it lost its stream.
    error: Option<String>,
}

/// What its books say.
#[derive(Clone, Debug)]
pub struct Told {
    /// Commands in hand.
    pub in_hand: usize,
    /// The most that was in hand at once.
    pub most_in_hand: usize,
    /// Commands that came without credit for them.
    pub beyond_credit: u64,
    /// Sagas that were driven since it answers.
    pub driven: usize,
    /// When all were.
    pub all_driven_at: Option<Instant>,
    /// What its stream last said when it was lost.
    pub error: Option<String>,
}

impl WireParticipant {
    /// Attaches, and holds what it is given.
    ///
    /// # Errors
    /// If the address is none.
    pub fn attach(server: &str, credit: u32) -> Result<Self, Failure> {
        let client = ParticipantServiceClient::new(endpoint(server)?.connect_lazy());
        let books = Arc::new(Mutex::new(Books::default()));
        let stream = Stream {
            client,
            credit,
            instance: uuid::Uuid::new_v4().to_string(),
            books: Arc::clone(&books),
        };
        let task = tokio::spawn(async move {
            loop {
                if let Err(status) = stream.converse().await {
                    locked(&stream.books).error = Some(chain(&status));
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Ok(Self { books, task })
    }

    /// From now on answers, and counts which sagas are driven until so many are.
    pub fn answer(&self, sagas: usize) {
        let mut books = locked(&self.books);
        books.answers = true;
        books.goal = Some((sagas, None));
    }

    /// What its books say.
    #[must_use]
    pub fn told(&self) -> Told {
        let books = locked(&self.books);
        Told {
            in_hand: books.in_hand.len(),
            most_in_hand: books.most_in_hand,
            beyond_credit: books.beyond_credit,
            driven: books.driven.len(),
            all_driven_at: books.goal.and_then(|(_, at)| at),
            error: books.error.clone(),
        }
    }
}

impl Drop for WireParticipant {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Stream {
    client: ParticipantServiceClient<tonic::transport::Channel>,
    credit: u32,
    instance: String,
    books: Arc<Mutex<Books>>,
}

impl Stream {
    /// One stream, until it is lost.
    async fn converse(&self) -> Result<(), Status> {
        let (send, requests) = mpsc::unbounded_channel();
        let requests = futures_util::stream::unfold(requests, |mut requests| async {
            Some((requests.recv().await?, requests))
        });
        let (hello, mut allowed) = self.hello();
        let say = |message: Sent| {
            // A stream that is gone says so below.
            let _ = send.send(AttachRequest {
                message: Some(message),
            });
        };
        say(Sent::Hello(hello));
        let mut incoming = self.client.clone().attach(requests).await?.into_inner();
        let mut beat = tokio::time::interval(BEAT);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    if let Some(Got::Commands(commands)) = message.message {
                        self.took(commands.commands, &mut allowed);
                        allowed += self.answered(&say);
                    }
                }
                _ = beat.tick() => self.beats(&say),
                _ = look.tick() => allowed += self.answered(&say),
            }
        }
    }

    /// The credit is what is free beside what is in hand; the wire wants at least one.
    fn hello(&self) -> (Hello, usize) {
        let books = locked(&self.books);
        let free = (self.credit as usize).saturating_sub(books.in_hand.len());
        let credit = free.max(1);
        let hello = Hello {
            protocol_version: amends_proto::PROTOCOL_VERSION,
            namespace: "namespaces/default".to_owned(),
            participant: "bench".to_owned(),
            instance: self.instance.clone(),
            actions: ["bench.work", "bench.undo"]
                .map(|action| ActionOffer {
                    action: action.to_owned(),
                    barrier: false,
                })
                .to_vec(),
            credit: u32::try_from(credit).unwrap_or(u32::MAX),
            in_hand: books.in_hand.keys().map(key).collect(),
            sdk: "amends-bench".to_owned(),
        };
        (hello, credit)
    }

    fn took(&self, commands: Vec<Command>, allowed: &mut usize) {
        let mut books = locked(&self.books);
        let beyond = commands.len().saturating_sub(*allowed);
        books.beyond_credit += beyond as u64;
        *allowed = allowed.saturating_sub(commands.len());
        let keyed = commands
            .into_iter()
            .map(|command| ((command.operation_key, command.attempt), command.saga));
        books.in_hand.extend(keyed);
        books.most_in_hand = books.most_in_hand.max(books.in_hand.len());
    }

    /// Answers what is in hand if it is to, and returns how much credit that gave.
    fn answered(&self, say: &impl Fn(Sent)) -> usize {
        let mut books = locked(&self.books);
        if !books.answers || books.in_hand.is_empty() {
            return 0;
        }
        let held = std::mem::take(&mut books.in_hand);
        let count = held.len();
        let output = Bytes::from(result());
        let mut outcomes = Vec::with_capacity(count);
        for ((operation_key, attempt), saga) in held {
            outcomes.push(AttemptOutcome {
                operation_key,
                attempt,
                outcome: Some(attempt_outcome::Outcome::Succeeded(Succeeded {
                    output: output.clone(),
                })),
                ..AttemptOutcome::default()
            });
            books.driven.insert(saga);
        }
        let driven = books.driven.len();
        if let Some((goal, at)) = &mut books.goal
            && driven >= *goal
        {
            at.get_or_insert_with(Instant::now);
        }
        drop(books);
        while !outcomes.is_empty() {
            let rest = outcomes.split_off(outcomes.len().min(BATCH_MAX));
            let outcomes = std::mem::replace(&mut outcomes, rest);
            say(Sent::Outcomes(Outcomes { outcomes }));
        }
        say(Sent::Credit(Credit {
            commands: u32::try_from(count).unwrap_or(u32::MAX),
        }));
        count
    }

    fn beats(&self, say: &impl Fn(Sent)) {
        let keys: Vec<AttemptKey> = locked(&self.books).in_hand.keys().map(key).collect();
        for keys in keys.chunks(BATCH_MAX) {
            say(Sent::Heartbeats(Heartbeats {
                attempts: keys.to_vec(),
            }));
        }
    }
}

fn key((operation_key, attempt): &(String, u32)) -> AttemptKey {
    AttemptKey {
        operation_key: operation_key.clone(),
        attempt: *attempt,
    }
}
