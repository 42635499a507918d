//! What incidents have in common, as text from outside: a whole fingerprint, or a beginning of one to list by. Nothing of
//! it but ids, numbers and codes comes through.

use amends_core::journal::IncidentInsert;
use amends_orchestrator::{Fingerprint, IncidentFilter, Refusal};

use super::outcome::is_code;
use crate::limits::{CODE_BYTES_MAX, FINGERPRINT_BYTES_MAX};
use crate::name::{is_label, is_step_id};
use crate::status::invalid;

/// Which incidents to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// All of them.
    Any,
    /// Those with this fingerprint.
    Whole(Fingerprint),
    /// Those whose fingerprint begins with this text.
    Beginning(String),
}

/// Reads a whole fingerprint.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn whole(field: &str, text: &str) -> Result<Fingerprint, Refusal> {
    let read = Some(text)
        .filter(|text| text.len() <= FINGERPRINT_BYTES_MAX && is_beginning(text))
        .and_then(|text| text.parse::<Fingerprint>().ok());
    read.ok_or_else(|| {
        let form =
            "it has the form DEFINITION@REVISION/STEP/CODE, as it was listed, with - for no step";
        invalid("FINGERPRINT_INVALID", field, form)
    })
}

/// Reads a fingerprint, or a beginning of one that ends in `*`; empty for all.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn pattern(field: &str, text: &str) -> Result<Pattern, Refusal> {
    if text.is_empty() {
        return Ok(Pattern::Any);
    }
    let Some(beginning) = text.strip_suffix('*') else {
        return whole(field, text).map(Pattern::Whole);
    };
    if beginning.len() <= FINGERPRINT_BYTES_MAX && is_beginning(beginning) {
        Ok(Pattern::Beginning(beginning.to_owned()))
    } else {
        let form = "it has the form DEFINITION@REVISION/STEP/CODE, or is a beginning of that with * behind it";
        Err(invalid("FINGERPRINT_INVALID", field, form))
    }
}

impl Pattern {
    /// What of it the store can look for.
    #[must_use]
    pub fn narrow(&self, filter: IncidentFilter) -> IncidentFilter {
        match self {
            Self::Any => filter,
            Self::Whole(fingerprint) => IncidentFilter {
                fingerprint: Some(fingerprint.clone()),
                ..filter
            },
            Self::Beginning(text) => {
                let Some((definition, rest)) = text.split_once('@') else {
                    return filter;
                };
                let revision = rest.split_once('/');
                let step = revision.and_then(|(_, rest)| rest.split_once('/'));
                IncidentFilter {
                    // What the caller asked for beside stays asked for: what fits both is looked at in `fits`.
                    definition: filter.definition.or_else(|| Some(definition.to_owned())),
                    revision: revision.and_then(|(number, _)| number.parse().ok()),
                    step: step
                        .map(|(step, _)| step.to_owned())
                        .filter(|step| step != "-"),
                    ..filter
                }
            }
        }
    }

    /// Whether an incident is among them.
    #[must_use]
    pub fn fits(&self, incident: &IncidentInsert) -> bool {
        match self {
            Self::Any => true,
            Self::Whole(fingerprint) => Fingerprint::of(incident) == *fingerprint,
            Self::Beginning(text) => {
                let fingerprint = Fingerprint::of(incident).to_string();
                fingerprint.starts_with(text)
            }
        }
    }
}

/// Whether some fingerprint begins so.
fn is_beginning(text: &str) -> bool {
    let Some((definition, rest)) = text.split_once('@') else {
        return begins(text, is_label);
    };
    if !is_label(definition) {
        return false;
    }
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let Some((revision, rest)) = rest.split_once('/') else {
        return is_number(rest) && rest.len() <= 10;
    };
    if !is_number(revision) || !revision.parse::<u32>().is_ok_and(|number| number > 0) {
        return false;
    }
    let is_step = |step: &str| step == "-" || is_step_id(step);
    let Some((step, code)) = rest.split_once('/') else {
        return begins(rest, is_step);
    };
    is_step(step) && (code.len() <= CODE_BYTES_MAX) && begins(code, is_code)
}

/// A part that has not begun is as good as one that has.
fn begins(text: &str, is_whole: impl Fn(&str) -> bool) -> bool {
    // A label may end in `-` while it is not whole.
    text.is_empty() || is_whole(text) || is_whole(&format!("{text}a"))
}

#[cfg(test)]
mod tests {
    use amends_core::fact::IncidentReason;
    use amends_core::journal::IncidentName;
    use amends_core::{OperationKind, SagaId, ShardId, Time};

    use super::*;

    fn incident(step: Option<&str>) -> IncidentInsert {
        IncidentInsert {
            name: IncidentName {
                saga: SagaId::new(Time::EPOCH, ShardId(0), 1),
                number: 1,
            },
            namespace: "default".into(),
            definition: "place-order".into(),
            revision: 3,
            step: step.map(str::to_owned),
            item: 0,
            operation: Some(OperationKind::Forward),
            reason: IncidentReason::StepExhausted,
            code: Some("CARD_DECLINED".into()),
            message: String::new(),
            opened_at: Time::EPOCH,
        }
    }

    #[test]
    fn a_beginning_is_narrowed_as_far_as_it_goes_and_fits_what_begins_so() {
        let narrowed = |text: &str| {
            let pattern = pattern("fingerprint", text).unwrap();
            let filter = pattern.narrow(IncidentFilter::of("default"));
            let found = (filter.definition, filter.revision, filter.step);
            (found, pattern.fits(&incident(Some("charge"))))
        };
        let name = || Some("place-order".to_owned());
        assert_eq!(narrowed("*"), ((None, None, None), true));
        assert_eq!(narrowed("place-*"), ((None, None, None), true));
        assert_eq!(narrowed("places*"), ((None, None, None), false));
        assert_eq!(narrowed("place-order@*"), ((name(), None, None), true));
        assert_eq!(narrowed("place-order@3*"), ((name(), None, None), true));
        assert_eq!(narrowed("place-order@3/*"), ((name(), Some(3), None), true));
        let step = Some("charge".to_owned());
        assert_eq!(
            narrowed("place-order@3/charge/CARD_*"),
            ((name(), Some(3), step), true)
        );
        assert_eq!(
            narrowed("place-order@3/-/*"),
            ((name(), Some(3), None), false)
        );
        assert!(
            pattern("f", "place-order@3/-/C*")
                .unwrap()
                .fits(&incident(None))
        );
    }

    #[test]
    fn b12_what_no_fingerprint_begins_with_is_an_invalid_argument() {
        let long = "a".repeat(1024 * 1024);
        let deep = "(".repeat(10_000);
        for text in [
            "'; DROP TABLE incidents --",
            "a@1/s/C' OR '1'='1",
            "a@1/s/C*D",
            "a@1/s/c",
            "a@0/s/C",
            "a@01/s/C",
            "a@x/s/C",
            "a@1",
            "a@1/s",
            "a@1/s/",
            "A@1/s/C",
            "a@1/ s/C",
            "a@1/s/C\0",
            "a@99999999999/s/C",
            &long,
            &deep,
        ] {
            for refusal in [
                whole("fingerprint", text),
                pattern("fingerprint", text).map(|it| match it {
                    Pattern::Whole(fingerprint) => fingerprint,
                    other => panic!("{text:?} became {other:?}"),
                }),
            ] {
                let refusal = refusal.expect_err(&text.chars().take(40).collect::<String>());
                assert_eq!(refusal.reason, "FINGERPRINT_INVALID");
                assert!(refusal.message.len() < 200, "{}", refusal.message);
            }
        }
        for text in [
            "';*",
            "a@x*",
            "a@0/*",
            "a b*",
            "a@1/s/c*",
            &format!("{deep}*"),
            &format!("{long}*"),
        ] {
            assert!(pattern("fingerprint", text).is_err(), "{}", &text[..2]);
        }
    }
}
