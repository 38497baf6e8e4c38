//! Bytes to values. Everything here is prepared for bytes that somebody made up.

use crate::encoder::{Marker, MarshalFailure, Mismatch};
use crate::{
    Atom, AtomError, DecodeTables, Edf, ErrorValue, Features, Payload, Registry, Type, TypeName, Value, tag,
};

/// Reads EDF from bytes, with the tables of a connection and the types that
/// this program knows.
///
/// ```
/// use postroad_edf::{DecodeTables, Decoder, Registry};
///
/// let (tables, registry) = (DecodeTables::default(), Registry::new());
/// let mut decoder = Decoder::new(&[0x92, 7, 1, 2], &tables, &registry);
/// assert_eq!(decoder.top::<i8>()?, 7);
/// assert_eq!(decoder.remaining(), [1, 2]);
/// # Ok::<(), postroad_edf::DecodeError>(())
/// ```
///
/// A clone reads on from the same place by itself: to look ahead.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    input: &'a [u8],
    tables: &'a DecodeTables,
    registry: &'a Registry,
    levels: usize,
    empty_elements: usize,
    dynamic_elements: usize,
}

/// What a decoder grants to bytes it does not trust. Counts are checked against
/// the bytes that are there in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The deepest nesting of values and of type expressions, in levels.
    /// 64 unless set: real messages stay below ten, and a thread's stack is
    /// enough for this many.
    pub nesting: usize,
    /// The longest type expression, in bytes. 4096 unless set.
    pub fold: usize,
    /// How many elements that take no bytes (empty structs) one message may
    /// have. 65536 unless set. They cost time and memory but nothing to send.
    pub empty_elements: usize,
    /// How many elements the slices, arrays and maps of one message may have
    /// where they come as [`Value`]. 4194304 unless set. Each takes about 60
    /// bytes of memory, and can be sent in one byte.
    pub dynamic_elements: usize,
}

impl Limits {
    pub(crate) const DEFAULT: Self =
        Self { nesting: 64, fold: 4096, empty_elements: 65536, dynamic_elements: 1 << 22 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why bytes did not become a value. The bytes are to blame, or this program
/// does not know a type that the peer uses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("end of data in the middle of a value")]
    EndOfData,
    /// No type has this tag.
    #[error("unknown type tag {0}")]
    UnknownTag(u8),
    /// A slice or a map does not begin with its marker.
    #[error("the marker {expected} of a slice, map or pointer belongs here, not {found}")]
    BadMarker {
        /// The marker of the type.
        expected: u8,
        /// The byte that was there.
        found: u8,
    },
    /// Nil, where the Rust type has none.
    #[error("nil stands where a value must be; an `Option` would take it")]
    UnexpectedNil,
    /// The value has another type than the one asked for.
    #[error("a value of type {} stands where {} belongs", .0.found, .0.expected)]
    Mismatch(Box<Mismatch>),
    /// A string or a name is not UTF-8. A [`Text`](crate::Text) would take it.
    #[error("a string is not UTF-8; a `Text` in place of the `String` would take it")]
    NotUtf8,
    /// An atom is too long, or there are too many of them.
    #[error(transparent)]
    Atom(#[from] AtomError),
    /// An atom comes as a number that the peer has not announced.
    #[error("the peer has not announced atom id {0}")]
    UnknownAtomId(u16),
    /// A type comes as a number that the peer has not announced.
    #[error("the peer has not announced type id {0}")]
    UnknownTypeId(u16),
    /// An error comes as a number that the peer has not announced.
    #[error("the peer has not announced error id {0}")]
    UnknownErrorId(u16),
    /// Nobody has registered this type here, so nothing that contains it can be
    /// read.
    #[error("unknown type {}: derive `Message` with this name, or register its schema", .0.escape_debug())]
    UnknownType(Box<str>),
    /// The type expression is longer than [`Limits::fold`].
    #[error("a type expression of {len} bytes, more than {limit}")]
    FoldTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Bytes follow where the type expression should end.
    #[error("{0} bytes follow the type expression")]
    FoldLeftOver(usize),
    /// A type that is not composite is written as a composite one.
    #[error("type tag {0} cannot stand in a composite type prefix")]
    NotComposite(u8),
    /// Deeper nesting than [`Limits::nesting`].
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// More elements are announced than the bytes can hold.
    #[error("{count} elements are announced, but only {left} bytes follow")]
    TooManyElements {
        /// The announced count.
        count: usize,
        /// The bytes left.
        left: usize,
    },
    /// More elements without bytes than [`Limits::empty_elements`].
    #[error("more than {0} elements that take no bytes")]
    TooManyEmpty(usize),
    /// More elements of dynamic values than [`Limits::dynamic_elements`].
    #[error("more than {0} elements in one dynamic value; register a Rust type for it")]
    TooManyDynamic(usize),
    /// A time of another version, length or range.
    #[error("a malformed time")]
    Time,
    /// A number that this machine's `isize` or `usize` does not hold.
    #[error("the integer does not fit this machine's word")]
    IntTooLarge,
    /// A number that is no variant of the enum.
    #[error("{value} is no variant of {name}")]
    UnknownVariant {
        /// The enum.
        name: TypeName,
        /// The number, as a signed one.
        value: i64,
    },
    /// A pointer to a pointer.
    #[error("a pointer to a pointer")]
    PointerToPointer,
    /// The bytes of a message, or of what `any` holds, are not those of the type
    /// of this name here.
    #[error("{} cannot be read: {}{}", .0.name, .0.source, .0.advice())]
    Unreadable(Box<Unreadable>),
    /// The marshaler of a type refused its bytes.
    #[error("{} could not be unmarshaled", .0.name)]
    Marshal(#[source] Box<MarshalFailure>),
}

impl<'a> Decoder<'a> {
    /// Will read `bytes`.
    pub fn new(bytes: &'a [u8], tables: &'a DecodeTables, registry: &'a Registry) -> Self {
        let Limits { nesting, empty_elements, dynamic_elements, .. } = tables.limits;
        Self { input: bytes, tables, registry, levels: nesting, empty_elements, dynamic_elements }
    }

    /// Reads a value with its type, which must be `T`.
    pub fn top<T: Edf>(&mut self) -> Result<T, DecodeError> {
        T::decode_top(self)
    }

    /// Reads a value with its type, whatever it is, into the Rust type that
    /// stands for it: see [`Registry`]. A value of a type that is known by its
    /// schema only, and a composite that nobody registered, come as [`Value`];
    /// one of a type that nobody knows as [`Opaque`](crate::Opaque), which
    /// takes all bytes; nil comes as `()`.
    pub fn payload(&mut self) -> Result<Payload, DecodeError> {
        crate::any::payload(self)
    }

    /// Reads a value with its type, whatever it is, into its dynamic form.
    pub fn value(&mut self) -> Result<Value, DecodeError> {
        self.top()
    }

    /// The bytes not read yet.
    pub fn remaining(&self) -> &'a [u8] {
        self.input
    }

    /// What the peer understands.
    pub fn features(&self) -> Features {
        self.tables.features
    }

    /// The types this program knows.
    pub fn registry(&self) -> &'a Registry {
        self.registry
    }

    // Not `ok_or`: an error that is made in advance has to be dropped each time
    // that all is well, which costs more than reading a number.

    /// Reads `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((bytes, rest)) = self.input.split_first_chunk() else { return Err(DecodeError::EndOfData) };
        self.input = rest;
        Ok(*bytes)
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Reads two bytes, the high one first.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads four bytes, the high one first.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads eight bytes, the high one first.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes the next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.input.split_at_checked(len) else {
            return Err(DecodeError::EndOfData);
        };
        self.input = rest;
        Ok(bytes)
    }

    /// Takes a string: its length, then its bytes.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// Takes a binary: its length, then its bytes.
    #[inline]
    pub fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u32()? as usize;
        self.bytes(len)
    }

    /// Reads an atom (`docs/wire/EDF.md` section 5).
    pub fn atom(&mut self) -> Result<Atom, DecodeError> {
        let len = self.u16()?;
        let atom = if usize::from(len) > Atom::MAX_LEN {
            let Some(atom) = self.tables.atom(len) else { return Err(DecodeError::UnknownAtomId(len)) };
            atom
        } else {
            Atom::from_peer(utf8(self.bytes(usize::from(len))?)?)?
        };
        Ok(self.tables.mapping.as_ref().map_or(atom, |mapping| mapping.local(atom)))
    }

    /// Reads an error, or nil (`docs/wire/EDF.md` section 6).
    pub fn error(&mut self) -> Result<Option<ErrorValue>, DecodeError> {
        match self.u16()? {
            ErrorValue::NIL => Ok(None),
            ErrorValue::WRAPPED if self.features().wrapped_errors => {
                self.nested(Self::wrapped_error).map(Some)
            }
            len if usize::from(len) <= ErrorValue::MAX_LEN => {
                Ok(Some(ErrorValue::new(self.bytes(usize::from(len))?)))
            }
            id => Ok(Some(self.tables.error(id).ok_or(DecodeError::UnknownErrorId(id))?.clone())),
        }
    }

    fn wrapped_error(&mut self) -> Result<ErrorValue, DecodeError> {
        let text = self.string()?;
        let count = usize::from(self.u16()?);
        self.elements(count, ErrorValue::MIN_SIZE)?;
        let mut error = ErrorValue::new(text);
        for _ in 0..count {
            error = error.wrapping(self.error()?.ok_or(DecodeError::UnexpectedNil)?);
        }
        Ok(error)
    }

    /// Reads what follows the tag of a registered type: its name or cache id.
    pub(crate) fn name(&mut self) -> Result<Name<'a>, DecodeError> {
        let len = self.u16()?;
        if usize::from(len) > TypeName::MAX_LEN {
            return match self.tables.peer_type(len) {
                Some(peer_type) => Ok(peer_type.name()),
                None => Err(DecodeError::UnknownTypeId(len)),
            };
        }
        let text = utf8(self.bytes(usize::from(len))?)?;
        Ok(TypeName::find(text).map_or(Name::Unknown(text), Name::Known))
    }

    /// Whether the next type is the registered type `name`.
    pub fn matches_registered(&mut self, name: TypeName) -> Result<bool, DecodeError> {
        Ok(self.u8()? == tag::REGISTERED && matches!(self.name()?, Name::Known(found) if found == name))
    }

    /// Reads the count of a slice or a map, which is not to be trusted yet;
    /// `None` is nil.
    pub(crate) fn count(&mut self, marker: u8) -> Result<Option<usize>, DecodeError> {
        match self.u8()? {
            tag::NIL => Ok(None),
            found if found == marker => Ok(Some(self.u32()? as usize)),
            found => Err(DecodeError::BadMarker { expected: marker, found }),
        }
    }

    /// Reads the count of a slice of elements that take `min_size` bytes or more.
    pub(crate) fn slice(&mut self, marker: Marker, min_size: usize) -> Result<Option<usize>, DecodeError> {
        let count = self.count(marker.or(tag::SLICE))?;
        count.map_or(Ok(()), |count| self.elements(count, min_size))?;
        Ok(count)
    }

    /// Reads the count of a map whose pairs take `min_size` bytes or more.
    pub(crate) fn map(&mut self, marker: Marker, min_size: usize) -> Result<Option<usize>, DecodeError> {
        let count = self.count(marker.or(tag::MAP))?;
        count.map_or(Ok(()), |count| self.elements(count, min_size))?;
        Ok(count)
    }

    /// Refuses more elements than there can be.
    pub(crate) fn elements(&mut self, count: usize, min_size: usize) -> Result<(), DecodeError> {
        if min_size == 0 {
            let Some(left) = self.empty_elements.checked_sub(count) else {
                return Err(DecodeError::TooManyEmpty(self.tables.limits.empty_elements));
            };
            self.empty_elements = left;
        } else if count > self.input.len() / min_size {
            return Err(DecodeError::TooManyElements { count, left: self.input.len() });
        }
        Ok(())
    }

    /// How many elements to make room for at once: the rest grows as they come,
    /// so that a count alone, or many nested ones, cost little.
    pub(crate) fn first_capacity<T>(count: usize) -> usize {
        count.min((1024 / size_of::<T>().max(1)).max(4))
    }

    /// Reads something one level deeper.
    #[inline]
    pub(crate) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return Err(DecodeError::TooDeep(self.tables.limits.nesting));
        };
        self.levels = levels;
        let value = read(self)?;
        self.levels += 1;
        Ok(value)
    }

    /// Reads one of many elements. One that takes no bytes is counted: the bytes
    /// that are there do not limit how many follow.
    pub(crate) fn counting_empty<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let before = self.input.len();
        let element = read(self)?;
        if self.input.len() == before {
            self.elements(1, 0)?;
        }
        Ok(element)
    }

    /// Counts an element of a dynamic value.
    pub(crate) fn dynamic_element(&mut self) -> Result<(), DecodeError> {
        let Some(left) = self.dynamic_elements.checked_sub(1) else {
            return Err(DecodeError::TooManyDynamic(self.tables.limits.dynamic_elements));
        };
        self.dynamic_elements = left;
        Ok(())
    }

    /// Takes all bytes that are left.
    pub(crate) fn take_all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.input)
    }

    /// Takes these bytes, if they come next.
    pub(crate) fn skip(&mut self, bytes: &[u8]) -> bool {
        match self.input.strip_prefix(bytes) {
            Some(rest) => {
                self.input = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a type expression, of which the tag was read, to be read by itself.
    pub(crate) fn fold(&mut self) -> Result<Self, DecodeError> {
        let (len, limit) = (usize::from(self.u16()?), self.tables.limits.fold);
        if len > limit {
            return Err(DecodeError::FoldTooLong { len, limit });
        }
        Ok(Self::new(self.bytes(len)?, self.tables, self.registry))
    }

    /// Refuses left over bytes of a type expression.
    pub(crate) fn finish_fold(&self) -> Result<(), DecodeError> {
        if self.input.is_empty() { Ok(()) } else { Err(DecodeError::FoldLeftOver(self.input.len())) }
    }

    /// Skips the superfluous tag of `any` (`docs/wire/EDF.md` section 3).
    pub(crate) fn skip_any_tag(&mut self) {
        if let [tag::ANY, rest @ ..] = self.input {
            self.input = rest;
        }
    }

    /// Reads the type in front of a top-level value, which must be `T`.
    pub(crate) fn expect_type<T: Edf>(&mut self) -> Result<(), DecodeError> {
        self.skip_any_tag();
        let start = self.input;
        if let [tag::FOLDED, rest @ ..] = self.input {
            self.input = rest;
            let mut fold = self.fold()?;
            let named = fold.input.first() == Some(&tag::REGISTERED);
            if (T::FOLDED || named) && T::match_fold(&mut fold)? {
                return fold.finish_fold();
            }
        } else if !T::FOLDED && T::match_fold(self)? {
            return Ok(());
        }
        self.input = start;
        let found = Type::read_top(self)?.ok_or(DecodeError::UnexpectedNil)?;
        Err(DecodeError::mismatch(T::type_of(), found))
    }
}

impl DecodeError {
    pub(crate) fn mismatch(expected: Type, found: Type) -> Self {
        Self::Mismatch(Box::new(Mismatch { expected, found }))
    }

    /// Adds of which type the value was to be, unless it is said already.
    pub(crate) fn of(self, name: TypeName) -> Self {
        match self {
            Self::Unreadable(_) | Self::UnknownType(_) | Self::Marshal(_) => self,
            source => Self::Unreadable(Box::new(Unreadable { name, source })),
        }
    }
}

/// Bytes that do not fit the type they are said to be of.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreadable {
    /// The name of the type.
    pub name: TypeName,
    /// Why they do not fit.
    pub source: DecodeError,
}

impl Unreadable {
    /// What to do, where the cause does not say it.
    fn advice(&self) -> &'static str {
        match self.source {
            DecodeError::EndOfData | DecodeError::BadMarker { .. } | DecodeError::TooManyElements { .. } => {
                "; compare its fields, their order and their widths with those of the peer's type"
            }
            _ => "",
        }
    }
}

/// The name of a type as a peer gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name<'a> {
    /// A name that this program has, too. It may still be without a schema.
    Known(TypeName),
    Unknown(&'a str),
}

impl<'a> Name<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Known(name) => name.as_str(),
            Self::Unknown(text) => text,
        }
    }

    /// The name, for use where the type must be known.
    pub(crate) fn known(self) -> Result<TypeName, DecodeError> {
        match self {
            Self::Known(name) => Ok(name),
            Self::Unknown(text) => Err(DecodeError::UnknownType(text.into())),
        }
    }
}

pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}
