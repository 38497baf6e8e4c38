//! The identities that travel on the wire: small and `Copy`.

use std::fmt;

use crate::Atom;

/// A process: the node it lives on, its number there, and the incarnation of
/// that node (`docs/wire/EDF.md` section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid {
    /// The node the process lives on.
    pub node: Atom,
    /// The number of the process on its node. 1 stands for the node itself.
    pub id: u64,
    /// The incarnation of the node: its start time in Unix seconds.
    pub creation: i64,
}

impl Pid {
    /// The number that stands for the node itself.
    pub const CORE: u64 = 1;
}

/// A process by its registered name on a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The registered name.
    pub name: Atom,
    /// The node; empty stands for the local one.
    pub node: Atom,
}

/// A reference: unique within an incarnation of a node. Requests carry one and
/// answers bring it back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref {
    /// The node that made it.
    pub node: Atom,
    /// The incarnation of that node.
    pub creation: i64,
    /// Three numbers, opaque to everybody but their maker.
    pub id: [u64; 3],
}

/// A further, anonymous address of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias {
    /// The node of the process.
    pub node: Atom,
    /// The incarnation of that node.
    pub creation: i64,
    /// Three numbers, opaque to everybody but their maker.
    pub id: [u64; 3],
}

/// An event (a topic that processes publish to and subscribe to).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    /// The name of the event.
    pub name: Atom,
    /// The node of its producer; empty stands for the local one.
    pub node: Atom,
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Both halves are shown as signed numbers, as Ergo's logs show them.
        write!(f, "<{}.{}.{}>", self.node.crc(), (self.id >> 32) as i32, self.id as i32)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.node.crc(), self.name)
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.id;
        write!(f, "Ref#<{}.{a}.{b}.{c}>", self.node.crc())
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.id;
        write!(f, "Alias#<{}.{a}.{b}.{c}>", self.node.crc())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event#<{}:{}>", self.node.crc(), self.name)
    }
}

macro_rules! debug_as_display {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
debug_as_display!(Pid ProcessId Ref Alias Event);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_ergo_shows_them() {
        let node = Atom::new("node@localhost").unwrap();
        let name = Atom::new("worker").unwrap();
        let ev = Atom::new("ev").unwrap();
        assert_eq!(Pid { node, id: 1001, creation: 1 }.to_string(), "<2C323E75.0.1001>");
        assert_eq!(Pid { node, id: 2 << 32, creation: 1 }.to_string(), "<2C323E75.2.0>");
        assert_eq!(Pid { node, id: u64::MAX, creation: 1 }.to_string(), "<2C323E75.-1.-1>");
        assert_eq!(ProcessId { name, node }.to_string(), "<2C323E75.worker>");
        assert_eq!(Ref { node, creation: 1, id: [1, 2, 3] }.to_string(), "Ref#<2C323E75.1.2.3>");
        assert_eq!(Alias { node, creation: 1, id: [1, 2, 3] }.to_string(), "Alias#<2C323E75.1.2.3>");
        assert_eq!(Event { name: ev, node }.to_string(), "Event#<2C323E75:ev>");
        assert_eq!(size_of::<Pid>(), 24);
    }
}
