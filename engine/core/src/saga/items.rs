//! `foreach`: what a step is done for, and how many of its items are under way at a time.

use amends_definitions::{EvaluationError, Foreach, Payload, StepIndex};

use crate::fact::Fact;
use crate::id::Place;
use crate::saga::decide::Decision;
use crate::saga::mark::Mark;
use crate::saga::scope::{View, with_scope};

impl Decision<'_> {
    /// Records the items of a step that is ready, and begins the first of them.
    pub(super) fn list_items(&mut self, step: StepIndex, foreach: &Foreach) {
        match self.items_of(step, foreach) {
            Ok((items, keys)) => {
                self.record(Fact::ItemsListed { step, items, keys });
                self.goes_on(step.into());
            }
            Err(error) => self.fail_unsent(step.into(), error.code, &error.message),
        }
    }

    /// Begins the next items of a step, in their order, as long as there is room.
    pub(super) fn begin_items(&mut self, step: StepIndex) {
        let foreach = self.saga.definition.step(step).foreach();
        let Some(room) = foreach.map(Foreach::max_parallel) else {
            return;
        };
        let items = &self.saga.steps[step.index()].items;
        let under_way = items
            .as_ref()
            .map_or(0, |items| items.places.count(Mark::OPEN));
        let mut room = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .saturating_sub(under_way);
        let mut from = 0;
        while room > 0
            && self.may_go_forward()
            && let Some(at) = self.next_item(step, from)
        {
            if self.stops_at_full_history() {
                return;
            }
            from = at + 1;
            let place = Place::item(step, u32::try_from(from).unwrap_or(u32::MAX));
            self.begin_place(place);
            room -= usize::from(self.saga.place(place).forward.is_open());
        }
    }

    /// The next item, from here on, that is not begun.
    fn next_item(&self, step: StepIndex, from: usize) -> Option<usize> {
        let items = self.saga.steps[step.index()].items.as_ref()?;
        items.places.next(Mark::WAITING, from)
    }

    /// The list and each item's key, unique.
    fn items_of(
        &self,
        step: StepIndex,
        foreach: &Foreach,
    ) -> Result<(Payload, Vec<String>), EvaluationError> {
        let failed = |code, message| EvaluationError { code, message };
        let list = with_scope(self.saga, View::default(), |scope| {
            foreach.list().evaluate(scope)
        })?;
        let values = list.items().map_err(|_| {
            let message = format!("`{}` is not a list", foreach.list().source());
            failed("ITEMS_NOT_A_LIST", message)
        })?;
        let max = usize::try_from(foreach.max_items()).unwrap_or(usize::MAX);
        if values.len() > max {
            let message = format!("{} items, and at most {max} are allowed", values.len());
            return Err(failed("TOO_MANY_ITEMS", message));
        }
        let keys = match foreach.key() {
            None => (1..=values.len()).map(|nth| nth.to_string()).collect(),
            // The items are not on record yet: each is shown to its key.
            Some(key) => with_scope(self.saga, View::of(Place::from(step)), |scope| {
                key.evaluate_keys(scope, foreach.name(), &values)
            })?,
        };
        let mut sorted: Vec<&String> = keys.iter().collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two items have the key `{}`", twice[0]);
            return Err(failed("DUPLICATE_ITEM_KEY", message));
        }
        Ok((list, keys))
    }
}
