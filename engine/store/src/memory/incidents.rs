//! Open incidents in memory.

use std::collections::BTreeMap;

use amends_core::journal::IncidentInsert;
use async_trait::async_trait;

use super::MemoryStore;
use crate::{Error, IncidentCursor, IncidentFilter, IncidentGroup, IncidentQuery, Incidents};

#[async_trait]
impl Incidents for MemoryStore {
    async fn list_incidents(&self, query: &IncidentQuery) -> Result<Vec<IncidentInsert>, Error> {
        let state = self.state();
        let mut found: Vec<&IncidentInsert> = (state.incidents.values())
            .filter(|incident| query.filter.fits(incident))
            .filter(|it| {
                query
                    .after
                    .is_none_or(|after| IncidentCursor::of(it) > after)
            })
            .collect();
        found.sort_by_key(|incident| IncidentCursor::of(incident));
        Ok(found.into_iter().take(query.limit).cloned().collect())
    }

    async fn incident_groups(
        &self,
        filter: &IncidentFilter,
        limit: usize,
    ) -> Result<Vec<IncidentGroup>, Error> {
        let state = self.state();
        let mut groups: BTreeMap<_, IncidentGroup> = BTreeMap::new();
        for incident in state.incidents.values().filter(|it| filter.fits(it)) {
            let group = IncidentGroup {
                definition: incident.definition.to_string(),
                revision: incident.revision,
                step: incident.step.clone(),
                code: incident.code.clone(),
                reason: incident.reason,
                count: 0,
                oldest: incident.opened_at,
                newest: incident.opened_at,
            };
            let key = (
                group.definition.clone(),
                group.revision,
                group.step.clone(),
                group.code.clone(),
                group.reason.as_str(),
            );
            let group = groups.entry(key).or_insert(group);
            group.count += 1;
            group.oldest = group.oldest.min(incident.opened_at);
            group.newest = group.newest.max(incident.opened_at);
        }
        let mut groups: Vec<IncidentGroup> = groups.into_values().collect();
        // Stable: equally many stay in the order of their names.
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups.truncate(limit);
        Ok(groups)
    }
}
