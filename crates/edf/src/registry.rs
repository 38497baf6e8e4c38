//! The types that a node knows.

use std::any::{TypeId, type_name};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::{
    DecodeError, Decoder, Definition, EncodeError, Message, Payload, Registered, Schema, Type, TypeName,
    TypeNameError,
};

/// The types that a node knows: Rust types that derive
/// [`Message`](crate::Message), and schemas given at run time. A clone is the
/// same registry. Readers never wait.
///
/// Values that come from a peer turn into Rust types as follows, and into
/// [`Value`](crate::Value) if nothing else is known:
///
/// | EDF | Rust |
/// |---|---|
/// | registered type | the type that derives it |
/// | int8 .. int64, uint8 .. uint64 | `i8` .. `i64`, `u8` .. `u64` |
/// | int, uint | `isize`, `usize` |
/// | string, binary, error | `String`, `Vec<u8>`, [`ErrorValue`](crate::ErrorValue), or the type given to [`Registry::register`] |
/// | atom, pid, ref, time, ... | [`Atom`](crate::Atom), [`Pid`](crate::Pid), ... |
/// | slices, arrays, maps | the type given to [`Registry::register`] |
/// | nil | `()` |
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    types: ArcSwap<Types>,
    writer: Mutex<()>,
    conflicts: Vec<RegisterError>,
}

#[derive(Clone, Default)]
struct Types {
    /// By [`TypeName::index`].
    registered: Vec<Option<Entry>>,
    names: Vec<TypeName>,
    /// By the fold, written without ids.
    unnamed: HashMap<Box<[u8]>, RustType, RandomState>,
    /// What [`Registry::register`] has seen already.
    known: HashSet<TypeId, RandomState>,
}

#[derive(Clone)]
struct Entry {
    definition: Arc<Definition>,
    rust: Option<RustType>,
}

#[derive(Clone, Copy)]
struct RustType {
    id: TypeId,
    name: &'static str,
    decode: DecodeFn,
}

pub(crate) type DecodeFn = fn(&mut Decoder<'_>) -> Result<Payload, DecodeError>;

impl RustType {
    fn of<T: Message>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
            decode: |input| T::decode(input).map(Payload::new),
        }
    }
}

/// Why a type was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The name, or for a composite the type expression, belongs to something
    /// else already.
    #[error("{name} is taken: it stands for {by}, so it cannot stand for {wanted}")]
    Taken {
        /// The name or type expression.
        name: Box<str>,
        /// The Rust type or schema that has it.
        by: Box<str>,
        /// The Rust type or schema that was to have it.
        wanted: Box<str>,
    },
    /// The name cannot travel.
    #[error(transparent)]
    TypeName(#[from] TypeNameError),
    /// The type expression cannot travel: it is too long, or has a pointer to a
    /// pointer.
    #[error("{0} cannot be a message: its type expression cannot be written")]
    Type(Type),
}

/// A derived type, to be found when the program starts.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration {
    name: fn() -> TypeName,
    rust_name: fn() -> &'static str,
    register: fn(&mut Registrar) -> Result<(), RegisterError>,
}

impl Registration {
    /// The registration of `T`.
    pub const fn of<T: Registered>() -> Self {
        Self { name: T::type_name, rust_name: type_name::<T>, register: T::register_parts }
    }
}

inventory::collect!(Registration);

impl Registry {
    /// A registry of all types in the program that derive
    /// [`Message`](crate::Message) and are not generic.
    ///
    /// Where two have the same name, the first in alphabetical order of Rust
    /// names keeps it and [`Registry::conflicts`] tells.
    pub fn new() -> Self {
        let mut linked: Vec<&Registration> = inventory::iter::<Registration>().collect();
        linked.sort_by_key(|registration| ((registration.name)(), (registration.rust_name)()));
        let mut registrar = Registrar { types: Types::default() };
        let conflicts = linked.iter().filter_map(|linked| (linked.register)(&mut registrar).err()).collect();
        let types = ArcSwap::from_pointee(registrar.types);
        Self(Arc::new(Shared { types, writer: Mutex::new(()), conflicts }))
    }

    /// A registry that knows nothing yet, not even what this program derives.
    pub fn empty() -> Self {
        let types = ArcSwap::from_pointee(Types::default());
        Self(Arc::new(Shared { types, writer: Mutex::new(()), conflicts: Vec::new() }))
    }

    /// The types whose names were taken when the program was linked.
    pub fn conflicts(&self) -> &[RegisterError] {
        &self.0.conflicts
    }

    /// Makes sure that `T` and the types it is made of are known. Types that
    /// derive [`Message`](crate::Message) are known anyway, unless they are
    /// generic. A slice, array or map arrives as `T` from then on instead of as
    /// [`Value`](crate::Value), and a binary as [`Bytes`](bytes::Bytes) if that
    /// is `T`. Doing it twice does nothing.
    pub fn register<T: Message>(&self) -> Result<(), RegisterError> {
        if self.0.types.load().known.contains(&TypeId::of::<T>()) {
            return Ok(());
        }
        self.write(|registrar| {
            T::register_parts(registrar)?;
            match T::type_of() {
                Type::Any | Type::Registered(_) => {}
                ty => registrar.unnamed::<T>(&ty)?,
            }
            registrar.types.known.insert(TypeId::of::<T>());
            Ok(())
        })
    }

    /// Makes a type known that has no Rust type. Its values arrive as
    /// [`Value`](crate::Value). Doing it twice does nothing if the schemas agree
    /// but for the names of fields. The types of its fields need to be known
    /// only when a value arrives.
    pub fn register_schema(&self, name: TypeName, schema: Schema) -> Result<(), RegisterError> {
        self.write(|registrar| registrar.definition(name, schema, "this schema").map(drop))
    }

    /// The names of all registered types, in a stable order: linked ones by
    /// name, each after the types it is made of, then the others as they came.
    pub fn names(&self) -> Vec<TypeName> {
        self.0.types.load().names.clone()
    }

    /// How many types are registered by name. It only grows.
    pub fn count(&self) -> usize {
        self.0.types.load().names.len()
    }

    /// What the type `name` consists of.
    pub fn definition(&self, name: TypeName) -> Option<Arc<Definition>> {
        let types = self.0.types.load();
        let entry = types.registered.get(name.index())?.as_ref()?;
        Some(Arc::clone(&entry.definition))
    }

    pub(crate) fn rust_type(&self, name: TypeName) -> Option<DecodeFn> {
        let types = self.0.types.load();
        types.registered.get(name.index())?.as_ref()?.rust.map(|rust| rust.decode)
    }

    /// What stands for a type without a name, given by its fold without ids.
    pub(crate) fn unnamed(&self, fold: &[u8]) -> Option<DecodeFn> {
        self.0.types.load().unnamed.get(fold).map(|rust| rust.decode)
    }

    /// What stands for a plain type, if it is not `T`.
    pub(crate) fn other_than<T: Message>(&self, tag: u8) -> Option<DecodeFn> {
        let types = self.0.types.load();
        let rust = types.unnamed.get(&[tag][..])?;
        (rust.id != TypeId::of::<T>()).then_some(rust.decode)
    }

    /// All or nothing: what fails leaves the registry as it was.
    fn write(
        &self,
        change: impl FnOnce(&mut Registrar) -> Result<(), RegisterError>,
    ) -> Result<(), RegisterError> {
        let _writer = self.0.writer.lock();
        let mut registrar = Registrar { types: Types::clone(&self.0.types.load()) };
        change(&mut registrar)?;
        self.0.types.store(Arc::new(registrar.types));
        Ok(())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.0.types.load();
        f.debug_struct("Registry")
            .field("types", &types.names.len())
            .field("unnamed", &types.unnamed.len())
            .field("conflicts", &self.0.conflicts)
            .finish()
    }
}

/// A registry that is being written.
#[doc(hidden)]
pub struct Registrar {
    types: Types,
}

impl Registrar {
    /// Adds a derived type, its parts first.
    pub fn registered<T: Registered>(
        &mut self,
        parts: fn(&mut Self) -> Result<(), RegisterError>,
    ) -> Result<(), RegisterError> {
        let name = T::type_name();
        let rust = RustType::of::<T>();
        if let Some(Some(Entry { rust: Some(known), .. })) = self.types.registered.get(name.index()) {
            return if known.id == rust.id {
                Ok(())
            } else {
                Err(RegisterError::taken(name.as_str(), known.name, rust.name))
            };
        }
        // A type may contain itself: it must be known before its parts are
        // visited, but stands behind them in the order of names.
        let place = self.types.names.len();
        self.definition(name, T::schema(), rust.name)?.rust = Some(rust);
        let added = self.types.names.len() - place;
        parts(self)?;
        self.types.names[place..].rotate_left(added);
        Ok(())
    }

    /// The entry of a name, for `wanted` to have it.
    fn definition(
        &mut self,
        name: TypeName,
        schema: Schema,
        wanted: &str,
    ) -> Result<&mut Entry, RegisterError> {
        TypeName::check(name.as_str())?;
        let registered = &mut self.types.registered;
        if registered.len() <= name.index() {
            registered.resize(name.index() + 1, None);
        }
        if let Some(entry) = &registered[name.index()]
            && !entry.definition.schema.same_shape(&schema)
        {
            let by = entry.rust.map_or("another schema", |rust| rust.name);
            return Err(RegisterError::taken(name.as_str(), by, wanted));
        }
        let names = &mut self.types.names;
        Ok(registered[name.index()].get_or_insert_with(|| {
            names.push(name);
            Entry { definition: Arc::new(Definition::new(name, schema)), rust: None }
        }))
    }

    fn unnamed<T: Message>(&mut self, ty: &Type) -> Result<(), RegisterError> {
        let rust = RustType::of::<T>();
        let key = ty.key().map_err(|error| match error {
            EncodeError::TypeName(error) => RegisterError::TypeName(error),
            _ => RegisterError::Type(ty.clone()),
        })?;
        let known = self.types.unnamed.entry(key.into()).or_insert(rust);
        if known.id == rust.id {
            Ok(())
        } else {
            Err(RegisterError::taken(&ty.to_string(), known.name, rust.name))
        }
    }
}

impl RegisterError {
    fn taken(name: &str, by: &str, wanted: &str) -> Self {
        Self::Taken { name: name.into(), by: by.into(), wanted: wanted.into() }
    }
}
