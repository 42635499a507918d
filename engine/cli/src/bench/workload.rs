//! What sagas do while they are measured: definitions, inputs, and how they end. Deliberately not here: who starts them,
//! and how many.

use std::fmt::Write as _;

use amends_proto::v1::SagaState;
use serde::{Deserialize, Serialize};

/// Three steps in a row that succeed.
pub const HAPPY: &str = include_str!("happy.saga.yaml");
/// Its id.
pub const HAPPY_ID: &str = "amends-bench";
/// The last of three steps is refused.
const FAILING: &str = include_str!("failing.saga.yaml");
/// Three steps hand a payload on.
const PAYLOAD: &str = include_str!("payload.saga.yaml");
/// One step whose participant is away.
const HELD: &str = include_str!("held.saga.yaml");
/// The result of a step: this many `x`, so that it has 200 bytes.
const NOTE_CHARACTERS: usize = 189;
/// What stands around the characters of a payload.
const PAYLOAD_FRAME: usize = r#"{"note":""}"#.len();

/// What each saga does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Three steps in a row that succeed.
    Happy,
    /// The last of three steps is refused, and two are undone.
    Failing,
    /// So many steps in a row.
    Sequence(u32),
    /// So many steps at once.
    Parallel(u32),
    /// One step for each of so many items.
    Foreach(u32),
    /// Three steps hand on a payload of so many bytes.
    Payload(u32),
    /// A step whose participant is away.
    Held,
    /// As the happy one, forgotten so many seconds after its end.
    Forgotten(u32),
}

impl Workload {
    /// Its name on the command line, or what stands on a curve.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Happy => "happy",
            Self::Failing => "failing",
            Self::Sequence(_) => "sequence",
            Self::Parallel(_) => "parallel",
            Self::Foreach(_) => "foreach",
            Self::Payload(_) => "payload",
            Self::Held => "held",
            Self::Forgotten(_) => "forgotten",
        }
    }

    /// The definition's id.
    #[must_use]
    pub fn definition_id(&self) -> String {
        match self {
            Self::Happy => HAPPY_ID.to_owned(),
            Self::Failing | Self::Payload(_) | Self::Held | Self::Forgotten(_) => {
                format!("{HAPPY_ID}-{}", self.name())
            }
            Self::Sequence(size) | Self::Parallel(size) | Self::Foreach(size) => {
                format!("{HAPPY_ID}-{}-{size}", self.name())
            }
        }
    }

    /// The definition.
    #[must_use]
    pub fn source(&self) -> String {
        match self {
            Self::Happy => HAPPY.to_owned(),
            Self::Failing => FAILING.to_owned(),
            Self::Payload(_) => PAYLOAD.to_owned(),
            Self::Held => HELD.to_owned(),
            Self::Sequence(size) => self.wide(*size, ""),
            Self::Parallel(size) => self.wide(*size, "needs: [], "),
            Self::Foreach(size) => {
                let head = self.head();
                format!(
                    "{head}  - {{id: each, foreach: {{in: input.items, as: item, maxParallel: {size}, maxItems: {size}}}, \
                     call: bench.work, input: {{note: \"${{{{ input.note }}}}\"}}, compensate: {{none: it has no effect}}}}\n"
                )
            }
            Self::Forgotten(seconds) => HAPPY.replace(
                "name: amends-bench\n",
                &format!("name: {}\nretention: {seconds}s\n", self.definition_id()),
            ),
        }
    }

    /// The input of each saga: JSON.
    #[must_use]
    pub fn input(&self) -> Vec<u8> {
        match self {
            Self::Payload(bytes) => {
                let characters = (*bytes as usize).saturating_sub(PAYLOAD_FRAME);
                json(&serde_json::json!({"note": "x".repeat(characters)}))
            }
            Self::Foreach(size) => {
                let items: Vec<u32> = (0..*size).collect();
                json(&serde_json::json!({"note": "x".repeat(270), "items": items}))
            }
            Self::Happy
            | Self::Failing
            | Self::Sequence(_)
            | Self::Parallel(_)
            | Self::Held
            | Self::Forgotten(_) => input(),
        }
    }

    /// How large each saga is, in words.
    #[must_use]
    pub fn size(&self) -> String {
        match self {
            Self::Sequence(steps) => format!("{steps} steps in a row"),
            Self::Parallel(steps) => format!("{steps} steps at once"),
            Self::Foreach(items) => format!("{items} items at once"),
            Self::Payload(bytes) => format!("{bytes} bytes"),
            Self::Happy | Self::Failing | Self::Held | Self::Forgotten(_) => {
                format!("{} attempts", self.attempts())
            }
        }
    }

    /// How each saga has to end.
    #[must_use]
    pub fn end(&self) -> SagaState {
        match self {
            Self::Failing => SagaState::Compensated,
            Self::Happy
            | Self::Sequence(_)
            | Self::Parallel(_)
            | Self::Foreach(_)
            | Self::Payload(_)
            | Self::Held
            | Self::Forgotten(_) => SagaState::Completed,
        }
    }

    /// Attempts of one saga that may be under way at once.
    #[must_use]
    pub fn width(&self) -> u32 {
        match self {
            Self::Parallel(size) | Self::Foreach(size) => *size,
            Self::Happy
            | Self::Failing
            | Self::Sequence(_)
            | Self::Payload(_)
            | Self::Held
            | Self::Forgotten(_) => 1,
        }
    }

    /// Attempts that a participant makes for each saga.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        match self {
            Self::Happy | Self::Payload(_) | Self::Forgotten(_) => 3,
            // Three go forward, two of them are undone.
            Self::Failing => 5,
            Self::Sequence(size) | Self::Parallel(size) | Self::Foreach(size) => u64::from(*size),
            Self::Held => 1,
        }
    }

    fn head(&self) -> String {
        let id = self.definition_id();
        format!("apiVersion: amends/v1\nname: {id}\ndescription: For measurements.\nsteps:\n")
    }

    fn wide(&self, size: u32, needs: &str) -> String {
        let mut source = self.head();
        for step in 0..size {
            // A string takes whatever is written to it.
            let _ = writeln!(
                source,
                "  - {{id: s{step}, {needs}call: bench.work, input: {{note: \"${{{{ input.note }}}}\"}}, compensate: {{none: it has no effect}}}}"
            );
        }
        source
    }
}

/// The input of a saga, some 300 bytes of JSON.
#[must_use]
pub fn input() -> Vec<u8> {
    json(&serde_json::json!({"order": "B-1", "note": "x".repeat(270)}))
}

/// What the first step gets of it, as its mapping says.
#[must_use]
pub fn mapped() -> Vec<u8> {
    json(&serde_json::json!({"note": "x".repeat(270)}))
}

/// The result of a step: 200 bytes of JSON.
#[must_use]
pub fn result() -> String {
    serde_json::json!({"note": "x".repeat(NOTE_CHARACTERS)}).to_string()
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_sound_and_has_the_id_that_is_started() {
        for workload in [
            Workload::Happy,
            Workload::Failing,
            Workload::Sequence(100),
            Workload::Parallel(100),
            Workload::Foreach(1_000),
            Workload::Payload(24),
            Workload::Held,
            Workload::Forgotten(5),
        ] {
            let checked = amends_definitions::check(workload.source().as_bytes());
            let definition = checked
                .definition
                .unwrap_or_else(|| panic!("{workload:?}: {:?}", checked.diagnostics));
            assert_eq!(definition.name(), workload.definition_id());
            serde_json::from_slice::<serde_json::Value>(&workload.input()).expect("JSON");
        }
    }

    #[test]
    fn inputs_have_some_300_bytes_and_results_have_200() {
        assert!((295..=305).contains(&input().len()), "{}", input().len());
        assert_eq!(result().len(), 200);
    }

    #[test]
    fn payloads_have_as_many_bytes_as_are_asked_for() {
        for bytes in [24, 4_096, 1_048_576] {
            assert_eq!(Workload::Payload(bytes).input().len(), bytes as usize);
        }
    }
}
