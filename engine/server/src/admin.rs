//! The admin token, from its file. Deliberately not here: what it is asked for, and how it is compared (`amends-grpc`).

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use amends_grpc::AdminToken;
use amends_grpc::limits::ADMIN_TOKEN_BYTES_MAX;

use crate::error::{StartError, chain};

/// Reads the token.
pub(crate) fn read_token(path: &Path) -> Result<AdminToken, StartError> {
    let unusable = |why: String| {
        let path = path.display();
        StartError::Config(format!("admin_token_file: {path}: {why}"))
    };
    let failed = |error: std::io::Error| unusable(chain(&error));
    // Something else than a file may never end, or not even open.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(unusable("it is no file".into()));
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(unusable(format!(
            "others than its owner can read or change it (its mode is {:03o}); chmod 600 it, and take another token if \
             somebody may have read it",
            mode & 0o777
        )));
    }
    let mut bytes = Vec::new();
    let bytes_max = ADMIN_TOKEN_BYTES_MAX + LINE_END_BYTES_MAX;
    let bounded = u64::try_from(bytes_max + 1).unwrap_or(u64::MAX);
    file.take(bounded).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    AdminToken::new(AdminToken::line(&text)).map_err(|error| unusable(chain(&error)))
}

/// The permissions of all but the owner.
const OTHERS: u32 = 0o077;

/// `\r\n`.
const LINE_END_BYTES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn read(content: &[u8], mode: u32) -> Result<AdminToken, StartError> {
        read_token(file(content, mode).path())
    }

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    fn refusal(read: Result<AdminToken, StartError>) -> String {
        let line = read.unwrap_err().to_string();
        assert!(line.contains("admin_token_file: /"), "{line}");
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
        line
    }

    #[test]
    fn a_token_is_a_line_of_a_file_that_is_nobody_elses() {
        for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            for mode in [0o600, 0o400] {
                read(content.as_bytes(), mode).unwrap();
            }
            for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o666] {
                let line = refusal(read(content.as_bytes(), mode));
                assert!(line.contains(&format!("{mode:o}")), "{line}");
            }
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        for empty in ["", "\n", "\r\n"] {
            assert!(refusal(read(empty.as_bytes(), 0o600)).contains("it is empty"));
        }
        for strange in [
            &b"hunter2 \n"[..],
            b"hunter2\nhunter2\n",
            b"\xffhunter2",
            b"hunter2\n\n",
        ] {
            assert!(refusal(read(strange, 0o600)).contains("visible ASCII"));
        }
        let longest = "x".repeat(ADMIN_TOKEN_BYTES_MAX);
        for end in ["", "\n", "\r\n"] {
            read(format!("{longest}{end}").as_bytes(), 0o600).unwrap();
            let longer = format!("{longest}x{end}");
            assert!(refusal(read(longer.as_bytes(), 0o600)).contains("bytes"));
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        assert!(refusal(read_token(Path::new("/"))).contains("no file"));
        assert!(refusal(read_token(Path::new("/dev/zero"))).contains("no file"));
        assert!(refusal(read_token(Path::new("/no/such/file"))).contains("/no/such/file"));
    }
}
