//! What a node says about itself (`docs/wire/EHS.md` section 3).

use postroad_edf::Atom;

use super::digest::Digest;
use super::error::{HandshakeError, Proof, Stage};
use super::message::MAX_CONTROL;
use crate::body::{BodyError, Fields, Writer};
use crate::{NetworkFlags, Version};

/// A node's name, limits, flags and tables, as Introduce carries them.
///
/// The tables keep the order they were given or arrived in. Each side encodes
/// with the tables it sent and decodes with those it received
/// (`docs/wire/EHS.md` section 6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The full node name, `name@host`.
    pub node: Atom,
    /// The version of the program that runs on the node.
    pub version: Version,
    /// What the node is willing to do over this connection.
    pub flags: NetworkFlags,
    /// The start of the node in Unix seconds; part of every identity it makes.
    pub creation: i64,
    /// The largest ENP frame this side takes, in bytes; 0 stands for no limit.
    pub max_message_size: u64,
    /// The atom cache: ids from 256 up.
    pub atoms: Vec<(u16, Atom)>,
    /// The type cache: ids from 4096 up, names with `#` in front.
    pub types: Vec<(u16, Box<str>)>,
    /// The error cache: ids from 32768 up.
    pub errors: Vec<(u16, Box<str>)>,
}

/// The longest name of a registered type (`docs/wire/EDF.md` section 8).
const MAX_TYPE_NAME: usize = 4095;
/// The longest text of an error (`docs/wire/EDF.md` section 6).
const MAX_ERROR_TEXT: usize = 32767;
/// A version part is for people; what is longer is cut.
const MAX_VERSION_PART: usize = 1024;

impl Introduction {
    /// An introduction without tables, without flags and without a limit.
    pub fn new(node: Atom, creation: i64) -> Self {
        Self {
            node,
            version: Version::default(),
            flags: NetworkFlags::NONE,
            creation,
            max_message_size: 0,
            atoms: Vec::new(),
            types: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Leaves table entries out until the Introduce fits into what every
    /// release reads, 65,535 bytes: types before atoms before errors, the last
    /// ones first. What has no id travels by name.
    ///
    /// Texts that EDF cannot carry at all are left out as well, and an overlong
    /// version text is cut.
    pub fn fit(mut self) -> Self {
        for part in [
            &mut self.version.name,
            &mut self.version.release,
            &mut self.version.commit,
            &mut self.version.license,
        ] {
            part.truncate(part.floor_char_boundary(MAX_VERSION_PART));
        }
        self.types.retain(|(_, name)| name.len() <= MAX_TYPE_NAME);
        self.errors.retain(|(_, text)| text.len() <= MAX_ERROR_TEXT);
        let mut left = (MAX_CONTROL as usize).saturating_sub(self.fixed_len());
        keep_fitting(&mut self.errors, &mut left, |text| text.len());
        keep_fitting(&mut self.atoms, &mut left, |atom| atom.as_str().len());
        keep_fitting(&mut self.types, &mut left, |name| name.len());
        self
    }

    /// The length of the body without any table entry, with both a digest and
    /// the fronts of all tables.
    fn fixed_len(&self) -> usize {
        let empty = Self { atoms: Vec::new(), types: Vec::new(), errors: Vec::new(), ..self.clone() };
        let mut body = Vec::new();
        super::message::Outgoing::Introduce {
            introduction: &empty,
            digest: Some(&Digest::introduce("", &crate::Cookie::new(""))),
        }
        .write(&mut body);
        const TABLE_FRONTS: usize = 3 * 4;
        body.len() + TABLE_FRONTS
    }

    pub(super) fn write(&self, out: &mut Writer<'_>, digest: &str) {
        out.text(self.node.as_str());
        self.version.write(out);
        out.u32(8);
        out.u64(self.flags.effective().bits());
        out.i64(self.creation);
        out.u64(self.max_message_size);
        out.map(self.atoms.len());
        for (id, atom) in &self.atoms {
            out.u16(*id);
            out.text(atom.as_str());
        }
        out.map(self.types.len());
        for (id, name) in &self.types {
            out.u16(*id);
            out.text(name);
        }
        out.map(self.errors.len());
        for (id, text) in &self.errors {
            out.u16(*id);
            out.error(Some(text));
        }
        out.text(digest);
    }

    /// Reads the fields of an Introduce and checks what can be checked without
    /// knowing who is expected. No text is kept and no atom is interned before
    /// `digest`, if one is expected, has been found right.
    pub(super) fn read(
        fields: Fields<'_>,
        digest: Option<&Digest>,
        own_name: Atom,
    ) -> Result<Self, HandshakeError> {
        let malformed = |source| HandshakeError::Malformed { stage: Stage::Introduce, source };
        let raw = Raw::read(fields).map_err(malformed)?;
        if digest.is_some_and(|digest| !digest.is(raw.digest.as_ref())) {
            return Err(HandshakeError::WrongDigest(Proof::Introduce));
        }
        let introduction = raw.into_introduction().map_err(malformed)?;
        let node = introduction.node;
        let (name, host) = node.as_str().split_once('@').unwrap_or_default();
        let odd = host.contains('@') || node.as_str().contains(char::is_control);
        if name.is_empty() || host.is_empty() || odd {
            return Err(HandshakeError::InvalidName(node));
        }
        if node == own_name {
            return Err(HandshakeError::SameName(node));
        }
        if introduction.creation == 0 {
            return Err(HandshakeError::ZeroCreation(node));
        }
        Ok(introduction)
    }
}

/// Keeps the entries from the front that fit into `left` bytes.
fn keep_fitting<T>(table: &mut Vec<(u16, T)>, left: &mut usize, len: impl Fn(&T) -> usize) {
    /// An id and a length.
    const ENTRY: usize = 4;
    table.retain(|(_, value)| {
        let rest = left.checked_sub(ENTRY + len(value));
        *left = rest.unwrap_or(0);
        rest.is_some()
    });
}

/// An Introduce as it lies in its body, checked to its end.
struct Raw<'a> {
    node: &'a str,
    version: Version,
    flags: u64,
    creation: i64,
    max_message_size: i64,
    atoms: Table<'a>,
    types: Table<'a>,
    errors: Table<'a>,
    digest: std::borrow::Cow<'a, str>,
}

/// A table that was walked through once, at its first entry.
struct Table<'a> {
    count: u32,
    entries: Fields<'a>,
}

impl<'a> Raw<'a> {
    fn read(mut fields: Fields<'a>) -> Result<Self, BodyError> {
        let raw = Self {
            node: fields.atom_text()?,
            version: Version::read(&mut fields)?,
            flags: read_flags(&mut fields)?,
            creation: fields.i64()?,
            max_message_size: fields.i64()?,
            atoms: Table::read(&mut fields, |fields| fields.atom_text().map(drop))?,
            types: Table::read(&mut fields, |fields| fields.text().map(drop))?,
            errors: Table::read(&mut fields, |fields| fields.error().map(drop))?,
            digest: fields.text()?,
        };
        fields.end()?;
        Ok(raw)
    }

    fn into_introduction(self) -> Result<Introduction, BodyError> {
        Ok(Introduction {
            node: Atom::from_peer(self.node)?,
            version: self.version,
            flags: NetworkFlags::from_bits(self.flags),
            creation: self.creation,
            max_message_size: u64::try_from(self.max_message_size)
                .map_err(|_| BodyError::OutOfRange(self.max_message_size))?,
            atoms: self.atoms.collect(|fields| Ok(Atom::from_peer(fields.atom_text()?)?))?,
            types: self.types.collect(|fields| Ok(fields.text()?.into()))?,
            errors: self.errors.collect(|fields| Ok(fields.error()?.unwrap_or_default().into()))?,
        })
    }
}

impl<'a> Table<'a> {
    /// Walks over the entries of a table.
    fn read(
        fields: &mut Fields<'a>,
        value: impl Fn(&mut Fields<'a>) -> Result<(), BodyError>,
    ) -> Result<Self, BodyError> {
        let count = fields.map(4)?;
        let entries = fields.clone();
        for _ in 0..count {
            fields.u16()?;
            value(fields)?;
        }
        Ok(Self { count, entries })
    }

    fn collect<T>(
        mut self,
        value: impl Fn(&mut Fields<'a>) -> Result<T, BodyError>,
    ) -> Result<Vec<(u16, T)>, BodyError> {
        (0..self.count).map(|_| Ok((self.entries.u16()?, value(&mut self.entries)?))).collect()
    }
}

/// NetworkFlags: at least 8 bytes, further ones are of releases to come
/// (`docs/wire/EDF.md` section 9).
fn read_flags(fields: &mut Fields<'_>) -> Result<u64, BodyError> {
    let len = fields.u32()? as usize;
    let bits = fields.u64()?;
    fields.take(len.checked_sub(8).ok_or(BodyError::OutOfRange(len as i64))?)?;
    Ok(bits)
}
