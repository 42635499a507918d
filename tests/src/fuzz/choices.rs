//! Structure out of bytes: a generator asks for choices, and the input answers them. So every mutation of the bytes is a
//! mutation of the structure, and a smaller input is a smaller structure. When the bytes are spent, every answer is 0: a
//! generator puts its simplest alternative first, and ends.

/// The choices that an input makes.
#[derive(Clone, Debug)]
pub struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    /// Choices out of an input.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// If every choice from here on is the first.
    #[must_use]
    pub fn are_spent(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What no choice was made of.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `end`, which is 1 to 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// Yes in one of `of` cases; no when the bytes are spent.
    pub fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A number; often one at a bound.
    pub fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::from(self.byte()),
            1 => self.pick(&[
                0,
                1,
                u64::MAX,
                u64::MAX - 1,
                1 << 63,
                (1 << 63) - 1,
                1 << 32,
                (1 << 32) - 1,
                1 << 53,
                65_535,
            ]),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// A short text; often one that has to be escaped.
    pub fn text(&mut self) -> String {
        let parts = self.below(5);
        let part = |choices: &mut Self| match choices.below(4) {
            0 => choices
                .pick(&["", "a", "order-1", "é", "\u{1F980}", "\u{2028}"])
                .to_owned(),
            1 => choices
                .pick(&[
                    "\"", "\\", "\n", "\u{1}", "\u{7f}", "/", "${{", "}}", "\u{feff}",
                ])
                .to_owned(),
            _ => char::from(choices.byte() & 0x7f)
                .to_string()
                .replace('\0', " "),
        };
        (0..parts).map(|_| part(self)).collect()
    }
}
