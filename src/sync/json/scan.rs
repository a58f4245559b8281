//! A walk over JSON text that keeps nothing: strings, numbers and whole values are checked and stepped over.
//!
//! Takes what RFC 8259 allows and nothing else. Of a string that is stepped over, escapes are checked for their form only; a
//! member name is decoded where it has any. Nesting is bounded by the text alone: it takes a bit for each level.
//!
//! The steps are inlined even where the compiler is told to save space, as in what ships: as calls they take twice the instructions.

use super::NotJson;

/// A place in a text.
pub(super) struct Scan<'a> {
    text: &'a str,
    rest: &'a [u8],
}

/// A string between its quotes.
#[derive(Clone, Copy)]
struct Text<'a> {
    inner: &'a [u8],
    has_escapes: bool,
}

impl<'a> Scan<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, rest: text.as_bytes() }
    }

    /// The next byte that is no white space, which is not consumed.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.rest {
                [byte, ..] if byte > b' ' => return Some(byte),
                [b' ' | b'\t' | b'\n' | b'\r', ref rest @ ..] => self.rest = rest,
                [byte, ..] => return Some(byte),
                [] => return None,
            }
        }
    }

    /// Where the next value starts: bytes before the end of the text.
    #[inline]
    pub(super) fn value_start(&mut self) -> usize {
        self.peek();
        self.rest.len()
    }

    /// The text from `start` to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> Option<&'a str> {
        let at = |left: usize| self.text.len().wrapping_sub(left);
        self.text.get(at(start)..at(self.rest.len()))
    }

    /// Fails unless only white space is left.
    pub(super) fn end(mut self) -> Result<(), NotJson> {
        if self.peek().is_none() { Ok(()) } else { Err(NotJson) }
    }

    /// Steps over the bracket that was peeked at, and says whether something stands before `close`, which is stepped over too.
    #[inline(always)]
    pub(super) fn open(&mut self, close: u8) -> Result<bool, NotJson> {
        self.step();
        match self.peek() {
            Some(byte) if byte == close => {
                self.step();
                Ok(false)
            }
            Some(_) => Ok(true),
            None => Err(NotJson),
        }
    }

    /// After a value: steps over a comma, or over `close`. Whether it was the comma.
    #[inline(always)]
    pub(super) fn more(&mut self, close: u8) -> Result<bool, NotJson> {
        let is_comma = match self.peek() {
            Some(b',') => true,
            Some(byte) if byte == close => false,
            _ => return Err(NotJson),
        };
        self.step();
        Ok(is_comma)
    }

    /// Steps over a member's name and the colon behind it, and says at which place of the wanted members it is. Place `first`
    /// is looked at first.
    #[inline(always)]
    pub(super) fn member(&mut self, wanted: &[(String, usize)], first: usize) -> Result<Option<usize>, NotJson> {
        let name = self.string()?;
        self.colon()?;
        if name.has_escapes {
            return decoded(name.inner).map(|name| find(wanted, first, name.as_bytes()));
        }
        Ok(find(wanted, first, name.inner))
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), NotJson> {
        if self.peek() != Some(b':') {
            return Err(NotJson);
        }
        self.step();
        Ok(())
    }

    /// Steps over one value of any kind.
    #[inline]
    pub(super) fn skip_value(&mut self) -> Result<(), NotJson> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// Steps over an object or an array.
    fn skip_nested(&mut self) -> Result<(), NotJson> {
        let mut nesting = Nesting::default();
        loop {
            // A value, or the start of one that holds others.
            let open = match self.peek() {
                Some(b'{') => Some(true),
                Some(b'[') => Some(false),
                Some(b'"') => {
                    self.string()?;
                    None
                }
                _ => {
                    self.skip_scalar()?;
                    None
                }
            };
            let mut more = match (open, nesting.top()) {
                (Some(is_object), _) => {
                    nesting.push(is_object);
                    self.open(close(is_object))?
                }
                (None, Some(is_object)) => self.more(close(is_object))?,
                (None, None) => return Ok(()),
            };
            // Whatever has ended may be the last of what holds it.
            while !more {
                nesting.pop();
                match nesting.top() {
                    Some(is_object) => more = self.more(close(is_object))?,
                    None => return Ok(()),
                }
            }
            if nesting.top() == Some(true) {
                self.string()?;
                self.colon()?;
            }
        }
    }

    /// Steps over a number, `true`, `false` or `null`.
    fn skip_scalar(&mut self) -> Result<(), NotJson> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.word("null"),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            _ => Err(NotJson),
        }
    }

    /// Steps over a string.
    #[inline(always)]
    fn string(&mut self) -> Result<Text<'a>, NotJson> {
        if self.peek() != Some(b'"') {
            return Err(NotJson);
        }
        self.step();
        let start = self.rest;
        let mut has_escapes = false;
        loop {
            self.rest = after_plain(self.rest);
            match *self.rest {
                [b'"', ref rest @ ..] => {
                    let inner = start.get(..start.len().wrapping_sub(self.rest.len())).unwrap_or_default();
                    self.rest = rest;
                    return Ok(Text { inner, has_escapes });
                }
                [b'\\', ref rest @ ..] => {
                    has_escapes = true;
                    self.rest = after_escape(rest)?;
                }
                // A control character, or the end of the text.
                _ => return Err(NotJson),
            }
        }
    }

    fn number(&mut self) -> Result<(), NotJson> {
        if let [b'-', rest @ ..] = self.rest {
            self.rest = rest;
        }
        match self.rest {
            // No digit follows a leading zero: the caller sees one as the start of nothing.
            [b'0', rest @ ..] => self.rest = rest,
            _ => self.digits()?,
        }
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            self.digits()?;
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = match rest {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    #[inline]
    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.rest.len();
        while let [b'0'..=b'9', rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.len() == start { Err(NotJson) } else { Ok(()) }
    }

    fn word(&mut self, word: &str) -> Result<(), NotJson> {
        self.rest = self.rest.strip_prefix(word.as_bytes()).ok_or(NotJson)?;
        Ok(())
    }

    #[inline(always)]
    const fn step(&mut self) {
        if let [_, rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

#[inline(always)]
fn find(wanted: &[(String, usize)], first: usize, name: &[u8]) -> Option<usize> {
    // Documents mostly have their members in the order in which a job names them.
    if is_at(wanted, first, name) {
        return Some(first);
    }
    // Not `position`, which is a call for each of them where the compiler saves space.
    let mut place = 0;
    while place < wanted.len() {
        if is_at(wanted, place, name) {
            return Some(place);
        }
        place = place.saturating_add(1);
    }
    None
}

#[inline(always)]
fn is_at(wanted: &[(String, usize)], place: usize, name: &[u8]) -> bool {
    wanted.get(place).is_some_and(|(wanted, _)| wanted.len() == name.len() && wanted.as_bytes() == name)
}

/// A name with escapes, which must all mean something.
#[cold]
fn decoded(inner: &[u8]) -> Result<String, NotJson> {
    let quoted = [b"\"", inner, b"\""].concat();
    serde_json::from_slice(&quoted).map_err(|_| NotJson)
}

/// Whether a string that has been stepped over has no escapes.
#[inline(always)]
pub(super) fn is_plain(inner: &[u8]) -> bool {
    after_plain(inner).is_empty()
}

/// What is left of a string from the first byte on that is a quote, a backslash or a control character; sixteen bytes are looked
/// at in one go.
#[inline(always)]
fn after_plain(mut rest: &[u8]) -> &[u8] {
    while let Some((bytes, after)) = rest.split_first_chunk::<16>() {
        let words = u128::from_le_bytes(*bytes);
        let (low, high) = (special_bytes(words as u64), special_bytes((words >> 64) as u64));
        if low | high != 0 {
            let bits = if low != 0 { low.trailing_zeros() } else { 64 + high.trailing_zeros() };
            return rest.get(bits as usize / 8..).unwrap_or_default();
        }
        rest = after;
    }
    if let Some((bytes, after)) = rest.split_first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*bytes));
        if special != 0 {
            return rest.get(special.trailing_zeros() as usize / 8..).unwrap_or_default();
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest
        && *byte >= b' '
        && *byte != b'"'
        && *byte != b'\\'
    {
        rest = after;
    }
    rest
}

/// What follows an escape whose backslash has been read. Its form alone is looked at.
fn after_escape(rest: &[u8]) -> Result<&[u8], NotJson> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => Ok(rest),
        [b'u', a, b, c, d, rest @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => Ok(rest),
        _ => Err(NotJson),
    }
}

/// The bracket that ends an object or an array.
const fn close(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// Marks the highest bit of the first byte of `word` that is a quote, a backslash or below 0x20. What is marked above the first one
/// means nothing. Source of the arithmetic: Mycroft's test for a zero byte.
#[inline(always)]
const fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    // With its second bit flipped a quote is 0x20, and what is below 0x20 stays there: both are below 0x21, and nothing else.
    let is_quote_or_control = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let is_backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (is_quote_or_control | is_backslash) & !word & TOPS
}

/// Which of the open brackets are objects': a bit each, memory only beyond 64.
#[derive(Default)]
struct Nesting {
    depth: usize,
    bits: u64,
    outer: Vec<u64>,
}

impl Nesting {
    #[inline]
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth = self.depth.saturating_add(1);
    }

    #[inline]
    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    #[inline]
    const fn top(&self) -> Option<bool> {
        if self.depth == 0 { None } else { Some(self.bits & 1 == 1) }
    }
}
