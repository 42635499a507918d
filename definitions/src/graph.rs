//! The DAG of steps, with petgraph behind a wall.

use crate::definition::StepIndex;

/// Needs and dependants of each step, and their transitive closures, all ascending.
#[derive(Debug, Default)]
pub struct Graph {
    pub(crate) needs: Vec<Vec<StepIndex>>,
    pub(crate) dependants: Vec<Vec<StepIndex>>,
    pub(crate) ancestors: Vec<Vec<StepIndex>>,
    pub(crate) descendants: Vec<Vec<StepIndex>>,
}

impl Graph {
    /// The steps that have to be done before this one: its direct needs.
    #[must_use]
    pub fn needs(&self, step: StepIndex) -> &[StepIndex] {
        &self.needs[step.index()]
    }

    /// The steps that need this one directly.
    #[must_use]
    pub fn dependants(&self, step: StepIndex) -> &[StepIndex] {
        &self.dependants[step.index()]
    }

    /// All steps before this one, transitively.
    #[must_use]
    pub fn ancestors(&self, step: StepIndex) -> &[StepIndex] {
        &self.ancestors[step.index()]
    }

    /// All steps behind this one, transitively.
    #[must_use]
    pub fn descendants(&self, step: StepIndex) -> &[StepIndex] {
        &self.descendants[step.index()]
    }
}
