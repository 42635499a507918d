//! Commands to copy: what a person can type about what a view shows. Deliberately not here: whether the server will do it.

use crate::connection::id_of;

/// What an incident is about, as far as commands need it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its reason.
    pub reason: &'a str,
    /// The step's id; empty if it is about the saga.
    pub step: &'a str,
    /// The item; 0 without one.
    pub item: u32,
    /// `forward`, `compensate` or `query`; empty if it is about the saga.
    pub operation: &'a str,
    /// The signal that the step waits for; empty without one.
    pub signal: &'a str,
}

/// How a command names a saga: by its id, and in another namespace than the usual by its whole name.
#[must_use]
pub fn reference(name: &str) -> &str {
    if name.starts_with("namespaces/default/") {
        id_of(name)
    } else {
        name
    }
}

/// A step as commands take it: `STEP`, or `STEP#ITEM`.
#[must_use]
pub fn place(step: &str, item: u32) -> String {
    if item == 0 {
        step.to_owned()
    } else {
        format!("{step}#{item}")
    }
}

/// Sends a signal.
#[must_use]
pub fn signal(saga: &str, signal: &str) -> String {
    format!("amends saga signal {saga} {signal} --payload JSON")
}

/// What can be done about an incident of a saga, most likely first.
#[must_use]
pub fn commands(saga: &str, about: &About<'_>) -> Vec<String> {
    let at = place(about.step, about.item);
    let because = "--reason WHY";
    let whole = |verb: &str| format!("amends saga {verb} {saga} {because}");
    if at.is_empty() {
        return match about.reason {
            "PAUSED" | "DEADLINE_EXCEEDED" => vec![whole("resume"), whole("compensate")],
            "HISTORY_FULL" => vec![whole("compensate"), whole("terminate")],
            "EXPRESSION_FAILED" => vec![format!(
                "amends saga resolve {saga} --result JSON {because}"
            )],
            "RECORD_UNREADABLE" | "DEFINITION_MISSING" => Vec::new(),
            _ => vec![whole("resume"), whole("terminate")],
        };
    }
    // Within a word `#` is plain in most shells, and a comment in some.
    let at = if about.item > 0 {
        format!("'{at}'")
    } else {
        at
    };
    let there =
        |verb: &str, options: &str| format!("amends saga {verb} {saga} {at} {options}{because}");
    if about.operation == "compensate" {
        let operation = "--operation compensate ";
        let resolve = there("resolve", operation);
        return match about.reason {
            "POSSIBLE_LEAKED_EFFECT" | "CHILD_NOT_UNDONE" => vec![resolve],
            "EXPRESSION_FAILED" => vec![
                there("retry", "--operation compensate --input JSON "),
                resolve,
            ],
            "COMPENSATION_EXHAUSTED" => {
                vec![
                    there("retry", operation),
                    resolve,
                    there("resolve-absent", operation),
                ]
            }
            _ => vec![there("retry", operation), resolve],
        };
    }
    let resolve = there("resolve", "--result JSON ");
    match about.reason {
        "PIVOT_IN_DOUBT" => vec![resolve, there("resolve-absent", ""), there("retry", "")],
        "OUTPUT_UNUSABLE" => vec![resolve],
        "POSSIBLE_LEAKED_EFFECT" | "CHILD_NOT_UNDONE" => {
            vec![there("resolve", "--operation compensate ")]
        }
        "SIGNAL_TIMEOUT" => {
            let late = (!about.signal.is_empty()).then(|| signal(saga, about.signal));
            let others = [resolve, there("skip", ""), whole("compensate")];
            late.into_iter().chain(others).collect()
        }
        "EXPRESSION_FAILED" => vec![there("retry", "--input JSON "), resolve, there("skip", "")],
        "ROUTED_TO_PARK" => vec![
            there("retry", ""),
            resolve,
            there("skip", ""),
            whole("compensate"),
        ],
        _ => vec![there("retry", ""), resolve, there("skip", "")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(
        reason: &'static str,
        step: &'static str,
        item: u32,
        operation: &'static str,
    ) -> About<'static> {
        About {
            reason,
            step,
            item,
            operation,
            signal: "decided",
        }
    }

    #[test]
    fn commands_name_the_place_and_the_operation() {
        assert_eq!(
            commands("X", &about("STEP_EXHAUSTED", "ship", 0, "forward"))[0],
            "amends saga retry X ship --reason WHY"
        );
        assert_eq!(
            commands("X", &about("COMPENSATION_REFUSED", "hold", 3, "compensate")),
            [
                "amends saga retry X 'hold#3' --operation compensate --reason WHY",
                "amends saga resolve X 'hold#3' --operation compensate --reason WHY",
            ]
        );
        assert_eq!(
            commands("X", &about("SIGNAL_TIMEOUT", "decision", 0, "forward"))[0],
            "amends saga signal X decided --payload JSON"
        );
        assert_eq!(
            commands("X", &about("PAUSED", "", 0, ""))[0],
            "amends saga resume X --reason WHY"
        );
        assert!(commands("X", &about("RECORD_UNREADABLE", "", 0, "")).is_empty());
        assert_eq!(
            commands("X", &about("EXPRESSION_FAILED", "", 0, "")),
            ["amends saga resolve X --result JSON --reason WHY"]
        );
        assert_eq!(
            commands("X", &about("EXPRESSION_FAILED", "hold", 0, "compensate")),
            [
                "amends saga retry X hold --operation compensate --input JSON --reason WHY",
                "amends saga resolve X hold --operation compensate --reason WHY",
            ]
        );
        assert_eq!(
            commands(
                "X",
                &about("COMPENSATION_EXHAUSTED", "hold", 0, "compensate")
            )[2],
            "amends saga resolve-absent X hold --operation compensate --reason WHY"
        );
    }

    #[test]
    fn a_saga_of_another_namespace_goes_by_its_whole_name() {
        assert_eq!(reference("namespaces/default/sagas/1"), "1");
        let other = "namespaces/other/sagas/1";
        assert_eq!(reference(other), other);
    }
}
