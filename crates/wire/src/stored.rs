//! What registrars keep in a store that all nodes read, such as etcd: EDF
//! values without caches (`docs/discovery.md`, values).
//!
//! Whoever may write to the store may have written them; so they are read like
//! the bytes of a peer that has proved nothing.

use crate::body::{BodyError, Fields, Writer};
use crate::esrd::Route;
use crate::version::Version;

/// A value of a composite type begins with the type, and how long that is
/// (`docs/wire/EDF.md` section 3).
const TYPED: u8 = 0x82;
const LIST: u8 = 0x9d;

const ROUTE: &str = "#ergo.services/ergo/gen/Route";
const APPLICATION_ROUTE: &str = "#ergo.services/ergo/gen/ApplicationRoute";

/// The routes of a node: a list of `gen/Route`. No routes are written as nil,
/// as by a hidden Ergo node.
pub fn encode_routes(routes: &[Route]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut list_type = vec![LIST];
    Writer::of_registered(&mut list_type, ROUTE);
    let mut out = Writer::new(&mut bytes);
    out.u8(TYPED);
    out.u16(list_type.len() as u16);
    out.bytes(&list_type);
    out.slice(routes.len());
    routes.iter().for_each(|route| route.write(&mut out));
    bytes
}

/// Reads the routes of a node; an empty list and nil are both no routes.
///
/// # Errors
/// The bytes are not a list of routes, or go on behind it.
pub fn decode_routes(bytes: &[u8]) -> Result<Vec<Route>, BodyError> {
    let mut fields = Fields::new(bytes);
    expect(&mut fields, TYPED)?;
    let len = usize::from(fields.u16()?);
    let mut list_type = Fields::new(fields.take(len)?);
    expect(&mut list_type, LIST)?;
    let (name, list_type) = Fields::of_registered(list_type.rest())?;
    list_type.end()?;
    if name != ROUTE.as_bytes() {
        return Err(BodyError::UnknownType);
    }
    let count = fields.slice(Route::MIN_LEN)?;
    let routes = (0..count).map(|_| Route::read(&mut fields)).collect::<Result<_, _>>()?;
    fields.end()?;
    Ok(routes)
}

/// `gen/ApplicationRoute`: an application of a node. Names are plain texts, for
/// they come from anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationRoute {
    /// The node that has it.
    pub node: String,
    /// Its name.
    pub name: String,
    /// How much of the work the node wants.
    pub weight: i64,
    /// Its labels: Ergo 3.1 has none.
    pub tags: Vec<String>,
    /// 1 temporary, 2 transient, 3 permanent.
    pub mode: i64,
    /// 1 loaded, 2 running, 3 stopping.
    pub state: i32,
}

/// Whose layout a value has: releases of Ergo read no other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErgoRelease {
    /// 3.1 and those before it.
    V3_1,
    /// 3.2, which put a list of tags behind the mode.
    #[default]
    V3_2,
}

impl ApplicationRoute {
    /// The value, as this release reads it: for 3.1 without its tags. No tags are
    /// written as nil, as by Ergo.
    pub fn encode(&self, release: ErgoRelease) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Writer::of_registered(&mut bytes, APPLICATION_ROUTE);
        out.text(&self.node);
        out.text(&self.name);
        out.i64(self.weight);
        out.i64(self.mode);
        if release == ErgoRelease::V3_2 {
            out.slice(self.tags.len());
            self.tags.iter().for_each(|tag| out.text(tag));
        }
        out.i32(self.state);
        bytes
    }

    /// Reads the value. Ergo 3.2 put a list of tags behind the mode, a later
    /// release a version behind the state; the layouts are tried in that order,
    /// and the one that takes all bytes is right. The version is not kept.
    ///
    /// # Errors
    /// What is wrong in the layout of Ergo 3.1, if none fits.
    pub fn decode(bytes: &[u8]) -> Result<Self, BodyError> {
        let (name, fields) = Fields::of_registered(bytes)?;
        if name != APPLICATION_ROUTE.as_bytes() {
            return Err(BodyError::UnknownType);
        }
        Self::read(fields.clone(), Layout::Plain)
            .or_else(|error| Self::read(fields.clone(), Layout::Tags).map_err(|_| error))
            .or_else(|error| Self::read(fields, Layout::TagsAndVersion).map_err(|_| error))
    }

    fn read(mut fields: Fields<'_>, layout: Layout) -> Result<Self, BodyError> {
        let node = fields.atom_text()?.to_owned();
        let name = fields.atom_text()?.to_owned();
        let weight = fields.i64()?;
        let mode = fields.i64()?;
        let mut tags = Vec::new();
        if layout != Layout::Plain {
            for _ in 0..fields.slice(2)? {
                tags.push(fields.atom_text()?.to_owned());
            }
        }
        let state = fields.i32()?;
        if layout == Layout::TagsAndVersion {
            Version::read(&mut fields)?;
        }
        fields.end()?;
        Ok(Self { node, name, weight, tags, mode, state })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Plain,
    Tags,
    TagsAndVersion,
}

fn expect(fields: &mut Fields<'_>, expected: u8) -> Result<(), BodyError> {
    match fields.u8()? {
        got if got == expected => Ok(()),
        got => Err(BodyError::WrongTag { expected, got }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn webapp() -> ApplicationRoute {
        ApplicationRoute {
            node: "demo@localhost".to_owned(),
            name: "webapp".to_owned(),
            weight: 100,
            tags: Vec::new(),
            mode: 3,
            state: 2,
        }
    }

    /// The front of a value with something in the place of what follows the mode.
    fn with_rest(rest: &[u8]) -> Vec<u8> {
        let mut bytes = webapp().encode(ErgoRelease::V3_1);
        bytes.truncate(bytes.len() - 4);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn later_layouts_are_read() {
        let tagged = ApplicationRoute { tags: vec!["a".to_owned(), "bc".to_owned()], ..webapp() };
        for (route, release, read) in [
            (webapp(), ErgoRelease::V3_1, webapp()),
            (webapp(), ErgoRelease::V3_2, webapp()),
            (tagged.clone(), ErgoRelease::V3_1, webapp()),
            (tagged.clone(), ErgoRelease::V3_2, tagged.clone()),
        ] {
            assert_eq!(ApplicationRoute::decode(&route.encode(release)), Ok(read));
        }
        let tags = [0x9d, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0, 0, 0, 2];
        assert_eq!(tagged.encode(ErgoRelease::V3_2), with_rest(&tags));
        let nil_tags = [0xff, 0, 0, 0, 2];
        assert_eq!(webapp().encode(ErgoRelease::V3_2), with_rest(&nil_tags));
        let version = [0xff, 0, 0, 0, 2, 0, 1, b'x', 0, 0, 0, 0, 0, 0];
        assert_eq!(ApplicationRoute::decode(&with_rest(&version)), Ok(webapp()));
        assert_eq!(ApplicationRoute::decode(&with_rest(&[0, 0])), Err(BodyError::EndOfData { missing: 2 }));
        assert_eq!(
            ApplicationRoute::decode(&encode_routes(&[])),
            Err(BodyError::WrongTag { expected: 0x83, got: 0x82 })
        );
    }

    #[test]
    fn counts_are_not_believed() {
        let mut bytes = encode_routes(&[Route::to_port(1)]);
        let at = bytes.windows(5).rposition(|five| five == [0x9d, 0, 0, 0, 1]).expect("the count");
        bytes[at + 1] = 0xff;
        assert!(matches!(decode_routes(&bytes), Err(BodyError::Count { .. })));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_routes(&bytes);
            let _ = ApplicationRoute::decode(&bytes);
        }

        #[test]
        fn every_cut_and_change_is_an_error_or_a_value(at in 0usize..120, byte: u8) {
            for whole in [encode_routes(&[Route::to_port(1), Route::to_port(2)]), webapp().encode(ErgoRelease::V3_1)] {
                let mut changed = whole.clone();
                let at = at % whole.len();
                changed[at] = byte;
                let _ = (decode_routes(&changed), ApplicationRoute::decode(&changed));
                prop_assert!(decode_routes(&whole[..at]).is_err());
                prop_assert!(ApplicationRoute::decode(&whole[..at]).is_err());
            }
        }

        #[test]
        fn routes_survive(ports in proptest::collection::vec(any::<u16>(), 0..20), host in "[a-z0-9.]{0,30}") {
            let route = |port| Route { host: host.clone(), tls: port % 2 == 0, ..Route::to_port(port) };
            let routes: Vec<_> = ports.into_iter().map(route).collect();
            prop_assert_eq!(decode_routes(&encode_routes(&routes)), Ok(routes));
        }
    }
}
