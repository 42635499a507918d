//! What a step does, as written: exactly one of call, wait, sleep, saga, emit, fail, and the keys that go with it alone.

use std::ops::Range;
use std::time::Duration;

use super::THEN;
use crate::definition::Then;
use crate::diagnostic::Report;
use crate::document::fields::{self, Fields, Spanned};
use crate::document::keys;
use crate::document::node::{Node, NodeValue};
use crate::document::policy::{self, RetryDraft, TimeoutFields};
use crate::limits::{
    CODE_BYTES_MAX, DESCRIPTION_BYTES_MAX, ID_BYTES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX,
};

/// What a step does.
#[derive(Debug)]
pub(crate) enum WorkDraft<'n> {
    Call {
        call: Box<CallDraft<'n>>,
        query: Option<Spanned<String>>,
    },
    Wait(WaitDraft),
    Sleep(SleepDraft<'n>),
    Saga(SagaDraft<'n>),
    Emit(EmitDraft<'n>),
    Fail(FailDraft<'n>),
}

impl WorkDraft<'_> {
    /// Its key in the document.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            WorkDraft::Call { .. } => "call",
            WorkDraft::Wait(_) => "wait",
            WorkDraft::Sleep(_) => "sleep",
            WorkDraft::Saga(_) => "saga",
            WorkDraft::Emit(_) => "emit",
            WorkDraft::Fail(_) => "fail",
        }
    }
}

/// A call as written.
#[derive(Debug)]
pub(crate) struct CallDraft<'n> {
    pub(crate) action: Option<Spanned<String>>,
    pub(crate) input: Option<&'n Node>,
    pub(crate) retry: Option<RetryDraft>,
    pub(crate) timeout: TimeoutFields,
}

/// `wait` as written.
#[derive(Debug)]
pub(crate) struct WaitDraft {
    pub(crate) signal: Option<Spanned<String>>,
    pub(crate) timeout: Option<Spanned<Duration>>,
    pub(crate) on_timeout: Option<Spanned<Then>>,
}

/// `sleep` as written.
#[derive(Debug)]
pub(crate) enum SleepDraft<'n> {
    For(Spanned<Duration>),
    Until(&'n Node),
}

/// `saga` as written.
#[derive(Debug)]
pub(crate) struct SagaDraft<'n> {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) key: Option<&'n Node>,
    pub(crate) input: Option<&'n Node>,
}

/// `emit` as written.
#[derive(Debug)]
pub(crate) struct EmitDraft<'n> {
    pub(crate) event_type: Option<Spanned<String>>,
    pub(crate) subject: Option<&'n Node>,
    pub(crate) data: Option<&'n Node>,
}

/// `fail` as written.
#[derive(Debug)]
pub(crate) struct FailDraft<'n> {
    pub(crate) code: Option<Spanned<String>>,
    pub(crate) message: Option<&'n Node>,
}

/// Reads what a step does; none if that is missing or wrong.
pub(super) fn read<'n>(
    fields: Fields<'n>,
    what: &str,
    at: &Range<usize>,
    report: &mut Report,
) -> Option<WorkDraft<'n>> {
    let mut given = keys::WORK
        .into_iter()
        .filter_map(|key| Some((key, fields.get(key)?)));
    let Some((key, node)) = given.next() else {
        let works = fields::list(&keys::WORK);
        report
            .error(
                "MISSING_KEY",
                format!("{what} says nothing to do"),
                at.clone(),
            )
            .help(format!("add one of {works}"));
        return None;
    };
    for (second, _) in given {
        if let Some(span) = fields.key_span(second) {
            let message = format!("{what} does one thing: `{second}` does not go with `{key}`");
            report
                .error("SEVERAL_WORKS", message, span)
                .help("make it a step of its own");
        }
    }
    only_with(fields, what, key, report);
    match key {
        "call" => Some(WorkDraft::Call {
            call: Box::new(read_call(fields, Some(node), report)),
            query: fields
                .get("query")
                .and_then(|node| fields::text(node, "`query`", ACTION_BYTES_MAX, report)),
        }),
        "wait" => wait(node, report).map(WorkDraft::Wait),
        "sleep" => sleep(node, report).map(WorkDraft::Sleep),
        "saga" => saga(node, report).map(WorkDraft::Saga),
        "emit" => emit(node, report).map(WorkDraft::Emit),
        _ => fail(node, report).map(WorkDraft::Fail),
    }
}

/// Reads the parts of a call, which stand beside it.
pub(super) fn read_call<'n>(
    fields: Fields<'n>,
    action: Option<&'n Node>,
    report: &mut Report,
) -> CallDraft<'n> {
    CallDraft {
        action: action.and_then(|node| fields::text(node, "`call`", ACTION_BYTES_MAX, report)),
        input: fields.get("input"),
        retry: fields
            .get("retry")
            .and_then(|node| policy::retry(node, report)),
        timeout: fields
            .get("timeout")
            .and_then(|node| policy::timeout(node, report))
            .unwrap_or_default(),
    }
}

/// `participant.action`.
const ACTION_BYTES_MAX: usize = 2 * ID_BYTES_MAX + 1;

/// Refuses keys that would have no effect.
fn only_with(fields: Fields<'_>, what: &str, work: &str, report: &mut Report) {
    for (key, works, instead) in keys::ONLY_WITH {
        // A child is undone as a whole: its rule says more than this one.
        if works.contains(&work) || (key == "compensate" && work == "saga") {
            continue;
        }
        if let Some(span) = fields.key_span(key) {
            let message = format!("{what}: `{key}` does not go with `{work}`");
            report
                .error("KEY_NOT_APPLICABLE", message, span)
                .help(instead);
        }
    }
}

fn wait(node: &Node, report: &mut Report) -> Option<WaitDraft> {
    let fields = Fields::read(node, "`wait`", &keys::WAIT, &[], report)?;
    let at = node.span.start..node.span.start;
    let signal = fields.require("signal", "`wait`", &at, report);
    if fields.get("timeout").is_none()
        && let Some(span) = fields.key_span("onTimeout")
    {
        report
            .error("MISSING_KEY", "`onTimeout` needs `timeout`", span)
            .help("add `timeout`: without it the step waits for ever");
    }
    Some(WaitDraft {
        signal: signal.and_then(|node| fields::text(node, "`wait.signal`", ID_BYTES_MAX, report)),
        timeout: fields
            .get("timeout")
            .and_then(|node| fields::duration(node, "`wait.timeout`", report)),
        on_timeout: fields
            .get("onTimeout")
            .and_then(|node| fields::choice(node, "`wait.onTimeout`", &THEN, report)),
    })
}

fn sleep<'n>(node: &'n Node, report: &mut Report) -> Option<SleepDraft<'n>> {
    if let NodeValue::Scalar(_) = node.value {
        return fields::duration(node, "`sleep`", report).map(SleepDraft::For);
    }
    let fields = Fields::read(node, "`sleep`", &keys::SLEEP, &[], report)?;
    let at = node.span.start..node.span.start;
    let until = fields.require("until", "`sleep`", &at, report);
    until.map(SleepDraft::Until)
}

fn saga<'n>(node: &'n Node, report: &mut Report) -> Option<SagaDraft<'n>> {
    let fields = Fields::read(node, "`saga`", &keys::SAGA, &[], report)?;
    let at = node.span.start..node.span.start;
    let name = fields.require("name", "`saga`", &at, report);
    Some(SagaDraft {
        name: name.and_then(|node| fields::text(node, "`saga.name`", NAME_BYTES_MAX, report)),
        key: fields.get("key"),
        input: fields.get("input"),
    })
}

fn emit<'n>(node: &'n Node, report: &mut Report) -> Option<EmitDraft<'n>> {
    let fields = Fields::read(node, "`emit`", &keys::EMIT, &[], report)?;
    let at = node.span.start..node.span.start;
    let event_type = fields.require("type", "`emit`", &at, report);
    Some(EmitDraft {
        event_type: event_type
            .and_then(|node| fields::constant(node, "`emit.type`", LABEL_BYTES_MAX, report)),
        subject: template(fields, "subject", "`emit.subject`", report),
        data: fields.get("data"),
    })
}

fn fail<'n>(node: &'n Node, report: &mut Report) -> Option<FailDraft<'n>> {
    let fields = Fields::read(node, "`fail`", &keys::FAIL, &[], report)?;
    let at = node.span.start..node.span.start;
    let code = fields.require("code", "`fail`", &at, report);
    Some(FailDraft {
        code: code.and_then(|node| fields::text(node, "`fail.code`", CODE_BYTES_MAX, report)),
        message: template(fields, "message", "`fail.message`", report),
    })
}

/// A text that may have expressions in it.
fn template<'n>(
    fields: Fields<'n>,
    key: &str,
    what: &str,
    report: &mut Report,
) -> Option<&'n Node> {
    let node = fields.get(key)?;
    fields::text(node, what, DESCRIPTION_BYTES_MAX, report)?;
    Some(node)
}
