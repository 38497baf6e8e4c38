//! Atoms: interned, comparable by address, `Copy`.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

/// A name: of a node, a process, an event, an application.
///
/// Atoms are interned once per program and never freed, so an `Atom` is one
/// pointer, compares in one instruction and is `Copy`. At most
/// [`Atom::MAX_LEN`] bytes of UTF-8 (`docs/wire/EDF.md` section 5).
///
/// Interning is capped: see [`AtomError::TableFull`].
#[derive(Clone, Copy)]
pub struct Atom(&'static Entry);

struct Entry {
    text: Box<str>,
    crc: u32,
}

/// Why a text did not become an [`Atom`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AtomError {
    /// The text is longer than [`Atom::MAX_LEN`] bytes.
    #[error("too long Atom (max: 255): it has {0} bytes")]
    TooLong(usize),
    /// The intern table is full. Peers fill at most [`Atom::PEER_CAPACITY`]
    /// names, so that this program can always intern names of its own up to
    /// [`Atom::CAPACITY`].
    #[error("the atom table is full ({0} names); a peer may be sending generated names")]
    TableFull(usize),
}

impl Atom {
    /// The longest text of an atom, in bytes.
    pub const MAX_LEN: usize = 255;
    /// How many different atoms one program holds at most.
    pub const CAPACITY: usize = 1 << 20;
    /// How many atoms may exist before names that come from peers are refused.
    pub const PEER_CAPACITY: usize = 1 << 19;

    /// Interns `text`.
    pub fn new(text: &str) -> Result<Self, AtomError> {
        TABLE.intern(text, Self::CAPACITY)
    }

    /// Interns a text that came from a peer: refused earlier than [`Atom::new`]
    /// when the table fills up.
    pub fn from_peer(text: &str) -> Result<Self, AtomError> {
        TABLE.intern(text, Self::PEER_CAPACITY)
    }

    /// The atom of `text`, if anybody has interned it. For names that matter
    /// only if they are known: a peer's guesses fill no table.
    pub fn existing(text: &str) -> Option<Self> {
        TABLE.shard(text).read().get(text).map(|key| Self(key.0))
    }

    /// The atom without a character.
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Atom> = LazyLock::new(|| TABLE.intern_static(""));
        *EMPTY
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        &self.0.text
    }

    /// Whether the text has no character.
    pub fn is_empty(self) -> bool {
        self.0.text.is_empty()
    }

    /// The part after `@` of a node name; empty unless there is exactly one `@`.
    pub fn host(self) -> &'static str {
        match self.as_str().split_once('@') {
            Some((_, host)) if !host.contains('@') => host,
            _ => "",
        }
    }

    /// The eight hexadecimal digits that stand for a node name where
    /// identifiers are shown; empty for the empty atom. For people only: never
    /// a key and never on the wire.
    pub fn crc(self) -> impl fmt::Display {
        struct Crc(Atom);
        impl fmt::Display for Crc {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0.is_empty() { Ok(()) } else { write!(f, "{:08X}", self.0.0.crc) }
            }
        }
        Crc(self)
    }

    /// A number that is equal for equal atoms within this program.
    pub fn address(self) -> usize {
        std::ptr::from_ref(self.0).addr()
    }
}

impl PartialEq for Atom {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Atom {}

impl Hash for Atom {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address().hash(state);
    }
}

impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Atom {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialEq<str> for Atom {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Atom {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.as_str())
    }
}

impl TryFrom<&str> for Atom {
    type Error = AtomError;

    fn try_from(text: &str) -> Result<Self, AtomError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Atom {
    type Error = AtomError;

    fn try_from(text: String) -> Result<Self, AtomError> {
        Self::new(&text)
    }
}

impl TryFrom<&String> for Atom {
    type Error = AtomError;

    fn try_from(text: &String) -> Result<Self, AtomError> {
        Self::new(text)
    }
}

/// The intern table: the one piece of state that is shared by all nodes of a
/// program (`DESIGN.md` D4, D14). Sharded so that connections do not queue.
struct Table {
    shards: [Shard; SHARDS],
    hasher: foldhash::fast::RandomState,
    len: AtomicUsize,
}

type Shard = RwLock<std::collections::HashSet<Key, foldhash::fast::FixedState>>;

const SHARDS: usize = 32;

#[derive(PartialEq, Eq)]
struct Key(&'static Entry);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Entry {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table {
    // The shard is picked by a keyed hash, so that a peer cannot choose names
    // that all fall into one place; within a shard the set has its own seed.
    shards: std::array::from_fn(|_| {
        let seed = foldhash::fast::RandomState::default().hash_one(0u8);
        RwLock::new(std::collections::HashSet::with_hasher(foldhash::fast::FixedState::with_seed(seed)))
    }),
    hasher: foldhash::fast::RandomState::default(),
    len: AtomicUsize::new(0),
});

impl Table {
    fn intern(&self, text: &str, capacity: usize) -> Result<Atom, AtomError> {
        if text.len() > Atom::MAX_LEN {
            return Err(AtomError::TooLong(text.len()));
        }
        let shard = self.shard(text);
        if let Some(key) = shard.read().get(text) {
            return Ok(Atom(key.0));
        }
        let mut shard = shard.write();
        if let Some(key) = shard.get(text) {
            return Ok(Atom(key.0));
        }
        if self.len.fetch_add(1, Ordering::Relaxed) >= capacity {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(AtomError::TableFull(capacity));
        }
        let entry: &'static Entry =
            Box::leak(Box::new(Entry { text: text.into(), crc: crc(text.as_bytes()) }));
        shard.insert(Key(entry));
        Ok(Atom(entry))
    }

    fn shard(&self, text: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(text) as usize % SHARDS]
    }

    fn intern_static(&self, text: &'static str) -> Atom {
        match self.intern(text, usize::MAX) {
            Ok(atom) => atom,
            Err(_) => unreachable!("a static name within the length limit"),
        }
    }
}

/// CRC-32 with the reflected polynomial D5828281 (`docs/wire/EDF.md` does not
/// use it; identifiers are shown with it).
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xD582_8281 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_atom() {
        let a = Atom::new("node@localhost").unwrap();
        let b = Atom::new(&String::from("node@localhost")).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.address(), b.address());
        assert_ne!(a, Atom::new("other@localhost").unwrap());
        assert_eq!(size_of::<Atom>(), 8);
    }

    #[test]
    fn looking_does_not_intern() {
        assert_eq!(Atom::existing("never interned anywhere"), None);
        assert_eq!(Atom::existing("never interned anywhere"), None);
        let atom = Atom::new("interned somewhere").unwrap();
        assert_eq!(Atom::existing("interned somewhere"), Some(atom));
    }

    #[test]
    fn too_long_is_refused() {
        assert!(Atom::new(&"x".repeat(255)).is_ok());
        assert_eq!(Atom::new(&"x".repeat(256)), Err(AtomError::TooLong(256)));
    }

    #[test]
    fn host_needs_exactly_one_at() {
        assert_eq!(Atom::new("a@b").unwrap().host(), "b");
        assert_eq!(Atom::new("a@b@c").unwrap().host(), "");
        assert_eq!(Atom::new("a").unwrap().host(), "");
    }

    #[test]
    fn crc_names_are_those_of_ergo() {
        for (name, crc) in [
            ("node@localhost", "2C323E75"),
            ("demo@localhost", "9F35C982"),
            ("node1@localhost", "1B30E9C5"),
            ("producer@localhost", "336B493D"),
            ("consumer1@localhost", "CF9DAE57"),
            ("consumer10@localhost", "9E2174F9"),
            ("", ""),
        ] {
            assert_eq!(Atom::new(name).unwrap().crc().to_string(), crc, "{name}");
        }
    }
}
