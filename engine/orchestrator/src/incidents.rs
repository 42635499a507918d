//! Open incidents: lists, groups of those that have a cause in common, and acts on a whole group, one saga after the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use amends_core::journal::IncidentInsert;
use amends_core::shard::{Target, Verb};
use amends_core::{OperationKind, SagaId, Time};
use amends_store::{IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery};
use tokio::time::Instant;

use crate::api::{ActRequest, GroupActed, GroupRequest, GroupVerb};
use crate::limits::{GROUP_PAGE_INCIDENTS, GROUP_RATE_MAX};
use crate::node::Node;
use crate::operating;
use crate::reads::not_answered;
use crate::refusal::{Kind, Refusal};

/// A page of open incidents.
pub(crate) async fn list(
    node: &Node,
    query: &IncidentQuery,
) -> Result<Vec<IncidentInsert>, Refusal> {
    node.namespace(&query.filter.namespace)?;
    let page = node.store.list_incidents(query).await;
    page.map_err(|error| not_answered("list incidents", &error))
}

/// Open incidents by what they have in common.
pub(crate) async fn groups(
    node: &Node,
    filter: &IncidentFilter,
    limit: usize,
) -> Result<Vec<IncidentGroup>, Refusal> {
    node.namespace(&filter.namespace)?;
    let groups = node.store.incident_groups(filter, limit).await;
    groups.map_err(|error| not_answered("group incidents", &error))
}

/// The same act on each incident of a group, in the order of their opening. Only those that were open when it began: what
/// an act leads to is not acted upon again. Nothing goes on once it is dropped.
#[derive(Debug)]
pub struct GroupActs {
    node: Arc<Node>,
    request: GroupRequest,
    began: Time,
    after: Option<IncidentCursor>,
    page: std::vec::IntoIter<IncidentInsert>,
    all_read: bool,
    /// Sagas that were acted upon, for acts on a saga as a whole.
    sagas: BTreeSet<SagaId>,
    done: usize,
    next_at: Instant,
}

impl GroupActs {
    pub(crate) fn new(node: &Arc<Node>, request: GroupRequest) -> Result<Self, Refusal> {
        node.namespace(&request.namespace)?;
        node.status.admit()?;
        if !(1..=GROUP_RATE_MAX).contains(&request.per_second) {
            let wrong = format!("it is 1 to {GROUP_RATE_MAX} in a second");
            let refusal = Refusal::new(Kind::InvalidArgument, "RATE_INVALID", wrong.clone());
            return Err(refusal.with_violation("rate", wrong));
        }
        Ok(Self {
            node: node.clone(),
            request,
            began: node.clock.now(),
            after: None,
            page: Vec::new().into_iter(),
            all_read: false,
            sagas: BTreeSet::new(),
            done: 0,
            next_at: Instant::now(),
        })
    }

    /// Acts on the next one, when its time has come; none after the last.
    ///
    /// # Errors
    /// If the incidents cannot be read: to go on, ask again.
    pub async fn next(&mut self) -> Result<Option<GroupActed>, Refusal> {
        loop {
            if self.request.limit.is_some_and(|limit| self.done >= limit) {
                return Ok(None);
            }
            let Some(incident) = self.page.next() else {
                if self.all_read {
                    return Ok(None);
                }
                self.read().await?;
                continue;
            };
            if incident.opened_at > self.began {
                self.all_read = true;
                self.page = Vec::new().into_iter();
                continue;
            }
            let whole = self.request.verb.is_about_the_saga();
            if whole && !self.sagas.insert(incident.name.saga) {
                continue;
            }
            self.done += 1;
            tokio::time::sleep_until(self.next_at).await;
            self.next_at = Instant::now() + Duration::from_secs(1) / self.request.per_second;
            return Ok(Some(self.act(incident).await));
        }
    }

    async fn read(&mut self) -> Result<(), Refusal> {
        let query = IncidentQuery {
            filter: IncidentFilter {
                fingerprint: Some(self.request.fingerprint.clone()),
                ..IncidentFilter::of(self.request.namespace.as_str())
            },
            after: self.after,
            limit: GROUP_PAGE_INCIDENTS,
        };
        let page = list(&self.node, &query).await?;
        self.all_read = page.len() < GROUP_PAGE_INCIDENTS;
        self.after = page.last().map(IncidentCursor::of).or(self.after);
        self.page = page.into_iter();
        Ok(())
    }

    async fn act(&self, incident: IncidentInsert) -> GroupActed {
        let saga = incident.name.saga;
        let result = match verb(&self.request.verb, &incident) {
            Some(verb) => {
                let request = ActRequest {
                    namespace: self.request.namespace.clone(),
                    saga,
                    by: self.request.by.clone(),
                    reason: self.request.reason.clone(),
                    dry_run: self.request.dry_run,
                    verb,
                };
                operating::act(&self.node, request).await
            }
            None => {
                let message = format!(
                    "the incident is about saga {saga} as a whole, and the act about a step"
                );
                let kind = Kind::FailedPrecondition;
                Err(Refusal::new(kind, "NO_STEP", message))
            }
        };
        GroupActed { incident, result }
    }
}

/// What is done about one incident of the group; none if it is about no step and the act is.
fn verb(verb: &GroupVerb, incident: &IncidentInsert) -> Option<Verb> {
    let target = |operation: Option<OperationKind>| {
        Some(Target {
            step: incident.step.as_deref()?.into(),
            item: incident.item,
            operation: operation.unwrap_or(OperationKind::Forward),
        })
    };
    let own = || target(incident.operation);
    let action = || target(None);
    Some(match verb {
        GroupVerb::Retry { input } => Verb::Retry {
            target: own()?,
            input: input.clone(),
        },
        GroupVerb::Skip => Verb::Skip { target: action()? },
        GroupVerb::Resolve { output } => match own() {
            Some(target) => Verb::Resolve {
                target,
                output: output.clone(),
            },
            None => Verb::ResolveSaga {
                output: output.clone(),
            },
        },
        GroupVerb::ResolveAbsent => Verb::ResolveAbsent { target: own()? },
        GroupVerb::Compensate => Verb::Compensate,
        GroupVerb::Pause => Verb::Pause,
        GroupVerb::Resume => Verb::Resume,
        GroupVerb::Terminate => Verb::Terminate,
    })
}
