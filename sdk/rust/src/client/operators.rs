//! The client's verbs of operators: acts on sagas, incidents, participants.

use amends_proto::v1;
use tonic::{Request, Streaming};

use crate::client::{Client, ClientError};

/// Which incidents to list.
#[derive(Debug, Clone, Default)]
pub struct IncidentOptions {
    /// Only with this fingerprint; one that ends in `*` names a beginning.
    pub fingerprint: Option<String>,
    /// Only of this definition, by id.
    pub definition: Option<String>,
    /// Only for this reason, such as `STEP_EXHAUSTED`.
    pub reason: Option<String>,
    /// 1 to 1,000; 50 if 0.
    pub page_size: u32,
    /// From an earlier answer to the same query; empty for the first page.
    pub page_token: String,
}

/// An act on every saga with an open incident of one kind.
#[derive(Debug, Clone)]
pub struct BatchAct {
    /// Which incidents, as listed.
    pub fingerprint: String,
    /// What; its target names no step.
    pub act: v1::act::Act,
    /// Why; recorded. 1 to 1,024 bytes.
    pub reason: String,
    /// Only say what would become of it.
    pub dry_run: bool,
    /// Sagas in a second, 1 to 1,000; 10 if 0.
    pub rate: u32,
    /// Sagas at most; all if 0.
    pub limit: u32,
}

impl Client {
    /// Sends a signal that the saga's definition declares. True if it was accepted, false if one with the same dedupe id
    /// had been before. The call is repeated only with such an id: without, a repeated one might be a second signal.
    ///
    /// # Errors
    /// Whatever the server answers; [`ClientError::Input`] where the payload is not JSON.
    pub async fn signal(
        &self,
        saga: &str,
        signal: &str,
        payload: &impl serde::Serialize,
        dedupe_id: Option<&str>,
    ) -> Result<bool, ClientError> {
        let payload = serde_json::to_vec(payload).map_err(ClientError::Input)?;
        self.signal_raw(saga, signal, payload, dedupe_id).await
    }

    /// Sends a signal whose payload is JSON already, byte for byte. See [`Client::signal`].
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn signal_raw(
        &self,
        saga: &str,
        signal: &str,
        payload: impl Into<bytes::Bytes>,
        dedupe_id: Option<&str>,
    ) -> Result<bool, ClientError> {
        let message = v1::SignalSagaRequest {
            name: self.saga_name(saga),
            signal: signal.to_owned(),
            payload: payload.into(),
            dedupe_id: dedupe_id.map(str::to_owned),
        };
        let answer = self.repeat(dedupe_id.is_some(), || {
            let (mut sagas, message) = (self.sagas.clone(), message.clone());
            async move { sagas.signal_saga(message).await }
        });
        Ok(answer.await?.accepted)
    }

    /// Says why a saga is where it is, what is owed, and what it waits for.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn explain(&self, saga: &str) -> Result<v1::ExplainSagaResponse, ClientError> {
        let name = self.saga_name(saga);
        self.repeat(true, || {
            let (mut sagas, name) = (self.sagas.clone(), name.clone());
            async move { sagas.explain_saga(v1::ExplainSagaRequest { name }).await }
        })
        .await
    }

    /// Does something about one saga, and says where it is then, and of a skip who reads what there will not be. The reason
    /// is recorded; it has 1 to 1,024 bytes. The call is not repeated when its answer was lost: look at the saga, and ask
    /// again.
    ///
    /// # Errors
    /// Whatever the server answers; `FAILED_PRECONDITION` where it would break what the saga promises, `PERMISSION_DENIED`
    /// where the server asks for its admin token.
    pub async fn operate(
        &self,
        saga: &str,
        act: v1::act::Act,
        reason: &str,
        dry_run: bool,
    ) -> Result<v1::OperateSagaResponse, ClientError> {
        let message = v1::OperateSagaRequest {
            name: self.saga_name(saga),
            act: Some(v1::Act { act: Some(act) }),
            reason: reason.to_owned(),
            dry_run,
        };
        let answer = self.repeat(false, || {
            let (mut operators, message) = (self.operators.clone(), self.authorized(&message));
            async move { operators.operate_saga(message).await }
        });
        answer.await
    }

    /// Does the same about every saga with an open incident of one kind. The stream tells of each saga, and ends after the
    /// last; dropping it stops the rest.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn operate_incidents(
        &self,
        batch: BatchAct,
    ) -> Result<Streaming<v1::OperateIncidentsResponse>, ClientError> {
        let message = v1::OperateIncidentsRequest {
            parent: self.parent(),
            fingerprint: batch.fingerprint,
            act: Some(v1::Act {
                act: Some(batch.act),
            }),
            reason: batch.reason,
            dry_run: batch.dry_run,
            rate: batch.rate,
            limit: batch.limit,
        };
        self.repeat(false, || {
            let (mut operators, message) = (self.operators.clone(), self.authorized(&message));
            async move { operators.operate_incidents(message).await }
        })
        .await
    }

    fn authorized<T: Clone>(&self, message: &T) -> Request<T> {
        let mut request = Request::new(message.clone());
        if let Some(authorization) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", authorization.clone());
        }
        request
    }

    /// Lists open incidents, the oldest first, one page at a time.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn incidents(
        &self,
        options: &IncidentOptions,
    ) -> Result<v1::ListIncidentsResponse, ClientError> {
        let message = v1::ListIncidentsRequest {
            parent: self.parent(),
            page_size: options.page_size,
            page_token: options.page_token.clone(),
            fingerprint: options.fingerprint.clone().unwrap_or_default(),
            definition_id: options.definition.clone().unwrap_or_default(),
            reason: options.reason.clone().unwrap_or_default(),
        };
        self.repeat(true, || {
            let (mut operators, message) = (self.operators.clone(), message.clone());
            async move { operators.list_incidents(message).await }
        })
        .await
    }

    /// Counts open incidents by what they have in common, the most frequent first.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn incident_groups(
        &self,
        definition: Option<&str>,
    ) -> Result<Vec<v1::IncidentGroup>, ClientError> {
        let message = v1::ListIncidentGroupsRequest {
            parent: self.parent(),
            definition_id: definition.unwrap_or_default().to_owned(),
        };
        let answer = self.repeat(true, || {
            let (mut operators, message) = (self.operators.clone(), message.clone());
            async move { operators.list_incident_groups(message).await }
        });
        Ok(answer.await?.groups)
    }

    /// Lists the participants that are attached.
    ///
    /// # Errors
    /// Whatever the server answers.
    pub async fn participants(&self) -> Result<Vec<v1::Participant>, ClientError> {
        let parent = self.parent();
        let answer = self.repeat(true, || {
            let (mut operators, parent) = (self.operators.clone(), parent.clone());
            let message = v1::ListParticipantsRequest { parent };
            async move { operators.list_participants(message).await }
        });
        Ok(answer.await?.participants)
    }
}
