//! Between parents and children: a parent's shard asks, a task finds out what takes time, the other shard is told.
//!
//! Every question is idempotent, and the parent's shard asks again for as long as no answer is a fact of its own. So what
//! is lost here - the node stops, the store does not answer for long - costs time, and nothing is ever answered wrongly.

use std::sync::Arc;

use amends_core::limits::CHILD_ASKED_AT_REST_AFTER;
use amends_core::shard::{ChildAnswer, ChildRequest, ChildState, ChildWish, Start};
use amends_core::{SagaId, ShardId};

use crate::backoff::Backoff;
use crate::lane::Message;
use crate::node::Node;
use crate::reads::{newest_revision, not_answered};
use crate::refusal::{Kind, Refusal};
use crate::starts::{Beginning, Pinned};
use crate::telemetry;

/// Finds the newest revision of a child's definition, checks the input against it, and answers the parent.
pub(crate) fn resolve(node: &Arc<Node>, request: Box<ChildRequest>) {
    run(node, Errand::Resolve(request), false);
}

/// Makes a wish ready to be decided, and tells the child's shard.
pub(crate) fn ask(node: &Arc<Node>, wish: Box<ChildWish>) {
    run(node, Errand::Ask(wish), false);
}

/// The same once more, after a pause: the store did not say who has the child's key.
pub(crate) fn ask_again(node: &Arc<Node>, wish: Box<ChildWish>) {
    run(node, Errand::Ask(wish), true);
}

/// Tells a parent's shard.
pub(crate) fn answer(node: &Node, answer: Box<ChildAnswer>) {
    let shard = answer.parent.saga.shard();
    if node.lanes.has(shard) {
        node.lanes.send(shard, Message::ChildAnswered(answer));
    }
}

enum Errand {
    Resolve(Box<ChildRequest>),
    Ask(Box<ChildWish>),
}

/// What a run of an errand came to.
enum Errands {
    Answer(Box<ChildAnswer>),
    Tell(Box<ChildWish>),
}

/// Tries until the store answers, or until the parent's shard has asked again in any case. What no answer of the store
/// mends is not tried again meanwhile: it would hold the room that others' errands need.
fn run(node: &Arc<Node>, errand: Errand, pause: bool) {
    let task = node.clone();
    node.tasks.spawn(async move {
        let trying = async {
            // Closed by nobody: an error cannot happen, and would only lift the bound.
            let _room = task.errands.acquire().await;
            let mut backoff = Backoff::new();
            let mut told = false;
            if pause {
                backoff.wait().await;
            }
            loop {
                let refusal = match errand.try_once(&task).await {
                    Ok(done) => return Some(done),
                    Err(refusal) => refusal,
                };
                if !std::mem::replace(&mut told, true) {
                    telemetry::child_waits(&refusal);
                }
                if refusal.kind != Kind::Unavailable {
                    return None;
                }
                backoff.wait().await;
            }
        };
        let bounded = tokio::time::timeout(CHILD_ASKED_AT_REST_AFTER, trying);
        match task.stop.run_until_cancelled(bounded).await {
            Some(Ok(Some(Errands::Answer(said)))) => answer(&task, said),
            Some(Ok(Some(Errands::Tell(wish)))) => {
                task.lanes.send(wish.child.shard(), Message::Child(wish));
            }
            Some(Ok(None) | Err(_)) | None => {}
        }
    });
}

impl Errand {
    /// # Errors
    /// If it cannot be told for now.
    async fn try_once(&self, node: &Node) -> Result<Errands, Refusal> {
        match self {
            Self::Resolve(request) => {
                let state = match pinned(node, request).await {
                    Ok(state) => state,
                    Err(refusal) if refusal.kind == Kind::Unavailable => return Err(refusal),
                    Err(refusal) => ChildState::Refused {
                        code: refusal.reason.to_owned(),
                        message: words(&refusal),
                    },
                };
                let parent = request.parent.clone();
                Ok(Errands::Answer(Box::new(ChildAnswer { parent, state })))
            }
            Self::Ask(wish) => {
                let mut wish = wish.clone();
                wish.start.resolved = Some(Box::new(resolved(node, &wish).await?));
                Ok(Errands::Tell(wish))
            }
        }
    }
}

/// The revision and the id that the child is to have.
async fn pinned(node: &Node, request: &ChildRequest) -> Result<ChildState, Refusal> {
    let asked = &request.requested;
    // Also of a namespace that is not declared any more: its sagas go on.
    let newest = newest_revision(node, &request.namespace, &asked.name).await?;
    let (key, input) = (asked.key.clone(), asked.input.clone());
    let beginning = Beginning::check(node, Pinned::of(&newest)?, key, input)?;
    if !request.may_have_pivot && beginning.can_pass_point_of_no_return() {
        let message = format!(
            "{:?} has a point of no return, behind which it cannot be undone: only a pivot or a retriable step may ask for it",
            asked.name
        );
        return Err(Refusal::new(
            Kind::FailedPrecondition,
            "CHILD_HAS_PIVOT",
            message,
        ));
    }
    let parent = &request.parent;
    // A child that may live anywhere lives with its parent.
    let shard: ShardId = beginning.home.unwrap_or_else(|| parent.saga.shard());
    Ok(ChildState::Pinned {
        child: SagaId::child(parent.saga, &parent.step, parent.item, parent.round, shard),
        revision: beginning.pinned.revision,
        hash: beginning.pinned.hash,
    })
}

/// The start of a pinned child. Its revision fitted when it was pinned: if that cannot be read any more, the database
/// changed under the saga, and nothing is said before it is mended.
async fn resolved(node: &Node, wish: &ChildWish) -> Result<Start, Refusal> {
    let begin = &*wish.start;
    let definition = node.definitions.pinned(&*node.store, begin.hash).await;
    let definition = definition.map_err(|error| not_answered("read a definition", &error))?;
    let definition = definition.map_err(|why| {
        let message = format!("the revision of child {} cannot be read: {why}", wish.child);
        Refusal::new(Kind::FailedPrecondition, "DEFINITION_MISSING", message)
    })?;
    let pinned = Pinned {
        namespace: wish.namespace.clone(),
        name: begin.name.clone(),
        revision: begin.revision,
        hash: begin.hash,
        definition,
    };
    let beginning = Beginning::check(node, pinned, begin.key.clone(), begin.input.clone())?;
    let trace = (begin.traceparent.clone(), begin.tracestate.clone());
    Ok(beginning.into_start(wish.child, Some(wish.parent.clone()), trace))
}

/// The message with what is wrong with each field, in one line.
fn words(refusal: &Refusal) -> String {
    let mut words = refusal.message.clone();
    for (field, wrong) in refusal.violations.iter().take(VIOLATIONS_SAID_MAX) {
        words.push_str(&format!("; {field}: {wrong}"));
    }
    words
}

/// Wrong fields of a child's input that its parent's history names.
const VIOLATIONS_SAID_MAX: usize = 5;
