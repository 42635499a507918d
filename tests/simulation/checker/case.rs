//! One saga as the evidence has it: its facts in the order of their commits, what was sent for it, and what participants did.
//! Deliberately not here: judgement.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use amends_core::fact::{AttemptEnded, Fact};
use amends_core::id::Place;
use amends_core::journal::SagaState;
use amends_core::{SagaId, Time};
use amends_definitions::{Definition, StepIndex};

use crate::generator::PARTICIPANTS;
use crate::history::{Committed, Counted, Event, Performed, Sent};
use crate::world::World;

/// A fact, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its row's place in the history.
    pub index: usize,
    /// Where its batch was decided.
    pub decided: usize,
    /// When its row became durable, on the world's clock.
    pub at: Time,
    pub row: &'a Committed,
    pub fact: &'a Fact,
}

/// One saga.
pub struct Case<'a> {
    pub id: SagaId,
    /// What it should run.
    pub definition: Arc<Definition>,
    /// Its row's last state.
    pub state: SagaState,
    pub facts: Vec<Seen<'a>>,
    /// Places in the history, times on the world's clock.
    pub sent: Vec<(usize, Time, &'a Sent)>,
    pub counted: Vec<(usize, &'a Counted)>,
    pub performed: Vec<(usize, &'a Performed)>,
}

impl Case<'_> {
    pub fn step(&self, step: &str) -> Option<StepIndex> {
        self.definition.step_index(step)
    }

    /// A place in words.
    pub fn name(&self, place: Place) -> String {
        let step = self.definition.step(place.step).id();
        match place.item {
            0 => step.to_owned(),
            item => format!("{step}[{item}]"),
        }
    }

    /// Its action stands behind a barrier, whether somebody is attached who says so or not.
    pub fn stands_behind_barrier(&self, place: Place) -> bool {
        let action = self.definition.step(place.step).action();
        action.is_some_and(|action| PARTICIPANTS.contains(&(action.participant(), true)))
    }

    /// The effect that is left at a place, by the participants' log.
    pub fn effect(&self, step: &str, item: u32) -> i32 {
        let log = self.performed.iter().map(|(_, performed)| performed);
        log.filter(|performed| *performed.key.step == *step && performed.key.item == item)
            .map(|performed| match performed.effect {
                crate::history::Effect::None => 0,
                crate::history::Effect::Done => 1,
                crate::history::Effect::Undone => -1,
            })
            .sum()
    }

    /// Every attempt that ended, late ones not included.
    pub fn ended(&self) -> impl Iterator<Item = (&Seen<'_>, &AttemptEnded)> {
        self.facts.iter().filter_map(|seen| match seen.fact {
            Fact::AttemptEnded(ended) => Some((seen, ended)),
            _ => None,
        })
    }
}

/// Gathers the evidence of each saga.
pub fn cases(world: &World) -> BTreeMap<SagaId, Case<'_>> {
    let mut cases: BTreeMap<SagaId, Case<'_>> = BTreeMap::new();
    let mut decided: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, entry) in world.history.entries().iter().enumerate() {
        match &entry.event {
            Event::Decided { batch, .. } => {
                decided.insert(*batch, index);
            }
            Event::Committed(row) => {
                let decided = decided.get(&row.batch).copied().unwrap_or(index);
                let Some(case) = case_of(&mut cases, world, row) else {
                    continue;
                };
                for fact in row.facts.iter() {
                    case.facts.push(Seen {
                        index,
                        decided,
                        at: entry.at,
                        row,
                        fact,
                    });
                }
            }
            Event::Sent(sent) => {
                if let Some(case) = cases.get_mut(&sent.key.saga) {
                    case.sent.push((index, entry.at, sent));
                }
            }
            Event::Counted(counted) => {
                if let Some(case) = cases.get_mut(&counted.attempt.saga) {
                    case.counted.push((index, counted));
                }
            }
            Event::Performed(performed) => {
                if let Some(case) = cases.get_mut(&performed.key.saga) {
                    case.performed.push((index, performed));
                }
            }
            _ => {}
        }
    }
    cases
}

fn case_of<'a, 'b>(
    cases: &'b mut BTreeMap<SagaId, Case<'a>>,
    world: &World,
    row: &'a Committed,
) -> Option<&'b mut Case<'a>> {
    if let Some(Fact::Started(started)) = row.facts.first() {
        let document = world
            .documents
            .iter()
            .find(|document| document.definition.name() == &*started.definition)?;
        cases.entry(row.saga).or_insert_with(|| Case {
            id: row.saga,
            definition: Arc::clone(&document.definition),
            state: world
                .store
                .last_state(row.saga)
                .unwrap_or(SagaState::Running),
            facts: Vec::new(),
            sent: Vec::new(),
            counted: Vec::new(),
            performed: Vec::new(),
        });
    }
    cases.get_mut(&row.saga)
}

/// A saga's story in lines.
pub fn story(world: &World, saga: SagaId) -> String {
    let mut text = String::new();
    let mut name = None;
    for (index, entry) in world.history.entries().iter().enumerate() {
        let since = entry.at.since(crate::world::BEGINNING).as_secs_f64();
        let line = match &entry.event {
            Event::Committed(row) if row.saga == saga => {
                if let Some(Fact::Started(started)) = row.facts.first() {
                    name = Some(started.definition.clone());
                }
                let facts: Vec<String> = row.facts.iter().map(in_short).collect();
                format!(
                    "row {} (epoch {}): {}",
                    row.position,
                    row.epoch,
                    facts.join("; ")
                )
            }
            Event::Sent(sent) if sent.key.saga == saga => format!(
                "node {} sends {} {}:{} epoch {}{}",
                sent.node,
                sent.key.operation.as_str(),
                sent.key.step,
                sent.attempt,
                sent.epoch,
                if sent.zombie { " as a zombie" } else { "" },
            ),
            Event::Performed(performed) if performed.key.saga == saga => format!(
                "participant performs {} {}:{} {:?} says {:?} {:?}",
                performed.key.operation.as_str(),
                performed.key.step,
                performed.attempt,
                performed.effect,
                performed.said,
                performed.verdict,
            ),
            Event::Acknowledged {
                key, attempt, how, ..
            } if key.saga == saga => format!(
                "acknowledged {} {}:{attempt} {how}",
                key.operation.as_str(),
                key.step
            ),
            Event::Expired { saga: of, .. } if *of == saga => "expired".to_owned(),
            Event::Fault { what, whom, .. } => format!("-- {what} {whom}"),
            Event::Calm => "-- calm".to_owned(),
            _ => continue,
        };
        let _ = writeln!(text, "{index:6} {since:10.3} {line}");
    }
    let yaml = world
        .documents
        .iter()
        .find(|document| Some(document.definition.name()) == name.as_deref())
        .map_or("", |document| document.yaml.as_str());
    format!("{yaml}{text}")
}

fn in_short(fact: &Fact) -> String {
    let place = fact.place().map_or(String::new(), |place| {
        format!(" {}.{}", place.step.index(), place.item)
    });
    let more = match fact {
        Fact::Scheduled { operation, .. } => operation.as_str().to_owned(),
        Fact::AttemptEnded(ended) | Fact::LateResult { ended, .. } => format!(
            "{} #{} {} {:?} again {:?}",
            ended.operation.as_str(),
            ended.attempt,
            ended.outcome.as_str(),
            ended.verdict,
            ended
                .retry_at
                .map(|at| at.since(crate::world::BEGINNING).as_secs_f64()),
        ),
        Fact::Withdrawn { attempt, code, .. } => format!("#{attempt} {code}"),
        Fact::StepFailed {
            operation, code, ..
        } => format!("{} {code}", operation.as_str()),
        Fact::AbortDecided(reason) => reason.kind().to_owned(),
        Fact::IncidentOpened(incident) => incident.reason.as_str().to_owned(),
        _ => String::new(),
    };
    format!("{}{place} {more}", fact.kind())
        .trim_end()
        .to_owned()
}
