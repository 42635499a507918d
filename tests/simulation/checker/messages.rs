//! What clients are told: I40, I45. Answers agree with the journal as it was when they were given.

use std::collections::BTreeMap;

use amends_core::SagaId;
use amends_core::fact::{AbortReason, Act, Fact};
use amends_core::shard::{CancelDisposition, CancelRefusal};

use crate::checker::case::{Case, Seen};
use crate::checker::model::Model;
use crate::checker::{Evidence, Found};
use crate::history::{Answer, Ask, Event};

pub fn check(evidence: &Evidence<'_>, found: &mut Found) {
    let mut asked: BTreeMap<u32, (SagaId, &str)> = BTreeMap::new();
    for (index, entry) in evidence.entries.iter().enumerate() {
        match &entry.event {
            Event::Asked {
                operation,
                ask: Ask::Cancel { saga, namespace },
            } => {
                asked.insert(*operation, (*saga, namespace));
            }
            Event::Answered {
                operation,
                answer: Answer::Cancelled(result),
            } => {
                let Some((saga, namespace)) = asked.get(operation) else {
                    continue;
                };
                let Some(case) = evidence.cases.get(saga) else {
                    continue;
                };
                cancel(case, index, result, found);
                let own = *namespace == crate::clients::NAMESPACE;
                let there = own && !evidence.is_gone(*saga, index);
                tenancy(case, own, there, result, found);
            }
            _ => {}
        }
    }
}

/// I40: exactly one of completing and cancelling wins, and every answer agrees with the journal.
fn cancel(
    case: &Case<'_>,
    index: usize,
    result: &Result<CancelDisposition, CancelRefusal>,
    found: &mut Found,
) {
    let before = |wanted: &dyn Fn(&Seen<'_>) -> bool| {
        let mut facts = case.facts.iter().take_while(|seen| seen.index < index);
        facts.any(wanted)
    };
    let fits = match result {
        Ok(CancelDisposition::Aborted) => {
            before(&|seen| matches!(seen.fact, Fact::AbortDecided(AbortReason::Cancelled { .. })))
        }
        Ok(CancelDisposition::AlreadyAborted) => {
            before(&|seen| matches!(seen.fact, Fact::AbortDecided(_)))
        }
        Ok(CancelDisposition::Pending) => {
            before(&|seen| matches!(seen.fact, Fact::CancelPending { .. }))
        }
        Err(CancelRefusal::Ended { .. }) => before(&|seen| match seen.fact {
            Fact::Completed { .. } | Fact::Compensated => true,
            Fact::Operated(operated) => operated.act == Act::Terminate,
            _ => false,
        }),
        Err(CancelRefusal::BehindPointOfNoReturn) => {
            Model::until(case, index).past_point_of_no_return(case)
        }
        Err(CancelRefusal::NotFound | CancelRefusal::Unreadable | CancelRefusal::Unavailable) => {
            true
        }
    };
    found.expect(fits, "I40", case.id, || {
        format!("a cancel was answered {result:?}, and the journal does not say so")
    });
}

/// I45: nobody learns of another tenant's saga, or moves it. One that has expired is nobody's.
fn tenancy(
    case: &Case<'_>,
    own: bool,
    there: bool,
    result: &Result<CancelDisposition, CancelRefusal>,
    found: &mut Found,
) {
    let fits = match result {
        Err(CancelRefusal::NotFound) => !there,
        Err(CancelRefusal::Unavailable | CancelRefusal::Unreadable) => true,
        _ => own,
    };
    found.expect(fits, "I45", case.id, || {
        format!(
            "a cancel in {} namespace was answered {result:?}",
            if own { "its own" } else { "another" }
        )
    });
}
