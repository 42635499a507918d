//! What stands outside of the strings of an expression: its brackets and braces can be counted before it is parsed.

/// The bytes outside of strings, with their places. A string that does not end hides the rest: the parser will say so.
pub(super) struct Outside<'a> {
    bytes: &'a [u8],
    at: usize,
    comments: bool,
}

impl<'a> Outside<'a> {
    /// From a place on. Comments are taken for what they are made of.
    pub(super) fn of(source: &'a str, from: usize) -> Self {
        Self {
            bytes: source.as_bytes(),
            at: from,
            comments: true,
        }
    }

    /// Passes over comments as well.
    pub(super) fn without_comments(self) -> Self {
        Self {
            comments: false,
            ..self
        }
    }

    /// Goes behind the string whose first quote is here. In a raw one, `\` is an ordinary character.
    fn skip_string(&mut self) {
        let quote = self.bytes[self.at];
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let before = self.bytes[..self.at].iter().rev().take_while(is_name);
        let prefix: Vec<u8> = before.map(u8::to_ascii_lowercase).collect();
        let raw = matches!(prefix.as_slice(), b"r" | b"rb");
        let triple = self.bytes[self.at..].starts_with(&[quote; 3]);
        let close = &[quote; 3][..if triple { 3 } else { 1 }];
        self.at += close.len();
        while self.at < self.bytes.len() {
            if self.bytes[self.at..].starts_with(close) {
                self.at += close.len();
                return;
            }
            let escape = self.bytes[self.at] == b'\\' && !raw;
            self.at += if escape { 2 } else { 1 };
        }
    }
}

impl Iterator for Outside<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'"' | b'\'' => self.skip_string(),
                b'/' if !self.comments && self.bytes[self.at..].starts_with(b"//") => {
                    let rest = self.bytes[self.at..].iter();
                    self.at += rest.take_while(|byte| **byte != b'\n').count();
                }
                _ => {
                    self.at += 1;
                    return Some((self.at - 1, byte));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(source: &str) -> String {
        let bytes = Outside::of(source, 0).without_comments();
        bytes.map(|(_, byte)| char::from(byte)).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_is_in_them() {
        for (source, expected) in [
            (r#"a('b(' , "c(")"#, "a( , )"),
            (r"'\'(' + (", " + ("),
            (r"r'\' + (", "r + ("),
            (r"R'\' + bR'\' + (", "R + bR + ("),
            (r#"'\'\'"(\'' + ['''(']''' + ("#, " + [ + ("),
            (r#""""a"(""" + ("#, " + ("),
            ("1 // it's (\n + (", "1 \n + ("),
            ("1 / (2)", "1 / (2)"),
            ("'' + (", " + ("),
            ("'(", ""),
            (r"'\", ""),
        ] {
            assert_eq!(outside(source), expected, "{source}");
        }
    }
}
