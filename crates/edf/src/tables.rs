//! What the two sides of a connection agreed on to write less
//! (`docs/wire/EDF.md` sections 5, 6, 8 and 11).

use std::collections::HashMap;
use std::sync::OnceLock;

use foldhash::fast::RandomState;

use crate::decoder::{Limits, Name};
use crate::{Atom, ErrorValue, TypeName};

/// What the peer understands beyond the v320 line of Ergo
/// (`docs/wire/EDF.md` section 14). The default is nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Errors carry the errors they wrap. Cache id 65534 is no id then.
    pub wrapped_errors: bool,
    /// Values may be behind pointers.
    pub pointers: bool,
}

/// What this side announced: its ids for atoms, types and errors. The default
/// is nothing, as in a handshake.
#[derive(Debug)]
pub struct EncodeTables {
    /// Replaces atoms on the way out. The peer knows nothing of it.
    pub mapping: Option<AtomMapping>,
    /// What may be written.
    pub features: Features,
    /// The deepest nesting of values that is written, in levels. 64 unless set,
    /// which is what [`Limits`] grants on the other side.
    pub nesting: usize,
    atoms: HashMap<Atom, u16, RandomState>,
    /// By [`TypeName::index`]; 0 is no id.
    types: Vec<u16>,
    errors: HashMap<Box<[u8]>, u16, RandomState>,
}

impl Default for EncodeTables {
    fn default() -> Self {
        Self {
            mapping: None,
            features: Features::default(),
            nesting: Limits::DEFAULT.nesting,
            atoms: HashMap::default(),
            types: Vec::new(),
            errors: HashMap::default(),
        }
    }
}

/// What the peer announced: its ids for atoms, types and errors. The default
/// is nothing, as in a handshake.
#[derive(Debug, Default)]
pub struct DecodeTables {
    /// The own mapping, undone on the way in.
    pub mapping: Option<AtomMapping>,
    /// What may be read.
    pub features: Features,
    /// What is granted to the peer's bytes.
    pub limits: Limits,
    atoms: Ids<Atom>,
    types: Ids<Box<PeerType>>,
    errors: Ids<Box<ErrorValue>>,
}

impl EncodeTables {
    /// The ids that can stand for an atom.
    pub const ATOM_IDS: std::ops::RangeInclusive<u16> = 256..=65535;
    /// The ids that can stand for a type.
    pub const TYPE_IDS: std::ops::RangeInclusive<u16> = 4096..=65535;
    /// The ids that can stand for an error.
    pub const ERROR_IDS: std::ops::RangeInclusive<u16> = 32768..=65534;

    /// Writes `id` for `atom` from now on. An id outside
    /// [`ATOM_IDS`](Self::ATOM_IDS) is not used.
    pub fn insert_atom(&mut self, atom: Atom, id: u16) {
        if Self::ATOM_IDS.contains(&id) {
            self.atoms.insert(atom, id);
        }
    }

    /// Writes `id` for the type `name` from now on. An id outside
    /// [`TYPE_IDS`](Self::TYPE_IDS) is not used.
    pub fn insert_type(&mut self, name: TypeName, id: u16) {
        if Self::TYPE_IDS.contains(&id) {
            if self.types.len() <= name.index() {
                self.types.resize(name.index() + 1, 0);
            }
            self.types[name.index()] = id;
        }
    }

    /// Writes `id` for errors with this text from now on. An id outside
    /// [`ERROR_IDS`](Self::ERROR_IDS) is not used.
    pub fn insert_error(&mut self, text: impl AsRef<[u8]>, id: u16) {
        if Self::ERROR_IDS.contains(&id) {
            self.errors.insert(text.as_ref().into(), id);
        }
    }

    /// The id that stands for an atom, as it is on the wire.
    #[inline]
    pub fn atom_id(&self, atom: Atom) -> Option<u16> {
        if self.atoms.is_empty() { None } else { self.atoms.get(&atom).copied() }
    }

    #[inline]
    pub(crate) fn type_id(&self, name: TypeName) -> Option<u16> {
        self.types.get(name.index()).copied().filter(|id| *id != 0)
    }

    pub(crate) fn error(&self, text: &[u8]) -> Option<u16> {
        let id = self.errors.get(text).copied()?;
        (id != ErrorValue::WRAPPED || !self.features.wrapped_errors).then_some(id)
    }
}

impl DecodeTables {
    /// Reads `id` as `atom` from now on.
    pub fn insert_atom(&mut self, id: u16, atom: Atom) {
        self.atoms.insert(id, atom);
    }

    /// Reads `id` as the type `name` from now on. The name need not be known.
    pub fn insert_type(&mut self, id: u16, name: &str) {
        self.types.insert(id, Box::new(PeerType { text: name.into(), name: OnceLock::new() }));
    }

    /// Reads `id` as `error` from now on.
    pub fn insert_error(&mut self, id: u16, error: ErrorValue) {
        self.errors.insert(id, Box::new(error));
    }

    /// The atom that an id stands for, as it is on the wire.
    pub fn atom(&self, id: u16) -> Option<Atom> {
        self.atoms.get(id).copied()
    }

    pub(crate) fn peer_type(&self, id: u16) -> Option<&PeerType> {
        self.types.get(id).map(|peer_type| &**peer_type)
    }

    pub(crate) fn error(&self, id: u16) -> Option<&ErrorValue> {
        self.errors.get(id).map(|error| &**error)
    }
}

/// The name of a type as a peer announced it.
#[derive(Debug)]
pub(crate) struct PeerType {
    text: Box<str>,
    /// Set once this program has the name, which may be after the handshake.
    name: OnceLock<TypeName>,
}

impl PeerType {
    #[inline]
    pub(crate) fn name(&self) -> Name<'_> {
        if let Some(name) = self.name.get() {
            return Name::Known(*name);
        }
        match TypeName::find(&self.text) {
            Some(name) => Name::Known(*self.name.get_or_init(|| name)),
            None => Name::Unknown(&self.text),
        }
    }
}

/// A table by id, in pages: ids usually follow each other, but a peer that
/// scatters them costs little more.
#[derive(Debug)]
struct Ids<T> {
    pages: Vec<Option<Box<[Option<T>; PAGE]>>>,
}

const PAGE: usize = 64;

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Ids<T> {
    fn insert(&mut self, id: u16, value: T) {
        let (page, place) = (usize::from(id) / PAGE, usize::from(id) % PAGE);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new([const { None }; PAGE]))[place] = Some(value);
    }

    #[inline]
    fn get(&self, id: u16) -> Option<&T> {
        self.pages.get(usize::from(id) / PAGE)?.as_ref()?[usize::from(id) % PAGE].as_ref()
    }
}

/// Names for the other side of a connection: each atom that is a key goes out
/// as its value, and comes in again as the key (`docs/wire/EDF.md` section 5).
///
/// An atom that is not mapped goes out as it is. If it is what another one is
/// mapped to, it comes back as that one: give it a value of its own too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtomMapping {
    wire: HashMap<Atom, Atom, RandomState>,
    local: HashMap<Atom, Atom, RandomState>,
}

/// Why pairs of atoms are no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AtomMappingError {
    /// Two atoms would go out as one, so that nobody could tell which one comes
    /// back.
    #[error("both {first} and {second} would be sent as {wire}")]
    Ambiguous {
        /// The one.
        first: Atom,
        /// The other.
        second: Atom,
        /// What both would be sent as.
        wire: Atom,
    },
    /// One atom is given two values.
    #[error("{0} is mapped twice")]
    Twice(Atom),
}

fn copied((from, to): (&Atom, &Atom)) -> (Atom, Atom) {
    (*from, *to)
}

impl AtomMapping {
    /// Takes pairs of the local atom and the one on the wire.
    pub fn new(pairs: impl IntoIterator<Item = (Atom, Atom)>) -> Result<Self, AtomMappingError> {
        let mut mapping = Self::default();
        for (local, wire) in pairs {
            if mapping.wire.insert(local, wire).is_some() {
                return Err(AtomMappingError::Twice(local));
            }
            if let Some(other) = mapping.local.insert(wire, local) {
                return Err(AtomMappingError::Ambiguous { first: other, second: local, wire });
            }
        }
        Ok(mapping)
    }

    /// The same, but these atoms stay as they are; nothing if they do anyway.
    pub fn without(&self, atoms: [Atom; 2]) -> Option<Self> {
        let is_kept = |local, wire| !atoms.contains(&local) && !atoms.contains(&wire);
        let kept = Self {
            wire: self.wire.iter().filter(|(local, wire)| is_kept(**local, **wire)).map(copied).collect(),
            local: self.local.iter().filter(|(wire, local)| is_kept(**local, **wire)).map(copied).collect(),
        };
        (kept.len() < self.len()).then_some(kept)
    }

    /// How many atoms are mapped.
    pub fn len(&self) -> usize {
        self.wire.len()
    }

    /// Whether no atom is mapped.
    pub fn is_empty(&self) -> bool {
        self.wire.is_empty()
    }

    /// What goes out for a local atom.
    pub fn wire(&self, local: Atom) -> Atom {
        self.wire.get(&local).copied().unwrap_or(local)
    }

    /// Which local atom is meant by one that comes in.
    pub fn local(&self, wire: Atom) -> Atom {
        self.local.get(&wire).copied().unwrap_or(wire)
    }
}
