//! A list of statuses for sagas that have many places: copies share what did not change since, and who looks for a few places
//! among many passes the others by: each has its mark beside it, and so has each chunk of them. Changed by `evolve` alone,
//! which renews the marks of what it has changed; `invariants` compares them with the statuses. Deliberately not here: what
//! marks say, which is in `mark`.

use std::sync::Arc;

use crate::saga::mark::{Mark, Status};

/// So many entries are copied when one of them changes.
const CHUNK: usize = 32;

/// The list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked<T> {
    chunks: Vec<Chunk<T>>,
}

/// All have [`CHUNK`] entries but the last.
#[derive(Debug, PartialEq, Eq)]
struct Chunk<T> {
    /// What one of them has.
    any: Mark,
    /// What all of them have.
    all: Mark,
    entries: Arc<[Entry<T>]>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry<T> {
    mark: Mark,
    order: u32,
    status: Arc<T>,
}

// Of what is shared the reference is copied, so nothing is asked of T.
impl<T> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        Self {
            any: self.any,
            all: self.all,
            entries: Arc::clone(&self.entries),
        }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            mark: self.mark,
            order: self.order,
            status: Arc::clone(&self.status),
        }
    }
}

impl<T: Status> Entry<T> {
    fn is_stale(&self) -> bool {
        (self.mark, self.order) != (self.status.mark(), self.status.order())
    }
}

impl<T> Chunk<T> {
    fn new(entries: Arc<[Entry<T>]>) -> Self {
        let mut chunk = Self {
            any: Mark::default(),
            all: Mark::default(),
            entries,
        };
        chunk.sum_up();
        chunk
    }

    fn sum_up(&mut self) {
        let marks = self.entries.iter().map(|entry| entry.mark.0);
        let (any, all) = marks.fold((0, u16::MAX), |(any, all), mark| (any | mark, all & mark));
        (self.any, self.all) = (Mark(any), Mark(all));
    }
}

impl<T: Status + Clone + Default> Marked<T> {
    /// So many that are not begun.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let status = Arc::new(T::default());
        let (mark, order) = (status.mark(), status.order());
        let chunk = |len: usize| {
            let entry = || Entry {
                mark,
                order,
                status: Arc::clone(&status),
            };
            Chunk::new(std::iter::repeat_with(entry).take(len).collect())
        };
        let starts = (0..count).step_by(CHUNK);
        Self {
            chunks: starts
                .map(|start| chunk(CHUNK.min(count - start)))
                .collect(),
        }
    }

    /// One of them, to be changed: [`Marked::renew`] belongs behind it.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(at / CHUNK)?;
        // Looked at first: what does not exist must not make a copy of the others.
        chunk.entries.get(at % CHUNK)?;
        let entry = Arc::make_mut(&mut chunk.entries).get_mut(at % CHUNK)?;
        Some(Arc::make_mut(&mut entry.status))
    }

    /// Renews the mark of one that may have changed.
    pub(crate) fn renew(&mut self, at: usize) {
        let Some(chunk) = self.chunks.get_mut(at / CHUNK) else {
            return;
        };
        let entry = chunk.entries.get(at % CHUNK);
        if entry.is_some_and(Entry::is_stale)
            && let Some(entry) = Arc::make_mut(&mut chunk.entries).get_mut(at % CHUNK)
        {
            (entry.mark, entry.order) = (entry.status.mark(), entry.status.order());
            chunk.sum_up();
        }
    }

    /// The mark of one is not what it should be: it has changed.
    pub(crate) fn is_stale(&self, at: usize) -> bool {
        self.entry(at).is_some_and(Entry::is_stale)
    }

    /// The first whose mark is not what it should be.
    pub(crate) fn first_stale(&self) -> Option<usize> {
        let wrong_sum = |chunk: &Chunk<T>| {
            let again = Chunk::new(Arc::clone(&chunk.entries));
            (chunk.any, chunk.all) != (again.any, again.all)
        };
        let mut chunks = self.chunks.iter().enumerate();
        chunks.find_map(|(nth, chunk)| {
            let at = chunk.entries.iter().position(Entry::is_stale);
            let at = at.or_else(|| wrong_sum(chunk).then_some(0));
            at.map(|at| nth * CHUNK + at)
        })
    }
}

impl<T> Marked<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let last = self.chunks.last().map_or(0, |chunk| chunk.entries.len());
        self.chunks.len().saturating_sub(1) * CHUNK + last
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.entry(at).map(|entry| &*entry.status)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.entries.iter());
        entries.map(|entry| &*entry.status)
    }

    /// The mark of one; of one that does not exist, none.
    pub(crate) fn mark(&self, at: usize) -> Mark {
        self.entry(at).map_or(Mark::default(), |entry| entry.mark)
    }

    /// What one of them has.
    pub(crate) fn any(&self) -> Mark {
        let any = |sum: u16, chunk: &Chunk<T>| sum | chunk.any.0;
        Mark(self.chunks.iter().fold(0, any))
    }

    /// Each of them has this mark. True if there is none.
    pub(crate) fn all_have(&self, mark: Mark) -> bool {
        self.chunks.iter().all(|chunk| chunk.all.has(mark))
    }

    /// How many have one of these.
    pub(crate) fn count(&self, mark: Mark) -> usize {
        let chunks = self.chunks.iter().filter(|chunk| chunk.any.has(mark));
        let counts = chunks.map(|chunk| {
            let entries = chunk.entries.iter();
            entries.filter(|entry| entry.mark.has(mark)).count()
        });
        counts.sum()
    }

    /// The first, from here on, that has one of these.
    pub(crate) fn next(&self, mark: Mark, from: usize) -> Option<usize> {
        let mut skip = from % CHUNK;
        for (nth, chunk) in self.chunks.iter().enumerate().skip(from / CHUNK) {
            let skip = std::mem::take(&mut skip);
            if !chunk.any.has(mark) {
                continue;
            }
            let mut entries = chunk.entries.iter().skip(skip);
            if let Some(at) = entries.position(|entry| entry.mark.has(mark)) {
                return Some(nth * CHUNK + skip + at);
            }
        }
        None
    }

    /// All that have one of these: where they stand, their places in the order of scheduling, and what they are.
    pub(crate) fn with(&self, mark: Mark) -> impl Iterator<Item = (usize, u32, &T)> + '_ {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter(move |(_, chunk)| chunk.any.has(mark));
        chunks.flat_map(move |(nth, chunk)| {
            let entries = chunk.entries.iter().enumerate();
            let entries = entries.filter(move |(_, entry)| entry.mark.has(mark));
            entries.map(move |(at, entry)| (nth * CHUNK + at, entry.order, &*entry.status))
        })
    }

    fn entry(&self, at: usize) -> Option<&Entry<T>> {
        self.chunks.get(at / CHUNK)?.entries.get(at % CHUNK)
    }
}

impl<T> std::ops::Index<usize> for Marked<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK].entries[at % CHUNK].status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::place::{Phase, PlaceStatus};

    fn scheduled(order: u32) -> PlaceStatus {
        let mut status = PlaceStatus::default();
        status.forward.phase = Phase::Scheduled {
            due_at: crate::time::Time::EPOCH,
        };
        status.forward.order = order;
        status
    }

    fn change(list: &mut Marked<PlaceStatus>, at: usize, status: PlaceStatus) {
        *list.get_mut(at).expect("it exists") = status;
        list.renew(at);
    }

    #[test]
    fn what_has_a_mark_is_found_at_every_place() {
        for count in [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 1] {
            for at in 0..count {
                let mut list = Marked::new(count);
                assert_eq!(list.len(), count);
                assert!(list.all_have(Mark::WAITING));
                assert_eq!(list.with(Mark::OPEN).count(), 0);
                change(&mut list, at, scheduled(7));
                assert_eq!(list.first_stale(), None);
                assert!(!list.all_have(Mark::WAITING));
                assert!(list.any().has(Mark::OPEN));
                let open: Vec<_> = list.with(Mark::OPEN).collect();
                assert_eq!(open, [(at, 7, &scheduled(7))]);
                assert_eq!(list.count(Mark::OPEN), 1);
                assert_eq!(list.count(Mark::OPEN.and(Mark::WAITING)), count);
                assert_eq!(list.next(Mark::OPEN, 0), Some(at));
                assert_eq!(list.next(Mark::OPEN, at), Some(at));
                assert_eq!(list.next(Mark::OPEN, at + 1), None);
                change(&mut list, at, PlaceStatus::default());
                assert_eq!(list, Marked::new(count));
            }
        }
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        let mut list = Marked::<PlaceStatus>::new(CHUNK);
        assert!(list.get(CHUNK).is_none() && list.get_mut(CHUNK).is_none());
        assert_eq!(list.mark(CHUNK), Mark::default());
        assert_eq!(list.next(Mark::WAITING, CHUNK), None);
        list.renew(CHUNK);
        assert!(Marked::<PlaceStatus>::new(0).is_empty());
    }

    #[test]
    fn a_mark_that_was_not_renewed_is_stale() {
        let mut list = Marked::new(2 * CHUNK);
        *list.get_mut(CHUNK + 3).expect("it exists") = scheduled(1);
        assert!(list.is_stale(CHUNK + 3) && !list.is_stale(3));
        assert_eq!(list.first_stale(), Some(CHUNK + 3));
        list.renew(CHUNK + 3);
        assert_eq!(list.first_stale(), None);
        list.chunks[0].any = Mark::OPEN;
        assert_eq!(list.first_stale(), Some(0), "a sum that is wrong");
    }

    #[test]
    fn a_change_copies_its_chunk_alone() {
        let before = Marked::new(4 * CHUNK);
        let mut after = before.clone();
        change(&mut after, CHUNK, scheduled(1));
        let shared =
            |nth: usize| Arc::ptr_eq(&before.chunks[nth].entries, &after.chunks[nth].entries);
        assert_eq!([0, 1, 2, 3].map(shared), [true, false, true, true]);
        assert!(std::ptr::eq(&before[CHUNK + 1], &after[CHUNK + 1]));
        assert_eq!(before.count(Mark::OPEN), 0);
    }
}
