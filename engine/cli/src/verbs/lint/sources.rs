//! What `lint` reads: files, standard input, and every `*.saga.yaml` below a directory. Deliberately not here: what is in
//! them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::verbs::{DEFINITION_BYTES_MAX, read_input};

/// How the files of the language end.
const ENDING: &str = ".saga.yaml";

/// A document and where it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as given or found; `-` is standard input.
    pub name: String,
    /// What it holds, not yet known to be text.
    pub bytes: Vec<u8>,
}

/// Reads the documents that paths name, each once, in the order of the paths; those of a directory in the order of their
/// names. Hidden directories and links to directories are not searched.
///
/// # Errors
/// If one cannot be read or is far too large, or a directory holds none.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut seen = BTreeSet::new();
    let mut sources = Vec::new();
    for path in paths {
        for file in files(path)? {
            if !seen.insert(file.clone()) {
                continue;
            }
            sources.push(Source {
                name: file.display().to_string(),
                bytes: read_input(&file, DEFINITION_BYTES_MAX)?,
            });
        }
    }
    Ok(sources)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        search(&directory, &mut found, &mut directories).map_err(|error| {
            Failure::usage(format!("{} cannot be searched", directory.display()))
                .because(error)
                .advice("name a directory that can be read, or its files one by one")
        })?;
    }
    if found.is_empty() {
        return Err(
            Failure::usage(format!("{} holds no definition", path.display()))
                .because(format!("no file below it ends in {ENDING}"))
                .advice("name the file itself if it is called otherwise"),
        );
    }
    found.sort();
    Ok(found)
}

fn search(
    directory: &Path,
    found: &mut Vec<PathBuf>,
    directories: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') {
                directories.push(entry.path());
            }
        } else if name.ends_with(ENDING) && !entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_directory_is_searched_and_nothing_is_read_twice() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(&path, name).expect("a file");
            path
        };
        write("b.saga.yaml");
        write("a/deep/c.saga.yaml");
        write("a/notes.yaml");
        write(".hidden/d.saga.yaml");
        std::fs::create_dir(root.path().join("dir.saga.yaml")).expect("a directory");
        std::os::unix::fs::symlink(root.path(), root.path().join("a/round")).expect("a link");
        let named = root.path().join("b.saga.yaml");
        let sources = read(&[root.path().to_owned(), named]).expect("readable");
        let contents: Vec<&[u8]> = sources.iter().map(|source| &source.bytes[..]).collect();
        assert_eq!(contents, [&b"a/deep/c.saga.yaml"[..], b"b.saga.yaml"]);
    }

    #[test]
    fn a_directory_without_definitions_is_no_success() {
        let root = tempfile::tempdir().expect("a directory");
        let failure = read(&[root.path().to_owned()]).expect_err("nothing to check");
        assert_eq!(failure.exit(), Exit::Usage);
        let text = failure.render();
        assert!(text.contains("holds no definition"), "{text}");
    }
}
