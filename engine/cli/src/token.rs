//! The admin token of whoever acts on sagas, from its file. Deliberately not here: which acts need it; the server says so.

use amends_server::{ADMIN_TOKEN_BYTES_MAX, AdminToken};
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

use crate::arguments::Global;
use crate::failure::Failure;
use crate::verbs::read_text;

/// A request with the token, if a file with one is named.
///
/// # Errors
/// If the file cannot be read, or has something else in it.
pub fn with_token<T>(global: &Global, message: T) -> Result<Request<T>, Failure> {
    let mut request = Request::new(message);
    if let Some(path) = &global.token_file {
        let text = read_text(path, ADMIN_TOKEN_BYTES_MAX as u64 + LINE_END_BYTES_MAX)?;
        let authorization = bearer(AdminToken::line(&text)).ok_or_else(|| {
            Failure::usage(format!("{} has no token in it", path.display()))
                .because("a token is one line of visible ASCII characters")
                .advice("name the file that the server has as admin_token_file, with --token-file or AMENDS_TOKEN_FILE")
        })?;
        request
            .metadata_mut()
            .insert("authorization", authorization);
    }
    Ok(request)
}

fn bearer(token: &str) -> Option<AsciiMetadataValue> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut authorization: AsciiMetadataValue = format!("Bearer {token}").parse().ok()?;
    authorization.set_sensitive(true);
    Some(authorization)
}

/// `\r\n`.
const LINE_END_BYTES_MAX: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_that_is_not_shown() {
        let authorization = bearer("hunter2").expect("a token");
        assert_eq!(authorization, "Bearer hunter2");
        assert!(!format!("{authorization:?}").contains("hunter2"));
        for (text, token) in [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n")] {
            assert_eq!(AdminToken::line(text), token);
        }
        for none in ["", "a b", "a\nb", "\u{e9}"] {
            assert!(bearer(none).is_none(), "{none:?}");
        }
    }
}
