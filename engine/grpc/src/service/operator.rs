//! OperatorService: acts on sagas, one or all of a kind; incidents and participants.

use std::pin::Pin;

use amends_core::Time;
use amends_core::journal::IncidentName;
use amends_orchestrator::{
    ActRequest, GroupActs, GroupRequest, IncidentCursor, IncidentFilter, IncidentQuery,
    Orchestrator, Refusal,
};
use amends_proto::v1;
use amends_proto::v1::operator_service_server::OperatorService;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::{Request, Response, Status};
use tracing::Span;

use super::definition::answer;
use super::person::{self, ANONYMOUS};
use super::{follow, page};
use crate::admin::Guard;
use crate::convert::{fingerprint, operator as convert, saga};
use crate::edge::Admission;
use crate::limits::{
    GROUP_RATE_DEFAULT, INCIDENT_GROUPS_MAX, INCIDENTS_READ_MAX, PAGE_SIZE_DEFAULT,
};
use crate::name;
use crate::status::status_of;
use crate::token::Query;

/// The service.
#[derive(Clone)]
pub(crate) struct Operators {
    orchestrator: Orchestrator,
    guard: Guard,
    admission: Admission,
    closed: watch::Receiver<bool>,
}

impl Operators {
    pub(crate) fn new(
        orchestrator: Orchestrator,
        guard: Guard,
        admission: Admission,
        closed: watch::Receiver<bool>,
    ) -> Self {
        Self {
            orchestrator,
            guard,
            admission,
            closed,
        }
    }

    async fn operate(
        &self,
        request: Request<v1::OperateSagaRequest>,
    ) -> Result<v1::OperateSagaResponse, Refusal> {
        self.guard
            .check(request.get_ref().act.as_ref(), request.metadata())?;
        let request = request.into_inner();
        let name = name::saga("name", &request.name)?;
        Span::current().record("saga", tracing::field::display(name.id));
        person::reason(&request.reason)?;
        let verb = convert::verb(request.act)?;
        let request = ActRequest {
            namespace: name.namespace,
            saga: name.id,
            by: ANONYMOUS.to_owned(),
            reason: request.reason,
            dry_run: request.dry_run,
            verb,
        };
        let acted = self.orchestrator.order(request).await?;
        Ok(v1::OperateSagaResponse {
            state: saga::state(acted.state).into(),
            readers: acted.readers.iter().map(convert::reader).collect(),
        })
    }

    fn begin(&self, request: Request<v1::OperateIncidentsRequest>) -> Result<GroupActs, Refusal> {
        self.guard
            .check(request.get_ref().act.as_ref(), request.metadata())?;
        let request = request.into_inner();
        let namespace = name::namespace("parent", &request.parent)?;
        let fingerprint = fingerprint::whole("fingerprint", &request.fingerprint)?;
        person::reason(&request.reason)?;
        let verb = convert::group_verb(request.act)?;
        let rate = Some(request.rate).filter(|rate| *rate > 0);
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        self.orchestrator.act_on_group(GroupRequest {
            namespace,
            fingerprint,
            by: ANONYMOUS.to_owned(),
            reason: request.reason,
            dry_run: request.dry_run,
            verb,
            per_second: rate.unwrap_or(GROUP_RATE_DEFAULT),
            limit: Some(limit).filter(|limit| *limit > 0),
        })
    }

    async fn list(
        &self,
        request: v1::ListIncidentsRequest,
    ) -> Result<v1::ListIncidentsResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT)?;
        let pattern = fingerprint::pattern("fingerprint", &request.fingerprint)?;
        let definition = definition_filter(&request.definition_id)?;
        let reason = convert::incident_reason("reason", &request.reason)?;
        let incarnation = self.orchestrator.incarnation();
        let query = Query::new(incarnation, "ListIncidents", &namespace)
            .with(request.fingerprint.as_bytes())
            .with(request.definition_id.as_bytes())
            .with(request.reason.as_bytes());
        let mut after = page::position(&query, &request.page_token, cursor)?;
        let filter = pattern.narrow(IncidentFilter {
            definition,
            reason,
            ..IncidentFilter::of(namespace)
        });
        let (mut incidents, mut read) = (Vec::new(), 0);
        let next_page_token = 'page: loop {
            // One more than the page tells whether there is another page.
            let question = IncidentQuery {
                filter: filter.clone(),
                after,
                limit: size + 1,
            };
            let found = self.orchestrator.list_incidents(question).await?;
            let all = found.len() <= size;
            read += found.len();
            for incident in &found {
                if pattern.fits(incident) {
                    if incidents.len() == size {
                        break 'page after.map(|last| query.seal(&cursor_text(&last)));
                    }
                    incidents.push(convert::incident(incident));
                }
                after = Some(IncidentCursor::of(incident));
            }
            if all {
                break None;
            }
            // A page may be short of what fits: to look on is to ask again.
            if read >= INCIDENTS_READ_MAX {
                break after.map(|last| query.seal(&cursor_text(&last)));
            }
        };
        Ok(v1::ListIncidentsResponse {
            incidents,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }

    async fn groups(
        &self,
        request: &v1::ListIncidentGroupsRequest,
    ) -> Result<v1::ListIncidentGroupsResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let filter = IncidentFilter {
            definition: definition_filter(&request.definition_id)?,
            ..IncidentFilter::of(namespace)
        };
        let groups = self
            .orchestrator
            .incident_groups(filter, INCIDENT_GROUPS_MAX)
            .await?;
        Ok(v1::ListIncidentGroupsResponse {
            groups: groups.iter().map(convert::group).collect(),
        })
    }

    fn participants(
        &self,
        request: &v1::ListParticipantsRequest,
    ) -> Result<v1::ListParticipantsResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let participants = self.orchestrator.participants(&namespace)?;
        Ok(v1::ListParticipantsResponse {
            participants: participants.iter().map(convert::participant).collect(),
        })
    }
}

/// What became of each saga of a group. Acts happen as the caller reads: who goes away stops the rest.
type Acted = Pin<Box<dyn Stream<Item = Result<v1::OperateIncidentsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl OperatorService for Operators {
    type OperateIncidentsStream = Acted;

    async fn operate_saga(
        &self,
        request: Request<v1::OperateSagaRequest>,
    ) -> Result<Response<v1::OperateSagaResponse>, Status> {
        answer(self.operate(request).await)
    }

    async fn operate_incidents(
        &self,
        request: Request<v1::OperateIncidentsRequest>,
    ) -> Result<Response<Self::OperateIncidentsStream>, Status> {
        let room = self.admission.long_call()?;
        let acts = self.begin(request);
        let acts = acts.map_err(|refusal| status_of(&refusal))?;
        let running = Running {
            acts,
            closed: self.closed.clone(),
            _room: room,
        };
        let steps = try_unfold(running, |mut running| async move {
            let acted = running.next().await?;
            Ok(acted.map(|acted| (acted, running)))
        });
        Ok(Response::new(Box::pin(steps)))
    }

    async fn list_incidents(
        &self,
        request: Request<v1::ListIncidentsRequest>,
    ) -> Result<Response<v1::ListIncidentsResponse>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    async fn list_incident_groups(
        &self,
        request: Request<v1::ListIncidentGroupsRequest>,
    ) -> Result<Response<v1::ListIncidentGroupsResponse>, Status> {
        answer(self.groups(request.get_ref()).await)
    }

    async fn list_participants(
        &self,
        request: Request<v1::ListParticipantsRequest>,
    ) -> Result<Response<v1::ListParticipantsResponse>, Status> {
        answer(self.participants(request.get_ref()))
    }
}

/// An act on a group that is under way.
struct Running {
    acts: GroupActs,
    closed: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

impl Running {
    async fn next(&mut self) -> Result<Option<v1::OperateIncidentsResponse>, Status> {
        let acted = tokio::select! {
            acted = self.acts.next() => acted,
            () = follow::ended(&mut self.closed) => Err(leaving()),
        };
        let acted = acted.map_err(|refusal| status_of(&refusal))?;
        Ok(acted.as_ref().map(convert::acted))
    }
}

fn leaving() -> Refusal {
    Refusal::unavailable(
        "this node shuts down: the sagas that were told of are done, the others are not; ask again for the rest",
    )
}

fn definition_filter(id: &str) -> Result<Option<String>, Refusal> {
    if id.is_empty() {
        return Ok(None);
    }
    name::definition_id("definition_id", id).map(|id| Some(id.to_owned()))
}

pub(super) fn cursor_text(cursor: &IncidentCursor) -> String {
    let IncidentCursor { opened_at, name } = cursor;
    format!("{}/{}/{}", opened_at.as_micros(), name.saga, name.number)
}

pub(super) fn cursor(text: &str) -> Option<IncidentCursor> {
    let (micros, rest) = text.split_once('/')?;
    let (saga, number) = rest.split_once('/')?;
    Some(IncidentCursor {
        opened_at: Time::from_micros(micros.parse().ok()?),
        name: IncidentName {
            saga: saga.parse().ok()?,
            number: number.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use amends_core::{Incarnation, SagaId, ShardId};

    use super::*;

    #[test]
    fn the_place_in_a_list_of_incidents_reads_back_and_fits_into_a_token() {
        let cursor_of = |opened_at, number| IncidentCursor {
            opened_at,
            name: IncidentName {
                saga: SagaId::new(
                    Time::from_micros(1_763_712_000_123_456),
                    ShardId(4_095),
                    u64::MAX >> 2,
                ),
                number,
            },
        };
        let query = Query::new(
            Incarnation(uuid::Uuid::from_u128(7)),
            "ListIncidents",
            "default",
        );
        for place in [
            cursor_of(Time::from_micros(-1), 1),
            cursor_of(Time::INFINITY, u32::MAX),
        ] {
            let token = query.seal(&cursor_text(&place));
            let read = page::position(&query, &token, cursor);
            assert_eq!(read.unwrap(), Some(place));
        }
        for text in ["", "1", "1/x/1", "x/019aa578-c07b-8abc-bfff-ffffffffffff/1"] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
