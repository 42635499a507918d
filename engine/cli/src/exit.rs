//! The exit codes, and what they mean: one table, which `--help` prints. Deliberately not here: which failure gets which
//! code (`failure`).

use std::process::ExitCode;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Ok,
    /// The command ran, and what it was asked about went wrong.
    Wrong,
    /// The command line is not one.
    Usage,
    /// The input was refused.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// The server cannot be reached, or takes nothing for now.
    Unavailable,
    /// A limit was met.
    Exhausted,
    /// The configuration is unusable.
    Configuration,
}

impl Exit {
    /// Every way to end, in the order of the table.
    const ALL: [Self; 9] = [
        Self::Ok,
        Self::Wrong,
        Self::Usage,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unavailable,
        Self::Exhausted,
        Self::Configuration,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Wrong => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Unavailable => 6,
            Self::Exhausted => 7,
            Self::Configuration => 78,
        }
    }

    /// When it is used, for `--help`.
    fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything asked for was done",
            Self::Wrong => {
                "it ran, and what it was asked about went wrong: a saga waited for did not complete, the demo's audit does \
                 not hold; also every failure without a code of its own"
            }
            Self::Usage => "the command line is not one, or a file it names cannot be read",
            Self::Invalid => "the input was refused: lint errors, INVALID_ARGUMENT",
            Self::NotFound => "there is no such thing: NOT_FOUND",
            Self::Conflict => "it contradicts what is there: ALREADY_EXISTS, FAILED_PRECONDITION",
            Self::Unavailable => {
                "the server cannot be reached, or not in time: UNAVAILABLE, DEADLINE_EXCEEDED"
            }
            Self::Exhausted => "a limit was met: RESOURCE_EXHAUSTED",
            Self::Configuration => {
                "the server's configuration or its database is unusable; nothing was started"
            }
        }
    }

    /// The table for `--help`.
    #[must_use]
    pub fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            text.push_str(&format!("  {:>2}  {}\n", exit.code(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_frozen_and_each_has_a_line_in_the_help() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 78]);
        let table = Exit::table();
        assert_eq!(table.lines().count(), 1 + Exit::ALL.len());
        assert!(table.contains("  78  the server's configuration"));
        assert!(table.contains("   4  there is no such thing"));
    }
}
