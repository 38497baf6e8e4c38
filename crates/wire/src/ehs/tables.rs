//! From introductions to the tables of the codec (`docs/wire/EHS.md`
//! section 6 "Which caches are used").

use postroad_edf::{AtomMapping, DecodeTables, EncodeTables, ErrorValue, Features, TypeName};

use super::{Established, Introduction};
use crate::NetworkFlags;
use crate::enp::any::Generation;

impl Established {
    /// The tables of the connection: what we encode with, and what we decode
    /// with. All its links use the same.
    ///
    /// `mapping` is that of the route or the acceptor that the connection was
    /// made by; the peer knows nothing of it.
    pub fn tables(&self, mapping: Option<AtomMapping>) -> (EncodeTables, DecodeTables) {
        let features = self.features();
        let mut encode = self.local.encode_tables();
        encode.features = features;
        encode.mapping.clone_from(&mapping);
        let mut decode = self.peer.decode_tables();
        decode.features = features;
        decode.mapping = mapping;
        (encode, decode)
    }

    /// What of EDF both sides understand (`docs/wire/EDF.md` section 14).
    fn features(&self) -> Features {
        let both = self.local.flags & self.peer.flags;
        let mut features = Features::default();
        features.wrapped_errors = both.allows(NetworkFlags::ENABLE | NetworkFlags::WRAPPED_ERRORS);
        features.pointers =
            Generation::are_own(&self.local, &self.peer) || Generation::of(&self.peer) >= Generation::V330;
        features
    }
}

impl Introduction {
    /// The tables that the side which said this encodes with.
    pub fn encode_tables(&self) -> EncodeTables {
        let mut tables = EncodeTables::default();
        for (id, atom) in &self.atoms {
            tables.insert_atom(*atom, *id);
        }
        for (id, name) in &self.types {
            // A name that this program never met has nothing to be encoded.
            if let Some(name) = TypeName::find(name) {
                tables.insert_type(name, *id);
            }
        }
        for (id, text) in &self.errors {
            tables.insert_error(text.as_bytes(), *id);
        }
        tables
    }

    /// The tables to decode with what the side which said this has encoded.
    pub fn decode_tables(&self) -> DecodeTables {
        let mut tables = DecodeTables::default();
        for (id, atom) in &self.atoms {
            tables.insert_atom(*id, *atom);
        }
        for (id, name) in &self.types {
            tables.insert_type(*id, name);
        }
        for (id, text) in &self.errors {
            tables.insert_error(*id, ErrorValue::new(&**text));
        }
        tables
    }
}
