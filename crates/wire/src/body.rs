//! The bodies of EHS and ESRD messages: the few EDF forms that occur in them.
//!
//! These bytes arrive before anybody has proved anything, so they are not read
//! with the EDF codec and its registry: this reader knows no type but the ones
//! its caller asks for, allocates nothing, and leaves texts where they are
//! until the digest over them has been checked (`docs/wire/EHS.md` section 10).
//! It also keeps the order of tables, which the codec's maps do not.

use std::borrow::Cow;

use postroad_edf::{Atom, AtomError};

/// The longest name of a registered type; what is longer is a cache id
/// (`docs/wire/EDF.md` section 3).
const MAX_TYPE_NAME: u16 = 4095;

const REGISTERED: u8 = 0x83;
const SLICE: u8 = 0x9d;
const MAP: u8 = 0x9f;
const NIL: u8 = 0xff;
const NIL_ERROR: u16 = 0xffff;
/// The longest text of an error; what is longer is a cache id or a mark
/// (`docs/wire/EDF.md` section 6).
const MAX_ERROR_TEXT: u16 = 32767;

/// Why the body of a handshake message or of a registrar packet is not what
/// `docs/wire/EHS.md` section 3 or `docs/wire/ESRD.md` section 2 says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body ends inside a field.
    #[error("the body ends {missing} bytes too early")]
    EndOfData {
        /// How many bytes are missing.
        missing: usize,
    },
    /// The body goes on behind its last field.
    #[error("{0} bytes follow the last field of the body")]
    LeftOver(usize),
    /// Something else than the tag of a registered type, of a slice, or of a
    /// map stands where one is needed.
    #[error("tag {got:#04x} where {expected:#04x} belongs")]
    WrongTag {
        /// The tag that belongs there.
        expected: u8,
        /// The tag that was found.
        got: u8,
    },
    /// The type is named by a cache id, but there is no cache at this stage.
    #[error("type id {0}, but types travel by name here")]
    CachedType(u16),
    /// A type that does not belong to this protocol.
    #[error("a type that does not belong to this protocol")]
    UnknownType,
    /// A slice or a table announces more entries than bytes can follow for.
    #[error("a count of {count} entries with {left} bytes left")]
    Count {
        /// How many entries are announced.
        count: u32,
        /// How many bytes are left.
        left: usize,
    },
    /// An atom is a cache id, too long, or refused by the intern table.
    #[error("an atom cannot be taken: {0}")]
    Atom(#[from] AtomError),
    /// The text of an atom is not UTF-8.
    #[error("the text of an atom is not UTF-8")]
    AtomNotUtf8,
    /// An error value that is neither nil nor a text.
    #[error("error value {0:#06x}, but errors travel as text here")]
    CachedError(u16),
    /// A number that has no meaning in its place, such as a negative size.
    #[error("the number {0} has no meaning in its place")]
    OutOfRange(i64),
}

/// Reads fields from the front of a body.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Begins at the front.
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Begins with the name of the registered type that the body consists of.
    pub(crate) fn of_registered(body: &'a [u8]) -> Result<(&'a [u8], Self), BodyError> {
        let mut fields = Self::new(body);
        fields.tag(REGISTERED)?;
        let len = fields.u16()?;
        if len > MAX_TYPE_NAME {
            return Err(BodyError::CachedType(len));
        }
        let name = fields.take(usize::from(len))?;
        Ok((name, fields))
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), BodyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(BodyError::LeftOver(self.rest.len())) }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], BodyError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| BodyError::EndOfData { missing: len - self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BodyError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| BodyError::EndOfData { missing: N - self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BodyError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BodyError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BodyError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BodyError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, BodyError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, BodyError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, BodyError> {
        Ok(self.u8()? == 1)
    }

    /// A string. Ergo does not check that its strings are UTF-8; what is not is
    /// replaced, for all texts here are either compared with ASCII or shown.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, BodyError> {
        let len = self.u16()?;
        self.take(usize::from(len)).map(String::from_utf8_lossy)
    }

    /// The text of an atom, not interned yet.
    pub(crate) fn atom_text(&mut self) -> Result<&'a str, BodyError> {
        let len = usize::from(self.u16()?);
        if len > Atom::MAX_LEN {
            return Err(AtomError::TooLong(len).into());
        }
        std::str::from_utf8(self.take(len)?).map_err(|_| BodyError::AtomNotUtf8)
    }

    /// An error value: nil or a text.
    pub(crate) fn error(&mut self) -> Result<Option<Cow<'a, str>>, BodyError> {
        match self.u16()? {
            NIL_ERROR => Ok(None),
            len if len <= MAX_ERROR_TEXT => {
                self.take(usize::from(len)).map(String::from_utf8_lossy).map(Some)
            }
            id => Err(BodyError::CachedError(id)),
        }
    }

    /// The count of a slice whose elements take at least `min` bytes each; nil
    /// counts as empty.
    pub(crate) fn slice(&mut self, min: usize) -> Result<u32, BodyError> {
        self.count(SLICE, min)
    }

    /// The count of a map whose pairs take at least `min` bytes each; nil
    /// counts as empty.
    pub(crate) fn map(&mut self, min: usize) -> Result<u32, BodyError> {
        self.count(MAP, min)
    }

    fn count(&mut self, tag: u8, min: usize) -> Result<u32, BodyError> {
        match self.u8()? {
            NIL => Ok(0),
            got if got == tag => {
                let count = self.u32()?;
                let left = self.rest.len();
                if count as usize > left / min { Err(BodyError::Count { count, left }) } else { Ok(count) }
            }
            got => Err(BodyError::WrongTag { expected: tag, got }),
        }
    }

    fn tag(&mut self, expected: u8) -> Result<(), BodyError> {
        match self.u8()? {
            got if got == expected => Ok(()),
            got => Err(BodyError::WrongTag { expected, got }),
        }
    }
}

/// Appends fields to a buffer.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begins at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Begins with the name of the registered type that the body consists of.
    pub(crate) fn of_registered(out: &'a mut Vec<u8>, name: &str) -> Self {
        let mut writer = Self::new(out);
        writer.u8(REGISTERED);
        writer.text(name);
        writer
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A string, or an atom. Only texts of our own are written here; one that
    /// its u16 length cannot hold is cut.
    pub(crate) fn text(&mut self, text: &str) {
        self.limited(text, usize::from(u16::MAX));
    }

    /// An error value.
    pub(crate) fn error(&mut self, error: Option<&str>) {
        match error {
            Some(text) => self.limited(text, usize::from(MAX_ERROR_TEXT)),
            None => self.u16(NIL_ERROR),
        }
    }

    /// The front of a slice; an empty one is nil, as in Ergo.
    pub(crate) fn slice(&mut self, count: usize) {
        self.count(SLICE, count);
    }

    /// The front of a map; an empty one is nil, as in Ergo.
    pub(crate) fn map(&mut self, count: usize) {
        self.count(MAP, count);
    }

    fn count(&mut self, tag: u8, count: usize) {
        match u32::try_from(count) {
            Ok(0) | Err(_) => self.u8(NIL),
            Ok(count) => {
                self.u8(tag);
                self.u32(count);
            }
        }
    }

    fn limited(&mut self, text: &str, limit: usize) {
        let text = &text[..text.floor_char_boundary(limit)];
        self.u16(text.len() as u16);
        self.bytes(text.as_bytes());
    }
}
