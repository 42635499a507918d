//! What a document calls, compared with what the participants of a server serve: a warning for each action that none does.
//! A participant may come later, so it is never an error. Deliberately not here: what can be said without a server.

use std::collections::BTreeSet;

use amends_definitions::{ActionName, Compensation, Definition, Diagnostic, Severity};
use amends_proto::v1::Participant;

const CODE: &str = "PARTICIPANT_ACTION_UNKNOWN";

/// A warning for each action that a definition calls and no participant serves, in the order of the document.
pub fn unserved(
    definition: &Definition,
    source: &str,
    participants: &[Participant],
) -> Vec<Diagnostic> {
    let served: BTreeSet<&str> = participants
        .iter()
        .flat_map(|participant| participant.actions.iter().map(String::as_str))
        .collect();
    let called = called(definition);
    let unserved = called.iter().filter(|action| !served.contains(**action));
    let mut found: Vec<_> = unserved
        .map(|action| warning(action, source, participants))
        .collect();
    found.sort_by_key(|diagnostic| diagnostic.span.start);
    found
}

fn called(definition: &Definition) -> BTreeSet<&str> {
    let mut called = BTreeSet::new();
    for step in definition.steps() {
        called.extend(step.action().map(ActionName::as_str));
        let query = step.call().and_then(|call| call.query());
        called.extend(query.map(ActionName::as_str));
        match step.compensation() {
            Compensation::Call(call) => {
                called.insert(call.action().as_str());
            }
            Compensation::Child | Compensation::None { .. } | Compensation::NotApplicable => {}
        }
    }
    called
}

fn warning(action: &str, source: &str, participants: &[Participant]) -> Diagnostic {
    let (participant, name) = action.split_once('.').unwrap_or((action, ""));
    let of_it = participants
        .iter()
        .filter(|known| known.participant == participant);
    let offers: BTreeSet<&str> = of_it
        .clone()
        .flat_map(|known| &known.actions)
        .filter_map(|offer| Some(offer.split_once('.')?.1))
        .collect();
    let (message, help) = if of_it.count() == 0 {
        let message =
            format!("nobody serves `{action}`: no participant `{participant}` is attached");
        let help = format!("attach `{participant}`; sagas wait at this step until then");
        (message, help)
    } else {
        let offers: Vec<_> = offers.into_iter().collect();
        let message = format!("no attached instance of `{participant}` serves `{name}`");
        let help = format!(
            "mend the name, or attach an instance that serves it; those attached serve {}",
            offers.join(", ")
        );
        (message, help)
    };
    let start = place_of(action, source);
    let (line, column) = line_and_column(source, start);
    let end = start + action.len().min(source.len() - start);
    Diagnostic {
        severity: Severity::Warning,
        code: CODE,
        message,
        help: Some(help),
        line,
        column,
        span: start..end,
    }
}

/// Where the document first calls an action. A name that is written in a way of its own, with escapes, is not found: the
/// document's beginning stands for it.
fn place_of(action: &str, source: &str) -> usize {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let bytes = source.as_bytes();
    let whole = |start: &usize| {
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let behind = bytes.get(start + action.len());
        !before.is_some_and(|byte| is_part(*byte)) && !behind.is_some_and(|byte| is_part(*byte))
    };
    let starts = || {
        source
            .match_indices(action)
            .map(|(start, _)| start)
            .filter(whole)
    };
    // What stands behind a key calls it; the same words elsewhere, in a comment say, only speak of it.
    let is_called = |start: &usize| {
        let before = source[..*start].trim_end_matches(['"', '\'', ' ']);
        before.ends_with("call:") || before.ends_with("query:")
    };
    starts()
        .find(is_called)
        .or_else(|| starts().next())
        .unwrap_or(0)
}

/// Both from 1, the column in characters.
fn line_and_column(source: &str, start: usize) -> (u32, u32) {
    let before = &source[..start];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    (number(line), number(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "apiVersion: amends/v1
name: a
# it was shop.pay once
steps:
  - {id: hold, call: shop.hold, compensate: {call: 'shop.free'}}
  - id: pay
    kind: pivot
    call: bank.pay
";

    fn shop(actions: &[&str]) -> Participant {
        Participant {
            participant: "shop".to_owned(),
            actions: actions
                .iter()
                .map(|action| format!("shop.{action}"))
                .collect(),
            ..Participant::default()
        }
    }

    fn found(source: &str, participants: &[Participant]) -> Vec<(u32, u32, String)> {
        let definition = amends_definitions::check(source.as_bytes()).definition;
        let definition = definition.expect("it is sound");
        let found = unserved(&definition, source, participants);
        let shown = |it: Diagnostic| (it.line, it.column, source[it.span].to_owned());
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn what_nobody_serves_has_its_place_in_the_document() {
        let free = (5, 53, "shop.free".to_owned());
        let pay = (8, 11, "bank.pay".to_owned());
        assert_eq!(found(SOURCE, &[shop(&["hold"])]), [free, pay]);
        let bank = Participant {
            participant: "bank".to_owned(),
            actions: vec!["bank.pay".to_owned()],
            ..Participant::default()
        };
        assert!(found(SOURCE, &[shop(&["hold", "free"]), bank]).is_empty());
        // A comment speaks of it before it is called, and a longer name is another.
        let renamed = SOURCE.replace("bank.pay", "shop.pay");
        let pay = found(&renamed, &[shop(&["hold", "free", "pay2"])]);
        assert_eq!(pay, [(8, 11, "shop.pay".to_owned())]);
    }

    #[test]
    fn a_participant_that_is_away_is_told_from_one_that_lacks_the_action() {
        let definition = amends_definitions::check(SOURCE.as_bytes()).definition;
        let definition = definition.expect("it is sound");
        let found = unserved(&definition, SOURCE, &[shop(&["hold"])]);
        assert_eq!(
            found[0].message,
            "no attached instance of `shop` serves `free`"
        );
        assert!(
            found[1]
                .message
                .contains("no participant `bank` is attached")
        );
        assert!(
            found
                .iter()
                .all(|it| it.severity == Severity::Warning && it.code == CODE)
        );
    }
}
