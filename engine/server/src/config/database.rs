//! The database's URL: the one setting with a secret in it. It shows itself without.

use std::fmt;

use serde::Deserialize;

use crate::error::StartError;

/// `postgres://USER:PASSWORD@HOST/DATABASE` or `sqlite:PATH`. Printing it leaves the password out.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// What a database URL means.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL.
    Postgres {
        /// As it was configured, password included.
        url: String,
    },
    /// A file.
    Sqlite {
        /// Where.
        path: String,
    },
}

impl DatabaseUrl {
    /// Takes a URL as it is; [`DatabaseUrl::database`] checks it.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// What it means.
    ///
    /// # Errors
    /// If it is missing, or of neither kind.
    pub fn database(&self) -> Result<Database, StartError> {
        let refused = |what: &str| Err(StartError::Config(format!("database_url: {what}")));
        if self.0.is_empty() {
            return refused("it is missing; say postgres://USER@HOST/DATABASE or sqlite:PATH");
        }
        if self.0.contains(char::is_control) {
            return refused("it has a control character");
        }
        if let Some(path) = self.0.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return refused("a file's path has to follow sqlite:, without parameters");
            }
            return Ok(Database::Sqlite {
                path: path.to_owned(),
            });
        }
        if self.0.starts_with("postgres://") || self.0.starts_with("postgresql://") {
            return Ok(Database::Postgres {
                url: self.0.clone(),
            });
        }
        refused("it begins with postgres:// or sqlite:")
    }

    /// A text in which the password, should it be there, is replaced.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = text.replace(&self.0, &self.to_string());
        for secret in self.secrets() {
            redacted = redacted.replace(secret, "…");
        }
        redacted
    }

    /// User information before the host, if there is any.
    fn credentials(&self) -> Option<(&str, &str, &str)> {
        let (scheme, rest) = self.0.split_once("://")?;
        // A password may itself have @, /, ? or # in it that nobody escaped: the last @ ends it. That an @ elsewhere hides
        // more than a password is no harm.
        let (credentials, _) = rest.rsplit_once('@')?;
        Some((scheme, credentials, &rest[credentials.len()..]))
    }

    fn secrets(&self) -> Vec<&str> {
        let password = self
            .credentials()
            .and_then(|(_, credentials, _)| credentials.split_once(':'))
            .map(|(_, password)| password);
        let parameters = self
            .0
            .split_once('?')
            .map(|(_, query)| query.split('&'))
            .into_iter()
            .flatten();
        let secret = parameters
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value);
        password
            .into_iter()
            .chain(secret)
            .filter(|secret| !secret.is_empty())
            .collect()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = match self.credentials() {
            Some((scheme, credentials, behind)) => {
                let user = credentials.split([':', '/', '?', '#']).next();
                write!(f, "{scheme}://{}", user.unwrap_or_default())?;
                behind
            }
            None => &self.0,
        };
        let (head, query) = rest.split_once('?').unwrap_or((rest, ""));
        f.write_str(head)?;
        let mut separator = '?';
        for pair in query
            .split('&')
            .filter(|pair| pair.split('=').next().is_some_and(is_shown))
        {
            write!(f, "{separator}{pair}")?;
            separator = '&';
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// A parameter that nobody knows may be a secret with a typing error in its name.
fn is_shown(parameter: &str) -> bool {
    matches!(
        parameter,
        "application_name" | "dbname" | "host" | "hostaddr" | "port" | "sslmode" | "user"
    )
}

fn is_secret(parameter: &str) -> bool {
    matches!(parameter, "password" | "sslpassword" | "passfile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b45_a_password_is_never_shown() {
        for (url, shown) in [
            (
                "postgres://amends:hunter2@db:5432/amends",
                "postgres://amends@db:5432/amends",
            ),
            (
                "postgres://amends:hun@ter2@db/amends",
                "postgres://amends@db/amends",
            ),
            (
                "postgres://db/amends?user=a&password=hunter2&sslmode=require",
                "postgres://db/amends?user=a&sslmode=require",
            ),
            ("postgres://amends@db/amends", "postgres://amends@db/amends"),
            ("postgres://a:hun/ter2@db/amends", "postgres://a@db/amends"),
            ("postgres://a:hun?ter2@db/amends", "postgres://a@db/amends"),
            ("postgres://a:hun#ter2@db/amends", "postgres://a@db/amends"),
            (
                "postgres://a:1/hunter2@db/amends?sslmode=require",
                "postgres://a@db/amends?sslmode=require",
            ),
            (
                "postgres://db/amends?passwrd=hunter2&sslmode=require",
                "postgres://db/amends?sslmode=require",
            ),
            ("postgres://db/amends?password=hunter2@x", "postgres://db@x"),
            ("sqlite:/var/lib/amends.db", "sqlite:/var/lib/amends.db"),
        ] {
            let url = DatabaseUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
        }
        let url = DatabaseUrl::new("postgres://amends:hunter2@db/amends");
        assert_eq!(
            url.redact("no password hunter2 for postgres://amends:hunter2@db/amends"),
            "no password … for postgres://amends@db/amends"
        );
    }

    #[test]
    fn urls_of_neither_kind_are_refused_without_being_quoted() {
        for url in [
            "",
            "mysql://root:hunter2@db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "postgres",
            "a\0b",
        ] {
            match DatabaseUrl::new(url).database() {
                Err(StartError::Config(message)) => {
                    assert!(!message.contains("hunter2"), "{message}")
                }
                _ => panic!("{url} was accepted"),
            }
        }
        let Ok(Database::Sqlite { path }) = DatabaseUrl::new("sqlite://a/b.db").database() else {
            panic!("refused")
        };
        assert_eq!(path, "a/b.db");
    }
}
