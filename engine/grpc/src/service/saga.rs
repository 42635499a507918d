//! SagaService: reading, waiting, signalling, cancelling. Starts are in `start`, the streams in `follow` and in the module
//! `starts`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_core::Time;
use amends_core::journal::SagaState;
use amends_core::shard::CancelDisposition;
use amends_definitions::Payload;
use amends_orchestrator::{ListQuery, Orchestrator, Refusal, SagaView, SignalRequest};
use amends_proto::v1;
use amends_proto::v1::saga_service_server::SagaService;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tracing::Span;

use super::definition::answer;
use super::follow::{self, Following};
use super::listing::{self, Wanted};
use super::page;
use super::person::{self, ANONYMOUS};
use super::start::check_key;
use crate::convert::explanation::explanation;
use crate::convert::payload::payload;
use crate::convert::time::checked_duration;
use crate::convert::{fingerprint, history, saga as convert};
use crate::edge::{Admission, Stay};
use crate::limits::{
    HISTORY_PAGE_BYTES, HISTORY_PAGE_SIZE_DEFAULT, PAGE_SIZE_DEFAULT, WAIT_DEFAULT, WAIT_MAX,
};
use crate::name::{self, SagaName};
use crate::starts::StartStream;
use crate::status::{invalid, status_of};
use crate::stream;
use crate::token::Query;
use crate::trace_context::TraceContext;

/// The service.
#[derive(Clone)]
pub(crate) struct Sagas {
    pub(super) orchestrator: Orchestrator,
    pub(super) admission: Admission,
    pub(super) closed: watch::Receiver<bool>,
}

impl Sagas {
    pub(crate) fn new(
        orchestrator: Orchestrator,
        admission: Admission,
        closed: watch::Receiver<bool>,
    ) -> Self {
        Self {
            orchestrator,
            admission,
            closed,
        }
    }

    async fn get(&self, request: &v1::GetSagaRequest) -> Result<v1::GetSagaResponse, Refusal> {
        let name = saga_name(&request.name)?;
        let view = self.orchestrator.saga(&name.namespace, name.id).await?;
        Ok(v1::GetSagaResponse {
            saga: Some(convert::view(&view, clock())),
        })
    }

    async fn list(&self, request: v1::ListSagasRequest) -> Result<v1::ListSagasResponse, Refusal> {
        let namespace = name::namespace("parent", &request.parent)?;
        let size = page::size(request.page_size, PAGE_SIZE_DEFAULT)?;
        let states = convert::states("states", &request.states)?;
        let definition = Some(request.definition_id).filter(|id| !id.is_empty());
        if let Some(id) = &definition {
            name::definition_id("definition_id", id)?;
        }
        let key = Some(request.key)
            .filter(|key| !key.is_empty())
            .map(|key| check_key(&key).map(|()| key))
            .transpose()?;
        let mut query = Query::new(self.orchestrator.incarnation(), "ListSagas", &namespace)
            .with(definition.as_deref().unwrap_or_default().as_bytes())
            .with(key.as_deref().unwrap_or_default().as_bytes());
        for state in &states {
            query = query.with(state.as_str().as_bytes());
        }
        query = query
            .with(&request.revision.to_le_bytes())
            .with(request.fingerprint.as_bytes());
        let revision = Some(request.revision).filter(|revision| *revision > 0);
        if revision.is_some() && definition.is_none() {
            let description = "a revision is one of a definition: name that, too";
            return Err(invalid("FILTER_INVALID", "revision", description));
        }
        let filter = ListQuery {
            namespace,
            states,
            definition,
            key,
            before: None,
            limit: size,
        };
        let wanted = Wanted {
            filter,
            revision,
            size,
        };
        let (node, token) = (&self.orchestrator, request.page_token.as_str());
        if request.fingerprint.is_empty() {
            return listing::newest(node, &query, token, &wanted).await;
        }
        let fingerprint = fingerprint::whole("fingerprint", &request.fingerprint)?;
        listing::with_incident(node, &query, token, (&fingerprint, &wanted)).await
    }

    async fn wait(&self, request: &v1::WaitSagaRequest) -> Result<v1::WaitSagaResponse, Refusal> {
        let name = saga_name(&request.name)?;
        let timeout = request.timeout.as_ref();
        let timeout = timeout.map_or(Ok(WAIT_DEFAULT), |timeout| {
            checked_duration("timeout", timeout, WAIT_MAX)
        })?;
        // Subscribe first, then read: what changes in between is not missed.
        let mut changes = self.orchestrator.subscribe(name.id);
        let mut closed = self.closed.clone();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let over = tokio::time::Instant::now() >= deadline;
            // What was read is let go before the wait: its payloads may be megabytes, and many wait.
            let answer = {
                let view = self.orchestrator.saga(&name.namespace, name.id).await?;
                let settled = settled(&view);
                (settled || over).then(|| waited(&view, settled))
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
            tokio::select! {
                changed = settling(&mut changes) => changed?,
                () = tokio::time::sleep_until(deadline) => {}
                () = follow::ended(&mut closed) => return Err(follow::leaving()),
            }
        }
    }

    async fn history(
        &self,
        request: &v1::ListSagaHistoryRequest,
    ) -> Result<v1::ListSagaHistoryResponse, Refusal> {
        let name = saga_name(&request.name)?;
        let size = page::size(request.page_size, HISTORY_PAGE_SIZE_DEFAULT)?;
        let query = Query::new(
            self.orchestrator.incarnation(),
            "ListSagaHistory",
            &request.name,
        );
        let last = page::position(&query, &request.page_token, |last| last.parse::<u64>().ok())?;
        let from = last.map_or(1, |last| last.saturating_add(1));
        // A row has a fact at least, so as many rows as facts are enough; one more tells whether there is another page.
        let page = self
            .orchestrator
            .history(&name.namespace, name.id, from, size + 1)
            .await?;
        let (mut entries, mut bytes, mut last) = (Vec::new(), 0, 0);
        let mut rows = page.rows.iter().zip(&page.bodies).peekable();
        while let Some((row, bodies)) = rows.peek() {
            let row_bytes: usize = bodies.iter().map(String::len).sum();
            let fits =
                entries.len() + row.facts.len() <= size && bytes + row_bytes <= HISTORY_PAGE_BYTES;
            // A row is never split: its facts became durable together. One too large for a page is a page.
            if !fits && !entries.is_empty() {
                break;
            }
            entries.extend(history::entries(row, bodies, &page.step_ids));
            (bytes, last) = (bytes + row_bytes, row.position);
            rows.next();
        }
        let next_page_token = rows
            .peek()
            .map(|_| query.seal(&last.to_string()))
            .unwrap_or_default();
        Ok(v1::ListSagaHistoryResponse {
            entries,
            next_page_token,
        })
    }

    async fn cancel(
        &self,
        request: &v1::CancelSagaRequest,
    ) -> Result<v1::CancelSagaResponse, Refusal> {
        let name = saga_name(&request.name)?;
        person::reason(&request.reason)?;
        let disposition = self
            .orchestrator
            .cancel(&name.namespace, name.id, ANONYMOUS, &request.reason)
            .await?;
        let disposition = match disposition {
            CancelDisposition::Aborted => v1::cancel_saga_response::Disposition::Aborted,
            CancelDisposition::AlreadyAborted => {
                v1::cancel_saga_response::Disposition::AlreadyAborted
            }
            CancelDisposition::Pending => v1::cancel_saga_response::Disposition::Pending,
        };
        Ok(v1::CancelSagaResponse {
            disposition: disposition.into(),
        })
    }

    async fn signal(
        &self,
        request: v1::SignalSagaRequest,
    ) -> Result<v1::SignalSagaResponse, Refusal> {
        let request = signal_request(request)?;
        let accepted = self.orchestrator.signal(request).await?;
        Ok(v1::SignalSagaResponse { accepted })
    }

    async fn explain(
        &self,
        request: &v1::ExplainSagaRequest,
    ) -> Result<v1::ExplainSagaResponse, Refusal> {
        let name = saga_name(&request.name)?;
        let explained = self.orchestrator.explain(&name.namespace, name.id).await?;
        Ok(explanation(&explained, clock()))
    }

    /// The saga to follow; refused before the stream begins if it does not exist.
    async fn following(&self, name: &str) -> Result<Following, Status> {
        let room = self.admission.long_call()?;
        let SagaName { namespace, id } = saga_name(name).map_err(|refusal| status_of(&refusal))?;
        let changes = self.orchestrator.subscribe(id);
        let first = self
            .orchestrator
            .saga(&namespace, id)
            .await
            .map_err(|refusal| status_of(&refusal))?;
        Ok(Following {
            orchestrator: self.orchestrator.clone(),
            namespace,
            id,
            changes,
            closed: self.closed.clone(),
            first: Some(first),
            _room: room,
        })
    }
}

#[tonic::async_trait]
impl SagaService for Sagas {
    type StartSagasStream = stream::Answers<v1::StartSagasResponse>;
    type WatchSagaStream = follow::Answers<v1::WatchSagaResponse>;
    type FollowSagaHistoryStream = follow::Answers<v1::FollowSagaHistoryResponse>;

    async fn start_saga(
        &self,
        request: Request<v1::StartSagaRequest>,
    ) -> Result<Response<v1::StartSagaResponse>, Status> {
        let context = TraceContext::of(request.metadata());
        let stay = request.extensions().get::<Stay>().cloned();
        self.start(request.into_inner(), context, stay)
            .await
            .map(Response::new)
    }

    async fn batch_start_sagas(
        &self,
        request: Request<v1::BatchStartSagasRequest>,
    ) -> Result<Response<v1::BatchStartSagasResponse>, Status> {
        let context = TraceContext::of(request.metadata());
        answer(self.start_batch(request.into_inner(), &context).await)
    }

    async fn start_sagas(
        &self,
        request: Request<Streaming<v1::StartSagasRequest>>,
    ) -> Result<Response<Self::StartSagasStream>, Status> {
        let room = self.admission.long_call()?;
        let stream = StartStream {
            orchestrator: self.orchestrator.clone(),
            closed: self.closed.clone(),
            context: TraceContext::of(request.metadata()),
        };
        let said = request.into_inner();
        Ok(Response::new(stream::serve(room, |out| {
            stream.serve(said, out)
        })))
    }

    async fn get_saga(
        &self,
        request: Request<v1::GetSagaRequest>,
    ) -> Result<Response<v1::GetSagaResponse>, Status> {
        answer(self.get(request.get_ref()).await)
    }

    async fn list_sagas(
        &self,
        request: Request<v1::ListSagasRequest>,
    ) -> Result<Response<v1::ListSagasResponse>, Status> {
        answer(self.list(request.into_inner()).await)
    }

    async fn wait_saga(
        &self,
        request: Request<v1::WaitSagaRequest>,
    ) -> Result<Response<v1::WaitSagaResponse>, Status> {
        let _room = self.admission.long_call()?;
        answer(self.wait(request.get_ref()).await)
    }

    async fn watch_saga(
        &self,
        request: Request<v1::WatchSagaRequest>,
    ) -> Result<Response<Self::WatchSagaStream>, Status> {
        let following = self.following(&request.get_ref().name).await?;
        Ok(Response::new(follow::watch(following)))
    }

    async fn list_saga_history(
        &self,
        request: Request<v1::ListSagaHistoryRequest>,
    ) -> Result<Response<v1::ListSagaHistoryResponse>, Status> {
        answer(self.history(request.get_ref()).await)
    }

    async fn follow_saga_history(
        &self,
        request: Request<v1::FollowSagaHistoryRequest>,
    ) -> Result<Response<Self::FollowSagaHistoryStream>, Status> {
        let following = self.following(&request.get_ref().name).await?;
        Ok(Response::new(follow::history(following)))
    }

    async fn cancel_saga(
        &self,
        request: Request<v1::CancelSagaRequest>,
    ) -> Result<Response<v1::CancelSagaResponse>, Status> {
        answer(self.cancel(request.get_ref()).await)
    }

    async fn signal_saga(
        &self,
        request: Request<v1::SignalSagaRequest>,
    ) -> Result<Response<v1::SignalSagaResponse>, Status> {
        answer(self.signal(request.into_inner()).await)
    }

    async fn explain_saga(
        &self,
        request: Request<v1::ExplainSagaRequest>,
    ) -> Result<Response<v1::ExplainSagaResponse>, Status> {
        answer(self.explain(request.get_ref()).await)
    }
}

/// The time that a reader's clock shows: it only tells an attempt under way from one to come.
pub(super) fn clock() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Time::EPOCH + since
}

/// It ended, or a person has to look.
pub(super) fn settled(view: &SagaView) -> bool {
    let state = view
        .saga
        .as_ref()
        .map_or(SagaState::Parked, amends_core::saga::Saga::state);
    state.is_settled()
}

fn waited(view: &SagaView, settled: bool) -> v1::WaitSagaResponse {
    v1::WaitSagaResponse {
        saga: Some(convert::view(view, clock())),
        settled,
    }
}

/// Resolves when the saga may have settled, so that a wait does not read it after every step.
async fn settling(changes: &mut watch::Receiver<Option<SagaState>>) -> Result<(), Refusal> {
    let settles = |state: &Option<SagaState>| state.is_some_and(SagaState::is_settled);
    loop {
        changes.changed().await.map_err(|_| follow::leaving())?;
        if settles(&changes.borrow_and_update()) {
            return Ok(());
        }
    }
}

fn saga_name(text: &str) -> Result<SagaName, Refusal> {
    let name = name::saga("name", text)?;
    Span::current().record("saga", tracing::field::display(name.id));
    Ok(name)
}

fn signal_request(request: v1::SignalSagaRequest) -> Result<SignalRequest, Refusal> {
    let name = saga_name(&request.name)?;
    if !name::is_step_id(&request.signal) {
        let description = "it is the id of a signal that the saga's definition declares";
        return Err(invalid("SIGNAL_UNDECLARED", "signal", description));
    }
    let payload = if request.payload.is_empty() {
        Payload::null()
    } else {
        payload("payload", request.payload)?
    };
    Ok(SignalRequest {
        namespace: name.namespace,
        saga: name.id,
        signal: request.signal,
        payload,
        by: ANONYMOUS.to_owned(),
        dedupe_id: request.dedupe_id,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn b14_a_signal_that_is_no_signal_is_an_invalid_argument() {
        let sound = v1::SignalSagaRequest {
            name: "namespaces/default/sagas/019aa578-c07b-8abc-bfff-ffffffffffff".into(),
            signal: "approval".into(),
            ..Default::default()
        };
        let read = signal_request(sound.clone()).unwrap();
        assert_eq!((read.payload, read.dedupe_id), (Payload::null(), None));
        let refused = |request| signal_request(request).map(|it| it.signal).unwrap_err();
        for signal in ["", "a b", "'; --", &"s".repeat(1 << 20)] {
            let signal = signal.to_owned();
            let refusal = refused(v1::SignalSagaRequest {
                signal,
                ..sound.clone()
            });
            assert_eq!(refusal.reason, "SIGNAL_UNDECLARED");
            assert!(refusal.message.len() < 200);
        }
        let payload = Bytes::from_static(b"{\"a\": 1");
        let refusal = refused(v1::SignalSagaRequest { payload, ..sound });
        assert_eq!(refusal.violations[0].0, "payload");
    }
}
