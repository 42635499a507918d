//! The DAG of steps, with petgraph behind a wall.

use petgraph::graph::{DiGraph, NodeIndex};

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

    /// Builds the graph from each step's direct needs.
    ///
    /// # Errors
    /// The steps of a cycle, each needed by the next and the last by the first.
    pub(crate) fn build(needs: Vec<Vec<StepIndex>>) -> Result<Self, Vec<StepIndex>> {
        let mut graph = DiGraph::<(), (), u32>::new();
        let nodes: Vec<NodeIndex> = needs.iter().map(|_| graph.add_node(())).collect();
        for (step, needs) in needs.iter().enumerate() {
            for need in needs {
                graph.add_edge(nodes[need.index()], nodes[step], ());
            }
        }
        let Ok(order) = petgraph::algo::toposort(&graph, None) else {
            return Err(shortest_cycle(&needs));
        };
        let order: Vec<usize> = order.into_iter().map(NodeIndex::index).collect();
        let mut dependants = vec![Vec::new(); needs.len()];
        for (step, needs) in needs.iter().enumerate() {
            for need in needs {
                dependants[need.index()].push(index(step));
            }
        }
        let ancestors = closure(&needs, order.iter().copied());
        let descendants = closure(&dependants, order.iter().rev().copied());
        Ok(Self {
            needs: needs.into_iter().map(ascending).collect(),
            dependants,
            ancestors,
            descendants,
        })
    }
}

/// The index of the step at a place. There are far fewer steps than a `u16` counts.
pub(crate) fn index(place: usize) -> StepIndex {
    StepIndex(u16::try_from(place).expect("STEPS_MAX fits a u16"))
}

/// Each step's transitive closure over `edges`, visiting the steps so that those an edge leads to come first.
fn closure(edges: &[Vec<StepIndex>], order: impl Iterator<Item = usize>) -> Vec<Vec<StepIndex>> {
    let mut closures: Vec<Vec<StepIndex>> = vec![Vec::new(); edges.len()];
    for step in order {
        let mut closure = edges[step].clone();
        for next in &edges[step] {
            closure.extend_from_slice(&closures[next.index()]);
        }
        closures[step] = ascending(closure);
    }
    closures
}

fn ascending(mut steps: Vec<StepIndex>) -> Vec<StepIndex> {
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// One of the shortest cycles, found breadth first from each step along its needs.
fn shortest_cycle(needs: &[Vec<StepIndex>]) -> Vec<StepIndex> {
    let mut shortest: Vec<StepIndex> = Vec::new();
    for start in 0..needs.len() {
        if let Some(cycle) = cycle_through(needs, index(start))
            && (shortest.is_empty() || cycle.len() < shortest.len())
        {
            shortest = cycle;
        }
    }
    shortest
}

fn cycle_through(needs: &[Vec<StepIndex>], start: StepIndex) -> Option<Vec<StepIndex>> {
    let mut reached_from: Vec<Option<StepIndex>> = vec![None; needs.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(step) = queue.pop_front() {
        for need in &needs[step.index()] {
            if *need == start {
                let mut cycle = vec![step];
                while let Some(before) = reached_from[cycle[cycle.len() - 1].index()] {
                    cycle.push(before);
                }
                return Some(cycle);
            }
            if reached_from[need.index()].is_none() {
                reached_from[need.index()] = Some(step);
                queue.push_back(*need);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(needs: &[&[u16]]) -> Result<Graph, Vec<StepIndex>> {
        Graph::build(
            needs
                .iter()
                .map(|needs| needs.iter().copied().map(StepIndex).collect())
                .collect(),
        )
    }

    fn steps(steps: &[u16]) -> Vec<StepIndex> {
        steps.iter().copied().map(StepIndex).collect()
    }

    #[test]
    fn closures_reach_through_a_diamond() {
        let graph = build(&[&[3], &[], &[0, 1], &[]]).expect("no cycle");
        assert_eq!(graph.needs(StepIndex(2)), steps(&[0, 1]));
        assert_eq!(graph.ancestors(StepIndex(2)), steps(&[0, 1, 3]));
        assert_eq!(graph.descendants(StepIndex(3)), steps(&[0, 2]));
        assert_eq!(graph.dependants(StepIndex(3)), steps(&[0]));
    }

    #[test]
    fn the_shortest_cycle_is_named_in_the_order_of_needs() {
        assert_eq!(
            build(&[&[2], &[0], &[1], &[4], &[3]]).expect_err("a cycle"),
            steps(&[4, 3])
        );
        assert_eq!(build(&[&[0]]).expect_err("a cycle"), steps(&[0]));
        // 1 needs 0, 2 needs 1, 0 needs 2: read as "2 needs 1 needs 0 needs 2" backwards.
        assert_eq!(
            build(&[&[2], &[0], &[1]]).expect_err("a cycle"),
            steps(&[1, 2, 0])
        );
    }
}
