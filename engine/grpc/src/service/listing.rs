//! Pages of sagas: the newest first, or those with an open incident of one kind, the longest open first. A page may be short
//! of what fits: what one request reads is bounded.

use std::collections::BTreeSet;

use amends_core::SagaId;
use amends_orchestrator::{
    Fingerprint, IncidentCursor, IncidentFilter, IncidentQuery, ListQuery, Orchestrator, Refusal,
    SagaRecord,
};
use amends_proto::v1;

use super::operator::{cursor, cursor_text};
use super::page;
use crate::convert::saga as convert;
use crate::limits::{INCIDENTS_READ_MAX, SAGAS_READ_MAX};
use crate::token::Query;

/// Which sagas, and how many on a page.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// What the store can look for; where the page begins and its size are not used.
    pub filter: ListQuery,
    /// Only of this revision.
    pub revision: Option<u32>,
    /// Sagas on a page.
    pub size: usize,
}

impl Wanted {
    fn fits(&self, saga: &SagaRecord) -> bool {
        let filter = &self.filter;
        let definition = filter.definition.as_deref();
        let key = filter.key.as_deref();
        (filter.states.is_empty() || filter.states.contains(&saga.state))
            && definition.is_none_or(|name| *saga.definition == *name)
            && key.is_none_or(|key| saga.key.as_deref() == Some(key))
            && self
                .revision
                .is_none_or(|revision| saga.revision == revision)
    }
}

/// The newest first.
///
/// # Errors
/// `INVALID_ARGUMENT` for a token of another question; if the store does not answer.
pub(super) async fn newest(
    orchestrator: &Orchestrator,
    query: &Query,
    token: &str,
    wanted: &Wanted,
) -> Result<v1::ListSagasResponse, Refusal> {
    let mut before = page::position(query, token, |last| last.parse::<SagaId>().ok())?;
    let (mut sagas, mut read) = (Vec::new(), 0);
    loop {
        let question = ListQuery {
            before,
            // One more than the page tells whether there is another page.
            limit: wanted.size + 1,
            ..wanted.filter.clone()
        };
        let found = orchestrator.list_sagas(question).await?;
        let all = found.len() <= wanted.size;
        read += found.len();
        for saga in &found {
            if wanted.fits(saga) {
                if sagas.len() == wanted.size {
                    return Ok(answer(
                        sagas,
                        before.map(|last| query.seal(&last.to_string())),
                    ));
                }
                sagas.push(convert::record(saga));
            }
            before = Some(saga.id);
        }
        if all {
            return Ok(answer(sagas, None));
        }
        if read >= SAGAS_READ_MAX {
            return Ok(answer(
                sagas,
                before.map(|last| query.seal(&last.to_string())),
            ));
        }
    }
}

/// Those with an open incident of one kind: on a page each once, where its first such incident stands.
///
/// # Errors
/// As [`newest`].
pub(super) async fn with_incident(
    orchestrator: &Orchestrator,
    query: &Query,
    token: &str,
    (fingerprint, wanted): (&Fingerprint, &Wanted),
) -> Result<v1::ListSagasResponse, Refusal> {
    let namespace = &wanted.filter.namespace;
    let filter = IncidentFilter {
        fingerprint: Some(fingerprint.clone()),
        ..IncidentFilter::of(namespace)
    };
    let mut after = page::position(query, token, cursor)?;
    let (mut sagas, mut seen, mut read) = (Vec::new(), BTreeSet::new(), 0);
    let sealed = |last: Option<IncidentCursor>| last.map(|last| query.seal(&cursor_text(&last)));
    loop {
        let question = IncidentQuery {
            filter: filter.clone(),
            after,
            limit: wanted.size + 1,
        };
        let found = orchestrator.list_incidents(question).await?;
        let all = found.len() <= wanted.size;
        read += found.len();
        for incident in &found {
            let saga = incident.name.saga;
            if !seen.contains(&saga) {
                let record = orchestrator.saga_record(namespace, saga).await?;
                if let Some(record) = record.filter(|record| wanted.fits(record)) {
                    if sagas.len() == wanted.size {
                        return Ok(answer(sagas, sealed(after)));
                    }
                    sagas.push(convert::record(&record));
                }
                seen.insert(saga);
            }
            after = Some(IncidentCursor::of(incident));
        }
        if all {
            return Ok(answer(sagas, None));
        }
        if read >= INCIDENTS_READ_MAX {
            return Ok(answer(sagas, sealed(after)));
        }
    }
}

fn answer(sagas: Vec<v1::Saga>, next_page_token: Option<String>) -> v1::ListSagasResponse {
    v1::ListSagasResponse {
        sagas,
        next_page_token: next_page_token.unwrap_or_default(),
    }
}
