//! Every way that a saga can go, breadth first: so the first way to a broken promise is a shortest one.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use amends_core::Fact;
use amends_core::journal::SagaState;
use amends_core::key::Hash128;
use amends_core::saga::OpenIncident;
use amends_definitions::{Definition, Expression, Lack, Lacking, Payload, Samples, Scope};

use crate::digest::digest;
use crate::event::Event;
use crate::promise::{self, Answer};
use crate::telling::on_one_line;
use crate::words::Words;
use crate::world::{Stage, World};

/// How to explore.
#[derive(Clone, Debug)]
pub struct Options {
    /// Instead of made-up inputs.
    pub input: Option<Payload>,
    /// Instead of made-up outputs, by step.
    pub outputs: BTreeMap<String, Payload>,
    /// Every action stands behind a barrier; else none does.
    pub barrier: bool,
    /// The saga may be cancelled at every point.
    pub cancel: bool,
    /// No more states than this.
    pub states_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            input: None,
            outputs: BTreeMap::new(),
            barrier: false,
            cancel: true,
            states_max: 5_000_000,
        }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Exploration {
    /// Different states that were reached.
    pub states: usize,
    /// Steps from one to another.
    pub transitions: usize,
    /// Not everything was looked at: there were too many states.
    pub truncated: bool,
    /// The ends that were reached, by their words.
    pub ends: BTreeMap<String, End>,
    /// Steps whose effect may be left behind, as far as the saga can know: a lost result that arrives after its step was
    /// undone raises an alarm there. A barrier prevents it.
    pub alarms: BTreeMap<String, Vec<String>>,
    /// What expressions read of the input, answers and signals and no schema requires: each was left out, one at a time.
    pub unassured: Vec<String>,
    /// What could not be left out, in words.
    pub assumed: Vec<String>,
    /// Broken promises, each by a shortest way.
    pub violations: Vec<Violation>,
}

/// How far an exploration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// States that were reached so far.
    pub states: usize,
    /// Those of them that are still to be looked at.
    pub open: usize,
}

/// How often an exploration says how far it is.
const TOLD_EVERY_STATES: usize = 1_024;

/// One kind of end.
#[derive(Debug)]
pub struct End {
    /// In how many states.
    pub states: usize,
    /// A shortest way to one of them.
    pub trace: Vec<String>,
}

/// A promise that does not hold.
#[derive(Debug)]
pub struct Violation {
    /// Which, in words.
    pub promise: String,
    /// A shortest way to it.
    pub trace: Vec<String>,
}

/// Explores a definition.
///
/// ```
/// let source = "apiVersion: amends/v1\nname: greet\nsteps:\n  - {id: hello, kind: retriable, call: greeter.hello}\n";
/// let definition = amends_definitions::check(source.as_bytes()).definition.expect("it is right");
/// let found = amends_verify::explore(&definition.into(), &amends_verify::Options::default());
/// assert!(found.violations.is_empty());
/// assert!(found.ends.contains_key("completed"));
/// ```
#[must_use]
pub fn explore(definition: &Arc<Definition>, options: &Options) -> Exploration {
    explore_telling(definition, options, &mut |_| ())
}

/// As [`explore`], and says now and then how far it is.
#[must_use]
pub fn explore_telling(
    definition: &Arc<Definition>,
    options: &Options,
    tell: &mut dyn FnMut(Progress),
) -> Exploration {
    let stage = stage(definition, options);
    let mut search = Search {
        words: Words::of(definition),
        stage: &stage,
        states_max: options.states_max,
        known: HashSet::new(),
        repeated: HashSet::new(),
        nodes: Vec::new(),
        open: VecDeque::new(),
        transitions: 0,
        truncated: false,
        ends: BTreeMap::new(),
        alarms: BTreeMap::new(),
        violations: BTreeMap::new(),
    };
    search.begin();
    search.run(tell);
    Exploration {
        unassured: unassured(&stage.samples.lacking),
        assumed: stage.samples.assumed.clone(),
        states: search.nodes.len(),
        transitions: search.transitions,
        truncated: search.truncated,
        ends: search.ends,
        alarms: search.alarms,
        violations: search.violations.into_values().collect(),
    }
}

/// The paths of all that was left out.
fn unassured(lacking: &Lacking) -> Vec<String> {
    let of_answers = lacking.outputs.iter().flatten();
    let of_signals = lacking.signals.values().flatten();
    let all = lacking.inputs.iter().chain(of_answers).chain(of_signals);
    all.map(|lack| lack.path.clone()).collect()
}

/// Samples and promises of a definition, as the options say. What is given lacks nothing.
pub(crate) fn stage(definition: &Arc<Definition>, options: &Options) -> Stage {
    let mut samples = Samples::of(definition);
    let mut given = Vec::new();
    if let Some(input) = &options.input {
        samples.inputs = vec![input.clone()];
        samples.lacking.inputs.clear();
        given.push("`input.".to_owned());
    }
    for (step, output) in &options.outputs {
        if let Some(index) = definition.step_index(step) {
            samples.outputs[index.index()] = vec![output.clone()];
            samples.lacking.outputs[index.index()].clear();
            given.push(format!("`steps.{step}.output"));
        }
    }
    let is_given = |what: &String| given.iter().any(|start| what.starts_with(start));
    samples.assumed.retain(|what| !is_given(what));
    Stage {
        definition: Arc::clone(definition),
        samples,
        barrier: options.barrier,
        cancel: options.cancel,
    }
}

/// A start without a value for its key is refused: by which code.
fn refusal(definition: &Definition, input: &Payload) -> Option<&'static str> {
    let keys = [
        (definition.key(), "KEY_INVALID"),
        (definition.ordering_key(), "ORDERING_KEY_INVALID"),
    ];
    let mut keys = keys
        .into_iter()
        .filter_map(|(key, code)| Some((key?, code)));
    let refuses = |key: &Expression| key.evaluate_key(&Scope::of_input(input)).is_err();
    keys.find(|(key, _)| refuses(key)).map(|(_, code)| code)
}

/// How a state was reached.
enum Step {
    /// With an input, in words.
    Begins { words: String },
    /// From another state, by what happened.
    Follows { from: usize, event: Event },
}

struct Search<'a> {
    words: Words,
    stage: &'a Stage,
    states_max: usize,
    known: HashSet<Hash128>,
    /// Answers that came a second time.
    repeated: HashSet<Answer>,
    nodes: Vec<Step>,
    open: VecDeque<(usize, World)>,
    transitions: usize,
    truncated: bool,
    ends: BTreeMap<String, End>,
    alarms: BTreeMap<String, Vec<String>>,
    violations: BTreeMap<String, Violation>,
}

impl Search<'_> {
    /// Every way in which a saga begins.
    fn begin(&mut self) {
        let stage = self.stage;
        for input in &stage.samples.inputs {
            let (world, facts) = World::begin(stage, input.clone());
            let words = format!("a saga begins with {}", on_one_line(input));
            self.reach(world, &facts, Step::Begins { words }, None);
        }
        // Of a made-up input that a key cannot take, nothing follows for those that lack more.
        let takes_plain = refusal(&stage.definition, &stage.samples.inputs[0]).is_none();
        for Lack { field, payload, .. } in &stage.samples.lacking.inputs {
            let with = format!("{}, which lacks {field}", on_one_line(payload));
            let refused = refusal(&stage.definition, payload).filter(|_| takes_plain);
            if let Some(code) = refused {
                let end = self.ends.entry(format!("refused at the start: {code}"));
                end.or_insert_with(|| End {
                    states: 0,
                    trace: vec![format!("a saga is to begin with {with}")],
                });
                continue;
            }
            let (mut world, facts) = World::begin(stage, payload.clone());
            world.lacks = true;
            let words = format!("a saga begins with {with}");
            self.reach(world, &facts, Step::Begins { words }, None);
        }
    }

    fn run(&mut self, tell: &mut dyn FnMut(Progress)) {
        let mut looked_at = 0_usize;
        while let Some((node, world)) = self.open.pop_front() {
            looked_at += 1;
            if looked_at.is_multiple_of(TOLD_EVERY_STATES) {
                tell(Progress {
                    states: self.nodes.len(),
                    open: self.open.len(),
                });
            }
            let events = world.events(self.stage);
            if let Err(promise) = promise::check_end(self.stage, &world, &events) {
                self.violated(node, promise);
            }
            self.note_end(node, &world, &events);
            for event in events {
                let mut next = world.clone();
                let facts = next.apply(self.stage, &event);
                self.transitions += 1;
                self.note_parkings(node, &event, &next, &facts);
                self.note_alarms(node, &event, &next);
                let step = Step::Follows {
                    from: node,
                    event: event.clone(),
                };
                self.reach(next, &facts, step, Some(&event));
            }
        }
    }

    /// Takes note of a state, if it is new.
    fn reach(&mut self, world: World, facts: &[Fact], step: Step, event: Option<&Event>) {
        let digest = digest(self.stage, &world);
        let new = !self.known.contains(&digest);
        let mut broken = promise::check(self.stage, &world, facts, new);
        // States do not tell apart by which answer they were reached: so each kind is repeated at each place.
        if let Some(event) = event
            && let Some(answer) = promise::answered(&world, event)
            && (self.repeated.insert(answer) || new)
        {
            broken = broken.and_then(|()| promise::check_duplicate(self.stage, &world, event));
        }
        if !new && broken.is_ok() {
            return;
        }
        if self.nodes.len() >= self.states_max {
            self.truncated = true;
            return;
        }
        let node = self.nodes.len();
        self.nodes.push(step);
        self.known.insert(digest);
        match broken {
            // What lies behind a broken promise says nothing more.
            Err(promise) => self.violated(node, promise),
            Ok(()) => self.open.push_back((node, world)),
        }
    }

    fn violated(&mut self, node: usize, promise: String) {
        if !self.violations.contains_key(&promise) {
            let trace = self.trace(node);
            let violation = Violation {
                promise: promise.clone(),
                trace,
            };
            self.violations.insert(promise, violation);
        }
    }

    /// States do not tell apart why a compensation is parked: so each reason is noted when it comes up.
    fn note_parkings(&mut self, from: usize, event: &Event, world: &World, facts: &[Fact]) {
        let opened = facts
            .iter()
            .any(|fact| matches!(fact, Fact::IncidentOpened(_)));
        if !opened || world.saga.terminal() {
            return;
        }
        for words in self.ends_in_words(world) {
            if !self.ends.contains_key(&words) {
                let mut trace = self.trace(from);
                trace.push(self.words.event(event));
                self.ends.insert(words, End { states: 0, trace });
            }
        }
    }

    /// Nor do states tell what alarms a lost result could raise.
    fn note_alarms(&mut self, from: usize, event: &Event, world: &World) {
        for place in &world.alarms {
            let step = self.words.step(*place);
            if !self.alarms.contains_key(&step) {
                let mut trace = self.trace(from);
                trace.push(self.words.event(event));
                trace.push(format!("the lost result of {step} arrives late"));
                self.alarms.insert(step, trace);
            }
        }
    }

    fn note_end(&mut self, node: usize, world: &World, events: &[Event]) {
        let settled = world.saga.terminal()
            || events.iter().all(|event| {
                matches!(
                    event,
                    Event::IsCancelled
                        | Event::ArrivesLate { .. }
                        | Event::DeadlinePasses
                        | Event::SignalComes { .. }
                        | Event::SignalLacks { .. }
                )
            });
        if !settled {
            return;
        }
        for words in self.ends_in_words(world) {
            if let Some(end) = self.ends.get_mut(&words) {
                end.states += 1;
                continue;
            }
            let trace = self.trace(node);
            self.ends.insert(words, End { states: 1, trace });
        }
    }

    /// What kind of end it is. A saga that is parked at several places is of the kind of each.
    fn ends_in_words(&self, world: &World) -> BTreeSet<String> {
        let saga = &world.saga;
        let kind = match saga.state() {
            SagaState::Completed => "completed",
            SagaState::Compensated => "compensated",
            SagaState::Running | SagaState::Compensating => "waits for a signal",
            SagaState::Terminated => "terminated",
            SagaState::Parked => {
                return saga
                    .incidents()
                    .iter()
                    .map(|open| self.parked_in_words(open, saga.abort().is_some()))
                    .collect();
            }
        };
        BTreeSet::from([kind.to_owned()])
    }

    fn parked_in_words(&self, open: &OpenIncident, aborted: bool) -> String {
        let direction = if aborted { "undoing" } else { "going forward" };
        let reason = open.incident.reason.as_str();
        match open.incident.place {
            Some(place) => format!("parked {direction}: {reason} at {}", self.words.step(place)),
            None => format!("parked {direction}: {reason}"),
        }
    }

    /// What happened, from the start to a state.
    fn trace(&self, node: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at {
            at = match &self.nodes[node] {
                Step::Begins { words } => {
                    lines.push(words.clone());
                    None
                }
                Step::Follows { from, event } => {
                    lines.push(self.words.event(event));
                    Some(*from)
                }
            };
        }
        lines.reverse();
        lines
    }
}
