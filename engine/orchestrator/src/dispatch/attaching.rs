//! Instances come, come again, and do not come back: what that means for what they were sent.

use std::collections::{BTreeSet, VecDeque};

use amends_core::AttemptName;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::book::{Book, Instance, Live, Name, Outbox};
use super::offers::Turns;
use super::{Attachment, Delivery, InstanceId};

impl Book {
    /// An instance attaches, maybe again.
    pub(super) fn attach(
        &mut self,
        attachment: &Attachment,
        in_hand: BTreeSet<AttemptName>,
        deliveries: mpsc::UnboundedSender<Delivery>,
        outbox: &mut Outbox,
    ) -> (InstanceId, u64) {
        let session = self.next();
        let id = self.enter(attachment, session);
        let offers: Vec<_> = (attachment.actions.iter())
            .map(|(action, barrier)| {
                let queue = self.queues.find_or_make(&attachment.namespace, action);
                self.queues.get_mut(queue).offer(id, *barrier);
                (action.clone(), queue)
            })
            .collect();
        self.hold(id, &in_hand);
        let Some(instance) = self.instances.get_mut(&id) else {
            return (id, session);
        };
        instance.offers = offers;
        let missing: Vec<AttemptName> = instance.sent.difference(&in_hand).cloned().collect();
        let credit = attachment.credit;
        instance.live = Some(Live {
            deliveries,
            credit,
            draining: false,
            since: Instant::now(),
            resend: VecDeque::new(),
        });
        self.send_again(id, missing, outbox);
        self.adopt(id, &in_hand, outbox);
        self.pull(id, outbox);
        (id, session)
    }

    /// The instance did not return within its lease.
    pub(super) fn expire(
        &mut self,
        id: InstanceId,
        session: u64,
        outbox: &mut Outbox,
    ) -> Option<(Name, usize)> {
        let instance = self.instances.get(&id)?;
        if instance.session != session || instance.live.is_some() {
            return None;
        }
        let instance = self.instances.remove(&id)?;
        self.by_name.remove(&instance.name);
        for (_, queue) in &instance.offers {
            self.queues.withdraw_offer(*queue, id);
        }
        for attempt in &instance.held {
            self.held.remove(attempt);
        }
        let in_flight = instance.sent.len();
        for attempt in instance.sent {
            self.sent.remove(&attempt);
            outbox.lost.push((instance.name.clone(), attempt));
        }
        Some((instance.name, in_flight))
    }

    fn enter(&mut self, attachment: &Attachment, session: u64) -> InstanceId {
        let name = Name {
            namespace: attachment.namespace.clone(),
            participant: attachment.participant.clone(),
            instance: attachment.instance.clone(),
        };
        if let Some(id) = self.by_name.get(&name).copied()
            && let Some(instance) = self.instances.get_mut(&id)
        {
            instance.live = None;
            instance.session = session;
            instance.sdk.clone_from(&attachment.sdk);
            for (_, queue) in std::mem::take(&mut instance.offers) {
                self.queues.withdraw_offer(queue, id);
            }
            return id;
        }
        let id = InstanceId(self.next());
        self.by_name.insert(name.clone(), id);
        let instance = Instance {
            name,
            sdk: attachment.sdk.clone(),
            live: None,
            session,
            offers: Vec::new(),
            turns: Turns::default(),
            sent: BTreeSet::new(),
            held: BTreeSet::new(),
        };
        self.instances.insert(id, instance);
        id
    }

    /// What the instance says it has in hand now takes the place of what it said before.
    fn hold(&mut self, id: InstanceId, in_hand: &BTreeSet<AttemptName>) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        for attempt in std::mem::replace(&mut instance.held, in_hand.clone()) {
            self.held.remove(&attempt);
        }
        for attempt in in_hand {
            let before = self.held.insert(attempt.clone(), id);
            if let Some(other) = before.and_then(|other| self.instances.get_mut(&other)) {
                other.held.remove(attempt);
            }
        }
    }

    /// What was sent on the stream before and did not arrive: the same attempts again, unless their action is not served
    /// any more.
    fn send_again(&mut self, id: InstanceId, missing: Vec<AttemptName>, outbox: &mut Outbox) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        for attempt in missing {
            let Some(sent) = self.sent.get(&attempt) else {
                continue;
            };
            if instance.queue_of(&sent.command.action).is_some() {
                if let Some(live) = &mut instance.live {
                    live.resend.push_back(attempt);
                }
            } else {
                instance.sent.remove(&attempt);
                self.sent.remove(&attempt);
                outbox.lost.push((instance.name.clone(), attempt));
            }
        }
    }

    /// What is queued here and already in the instance's hand, from an earlier life of this node, is not sent again.
    fn adopt(&mut self, id: InstanceId, in_hand: &BTreeSet<AttemptName>, outbox: &mut Outbox) {
        for attempt in in_hand {
            let Some((queue, place)) = self.queued.get(attempt).copied() else {
                continue;
            };
            let Some(command) = self.queues.get(queue).commands.get(&place) else {
                continue;
            };
            if self.holder(attempt, &command.action) != Some(id) {
                continue;
            }
            self.queued.remove(attempt);
            if let Some(command) = self.queues.get_mut(queue).commands.remove(&place) {
                self.note_sent(attempt.clone(), command, id);
                outbox.sent.push(attempt.clone());
            }
        }
    }
}
