//! How to ask for open incidents, and what several have in common.

use std::fmt;
use std::str::FromStr;

use amends_core::Time;
use amends_core::fact::IncidentReason;
use amends_core::journal::{IncidentInsert, IncidentName};

/// Which open incidents: those that fit everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    /// The tenant.
    pub namespace: String,
    /// Only of this definition.
    pub definition: Option<String>,
    /// Only of this revision.
    pub revision: Option<u32>,
    /// Only about this step.
    pub step: Option<String>,
    /// Only with this failure's code.
    pub code: Option<String>,
    /// Only for this reason.
    pub reason: Option<IncidentReason>,
    /// Only with this fingerprint.
    pub fingerprint: Option<Fingerprint>,
}

/// A page of open incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentQuery {
    /// Which.
    pub filter: IncidentFilter,
    /// Only those behind this one: the last of the page before.
    pub after: Option<IncidentCursor>,
    /// How many at most.
    pub limit: usize,
}

/// The place of an incident in the order of listing: the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncidentCursor {
    /// Since when it is open.
    pub opened_at: Time,
    /// Which.
    pub name: IncidentName,
}

/// Incidents that have all of this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentGroup {
    /// The definition's id.
    pub definition: String,
    /// The revision.
    pub revision: u32,
    /// The step's id; none if they are about their sagas.
    pub step: Option<String>,
    /// The code of the failure that led to them.
    pub code: Option<String>,
    /// Why.
    pub reason: IncidentReason,
    /// How many.
    pub count: u64,
    /// When the first of them opened.
    pub oldest: Time,
    /// When the last of them opened.
    pub newest: Time,
}

/// What incidents of one cause have in common, as a text that people copy: `{definition}@{revision}/{step or -}/{code,
/// or the reason without one}`. Groups that differ in their reason alone share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// The definition's id.
    pub definition: String,
    /// The revision.
    pub revision: u32,
    /// The step's id; none if they are about their sagas.
    pub step: Option<String>,
    /// The failure's code, or the incident's reason if there is none.
    pub cause: String,
}

/// The text is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has the form `definition@revision/step/CODE`, with `-` for no step")]
pub struct InvalidFingerprint;

impl IncidentFilter {
    /// Every open incident of a tenant.
    #[must_use]
    pub fn of(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            ..Self::default()
        }
    }

    /// Whether an incident is among them.
    #[must_use]
    pub fn fits(&self, incident: &IncidentInsert) -> bool {
        *incident.namespace == *self.namespace
            && is(self.definition.as_deref(), Some(&*incident.definition))
            && self.revision.is_none_or(|it| it == incident.revision)
            && is(self.step.as_deref(), incident.step.as_deref())
            && is(self.code.as_deref(), incident.code.as_deref())
            && self.reason.is_none_or(|it| it == incident.reason)
            && (self.fingerprint.as_ref()).is_none_or(|it| *it == Fingerprint::of(incident))
    }
}

impl IncidentCursor {
    /// Where an incident stands.
    #[must_use]
    pub fn of(incident: &IncidentInsert) -> Self {
        Self {
            opened_at: incident.opened_at,
            name: incident.name,
        }
    }
}

impl IncidentGroup {
    /// The text that names it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            definition: self.definition.clone(),
            revision: self.revision,
            step: self.step.clone(),
            cause: cause(self.code.as_deref(), self.reason),
        }
    }
}

impl Fingerprint {
    /// An incident's.
    #[must_use]
    pub fn of(incident: &IncidentInsert) -> Self {
        Self {
            definition: incident.definition.to_string(),
            revision: incident.revision,
            step: incident.step.clone(),
            cause: cause(incident.code.as_deref(), incident.reason),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.as_deref().unwrap_or("-");
        let (definition, revision, cause) = (&self.definition, self.revision, &self.cause);
        write!(f, "{definition}@{revision}/{step}/{cause}")
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// A code is a participant's and may hold anything, so it is what is left behind the step.
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let (definition, rest) = text.split_once('@').ok_or(InvalidFingerprint)?;
        let (revision, rest) = rest.split_once('/').ok_or(InvalidFingerprint)?;
        let (step, cause) = rest.split_once('/').ok_or(InvalidFingerprint)?;
        let fingerprint = Self {
            definition: definition.to_owned(),
            revision: revision.parse().map_err(|_| InvalidFingerprint)?,
            step: (step != "-").then(|| step.to_owned()),
            cause: cause.to_owned(),
        };
        // One spelling for each, and no empty part.
        let whole = !(definition.is_empty() || step.is_empty() || cause.is_empty());
        if whole && fingerprint.to_string() == text {
            Ok(fingerprint)
        } else {
            Err(InvalidFingerprint)
        }
    }
}

fn is(wanted: Option<&str>, value: Option<&str>) -> bool {
    wanted.is_none() || wanted == value
}

fn cause(code: Option<&str>, reason: IncidentReason) -> String {
    code.unwrap_or_else(|| reason.as_str()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_and_nothing_else_does() {
        for text in [
            "place-order@3/charge/CARD_DECLINED",
            "place-order@1/-/PAUSED",
            "a@7/s/odd/code with@anything",
        ] {
            assert_eq!(
                text.parse::<Fingerprint>().map(|it| it.to_string()),
                Ok(text.to_owned())
            );
        }
        for broken in [
            "",
            "a",
            "a@1",
            "a@1/s",
            "a@1/s/",
            "@1/s/C",
            "a@x/s/C",
            "a@01/s/C",
            "a@-1/s/C",
            "a@1//C",
            "a@4294967296/s/C",
        ] {
            assert_eq!(
                broken.parse::<Fingerprint>(),
                Err(InvalidFingerprint),
                "{broken}"
            );
        }
    }
}
