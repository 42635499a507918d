//! The client's verbs of operators, against a service that answers from a script: what they send, and what they repeat.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use amends_sdk::{BatchAct, Client, ClientError, IncidentOptions, proto};
use proto::act::Act;
use proto::operator_service_server::{OperatorService, OperatorServiceServer};
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// Plays back one answer for each call, and keeps what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Status>>>,
    /// What acts were sent with.
    authorizations: Arc<Mutex<Vec<Option<String>>>>,
    acts: Arc<Mutex<Vec<proto::OperateSagaRequest>>>,
    batches: Arc<Mutex<Vec<proto::OperateIncidentsRequest>>>,
    lists: Arc<Mutex<Vec<proto::ListIncidentsRequest>>>,
}

impl Script {
    fn next(&self) -> Result<(), Status> {
        let answers = self.answers.lock();
        let answer = answers.unwrap_or_else(PoisonError::into_inner).pop_front();
        answer.map_or(Ok(()), Err)
    }

    fn note<T>(&self, request: &Request<T>) {
        let said = request.metadata().get("authorization");
        let said = said.map(|value| value.to_str().unwrap().to_owned());
        self.authorizations.lock().unwrap().push(said);
    }
}

type Told = Result<proto::OperateIncidentsResponse, Status>;

#[tonic::async_trait]
impl OperatorService for Script {
    type OperateIncidentsStream = Pin<Box<dyn Stream<Item = Told> + Send>>;

    async fn operate_saga(
        &self,
        request: Request<proto::OperateSagaRequest>,
    ) -> Result<Response<proto::OperateSagaResponse>, Status> {
        self.note(&request);
        self.acts.lock().unwrap().push(request.into_inner());
        self.next()?;
        let state = proto::SagaState::Running.into();
        Ok(Response::new(proto::OperateSagaResponse {
            state,
            readers: Vec::new(),
        }))
    }

    async fn operate_incidents(
        &self,
        request: Request<proto::OperateIncidentsRequest>,
    ) -> Result<Response<Self::OperateIncidentsStream>, Status> {
        self.note(&request);
        self.batches.lock().unwrap().push(request.into_inner());
        self.next()?;
        let told = ["1", "2"].map(|saga| {
            let saga = saga.to_owned();
            Ok(proto::OperateIncidentsResponse {
                saga,
                ..Default::default()
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(told))))
    }

    async fn list_incidents(
        &self,
        request: Request<proto::ListIncidentsRequest>,
    ) -> Result<Response<proto::ListIncidentsResponse>, Status> {
        self.lists.lock().unwrap().push(request.into_inner());
        self.next()?;
        Ok(Response::new(proto::ListIncidentsResponse {
            incidents: vec![proto::Incident::default()],
            next_page_token: "more".to_owned(),
        }))
    }

    async fn list_incident_groups(
        &self,
        request: Request<proto::ListIncidentGroupsRequest>,
    ) -> Result<Response<proto::ListIncidentGroupsResponse>, Status> {
        self.next()?;
        let fingerprint = format!("{}@1/-/PAUSED", request.into_inner().definition_id);
        let group = proto::IncidentGroup {
            fingerprint,
            ..Default::default()
        };
        Ok(Response::new(proto::ListIncidentGroupsResponse {
            groups: vec![group],
        }))
    }

    async fn list_participants(
        &self,
        request: Request<proto::ListParticipantsRequest>,
    ) -> Result<Response<proto::ListParticipantsResponse>, Status> {
        self.next()?;
        let participant = request.into_inner().parent;
        let participants = vec![proto::Participant {
            participant,
            ..Default::default()
        }];
        Ok(Response::new(proto::ListParticipantsResponse {
            participants,
        }))
    }
}

async fn serve(answers: impl IntoIterator<Item = Status>) -> (Script, Client) {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = OperatorServiceServer::new(script.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (script, Client::connect(&address).await.unwrap())
}

fn unavailable() -> Status {
    Status::unavailable("starting")
}

#[tokio::test]
async fn an_act_carries_who_what_and_why_and_is_never_repeated_behind_ones_back() {
    let (script, client) = serve([]).await;
    let target = Some(proto::Target {
        step: "ship".to_owned(),
        ..Default::default()
    });
    let retry = Act::Retry(proto::Retry {
        target,
        input: None,
    });
    let operated = client.operate("1", retry.clone(), "mended", true).await;
    assert_eq!(operated.unwrap().state(), proto::SagaState::Running);
    let sent = script.acts.lock().unwrap().remove(0);
    assert_eq!(
        (sent.name.as_str(), sent.reason.as_str()),
        ("namespaces/default/sagas/1", "mended")
    );
    assert!(sent.dry_run);
    assert_eq!(sent.act.unwrap().act, Some(retry.clone()));

    let (script, client) = serve([unavailable()]).await;
    let lost = client
        .operate("1", retry, "mended", false)
        .await
        .unwrap_err();
    assert_eq!(lost.code(), Some(Code::Unavailable));
    assert_eq!(script.acts.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_act_on_a_group_tells_of_each_saga() {
    let (script, client) = serve([]).await;
    let batch = BatchAct {
        fingerprint: "order@1/ship/TRUCK_BROKEN".to_owned(),
        act: Act::Skip(proto::Skip::default()),
        reason: "not needed".to_owned(),
        dry_run: false,
        rate: 50,
        limit: 2,
    };
    let mut told = client.operate_incidents(batch).await.unwrap();
    let mut sagas = Vec::new();
    while let Some(one) = told.message().await.unwrap() {
        sagas.push(one.saga);
    }
    assert_eq!(sagas, ["1", "2"]);
    let sent = script.batches.lock().unwrap().remove(0);
    assert_eq!(
        (sent.parent.as_str(), sent.rate, sent.limit),
        ("namespaces/default", 50, 2)
    );
    assert_eq!(sent.fingerprint, "order@1/ship/TRUCK_BROKEN");
}

#[tokio::test]
async fn questions_are_repeated_until_they_are_answered() {
    let (script, client) = serve([unavailable()]).await;
    let client = client.namespace("shop");
    let options = IncidentOptions {
        fingerprint: Some("order@1/*".to_owned()),
        page_size: 7,
        ..Default::default()
    };
    let page = client.incidents(&options).await.unwrap();
    assert_eq!(
        (page.incidents.len(), page.next_page_token.as_str()),
        (1, "more")
    );
    let lists = script.lists.lock().unwrap().clone();
    assert_eq!(lists.len(), 2);
    assert_eq!(
        (lists[1].parent.as_str(), lists[1].page_size),
        ("namespaces/shop", 7)
    );
    assert_eq!(lists[1].fingerprint, "order@1/*");
    let groups = client.incident_groups(Some("order")).await.unwrap();
    assert_eq!(groups[0].fingerprint, "order@1/-/PAUSED");
    let participants = client.participants().await.unwrap();
    assert_eq!(participants[0].participant, "namespaces/shop");
}

#[tokio::test]
async fn an_admin_token_goes_with_acts_and_is_not_shown() {
    let (script, client) = serve([]).await;
    let act = || Act::Terminate(proto::Terminate {});
    client.operate("x", act(), "why", false).await.unwrap();
    for none in ["", "a b", "a\nb", "\u{e9}"] {
        let refused = client.clone().admin_token(none).unwrap_err();
        assert!(matches!(refused, ClientError::Token), "{refused:?}");
    }
    let client = client.admin_token("hunter2").unwrap();
    assert!(!format!("{client:?}").contains("hunter2"));
    client.operate("x", act(), "why", true).await.unwrap();
    let batch = BatchAct {
        fingerprint: "f".to_owned(),
        act: act(),
        reason: "why".to_owned(),
        dry_run: false,
        rate: 0,
        limit: 0,
    };
    client.operate_incidents(batch).await.unwrap();
    let said = script.authorizations.lock().unwrap().clone();
    let with_it = Some("Bearer hunter2".to_owned());
    assert_eq!(said, [None, with_it.clone(), with_it]);
}
