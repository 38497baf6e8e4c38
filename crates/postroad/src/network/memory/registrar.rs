//! The registrar of a network in memory: it knows everybody, at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use parking_lot::Mutex;

use super::MemoryNetwork;
use crate::Atom;
use crate::registrar::{
    BoxFuture, Endpoint, RegisterError, Registered as HandedOut, Registrar, Registration, ResolveError,
    Resolver,
};

/// Who is where.
pub(super) type Registered = BTreeMap<Atom, Vec<Endpoint>>;

/// What one node sees of the registrar.
#[derive(Debug)]
pub(in crate::network) struct MemoryRegistrar {
    network: MemoryNetwork,
    own: Mutex<Option<Atom>>,
}

impl MemoryRegistrar {
    pub(in crate::network) fn new(network: MemoryNetwork) -> Self {
        Self { network, own: Mutex::new(None) }
    }
}

impl Resolver for MemoryRegistrar {
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        let state = self.network.0.state.lock();
        let known = state.registered.get(&name).cloned();
        Box::pin(async { known.ok_or(ResolveError::Unknown) })
    }

    fn describe(&self) -> String {
        "the registrar of a network in memory".to_owned()
    }
}

impl Registrar for MemoryRegistrar {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<HandedOut, RegisterError>> {
        let Registration { node, endpoints, .. } = registration;
        let mut state = self.network.0.state.lock();
        let outcome = match state.registered.entry(node) {
            Entry::Occupied(_) => Err(RegisterError::Taken { node }),
            Entry::Vacant(place) => {
                place.insert(endpoints);
                *self.own.lock() = Some(node);
                Ok(HandedOut::default())
            }
        };
        Box::pin(async { outcome })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        if let Some(node) = self.own.lock().take() {
            self.network.0.state.lock().registered.remove(&node);
        }
        Box::pin(async {})
    }
}
