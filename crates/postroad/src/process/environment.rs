//! Variables of nodes and processes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use postroad_edf::{DecodeTables, Decoder, EncodeError, EncodeTables, Encoder, Message, Payload, Registry};
use postroad_wire::enp::any;

/// Variables that a node or a process has. The case of their names does not
/// matter: they are kept in capitals.
///
/// A process begins with those of its parent and on top of them those it is
/// spawned with ([`SpawnOptions::environment`](crate::SpawnOptions::environment));
/// what either changes later the other does not see.
///
/// Values are kept in the form they travel in: whatever can be a message can be
/// the value of a variable. A copy of an environment costs one pointer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Option<Arc<Variables>>);

/// A name without a value removes the variable that lies below it.
type Variables = BTreeMap<Box<str>, Option<Arc<[u8]>>>;

/// How values are kept. What a peer does not understand of them is its own affair,
/// when it is told.
fn writing() -> EncodeTables {
    let mut tables = EncodeTables::default();
    tables.features.pointers = true;
    tables
}

fn reading() -> DecodeTables {
    let mut tables = DecodeTables::default();
    tables.features.pointers = true;
    tables
}

impl Environment {
    /// No variable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable.
    ///
    /// # Errors
    /// If the value has no EDF form; the variable is then as it was.
    pub fn set<T: Message>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, &writing()).top(value)?;
        self.variables().insert(key(name), Some(bytes.into()));
        Ok(())
    }

    /// Removes a variable, and, laid over another environment, the variable of
    /// that name there.
    pub fn remove(&mut self, name: &str) {
        self.variables().insert(key(name), None);
    }

    /// The names of the variables, in capitals and in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().filter_map(|(name, value)| value.map(|_| name))
    }

    /// An environment that sets one variable.
    pub(crate) fn with<T: Message>(name: &str, value: &T) -> Result<Self, EncodeError> {
        let mut environment = Self::new();
        environment.set(name, value)?;
        Ok(environment)
    }

    /// An environment that removes one variable from what it is laid over.
    pub(crate) fn without(name: &str) -> Self {
        let mut environment = Self::new();
        environment.remove(name);
        environment
    }

    /// The value of a variable, if there is one and it is a `T`.
    pub(crate) fn get<T: Message>(&self, name: &str, registry: &Registry) -> Option<T> {
        let bytes = self.0.as_ref()?.get(&*key(name))?.as_ref()?;
        Decoder::new(bytes, &reading(), registry).top().ok()
    }

    /// This environment with another one on top of it.
    pub(crate) fn overlaid(&self, over: &Self) -> Self {
        if over.0.is_none() {
            return self.clone();
        }
        let mut laid = self.clone();
        let variables = laid.variables();
        for (name, value) in over.0.iter().flat_map(|over| over.iter()) {
            match value {
                Some(_) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
        laid
    }

    /// What another node says that an environment is.
    pub(crate) fn from_wire(wire: any::Environment) -> Result<Self, EncodeError> {
        let mut environment = Self::new();
        for (name, value) in wire {
            if value.is_nil() {
                environment.remove(&name);
            } else {
                environment.set(&name, &value)?;
            }
        }
        Ok(environment)
    }

    /// What another node is told. A value that cannot be read as what it was is
    /// left out.
    pub(crate) fn to_wire(&self, registry: &Registry) -> any::Environment {
        let tables = reading();
        let mut wire = any::Environment::new();
        for (name, value) in self.iter() {
            let value =
                value.map_or(Ok(Payload::new(())), |bytes| Decoder::new(bytes, &tables, registry).payload());
            match value {
                Ok(value) => drop(wire.insert(name.to_owned(), value)),
                Err(error) => tracing::warn!(name, %error, "variable not passed on"),
            }
        }
        wire
    }

    fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let variables = self.0.iter().flat_map(|variables| variables.iter());
        variables.map(|(name, value)| (&**name, value.as_deref()))
    }

    fn variables(&mut self) -> &mut Variables {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn key(name: &str) -> Box<str> {
    name.to_uppercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, u8)]) -> Environment {
        let mut environment = Environment::new();
        for (name, value) in variables {
            environment.set(name, value).unwrap();
        }
        environment
    }

    #[test]
    fn what_lies_on_top_counts() {
        let below = environment(&[("a", 1), ("b", 2), ("c", 3)]);
        let mut over = environment(&[("B", 20), ("d", 40)]);
        over.remove("C");
        let laid = below.overlaid(&over);
        assert_eq!(laid.names().collect::<Vec<_>>(), ["A", "B", "D"]);
        let registry = Registry::new();
        assert_eq!(laid.get::<u8>("b", &registry), Some(20));
        assert_eq!(laid.get::<u8>("c", &registry), None);
        assert_eq!(laid.get::<u16>("b", &registry), None, "of another type");
        assert_eq!(below.get::<u8>("b", &registry), Some(2), "and below nothing has changed");
        assert_eq!(size_of::<Environment>(), size_of::<usize>());
    }

    #[test]
    fn an_environment_travels() {
        let mut environment = environment(&[("a", 1)]);
        environment.set("text", &"there".to_owned()).unwrap();
        environment.remove("gone");
        let registry = Registry::new();
        let wire = environment.to_wire(&registry);
        assert_eq!(Environment::from_wire(wire).unwrap(), environment);
    }

    #[test]
    fn a_value_may_be_behind_a_pointer() {
        let mut environment = Environment::new();
        environment.set("boxed", &Box::new(7u8)).unwrap();
        let registry = Registry::new();
        assert_eq!(environment.get::<Box<u8>>("boxed", &registry), Some(Box::new(7)));
        assert_eq!(Environment::from_wire(environment.to_wire(&registry)).unwrap(), environment);
    }

    #[test]
    fn values_are_not_shown() {
        assert_eq!(format!("{:?}", environment(&[("a", 1)])), r#"{"A"}"#);
    }
}
