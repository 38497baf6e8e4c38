//! Names of registered types: interned, so that a lookup is an index.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{LazyLock, OnceLock};

use parking_lot::RwLock;

/// The name of a registered type, such as `#main/Order`
/// (`docs/wire/EDF.md` section 8).
///
/// Only this program makes type names: a name that a peer mentions is looked
/// up, never added. So the table behind them does not grow with what peers
/// send.
#[derive(Clone, Copy)]
pub struct TypeName(&'static Entry);

struct Entry {
    text: Box<str>,
    index: usize,
}

/// Why a text cannot name a registered type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypeNameError {
    /// The name does not begin with `#`, or nothing follows.
    #[error("the type name {0:?} must begin with '#', as in \"#main/Order\"")]
    NoHash(Box<str>),
    /// The name is longer than [`TypeName::MAX_LEN`] bytes.
    #[error("a type name has at most 4095 bytes, this one has {0}")]
    TooLong(usize),
}

impl TypeName {
    /// The longest name, in bytes: a longer length would read as a cache id.
    pub const MAX_LEN: usize = 4095;

    /// Makes a name, or finds the one there is.
    pub fn new(text: &str) -> Result<Self, TypeNameError> {
        Self::check(text)?;
        Ok(Self::intern(text))
    }

    /// Finds a name without making it.
    pub fn find(text: &str) -> Option<Self> {
        NAMES.read().get(text).copied()
    }

    /// The text, `#` included.
    pub fn as_str(self) -> &'static str {
        &self.0.text
    }

    /// Whether the name may travel.
    pub(crate) fn check(text: &str) -> Result<(), TypeNameError> {
        if text.len() > Self::MAX_LEN {
            return Err(TypeNameError::TooLong(text.len()));
        }
        if !text.starts_with('#') || text.len() == 1 {
            return Err(TypeNameError::NoHash(text.into()));
        }
        Ok(())
    }

    /// A number below the count of all names in this program.
    pub(crate) fn index(self) -> usize {
        self.0.index
    }

    fn intern(text: &str) -> Self {
        if let Some(name) = Self::find(text) {
            return name;
        }
        let mut names = NAMES.write();
        if let Some(name) = names.get(text) {
            return *name;
        }
        let name = Self(Box::leak(Box::new(Entry { text: text.into(), index: names.len() })));
        names.insert(name.as_str(), name);
        name
    }
}

static NAMES: LazyLock<RwLock<HashMap<&'static str, TypeName, foldhash::fast::RandomState>>> =
    LazyLock::new(RwLock::default);

/// The name of one derived type, interned when first asked for.
#[doc(hidden)]
#[derive(Debug)]
pub struct LazyTypeName {
    text: &'static str,
    name: OnceLock<TypeName>,
}

impl LazyTypeName {
    /// Takes a name that the derive has checked.
    pub const fn new(text: &'static str) -> Self {
        assert!(text.len() <= TypeName::MAX_LEN, "a type name has at most 4095 bytes");
        assert!(
            text.len() > 1 && text.as_bytes()[0] == b'#',
            "a type name begins with '#', as in \"#main/Order\""
        );
        Self { text, name: OnceLock::new() }
    }

    /// The name.
    pub fn get(&self) -> TypeName {
        *self.name.get_or_init(|| TypeName::intern(self.text))
    }
}

/// The name of an instance of a generic derived type. A generic type has no
/// static of its own per instance, so instances are found by their `TypeId`.
#[doc(hidden)]
pub fn instance_name<T: 'static>(base: &str, arguments: &[fn() -> crate::Type]) -> TypeName {
    static INSTANCES: LazyLock<RwLock<HashMap<TypeId, TypeName, foldhash::fast::RandomState>>> =
        LazyLock::new(RwLock::default);
    let key = TypeId::of::<T>();
    if let Some(name) = INSTANCES.read().get(&key) {
        return *name;
    }
    let arguments: Vec<String> = arguments.iter().map(|argument| argument().go_name()).collect();
    let name = TypeName::intern(&format!("{base}[{}]", arguments.join(",")));
    INSTANCES.write().insert(key, name);
    name
}

impl PartialEq for TypeName {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for TypeName {}

impl Hash for TypeName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.index.hash(state);
    }
}

impl PartialOrd for TypeName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TypeName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for TypeName {
    type Error = TypeNameError;

    fn try_from(text: &str) -> Result<Self, TypeNameError> {
        Self::new(text)
    }
}
