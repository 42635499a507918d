//! Names: a definition's is a DNS label, ids are snake_case and unique, actions are `participant.action`, codes UPPER_SNAKE_CASE.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::diagnostic::Report;
use crate::document::draft::{Draft, WorkDraft};
use crate::document::fields::Spanned;
use crate::json::shortened;
use crate::limits::ID_BYTES_MAX;

/// Words that cannot be a field in an expression.
pub(super) const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

pub(super) fn check(draft: &Draft<'_>, report: &mut Report) {
    if let Some(name) = &draft.name {
        check_dns_label(name, report);
    }
    for (name, _) in &draft.policies {
        if name.value.is_empty() || name.value.len() > ID_BYTES_MAX {
            let message = format!("a policy's name has 1 to {ID_BYTES_MAX} bytes");
            report.error("TOO_LONG", message, name.span.clone());
        }
    }
    for participant in &draft.participants {
        let actions = participant.actions.iter().flatten();
        for part in [&participant.name].into_iter().chain(actions) {
            if !is_action_part(&part.value) {
                let message = format!(
                    "`{}` cannot be half of an action's name",
                    shortened(&part.value)
                );
                report
                    .error("ACTION", message, part.span.clone())
                    .help(ACTION_HELP);
            }
        }
    }
    for signal in &draft.signals {
        check_id(&signal.id, "SIGNAL_ID", "_signal", report);
        if signal.id.value.len() > ID_BYTES_MAX {
            let message = format!("a signal's id has 1 to {ID_BYTES_MAX} bytes");
            report.error("TOO_LONG", message, signal.id.span.clone());
        }
    }
    let mut ids: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for step in &draft.steps {
        check_id(&step.id, "STEP_ID", "_step", report);
        if ids.insert(&step.id.value, step.id.span.clone()).is_some() {
            let message = format!("a second step has the id `{}`", step.id.value);
            report
                .error("DUPLICATE_STEP", message, step.id.span.clone())
                .help("an id is unique in its definition");
        }
        let mut actions: Vec<&Spanned<String>> = Vec::new();
        actions.extend(step.call().and_then(|call| call.action.as_ref()));
        match &step.work {
            Some(WorkDraft::Call { query, .. }) => actions.extend(query),
            Some(WorkDraft::Saga(saga)) => {
                if let Some(name) = &saga.name {
                    check_dns_label(name, report);
                }
            }
            _ => {}
        }
        actions.extend(
            step.compensation_call()
                .and_then(|call| call.action.as_ref()),
        );
        for action in actions {
            check_action(action, report);
        }
    }
}

/// A failure's code.
pub(super) fn check_code(code: &Spanned<String>, report: &mut Report) {
    let text = code.value.as_str();
    let well_formed = text.starts_with(|char: char| char.is_ascii_uppercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if well_formed {
        return;
    }
    let message = format!("`{}` is not UPPER_SNAKE_CASE", shortened(text));
    report.error("CODE", message, code.span.clone()).help(
        "a code has upper-case letters, digits and `_`, and begins with a letter: `CARD_DECLINED`",
    );
}

fn check_dns_label(name: &Spanned<String>, report: &mut Report) {
    if is_dns_label(&name.value) {
        return;
    }
    let message = format!("`{}` is not a DNS label", shortened(&name.value));
    report
        .error("NAME", message, name.span.clone())
        .help("a name has lower-case letters, digits and `-`, begins with a letter and does not end with `-`");
}

fn check_id(id: &Spanned<String>, code: &'static str, suffix: &str, report: &mut Report) {
    if RESERVED.contains(&id.value.as_str()) {
        let message = format!("`{}` is a word of the expression language", id.value);
        report
            .error("RESERVED_ID", message, id.span.clone())
            .help(format!("take another id, such as `{}{suffix}`", id.value));
    } else if !is_snake_case(&id.value) {
        let suggestion = snake_case(&id.value);
        let message = format!("`{}` is not snake_case", shortened(&id.value));
        report
            .error(code, message, id.span.clone())
            .help(if is_snake_case(&suggestion) {
                format!("write `{suggestion}`")
            } else {
                "an id has lower-case letters, digits and `_`, and begins with a letter".to_owned()
            });
    }
}

const ACTION_HELP: &str =
    "both parts have letters, digits, `_` and `-`, and begin with a letter: `inventory.reserve`";

fn check_action(action: &Spanned<String>, report: &mut Report) {
    let well_formed = action
        .value
        .split_once('.')
        .is_some_and(|(participant, name)| is_action_part(participant) && is_action_part(name));
    if !well_formed {
        let message = format!("`{}` is not `participant.action`", shortened(&action.value));
        report
            .error("ACTION", message, action.span.clone())
            .help(ACTION_HELP);
    }
}

fn is_dns_label(name: &str) -> bool {
    name.len() <= crate::limits::NAME_BYTES_MAX
        && name.starts_with(|char: char| char.is_ascii_lowercase())
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn is_snake_case(id: &str) -> bool {
    id.starts_with(|char: char| char.is_ascii_lowercase())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_action_part(part: &str) -> bool {
    part.len() <= ID_BYTES_MAX
        && part.starts_with(|char: char| char.is_ascii_alphabetic())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn snake_case(id: &str) -> String {
    let mut out = String::new();
    for char in id.chars() {
        if char.is_ascii_uppercase() && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        out.push(match char {
            '-' | ' ' | '.' => '_',
            char => char.to_ascii_lowercase(),
        });
    }
    out
}
