//! `migrate`: the schema of a PostgreSQL database, up, down and as it is. A SQLite file brings itself up to date when a
//! server opens it. Deliberately not here: the migrations (`amends-store-postgres`).

use amends_server::amends_store::Error;
use amends_server::amends_store_postgres::SHARD_COUNT_DEFAULT;
use amends_server::amends_store_postgres::migrations::{
    MigrationStatus, SchemaStatus, migrate, migrate_down, status,
};
use amends_server::config::Database;
use amends_server::{Config, DatabaseUrl, open_store};
use serde::Serialize;

use crate::arguments::{Global, MigrateAction, MigrateArguments};
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::grid::{grid, or_dash};
use crate::output::{View, say, show};

/// Migrates, and shows what there is then.
///
/// # Errors
/// [`Exit::Unavailable`] if the database cannot be reached, [`Exit::Configuration`] if its schema does not allow it.
pub async fn run(global: &Global, arguments: &MigrateArguments) -> Result<(), Failure> {
    let url = DatabaseUrl::new(arguments.database_url.clone());
    let database = url
        .database()
        .map_err(|error| Failure::usage("there is no such database").because(chain(&error)))?;
    let Database::Postgres { url: address } = database else {
        return sqlite(arguments.action, url).await;
    };
    let before = status(&address)
        .await
        .map_err(|error| failed(&url, &error))?;
    let after = match arguments.action {
        MigrateAction::Up => {
            migrate(&address, before.shard_count.unwrap_or(SHARD_COUNT_DEFAULT)).await
        }
        MigrateAction::Down => migrate_down(&address, 0).await,
        MigrateAction::Status => Ok(before.clone()),
    };
    let after = after.map_err(|error| failed(&url, &error))?;
    say(summary(&url, &before, &after));
    show(global.output, &SchemaView::from(after))
}

/// Brings a PostgreSQL database up to date, for the benchmark.
///
/// # Errors
/// As [`run`].
pub async fn up(url: &str) -> Result<(), Failure> {
    let shown = DatabaseUrl::new(url);
    let before = status(url).await.map_err(|error| failed(&shown, &error))?;
    let shards = before.shard_count.unwrap_or(SHARD_COUNT_DEFAULT);
    migrate(url, shards)
        .await
        .map_err(|error| failed(&shown, &error))?;
    Ok(())
}

async fn sqlite(action: MigrateAction, url: DatabaseUrl) -> Result<(), Failure> {
    if action != MigrateAction::Up {
        return Err(Failure::usage("a SQLite file has no migrations of its own")
            .because("a server brings it up to date when it opens it")
            .advice("`migrate up` makes the file; to remove it, delete it"));
    }
    let config = Config {
        database_url: url.clone(),
        ..Config::default()
    };
    open_store(&config).await.map_err(|error| {
        Failure::new(Exit::Configuration, "the file was not made").because(chain(&error))
    })?;
    say(format!("{url} is up to date; a server does this by itself"));
    Ok(())
}

fn failed(url: &DatabaseUrl, error: &Error) -> Failure {
    let (exit, advice) = match error {
        Error::Unavailable { .. } => (
            Exit::Unavailable,
            "check the URL, and that the database runs and lets you in",
        ),
        Error::Schema(_) | Error::Corrupt(_) | Error::Gap { .. } | Error::LeaseLost { .. } => {
            (Exit::Configuration, "nothing was changed")
        }
    };
    Failure::new(exit, format!("the schema of {url} was not migrated"))
        .because(url.redact(&chain(error)))
        .advice(advice)
}

fn summary(url: &DatabaseUrl, before: &SchemaStatus, after: &SchemaStatus) -> String {
    if before.version == after.version {
        format!("{url} has schema {} of {}", after.version, after.known)
    } else {
        format!(
            "{url} went from schema {} to schema {} of {}",
            before.version, after.version, after.known
        )
    }
}

/// What a database has of the schema.
#[derive(Debug, Serialize)]
struct SchemaView {
    version: u32,
    known: u32,
    shard_count: Option<u16>,
    migrations: Vec<MigrationView>,
}

#[derive(Debug, Serialize)]
struct MigrationView {
    version: u32,
    name: String,
    apply_time: Option<String>,
}

impl From<SchemaStatus> for SchemaView {
    fn from(status: SchemaStatus) -> Self {
        Self {
            version: status.version,
            known: status.known,
            shard_count: status.shard_count,
            migrations: status
                .migrations
                .into_iter()
                .map(MigrationView::from)
                .collect(),
        }
    }
}

impl From<MigrationStatus> for MigrationView {
    fn from(migration: MigrationStatus) -> Self {
        Self {
            version: migration.version,
            name: migration.name,
            apply_time: migration.applied_at.map(|at| at.to_string()),
        }
    }
}

impl View for SchemaView {
    fn table(&self) -> String {
        let rows = self.migrations.iter().map(|migration| {
            let applied = or_dash(migration.apply_time.as_deref().unwrap_or(""));
            vec![
                migration.version.to_string(),
                migration.name.clone(),
                applied,
            ]
        });
        grid(&["MIGRATION", "NAME", "APPLIED"], rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(version: u32) -> SchemaStatus {
        SchemaStatus {
            version,
            known: 1,
            shard_count: (version > 0).then_some(256),
            migrations: vec![MigrationStatus {
                version: 1,
                name: "the journal".to_owned(),
                applied_at: None,
            }],
        }
    }

    #[test]
    fn what_was_done_is_told_without_the_password() {
        let url = DatabaseUrl::new("postgres://a:secret@db/amends");
        assert_eq!(
            summary(&url, &schema(0), &schema(1)),
            "postgres://a@db/amends went from schema 0 to schema 1 of 1"
        );
        assert_eq!(
            summary(&url, &schema(1), &schema(1)),
            "postgres://a@db/amends has schema 1 of 1"
        );
        let failure = failed(
            &url,
            &Error::Schema("postgres://a:secret@db/amends is a replica".to_owned()),
        );
        assert_eq!(failure.exit(), Exit::Configuration);
        assert!(!failure.render().contains("secret"), "{}", failure.render());
    }

    #[test]
    fn a_schema_is_a_line_for_each_migration() {
        assert_eq!(
            SchemaView::from(schema(1)).table(),
            "MIGRATION  NAME         APPLIED\n1          the journal  -\n"
        );
    }
}
