//! Revisions of definitions, as stored. Their checks are `amends-definitions`' business.

use amends_core::Time;
use amends_definitions::DefinitionHash;

/// A revision to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDefinition {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub name: String,
    /// SHA-256 over the normal form.
    pub hash: DefinitionHash,
    /// The YAML as it came.
    pub source: String,
    /// The normal form: JSON, with its own version inside.
    pub normal_form: String,
}

/// A stored revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionRecord {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub name: String,
    /// From 1, in the order of application.
    pub revision: u32,
    /// SHA-256 over the normal form.
    pub hash: DefinitionHash,
    /// The YAML as it came.
    pub source: String,
    /// The normal form.
    pub normal_form: String,
    /// When it was applied, on the database's clock.
    pub applied_at: Time,
}

/// Which revision to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionQuery {
    /// The newest of a name.
    Newest {
        /// The tenant.
        namespace: String,
        /// The definition's id.
        name: String,
    },
    /// One by number.
    Revision {
        /// The tenant.
        namespace: String,
        /// The definition's id.
        name: String,
        /// From 1.
        revision: u32,
    },
    /// Any with this hash: they are all the same.
    Hash(DefinitionHash),
}

impl NewDefinition {
    /// The record that this becomes.
    #[must_use]
    pub fn at_revision(&self, revision: u32, applied_at: Time) -> DefinitionRecord {
        DefinitionRecord {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            revision,
            hash: self.hash,
            source: self.source.clone(),
            normal_form: self.normal_form.clone(),
            applied_at,
        }
    }
}
