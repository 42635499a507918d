//! `simulate` and `verify`: what can become of a definition, without a server. Deliberately not here: how it is found out
//! (`amends-verify`), and how it looks (`view`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amends_definitions::{Definition, Payload, Severity, check, render};
use amends_verify::{
    Failure as StepFailure, Options, Script, explore_telling, simulate, worst_case,
};

use super::{DEFINITION_BYTES_MAX, read_input};
use crate::arguments::Global;
use crate::arguments::exploring::{SimulateArguments, VerifyArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{plain, say, show};
use crate::view::exploring::{Found, Played};

/// Plays one way through a saga.
///
/// # Errors
/// If the document is no definition, or the script does not fit it.
pub fn simulated(global: &Global, arguments: &SimulateArguments) -> Result<Exit, Failure> {
    let definition = definition(&arguments.file)?;
    let script = Script {
        input: input(&definition, arguments.input.as_deref())?,
        outputs: payloads("--answer", &arguments.answers)?,
        failures: failures(arguments)?,
        stuck: arguments.stuck.iter().cloned().collect::<BTreeSet<_>>(),
        signals: payloads("--signal", &arguments.signals)?,
        crash_after: arguments.crash_after,
        cancel_after: arguments.cancel_after,
        barrier: arguments.barrier,
    };
    let played = simulate(&definition, &script).map_err(|why| {
        Failure::usage("this cannot be simulated")
            .because(why)
            .advice("name steps and signals as the definition does")
    })?;
    show(global.output, &Played::of(&played))?;
    Ok(Exit::Ok)
}

/// Explores every way that a saga can go.
///
/// # Errors
/// If the document is no definition, or the answers do not fit it.
pub fn verified(global: &Global, arguments: &VerifyArguments) -> Result<Exit, Failure> {
    let definition = definition(&arguments.file)?;
    let options = Options {
        input: input(&definition, arguments.input.as_deref())?,
        outputs: payloads("--answer", &arguments.answers)?,
        barrier: arguments.barrier,
        cancel: true,
        states_max: arguments.states,
    };
    if let Some(step) = options
        .outputs
        .keys()
        .find(|step| definition.step_index(step).is_none())
    {
        return Err(Failure::usage(format!("there is no step `{step}`"))
            .because("--answer names a step of the definition")
            .advice("see `amends graph` for its steps"));
    }
    let mut told_at = Instant::now();
    let found = explore_telling(&definition, &options, &mut |far| {
        if told_at.elapsed() >= TELL_INTERVAL {
            told_at = Instant::now();
            say(format!(
                "{} states so far, {} of them still to be looked at",
                far.states, far.open
            ));
        }
    });
    let worst = worst_case(&definition);
    let sound = found.violations.is_empty() && !found.truncated;
    show(
        global.output,
        &Found::of(definition.name(), &found, &worst, arguments.ways),
    )?;
    Ok(if sound { Exit::Ok } else { Exit::Wrong })
}

/// Reads a definition; one that is none is shown with what is wrong.
fn definition(path: &Path) -> Result<Arc<Definition>, Failure> {
    let name = path.display().to_string();
    let source = read_input(path, DEFINITION_BYTES_MAX)?;
    let mut checked = check(&source);
    let Some(definition) = checked.definition else {
        checked
            .diagnostics
            .retain(|diagnostic| diagnostic.severity == Severity::Error);
        say(plain(
            render(&name, &source, &checked.diagnostics).trim_end(),
        ));
        return Err(
            Failure::new(Exit::Invalid, format!("{name} is no definition"))
                .because("it has the errors above")
                .advice("mend it; `amends lint` says the same"),
        );
    };
    Ok(Arc::new(definition))
}

/// Reads the start's input, and checks it as a server would.
fn input(definition: &Definition, path: Option<&Path>) -> Result<Option<Payload>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let bytes = read_input(path, INPUT_BYTES_MAX)?;
    let refused = |why: String| {
        Failure::new(Exit::Invalid, format!("{} is no input", path.display()))
            .because(why)
            .advice("a server would refuse it as well")
    };
    let input = Payload::check(bytes.into()).map_err(|error| refused(error.to_string()))?;
    if let Some(Err(violations)) = definition.input_schema().map(|schema| schema.check(&input)) {
        let (pointer, message) = &violations[0];
        return Err(refused(format!("at input{pointer}: {message}")));
    }
    Ok(Some(input))
}

/// How often an exploration that takes long says how far it is.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
const INPUT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Reads `NAME=JSON`.
fn payloads(option: &str, texts: &[String]) -> Result<BTreeMap<String, Payload>, Failure> {
    texts
        .iter()
        .map(|text| {
            let wrong = |why: String| {
                Failure::usage(format!("{option} {text} cannot be read"))
                    .because(why)
                    .advice(format!("write {option} 'NAME={{\"some\": \"json\"}}'"))
            };
            let (name, json) = text
                .split_once('=')
                .ok_or_else(|| wrong("there is no `=`".to_owned()))?;
            let payload = Payload::check(json.as_bytes().to_vec().into())
                .map_err(|error| wrong(error.to_string()))?;
            Ok((name.to_owned(), payload))
        })
        .collect()
}

fn failures(arguments: &SimulateArguments) -> Result<BTreeMap<String, StepFailure>, Failure> {
    let mut failures = BTreeMap::new();
    for text in &arguments.failures {
        let (step, failure) = match text.split_once(':') {
            Some((step, code)) => (step, StepFailure::Rejected(code.to_owned())),
            None => (text.as_str(), StepFailure::Exhausted),
        };
        failures.insert(step.to_owned(), failure);
    }
    for text in &arguments.unknown {
        let (step, effect) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((step, "effect")) => (step, true),
            Some((_, other)) => {
                return Err(Failure::usage(format!("--unknown {text} cannot be read"))
                    .because(format!("`{other}` is not `effect`"))
                    .advice("write --unknown STEP, or --unknown STEP:effect"));
            }
        };
        failures.insert(step.to_owned(), StepFailure::Unknown { effect });
    }
    Ok(failures)
}
