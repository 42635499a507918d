//! What the book can tell people: who is attached, who serves an action, where an attempt is. Only reads.

use amends_core::{AttemptName, SagaId, Time};
use amends_definitions::ActionName;
use tokio::time::Instant;

use super::book::{Book, Instance};
use super::{Registry, floor};
use crate::api::ParticipantView;

/// Where an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// With this instance, since then. It may be about to return: its stream is lost.
    Sent {
        instance: String,
        since: Time,
        attached: bool,
    },
    /// It waits for its action to be served.
    Queued { server: Server },
}

/// Who could take a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Nobody serves its action, since then.
    Nobody { since: Time },
    /// So many instances serve it, and none has room.
    Busy { instances: usize },
}

impl Registry {
    /// Attached instances, by name.
    pub(crate) fn participants(&self, namespace: &str, now: Time) -> Vec<ParticipantView> {
        let book = self.lock();
        let of_namespace = book
            .instances
            .values()
            .filter(|instance| instance.name.namespace == namespace);
        let mut views: Vec<ParticipantView> = of_namespace
            .filter_map(|instance| view(&book, instance, now))
            .collect();
        views.sort_by(|one, other| {
            (&one.participant, &one.instance).cmp(&(&other.participant, &other.instance))
        });
        views
    }

    /// Where the attempts of a saga are that are with a participant, or wait for one.
    pub(crate) fn whereabouts(&self, saga: SagaId, now: Time) -> Vec<(AttemptName, Whereabouts)> {
        let book = self.lock();
        let queued = book
            .queued
            .range(floor(saga)..)
            .take_while(|(attempt, _)| attempt.saga == saga)
            .map(|(attempt, (queue, _))| {
                let queue = book.queues.get(*queue);
                let server = match queue.unserved_since() {
                    Some(since) => Server::Nobody {
                        since: time_of(since, now),
                    },
                    None => Server::Busy {
                        instances: queue.servers(),
                    },
                };
                (attempt.clone(), Whereabouts::Queued { server })
            });
        let sent = book
            .sent
            .range(floor(saga)..)
            .take_while(|(attempt, _)| attempt.saga == saga)
            .filter_map(|(attempt, sent)| {
                let instance = book.instances.get(&sent.instance)?;
                let whereabouts = Whereabouts::Sent {
                    instance: instance.name.instance.clone(),
                    since: time_of(sent.since, now),
                    attached: instance.live.is_some(),
                };
                Some((attempt.clone(), whereabouts))
            });
        queued.chain(sent).collect()
    }
}

fn view(book: &Book, instance: &Instance, now: Time) -> Option<ParticipantView> {
    let live = instance.live.as_ref()?;
    let id = book.by_name.get(&instance.name)?;
    let barrier = |action: &ActionName| {
        let queue = instance.queue_of(action)?;
        Some(book.queues.get(queue).is_behind_barrier(*id))
    };
    let mut actions: Vec<(ActionName, bool)> = (instance.offers.iter())
        .map(|(action, _)| (action.clone(), barrier(action).unwrap_or(false)))
        .collect();
    actions.sort();
    Some(ParticipantView {
        participant: instance.name.participant.clone(),
        instance: instance.name.instance.clone(),
        sdk: instance.sdk.clone(),
        actions,
        credit: live.credit,
        in_hand: instance.in_flight(),
        draining: live.draining,
        attached_at: time_of(live.since, now),
    })
}

fn time_of(instant: Instant, now: Time) -> Time {
    now - instant.elapsed()
}
