//! A strict JSON reader over text: one pass, no recursion where the input was not checked before, and numbers as written.
//! Deliberately not here: a tree. Payloads stay text; what reads them takes the part it needs.

use std::borrow::Cow;

use smallvec::SmallVec;

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Byte offset.
    pub(crate) at: usize,
    /// The cause.
    pub(crate) what: Cow<'static, str>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// A number as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<'a> {
    pub(crate) text: &'a str,
    /// Without fraction and exponent.
    pub(crate) integer: bool,
}

/// Checks a whole text: one value, strict grammar, nesting within `depth_max`, no key twice in an object, no number beyond
/// a double, no lone surrogate and no `\u0000`.
pub(crate) fn check(text: &str, depth_max: usize) -> Result<(), Fault> {
    let mut checker = Checker {
        reader: Reader::new(text),
        open: SmallVec::new(),
        keys: SmallVec::new(),
        depth_max,
    };
    loop {
        if checker.begin_value()? && checker.end_values()? {
            return Ok(());
        }
    }
}

/// How deep the arrays and objects of a well-formed text nest.
pub(crate) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0_usize, 0, false);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' if in_string => in_string = false,
            // What is escaped ends nothing.
            b'\\' if in_string => at += 1,
            _ if in_string => at += plain(&bytes[at..]),
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// How many bytes at the front a string has as they are: no quote, no backslash, no control character. Most payloads are
/// strings for the most part, so they are looked at in blocks.
fn plain(bytes: &[u8]) -> usize {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let (blocks, _) = bytes.as_chunks::<16>();
    let is_plain = |block: &&[u8; 16]| {
        // Without a way out in between, so that all sixteen are compared at once.
        let special = block.iter().fold(false, |any, byte| any | is_special(byte));
        !special
    };
    let whole = 16 * blocks.iter().take_while(is_plain).count();
    let rest = bytes[whole..].iter().take_while(|byte| !is_special(byte));
    whole + rest.count()
}

/// Writes a text in canonical form: no white space, keys sorted by their bytes, doubles in their shortest form.
pub(crate) fn canonical(text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut reader = Reader::new(text);
    write_canonical(&mut reader, &mut out, 0)?;
    Ok(out)
}

/// Writes a string with its quotes.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        from = at + 1;
        if escape.is_empty() {
            out.push_str("\\u00");
            for digit in [byte >> 4, byte & 0xf] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// Writes a finite double so that it reads back as a double: a whole one with `.0`.
pub(crate) fn write_double(out: &mut String, value: f64) {
    use std::fmt::Write as _;
    write!(out, "{value:?}").expect("writing to a string cannot fail");
}

/// Reads values one by one.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn fault<T>(&self, what: impl Into<Cow<'static, str>>) -> Result<T, Fault> {
        Err(Fault {
            at: self.at,
            what: what.into(),
        })
    }

    /// Skips white space and looks at the next byte.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Skips white space and takes the byte if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    /// Takes one of the words `true`, `false`, `null`.
    pub(crate) fn word(&mut self) -> Result<&'static str, Fault> {
        for word in ["true", "false", "null"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(word);
            }
        }
        if self.at == self.text.len() {
            return self.fault("the text ends where a value is expected");
        }
        self.fault("not a JSON value")
    }

    /// Takes a number.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, Fault> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.fault("a number needs a digit here"),
        }
        let mut integer = true;
        if self.byte() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at = start;
            return self.fault("a number does not begin with 0");
        }
        // The largest double has 309 digits: only an exponent or a longer text can go beyond it.
        if (!integer || text.len() > 300) && !text.parse::<f64>().is_ok_and(f64::is_finite) {
            self.at = start;
            return self.fault("the number is beyond a double");
        }
        Ok(Number { text, integer })
    }

    /// Takes a string, unescaped.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
                }
                Some(b'\\') => return self.escaped_string(start),
                Some(0..0x20) => return self.fault("a control character in a string"),
                Some(_) => self.at += plain(&self.text.as_bytes()[self.at..]),
                None => return self.fault("the text ends inside a string"),
            }
        }
    }

    /// Takes a value that was checked before and hands out its text. Without recursion, and without a look inside.
    pub(crate) fn skip(&mut self) -> Result<&'a str, Fault> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => self.skip_string()?,
            Some(b'{' | b'[') => self.skip_container()?,
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => drop(self.word()?),
        }
        Ok(&self.text[start..self.at])
    }

    /// Takes an object, key by key; `each` takes the value.
    pub(crate) fn members<E: From<Fault>>(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.at += 1;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(self, key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Ok(self.fault("`,` or `}` is expected")?);
            }
        }
    }

    /// Takes an array; `each` takes the value.
    pub(crate) fn items<E: From<Fault>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.at += 1;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Ok(self.fault("`,` or `]` is expected")?);
            }
        }
    }

    /// In an object: goes to the value of a key. No, if there is none; then the reader is of no more use.
    pub(crate) fn find(&mut self, key: &str) -> Result<bool, Fault> {
        self.at += 1;
        if self.take(b'}') {
            return Ok(false);
        }
        loop {
            if self.key_is(key)? {
                return Ok(true);
            }
            self.skip()?;
            if !self.take(b',') {
                return Ok(false);
            }
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return self.fault("a number needs a digit here");
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return self.fault("a key in quotes is expected");
        }
        let key = self.string()?;
        if !self.take(b':') {
            return self.fault("`:` is expected");
        }
        Ok(key)
    }

    /// Takes a key and its colon, and compares it. Most keys have no escape, and need no copy.
    fn key_is(&mut self, wanted: &str) -> Result<bool, Fault> {
        if self.peek() != Some(b'"') {
            return self.fault("a key in quotes is expected");
        }
        let start = self.at;
        self.skip_string()?;
        let raw = &self.text[start + 1..self.at - 1];
        let is = if raw.contains('\\') {
            self.at = start;
            self.string()? == wanted
        } else {
            raw == wanted
        };
        if !self.take(b':') {
            return self.fault("`:` is expected");
        }
        Ok(is)
    }

    /// Goes behind the string that begins here, in a text that was checked before.
    fn skip_string(&mut self) -> Result<(), Fault> {
        let start = self.at + 1;
        let mut from = start;
        while let Some(found) = self.text[from..].find('"') {
            let quote = from + found;
            let before = self.text[start..quote].bytes().rev();
            if before.take_while(|byte| *byte == b'\\').count() % 2 == 0 {
                self.at = quote + 1;
                return Ok(());
            }
            from = quote + 1;
        }
        self.at = self.text.len();
        self.fault("the text ends inside a string")
    }

    /// Goes behind the number that begins here, in a text that was checked before.
    fn skip_number(&mut self) {
        while matches!(
            self.byte(),
            Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
    }

    fn escaped_string(&mut self, start: usize) -> Result<Cow<'a, str>, Fault> {
        let mut out = String::new();
        let mut from = start;
        loop {
            match self.byte() {
                Some(b'"') => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                Some(b'\\') => {
                    out.push_str(&self.text[from..self.at]);
                    out.push(self.escape()?);
                    from = self.at;
                }
                Some(0..0x20) => return self.fault("a control character in a string"),
                Some(_) => self.at += 1,
                None => return self.fault("the text ends inside a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let escape = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return self.fault("an unknown escape"),
        };
        self.at += 1;
        Ok(escape)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.hex4()?;
        let code = match first {
            0 => return self.fault("`\\u0000` is not allowed"),
            0xd800..0xdc00 => {
                if !self.text[self.at..].starts_with("\\u") {
                    return self.fault("a lone surrogate");
                }
                self.at += 1;
                let second = self.hex4()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return self.fault("a lone surrogate");
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        match char::from_u32(code) {
            Some(char) => Ok(char),
            None => self.fault("a lone surrogate"),
        }
    }

    /// Takes the `u` that is next, and four digits.
    fn hex4(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5);
        let code = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let Some(code) = code else {
            return self.fault("`\\u` needs four hexadecimal digits");
        };
        self.at += 5;
        Ok(code)
    }

    fn skip_container(&mut self) -> Result<(), Fault> {
        let mut depth = 0_usize;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.skip_string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(_) => {}
                None => return self.fault("the text ends inside a value"),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

struct Checker<'a> {
    reader: Reader<'a>,
    open: SmallVec<[Open; INLINE]>,
    /// The keys of all open objects, with their places.
    keys: SmallVec<[(Cow<'a, str>, usize); INLINE]>,
    depth_max: usize,
}

/// So much of a payload is checked without a place on the heap.
const INLINE: usize = 8;

struct Open {
    object: bool,
    keys_from: usize,
}

impl Checker<'_> {
    /// Takes a value up to its end, or up to its first inner value: then the answer is no.
    fn begin_value(&mut self) -> Result<bool, Fault> {
        match self.reader.peek() {
            Some(byte @ (b'{' | b'[')) => {
                if self.open.len() == self.depth_max {
                    return self
                        .reader
                        .fault(format!("nested deeper than {}", self.depth_max));
                }
                self.reader.at += 1;
                let object = byte == b'{';
                if self.reader.take(if object { b'}' } else { b']' }) {
                    return Ok(true);
                }
                self.open.push(Open {
                    object,
                    keys_from: self.keys.len(),
                });
                if object {
                    self.key()?;
                }
                return Ok(false);
            }
            Some(b'"') => drop(self.reader.string()?),
            Some(b'-' | b'0'..=b'9') => drop(self.reader.number()?),
            _ => drop(self.reader.word()?),
        }
        Ok(true)
    }

    /// After a value: closes what ends here. Yes at the end of the text.
    fn end_values(&mut self) -> Result<bool, Fault> {
        while let Some(Open { object, keys_from }) = self.open.last() {
            let (object, keys_from) = (*object, *keys_from);
            if self.reader.take(b',') {
                if object {
                    self.key()?;
                }
                return Ok(false);
            }
            if !self.reader.take(if object { b'}' } else { b']' }) {
                return self.reader.fault(if object {
                    "`,` or `}` is expected"
                } else {
                    "`,` or `]` is expected"
                });
            }
            self.open.pop();
            if object {
                self.close_object(keys_from)?;
            }
        }
        match self.reader.peek() {
            None => Ok(true),
            Some(_) => self.reader.fault("something follows the value"),
        }
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.reader.peek();
        let at = self.reader.at;
        let key = self.reader.key()?;
        self.keys.push((key, at));
        Ok(())
    }

    fn close_object(&mut self, keys_from: usize) -> Result<(), Fault> {
        let keys = &mut self.keys[keys_from..];
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Fault {
                at: twice[1].1,
                what: format!("the key {:?} a second time", shortened(&twice[1].0)).into(),
            });
        }
        self.keys.truncate(keys_from);
        Ok(())
    }
}

/// At most 60 characters of a text, for a message.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    shortened_to(text, 60)
}

/// At most a number of characters of a text.
pub(crate) fn shortened_to(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn write_canonical(reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Result<(), Fault> {
    if depth > crate::limits::PAYLOAD_DEPTH_MAX {
        return reader.fault("nested too deep");
    }
    match reader.peek() {
        Some(b'{') => {
            let mut members: Vec<(Cow<'_, str>, String)> = Vec::new();
            reader.members::<Fault>(|reader, key| {
                let mut value = String::new();
                write_canonical(reader, &mut value, depth + 1)?;
                members.push((key, value));
                Ok(())
            })?;
            members.sort_unstable();
            out.push('{');
            for (nth, (key, value)) in members.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                write_string(out, key);
                out.push(':');
                out.push_str(value);
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            let mut first = true;
            reader.items::<Fault>(|reader| {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write_canonical(reader, out, depth + 1)
            })?;
            out.push(']');
        }
        Some(b'"') => write_string(out, &reader.string()?),
        Some(b'-' | b'0'..=b'9') => {
            let number = reader.number()?;
            match number.text {
                "-0" => out.push('0'),
                text if number.integer => out.push_str(text),
                text => match text.parse::<f64>() {
                    Ok(value) => write_double(out, value),
                    Err(_) => return reader.fault("not a number"),
                },
            }
        }
        _ => out.push_str(reader.word()?),
    }
    Ok(())
}
