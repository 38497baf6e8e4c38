//! Values to bytes.

use crate::{Atom, EncodeTables, ErrorValue, Features, Type, TypeName, TypeNameError, tag};

/// Appends EDF to a buffer, with the tables of a connection.
///
/// ```
/// use postroad_edf::{EncodeTables, Encoder};
///
/// let mut bytes = Vec::new();
/// Encoder::new(&mut bytes, &EncodeTables::default()).top(&7i8)?;
/// assert_eq!(bytes, [0x92, 7]);
/// # Ok::<(), postroad_edf::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    tables: &'a EncodeTables,
    levels: usize,
}

/// Why a value did not become bytes. The value is to blame, never the peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Nil cannot be sent, only be part of what is sent.
    #[error("nothing to encode: nil (or `()`) cannot be a message by itself")]
    NilAtTop,
    /// Ergo cannot read strings above [`Encoder::MAX_STRING`] bytes.
    #[error("a string has at most 65533 bytes, this one has {0}; send a binary (`Vec<u8>`) instead")]
    StringTooLong(usize),
    /// An error text is longer than [`ErrorValue::MAX_LEN`] bytes.
    #[error("an error text has at most 32767 bytes, this one has {0}")]
    ErrorTooLong(usize),
    /// An error wraps more errors than a u16 counts.
    #[error("an error wraps at most 65535 errors, this one wraps {0}")]
    TooManyWrapped(usize),
    /// A slice, map, binary or body has more elements than a u32 counts.
    #[error("at most 4294967295 elements or bytes fit into one value, this one has {0}")]
    TooManyElements(usize),
    /// A type expression does not fit its u16 length.
    #[error("the type expression takes {0} bytes, more than 65535")]
    FoldTooLong(usize),
    /// A generic type has a name that is too long, or a name is malformed.
    #[error(transparent)]
    TypeName(#[from] TypeNameError),
    /// A time that the wire form cannot express.
    #[error("{0} cannot be encoded: the nanoseconds or the zone offset are out of range")]
    Time(crate::Time),
    /// The peer does not understand pointers.
    #[error(
        "the peer does not understand pointers (`Box`), as nodes of postroad and Ergo from 3.3.0 on do; send the value itself or a slice"
    )]
    NoPointers,
    /// A pointer to a pointer.
    #[error("a pointer to a pointer cannot be encoded")]
    PointerToPointer,
    /// A dynamic value sits where its surroundings say another type belongs.
    #[error("a value of type {} stands where {} belongs", .0.found, .0.expected)]
    Mismatch(Box<Mismatch>),
    /// A dynamic value has another number of elements or fields than its type.
    #[error("{expected} elements or fields belong here, not {found}")]
    Count {
        /// What the type says.
        expected: usize,
        /// What the value has.
        found: usize,
    },
    /// A value is nested deeper than [`EncodeTables::nesting`].
    #[error("the value is nested deeper than {0} levels")]
    TooDeep(usize),
    /// The marshaler of a type refused its value.
    #[error("{} could not be marshaled", .0.name)]
    Marshal(#[source] Box<MarshalFailure>),
    /// What has no EDF form, for it is meant for processes of its own node.
    #[error("a {0} is for processes of its own node and cannot be sent to another one")]
    Local(&'static str),
}

/// Two types that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The type that belongs here.
    pub expected: Type,
    /// The type that was found.
    pub found: Type,
}

/// What a [`Marshal`](crate::Marshal) implementation objected to.
#[derive(Debug, thiserror::Error)]
#[error("the marshaler of {name} failed")]
#[non_exhaustive]
pub struct MarshalFailure {
    /// The type.
    pub name: TypeName,
    /// Its own error.
    pub source: crate::MarshalError,
}

/// Which marker stands before the elements of a slice or a map
/// (`docs/wire/EDF.md` section 4).
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The tag of the kind: the type has no name.
    Plain,
    /// The tag of registered types.
    Named,
}

impl Marker {
    pub(crate) fn or(self, plain: u8) -> u8 {
        match self {
            Self::Plain => plain,
            Self::Named => tag::REGISTERED,
        }
    }
}

impl<'a> Encoder<'a> {
    /// The longest string in bytes. The wire would allow 65535, but Ergo cannot
    /// read the last two (`docs/wire/EDF.md` section 10).
    pub const MAX_STRING: usize = 65533;

    /// Will append to `out`.
    pub fn new(out: &'a mut Vec<u8>, tables: &'a EncodeTables) -> Self {
        Self { out, tables, levels: tables.nesting }
    }

    /// Writes a value with its type. After an error the buffer holds a part of
    /// the value, which the caller cuts off.
    pub fn top<T: crate::Edf>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.encode_top(self)
    }

    /// What the peer understands.
    pub fn features(&self) -> Features {
        self.tables.features
    }

    /// Writes one byte.
    #[inline]
    pub fn u8(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Writes two bytes, the high one first.
    #[inline]
    pub fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    /// Writes four bytes, the high one first.
    #[inline]
    pub fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    /// Writes eight bytes, the high one first.
    #[inline]
    pub fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    /// Writes bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a u32 count of elements or bytes.
    #[inline]
    pub fn count(&mut self, count: usize) -> Result<(), EncodeError> {
        self.u32(u32::try_from(count).map_err(|_| EncodeError::TooManyElements(count))?);
        Ok(())
    }

    /// Writes a string (`docs/wire/EDF.md` section 4).
    #[inline]
    pub fn string(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > Self::MAX_STRING {
            return Err(EncodeError::StringTooLong(bytes.len()));
        }
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
        Ok(())
    }

    /// Writes an atom: mapped, then by its cache id or in full
    /// (`docs/wire/EDF.md` section 5).
    #[inline]
    pub fn atom(&mut self, atom: Atom) {
        let atom = self.tables.mapping.as_ref().map_or(atom, |mapping| mapping.wire(atom));
        match self.tables.atom_id(atom) {
            Some(id) => self.u16(id),
            None => {
                // An atom has at most 255 bytes, also a mapped one.
                self.u16(atom.as_str().len() as u16);
                self.bytes(atom.as_str().as_bytes());
            }
        }
    }

    /// Writes an error, or nil (`docs/wire/EDF.md` section 6).
    pub fn error(&mut self, error: Option<&ErrorValue>) -> Result<(), EncodeError> {
        let Some(error) = error else {
            self.u16(ErrorValue::NIL);
            return Ok(());
        };
        let text = error.text().as_bytes();
        if text.len() > ErrorValue::MAX_LEN {
            return Err(EncodeError::ErrorTooLong(text.len()));
        }
        if self.features().wrapped_errors && !error.wrapped().is_empty() {
            let count = error.wrapped().len();
            self.u16(ErrorValue::WRAPPED);
            self.u16(text.len() as u16);
            self.bytes(text);
            self.u16(u16::try_from(count).map_err(|_| EncodeError::TooManyWrapped(count))?);
            return self
                .nested(|out| error.wrapped().iter().try_for_each(|wrapped| out.error(Some(wrapped))));
        }
        match self.tables.error(text) {
            Some(id) => self.u16(id),
            None => {
                self.u16(text.len() as u16);
                self.bytes(text);
            }
        }
        Ok(())
    }

    /// Writes the tag of a registered type and its name or cache id
    /// (`docs/wire/EDF.md` section 8).
    #[inline]
    pub fn registered(&mut self, name: TypeName) -> Result<(), EncodeError> {
        match self.tables.type_id(name) {
            Some(id) => {
                let [high, low] = id.to_be_bytes();
                self.bytes(&[tag::REGISTERED, high, low]);
                Ok(())
            }
            None => self.full_name(name.as_str()),
        }
    }

    /// Writes a name that this program may not know.
    pub(crate) fn named(&mut self, name: &str) -> Result<(), EncodeError> {
        match TypeName::find(name) {
            Some(name) => self.registered(name),
            None => self.full_name(name),
        }
    }

    fn full_name(&mut self, name: &str) -> Result<(), EncodeError> {
        if name.len() > TypeName::MAX_LEN {
            return Err(TypeNameError::TooLong(name.len()).into());
        }
        self.u8(tag::REGISTERED);
        self.u16(name.len() as u16);
        self.bytes(name.as_bytes());
        Ok(())
    }

    /// Writes the tag of a composite type, and its expression as `write` makes
    /// it, with the length in front (`docs/wire/EDF.md` section 3).
    pub(crate) fn folded(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.bytes(&[tag::FOLDED, 0, 0]);
        let start = self.out.len();
        write(self)?;
        let len = self.out.len() - start;
        let len = u16::try_from(len).map_err(|_| EncodeError::FoldTooLong(len))?;
        self.out[start - 2..start].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    /// Writes what `write` makes, with its u32 length in front.
    pub(crate) fn sized(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.u32(0);
        let start = self.out.len();
        write(self.out)?;
        let len = self.out.len() - start;
        let len = u32::try_from(len).map_err(|_| EncodeError::TooManyElements(len))?;
        self.out[start - 4..start].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    /// Writes something one level deeper.
    #[inline]
    pub(crate) fn nested(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(levels) = self.levels.checked_sub(1) else {
            return Err(EncodeError::TooDeep(self.tables.nesting));
        };
        self.levels = levels;
        write(self)?;
        self.levels += 1;
        Ok(())
    }

    /// Writes what stands before the elements of a slice.
    #[doc(hidden)]
    #[inline]
    pub fn slice(&mut self, marker: Marker, count: usize) -> Result<(), EncodeError> {
        self.u8(marker.or(tag::SLICE));
        self.count(count)
    }

    /// Writes what stands before the pairs of a map.
    #[inline]
    pub(crate) fn map(&mut self, marker: Marker, count: usize) -> Result<(), EncodeError> {
        self.u8(marker.or(tag::MAP));
        self.count(count)
    }

    /// Room for numbers of `N` bytes each, which `put` fills in.
    #[inline]
    pub(crate) fn numbers<T: Copy, const N: usize>(&mut self, items: &[T], bytes: impl Fn(T) -> [u8; N]) {
        let start = self.out.len();
        self.out.resize(start + items.len() * N, 0);
        for (place, item) in self.out[start..].chunks_exact_mut(N).zip(items) {
            place.copy_from_slice(&bytes(*item));
        }
    }
}
