//! Revisions: one order, whoever applies.

use std::sync::Arc;

use amends_definitions::DefinitionHash;

use super::{Check, Database, Outcome, ensure, same};
use crate::{DefinitionQuery, NewDefinition, Store};

pub(super) const CHECKS: &[Check] = &[
    ("revisions are numbered by content", |d| {
        Box::pin(revisions_are_numbered_by_content(d))
    }),
    ("definitions applied at once get one order", |d| {
        Box::pin(applied_at_once_they_get_one_order(d))
    }),
    ("a revision is found by number and by hash", |d| {
        Box::pin(a_revision_is_found(d))
    }),
    (
        "a deleted revision is out of sight, and stays for its sagas",
        |d| Box::pin(a_deleted_revision_is_out_of_sight(d)),
    ),
    ("definitions are listed by name in pages", |d| {
        Box::pin(definitions_are_listed(d))
    }),
];

fn new(namespace: &str, name: &str, content: u8) -> NewDefinition {
    NewDefinition {
        namespace: namespace.into(),
        name: name.into(),
        hash: DefinitionHash([content; 32]),
        source: format!("name: {name} # {content}\n"),
        normal_form: format!("{{\"v\":1,\"content\":{content}}}"),
    }
}

fn newest(namespace: &str, name: &str) -> DefinitionQuery {
    DefinitionQuery::Newest {
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// Applies, and tells the number and whether it is a new one.
async fn apply(store: &dyn Store, definition: &NewDefinition) -> Result<(u32, bool), crate::Error> {
    let (record, created) = store.put_definition(definition).await?;
    Ok((record.revision, created))
}

async fn revisions_are_numbered_by_content(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    let before = store.identity().await?.now;
    same(
        &apply(&*store, &new("n", "a", 1)).await?,
        &(1, true),
        "the first",
    )?;
    same(
        &apply(&*store, &new("n", "a", 1)).await?,
        &(1, false),
        "the same again",
    )?;
    same(
        &apply(&*store, &new("n", "a", 2)).await?,
        &(2, true),
        "another",
    )?;
    // Going back is a change too: it is the newest then.
    same(
        &apply(&*store, &new("n", "a", 1)).await?,
        &(3, true),
        "the first again",
    )?;
    same(
        &apply(&*store, &new("n", "b", 1)).await?,
        &(1, true),
        "another name",
    )?;
    same(
        &apply(&*store, &new("m", "a", 1)).await?,
        &(1, true),
        "another tenant",
    )?;
    let (again, _) = store.put_definition(&new("n", "a", 1)).await?;
    let stored = store
        .definition(&newest("n", "a"))
        .await?
        .ok_or("it is not there")?;
    same(&again, &stored, "what an apply without change returns")?;
    same(
        &stored,
        &new("n", "a", 1).at_revision(3, stored.applied_at),
        "the record",
    )?;
    // The clocks of a test's database may be as coarse as a millisecond.
    ensure(
        stored.applied_at.as_millis() + 1 >= before.as_millis(),
        "it was applied on the database's clock",
    )
}

async fn applied_at_once_they_get_one_order(database: Arc<dyn Database>) -> Outcome {
    let (one, other) = (database.open().await?, database.open().await?);
    for round in 0..10_u8 {
        let (a, b) = (new("n", "a", 2 * round), new("n", "a", 2 * round + 1));
        let (a, b) =
            futures_util::future::join(one.put_definition(&a), other.put_definition(&b)).await;
        let (a, b) = (a?.0.revision, b?.0.revision);
        let first = 2 * u32::from(round) + 1;
        same(
            &(a.min(b), a.max(b)),
            &(first, first + 1),
            "the two numbers",
        )?;
        let same_twice = new("n", "twin", round);
        let (a, b) = futures_util::future::join(
            one.put_definition(&same_twice),
            other.put_definition(&same_twice),
        )
        .await;
        let (a, b) = (a?, b?);
        same(&a.0, &b.0, "the record of twins")?;
        ensure(a.1 != b.1, "one of twins made the revision")?;
    }
    Ok(())
}

async fn a_revision_is_found(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    for content in [1, 2, 3] {
        store.put_definition(&new("n", "a", content)).await?;
    }
    let revision = |revision| DefinitionQuery::Revision {
        namespace: "n".into(),
        name: "a".into(),
        revision,
    };
    let hash_of = |found: Option<crate::DefinitionRecord>| found.map(|record| record.hash.0[0]);
    same(
        &hash_of(store.definition(&revision(2)).await?),
        &Some(2),
        "revision 2",
    )?;
    same(
        &hash_of(store.definition(&revision(0)).await?),
        &None,
        "revision 0",
    )?;
    same(
        &hash_of(store.definition(&revision(4)).await?),
        &None,
        "revision 4",
    )?;
    same(
        &hash_of(store.definition(&revision(u32::MAX)).await?),
        &None,
        "the greatest revision",
    )?;
    same(
        &hash_of(store.definition(&newest("n", "a")).await?),
        &Some(3),
        "the newest",
    )?;
    same(
        &hash_of(store.definition(&newest("n", "b")).await?),
        &None,
        "an unknown name",
    )?;
    let by_hash = |content| DefinitionQuery::Hash(DefinitionHash([content; 32]));
    same(
        &hash_of(store.definition(&by_hash(1)).await?),
        &Some(1),
        "a known hash",
    )?;
    same(
        &hash_of(store.definition(&by_hash(9)).await?),
        &None,
        "an unknown hash",
    )
}

async fn definitions_are_listed(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    for name in ["c", "a", "b"] {
        store.put_definition(&new("n", name, 1)).await?;
        store.put_definition(&new("n", name, 2)).await?;
    }
    store.put_definition(&new("m", "z", 1)).await?;
    let names = |page: Vec<crate::DefinitionRecord>| -> Vec<(String, u32, u8)> {
        page.into_iter()
            .map(|record| (record.name, record.revision, record.hash.0[0]))
            .collect()
    };
    let first = names(store.list_definitions("n", None, 2).await?);
    same(
        &first,
        &vec![("a".into(), 2, 2), ("b".into(), 2, 2)],
        "the first page",
    )?;
    let second = names(store.list_definitions("n", Some("b"), 2).await?);
    same(&second, &vec![("c".into(), 2, 2)], "the second page")?;
    ensure(
        store.list_definitions("n", Some("c"), 2).await?.is_empty(),
        "there is no third page",
    )
}

async fn a_deleted_revision_is_out_of_sight(database: Arc<dyn Database>) -> Outcome {
    let store = database.open().await?;
    for content in [1, 2, 3] {
        store.put_definition(&new("n", "a", content)).await?;
    }
    store.put_definition(&new("n", "b", 1)).await?;
    for (namespace, name, revision, expected) in [
        ("n", "a", 3, true),
        ("n", "a", 3, false),
        ("n", "a", 4, false),
        ("n", "a", u32::MAX, false),
        ("m", "a", 1, false),
        ("n", "b", 1, true),
    ] {
        let deleted = store.delete_definition(namespace, name, revision).await?;
        same(
            &deleted,
            &expected,
            &format!("{namespace}/{name}@{revision}"),
        )?;
    }
    let number = |found: Option<crate::DefinitionRecord>| found.map(|record| record.revision);
    let revision = DefinitionQuery::Revision {
        namespace: "n".into(),
        name: "a".into(),
        revision: 3,
    };
    let by_hash = DefinitionQuery::Hash(DefinitionHash([3; 32]));
    for (query, expected) in [
        (newest("n", "a"), Some(2)),
        (newest("n", "b"), None),
        (revision, None),
        (by_hash, Some(3)),
    ] {
        let found = number(store.definition(&query).await?);
        same(&found, &expected, &format!("{query:?}"))?;
    }
    let listed = store.list_definitions("n", None, 10).await?;
    let listed: Vec<(String, u32)> = (listed.into_iter())
        .map(|record| (record.name, record.revision))
        .collect();
    same(&listed, &vec![("a".into(), 2)], "the list")?;
    // What is in sight is the newest; a number is given once.
    same(
        &apply(&*store, &new("n", "a", 2)).await?,
        &(2, false),
        "the same",
    )?;
    same(
        &apply(&*store, &new("n", "a", 3)).await?,
        &(4, true),
        "it comes back",
    )?;
    same(
        &apply(&*store, &new("n", "b", 1)).await?,
        &(2, true),
        "the other too",
    )
}
