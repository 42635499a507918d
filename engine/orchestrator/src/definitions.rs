//! Definitions as sagas need them: by hash for ever, by revision for ever, the newest for a second at most.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use amends_definitions::{Definition, DefinitionHash};
use amends_store::{DefinitionQuery, DefinitionRecord, Error, Store};
use tokio::time::Instant;

use crate::language;
use crate::limits::NEWEST_AGE_MAX;

/// A stored revision, read.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) record: DefinitionRecord,
    /// Shared by every saga of it.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    /// Or why this version cannot read it.
    pub(crate) definition: Result<Arc<Definition>, String>,
}

/// Caches over the store. What was read before a revision was deleted is not remembered after.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    by_hash: Cache<DefinitionHash, Result<Arc<Definition>, String>>,
    by_number: Cache<(String, String, u32), Arc<Revision>>,
    newest: Cache<(String, String), (Instant, Arc<Revision>)>,
    /// How many revisions were deleted.
    deleted: AtomicU64,
}

impl Definitions {
    /// The definition that a saga is pinned to, or why there is none.
    pub(crate) async fn pinned(
        &self,
        store: &dyn Store,
        hash: DefinitionHash,
    ) -> Result<Result<Arc<Definition>, String>, Error> {
        if let Some(definition) = self.by_hash.get(&hash) {
            return Ok(definition);
        }
        match store.definition(&DefinitionQuery::Hash(hash)).await? {
            Some(record) => Ok(self.read(&record)),
            // Not remembered: a restore of the missing revision must be seen.
            None => Ok(Err(format!("there is no definition with the hash {hash}"))),
        }
    }

    /// One revision; the newest if no number is given.
    pub(crate) async fn revision(
        &self,
        store: &dyn Store,
        namespace: &str,
        name: &str,
        number: Option<u32>,
    ) -> Result<Option<Arc<Revision>>, Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let Some(revision) = number else {
            return self.newest(store, namespace, name).await;
        };
        if revision == 0 {
            return Ok(None);
        }
        let at = (namespace.clone(), name.clone(), revision);
        if let Some(revision) = self.by_number.get(&at) {
            return Ok(Some(revision));
        }
        let deleted = self.deleted.load(Ordering::SeqCst);
        let record = store
            .definition(&DefinitionQuery::Revision {
                namespace,
                name,
                revision,
            })
            .await?;
        Ok(record.map(|record| {
            let revision = self.remember(record);
            self.by_number.put_if(at, revision.clone(), || {
                self.deleted.load(Ordering::SeqCst) == deleted
            });
            revision
        }))
    }

    /// This revision is the newest, as the store has just said.
    pub(crate) fn applied(&self, record: DefinitionRecord) -> Arc<Revision> {
        let at = (record.namespace.clone(), record.name.clone());
        let revision = self.remember(record);
        self.newest.put(at, (Instant::now(), revision.clone()));
        revision
    }

    /// This revision may be gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str, revision: u32) {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        // First, so that nobody puts back what is taken out here.
        self.deleted.fetch_add(1, Ordering::SeqCst);
        self.by_number
            .remove(&(namespace.clone(), name.clone(), revision));
        self.newest.remove(&(namespace, name));
    }

    async fn newest(
        &self,
        store: &dyn Store,
        namespace: String,
        name: String,
    ) -> Result<Option<Arc<Revision>>, Error> {
        let at = (namespace.clone(), name.clone());
        let before = self.newest.get(&at);
        if let Some((asked, revision)) = &before
            && asked.elapsed() < NEWEST_AGE_MAX
        {
            return Ok(Some(revision.clone()));
        }
        let asked = Instant::now();
        let deleted = self.deleted.load(Ordering::SeqCst);
        let Some(record) = store
            .definition(&DefinitionQuery::Newest { namespace, name })
            .await?
        else {
            return Ok(None);
        };
        let revision = match before {
            Some((_, revision)) if revision.record == record => revision,
            _ => self.remember(record),
        };
        self.newest.put_if(at, (asked, revision.clone()), || {
            self.deleted.load(Ordering::SeqCst) == deleted
        });
        Ok(Some(revision))
    }

    fn remember(&self, record: DefinitionRecord) -> Arc<Revision> {
        let definition = self
            .by_hash
            .get(&record.hash)
            .unwrap_or_else(|| self.read(&record));
        let (namespace, name) = (
            record.namespace.as_str().into(),
            record.name.as_str().into(),
        );
        Arc::new(Revision {
            record,
            namespace,
            name,
            definition,
        })
    }

    fn read(&self, record: &DefinitionRecord) -> Result<Arc<Definition>, String> {
        let definition = language::read(&record.normal_form, record.hash);
        self.by_hash.put(record.hash, definition.clone());
        definition
    }
}

#[derive(Debug)]
struct Cache<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn remove(&self, key: &K) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn put(&self, key: K, value: V) {
        self.put_if(key, value, || true);
    }

    /// Puts it unless that has become wrong, which is asked under the lock that [`Cache::remove`] takes.
    fn put_if(&self, key: K, value: V, still: impl FnOnce() -> bool) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if still() {
            cache.insert(key, value);
        }
    }
}
