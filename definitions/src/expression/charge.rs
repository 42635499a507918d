//! What an evaluation costs, and the environment whose functions charge for it. The `cel` crate has no budget of its own:
//! `compile` wraps what can be expensive in calls of the functions here. Costs count operations and bytes, never time,
//! so an expression fails on every machine or on none.

use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString, CelUInt, DYN_TYPE, INT_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use super::pattern::Pattern;
use super::value::BigInteger;
use crate::limits::{EXPRESSION_SCAN_BYTES, EXPRESSION_UNIT_BYTES, EXPRESSION_UNITS_MAX};

/// `amends_charge(range, body)`: pays for a comprehension over `range` whose body has `body` nodes. A map becomes the sorted
/// list of its keys: its own order is random.
pub(super) const CHARGE: &str = "amends_charge";
/// `amends_weigh(value)`: pays for looking at a whole value.
pub(super) const WEIGH: &str = "amends_weigh";
/// `amends_matches(text, pattern)`: pays for the search, and makes it.
pub(super) const MATCHES: &str = "amends_matches";
/// `amends_index(container, index)`: `container[index]`, without a copy of the container in the error.
pub(super) const INDEX: &str = "amends_index";

/// The standard library and the functions above.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    let declared = env
        .add_overload(CHARGE, CHARGE, vec![DYN_TYPE, INT_TYPE], charge)
        .and_then(|()| env.add_overload(WEIGH, WEIGH, vec![DYN_TYPE], weigh))
        .and_then(|()| env.add_overload(MATCHES, MATCHES, vec![DYN_TYPE, DYN_TYPE], matches))
        .and_then(|()| env.add_overload(INDEX, INDEX, vec![DYN_TYPE, DYN_TYPE], index));
    declared.expect("the names are our own, each is declared once");
    Arc::new(env)
});

thread_local! {
    static UNITS: Cell<u64> = const { Cell::new(0) };
    static EXHAUSTED: Cell<bool> = const { Cell::new(false) };
}

/// Fills the budget. An evaluation runs on one thread from here to its end.
pub(super) fn begin() {
    begin_with(EXPRESSION_UNITS_MAX);
}

/// Fills the budget with fewer units: what is left of one that several evaluations share.
pub(super) fn begin_with(units: u64) {
    UNITS.set(units);
    EXHAUSTED.set(false);
}

/// What is left of the budget.
pub(super) fn left() -> u64 {
    UNITS.get()
}

/// Takes units from the budget.
pub(super) fn debit(units: u64) -> Result<(), ExecutionError> {
    match UNITS.get().checked_sub(units) {
        Some(left) if !EXHAUSTED.get() => {
            UNITS.set(left);
            Ok(())
        }
        _ => {
            EXHAUSTED.set(true);
            Err(ExecutionError::function_error(CHARGE, "out of budget"))
        }
    }
}

/// Takes what searching a payload costs.
pub(super) fn debit_scan(bytes: usize) -> Result<(), ExecutionError> {
    debit(1 + (bytes / EXPRESSION_SCAN_BYTES) as u64)
}

/// Takes what copying bytes costs.
pub(super) fn debit_copy(bytes: usize) -> Result<(), ExecutionError> {
    debit(1 + units_of(bytes))
}

/// If the budget was met since [`begin`]. CEL absorbs errors (`error || true`), so success does not tell.
pub(super) fn exhausted() -> bool {
    EXHAUSTED.get()
}

/// Units for a number of bytes.
fn units_of(bytes: usize) -> u64 {
    (bytes / EXPRESSION_UNIT_BYTES) as u64
}

fn charge<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let body = args.pop().and_then(|body| integer(body.as_ref()));
    let body = body.and_then(|body| u64::try_from(body).ok()).unwrap_or(1);
    let range = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let items = if let Some(list) = range.downcast_ref::<CelList<'_>>() {
        list.inner().len()
    } else if let Some(map) = range.downcast_ref::<CelMap<'_>>() {
        map.inner().len()
    } else {
        // Not a range: the comprehension says so.
        return Ok(range);
    };
    debit(body.saturating_mul(items as u64))?;
    debit(weight(range.as_ref())?)?;
    let Some(map) = range.downcast_ref::<CelMap<'_>>() else {
        return Ok(range);
    };
    let mut keys: Vec<&CelMapKey<'_>> = map.inner().keys().collect();
    keys.sort_by(|a, b| order(a.inner(), b.inner()));
    let keys: Vec<Box<dyn Val + 'v>> = keys
        .iter()
        .map(|key| key.inner().clone_as_boxed())
        .collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn weigh<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let value = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    debit(weight(value.as_ref())?)?;
    Ok(value)
}

fn matches<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let pattern = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let text = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let (Some(searched), Some(pattern)) = (
        text.downcast_ref::<CelString<'_>>(),
        pattern.downcast_ref::<Pattern>(),
    ) else {
        let types = vec![text.get_type().name().to_owned(), "string".to_owned()];
        return Err(ExecutionError::no_such_overload("matches", types));
    };
    debit(pattern.units(searched.inner()))?;
    let found = pattern.is_match(searched.inner());
    Ok(CowVal::owned(CelBool::from(found)))
}

fn index<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let index = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let container = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    let fits = if container.downcast_ref::<CelList<'_>>().is_some() {
        integer(index.as_ref()).is_some()
    } else {
        container.downcast_ref::<CelMap<'_>>().is_some() && key_rank(index.as_ref()) < 3
    };
    if !fits {
        let types = [&container, &index].map(|value| value.get_type().name().to_owned());
        return Err(ExecutionError::no_such_overload("_[_]", types.to_vec()));
    }
    match container {
        CowVal::Borrowed(container) => element(container, index.as_ref()),
        CowVal::Owned(container) => Ok(CowVal::Owned(
            element(container.as_ref(), index.as_ref())?.into_owned(),
        )),
    }
}

fn element<'b, 'v>(
    container: &'b (dyn Val + 'v),
    index: &dyn Val,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    match container.as_indexer() {
        Some(indexer) => indexer.get(index),
        None => Err(ExecutionError::no_such_overload("_[_]", Vec::new())),
    }
}

fn integer(value: &dyn Val) -> Option<i64> {
    value.downcast_ref::<CelInt>().map(|int| *int.inner())
}

/// What looking at a whole value costs.
fn weight(value: &dyn Val) -> Result<u64, ExecutionError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(1 + units_of(text.inner().len()));
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list
            .inner()
            .iter()
            .try_fold(1, |sum, item| Ok(sum + weight(item.as_ref())?));
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return map.inner().iter().try_fold(1, |sum, (key, value)| {
            Ok(sum + weight(key.inner())? + weight(value.as_ref())?)
        });
    }
    if value.downcast_ref::<BigInteger>().is_some() {
        return Err(ExecutionError::function_error(
            WEIGH,
            "an integer beyond 64 bits cannot be computed with",
        ));
    }
    Ok(1)
}

fn key_rank(key: &dyn Val) -> u8 {
    if key.downcast_ref::<CelBool>().is_some() {
        0
    } else if key.downcast_ref::<CelInt>().is_some()
        || key.downcast_ref::<CelUInt>().is_some()
        || key.downcast_ref::<CelDouble>().is_some()
    {
        1
    } else if key.downcast_ref::<CelString<'_>>().is_some() {
        2
    } else {
        3
    }
}

/// A total order of map keys.
fn order(a: &dyn Val, b: &dyn Val) -> Ordering {
    let (rank_a, rank_b) = (key_rank(a), key_rank(b));
    if rank_a != rank_b {
        return rank_a.cmp(&rank_b);
    }
    match (
        a.downcast_ref::<CelString<'_>>(),
        b.downcast_ref::<CelString<'_>>(),
    ) {
        (Some(a), Some(b)) => a.inner().cmp(b.inner()),
        _ => a
            .as_comparer()
            .and_then(|a| a.compare(b).ok())
            .unwrap_or(Ordering::Equal),
    }
}
