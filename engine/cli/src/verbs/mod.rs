//! What each command does. Deliberately not here: how its data looks (`view`).

pub mod definition;
pub mod exploring;
pub mod graph;
pub mod incident;
pub mod lint;
pub mod migrate;
pub mod operate;
pub mod participant;
pub mod saga;
pub mod schema;
pub mod serve;
pub mod starting;

use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// The language allows 256 KiB for a document; more is read so that its check says so, with its own words.
pub const DEFINITION_BYTES_MAX: u64 = 1024 * 1024;

/// A little above the server's limit, so that the server says so, with its own words.
pub const INPUT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// The largest page that the protocol knows.
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// Reads a file, or standard input for `-`; refuses more than `bytes_max`, so that a wrong name costs no memory.
///
/// # Errors
/// [`Exit::Usage`] if it cannot be read, [`Exit::Exhausted`] if it is too large.
pub fn read_input(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;

    let unreadable = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read", path.display()))
            .because(error)
            .advice("name a file that exists and can be read, or `-` for standard input")
    };
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(unreadable)?)
    };
    let mut bytes = Vec::new();
    source
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(
            Failure::new(Exit::Exhausted, format!("{} is too large", path.display()))
                .because(format!("the limit is {bytes_max} bytes"))
                .advice("make it smaller; nothing was sent"),
        );
    }
    Ok(bytes)
}

/// As [`read_input`], as text.
///
/// # Errors
/// As [`read_input`]; [`Exit::Invalid`] if it is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    String::from_utf8(read_input(path, bytes_max)?).map_err(|error| {
        Failure::new(Exit::Invalid, format!("{} is not a text", path.display()))
            .because(format!(
                "byte {} is not UTF-8",
                error.utf8_error().valid_up_to()
            ))
            .advice("save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        std::fs::write(&path, "12345").expect("a file");
        assert_eq!(read_input(&path, 5).expect("within the limit"), b"12345");
        assert_eq!(
            read_input(&path, 4).expect_err("beyond it").exit(),
            Exit::Exhausted
        );
        assert_eq!(
            read_input(&directory.path().join("b"), 5)
                .expect_err("none")
                .exit(),
            Exit::Usage
        );
        std::fs::write(&path, b"a\xff").expect("a file");
        assert_eq!(
            read_text(&path, 5).expect_err("no text").exit(),
            Exit::Invalid
        );
    }
}
