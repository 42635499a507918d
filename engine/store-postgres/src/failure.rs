//! What PostgreSQL's errors mean for a batch: which are definite, and what each asks for.

use amends_store::{AppendError, Cause, Error};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// Why a write failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another row has one of the positions.
    PositionTaken(sqlx::Error),
    /// A lock was not got in time.
    LockTimeout(sqlx::Error),
    /// Anything else, as the seam has it.
    Other(AppendError),
}

impl Failure {
    pub(crate) fn of(error: sqlx::Error) -> Self {
        match class_of(&error) {
            Class::PositionTaken => Self::PositionTaken(error),
            Class::LockTimeout => Self::LockTimeout(error),
            Class::KeyTaken => Self::Other(AppendError::KeyTaken),
            Class::Again => Self::Other(AppendError::Again {
                source: error.into(),
            }),
            Class::Data => Self::Other(AppendError::Data {
                source: error.into(),
            }),
            Class::Unavailable => Self::Other(AppendError::Unavailable {
                source: error.into(),
            }),
            Class::Unknown => Self::Other(AppendError::Unknown {
                source: error.into(),
            }),
        }
    }
}

/// The connection serves on after this error.
pub(crate) fn is_usable_after(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| !is_fatal(error.severity()))
}

/// The error of anything but a batch.
pub(crate) fn unavailable<E: Into<Cause>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Unavailable {
        what,
        source: error.into(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    PositionTaken,
    KeyTaken,
    LockTimeout,
    Again,
    Data,
    Unavailable,
    Unknown,
}

fn class_of(error: &sqlx::Error) -> Class {
    match database_error(error) {
        Some(error) => class(error.code(), error.constraint(), is_fatal(error.severity())),
        // Nothing was sent yet.
        None if matches!(
            error,
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_)
        ) =>
        {
            Class::Data
        }
        None => Class::Unknown,
    }
}

/// Of an error while a statement was under way. One that ends the backend leaves the outcome open, whatever its code:
/// `57P01` also ends the wait of a transaction that has been committed already.
fn class(code: &str, constraint: Option<&str>, fatal: bool) -> Class {
    match (code, constraint) {
        _ if fatal => Class::Unknown,
        ("23505", Some("journal_pkey")) => Class::PositionTaken,
        ("23505", Some("saga_keys_pkey")) => Class::KeyTaken,
        ("55P03", _) => Class::LockTimeout,
        // Statement completion unknown, and the connection exceptions.
        ("40003", _) => Class::Unknown,
        _ => match code.get(..2) {
            Some("08") => Class::Unknown,
            Some("40") => Class::Again,
            // Data, constraints, and limits such as that of an index row.
            Some("22" | "23" | "54") => Class::Data,
            // An error is a rollback: nothing was written. Disk full, read-only, no privilege, no table.
            _ => Class::Unavailable,
        },
    }
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

fn is_fatal(severity: PgSeverity) -> bool {
    matches!(severity, PgSeverity::Fatal | PgSeverity::Panic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        for (code, constraint, fatal, expected) in [
            ("23505", Some("journal_pkey"), false, Class::PositionTaken),
            ("23505", Some("saga_keys_pkey"), false, Class::KeyTaken),
            ("23505", Some("sagas_pkey"), false, Class::Data),
            ("23502", None, false, Class::Data),
            ("22008", None, false, Class::Data),
            ("22P05", None, false, Class::Data),
            ("54000", None, false, Class::Data),
            ("40001", None, false, Class::Again),
            ("40P01", None, false, Class::Again),
            ("40003", None, false, Class::Unknown),
            ("55P03", None, false, Class::LockTimeout),
            ("53100", None, false, Class::Unavailable),
            ("25006", None, false, Class::Unavailable),
            ("57P03", None, false, Class::Unavailable),
            ("57014", None, false, Class::Unavailable),
            ("42P01", None, false, Class::Unavailable),
            ("57P01", None, true, Class::Unknown),
            ("57P02", None, true, Class::Unknown),
            ("23505", Some("journal_pkey"), true, Class::Unknown),
            ("08006", None, false, Class::Unknown),
            ("", None, false, Class::Unavailable),
        ] {
            assert_eq!(
                class(code, constraint, fatal),
                expected,
                "{code} {constraint:?} {fatal}"
            );
        }
    }

    #[test]
    fn a_lost_connection_leaves_the_outcome_open() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(!is_usable_after(&lost));
        assert_eq!(class_of(&lost), Class::Unknown);
        assert_eq!(
            class_of(&sqlx::Error::Encode("too long".into())),
            Class::Data
        );
    }
}
