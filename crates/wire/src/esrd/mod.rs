//! The packets of the embedded registrar (`docs/wire/ESRD.md`).
//!
//! They come from anybody who reaches the port, over UDP without any proof; so
//! only the types listed there are read, nothing is interned, and nothing is
//! believed about lengths.

mod packet;
mod route;

pub use packet::{HEADER_LEN, Packet, PacketError, PacketSplit, Proxy, split};
pub use route::Route;

/// The port that registrars listen on, TCP and UDP, everywhere the same
/// (`docs/wire/ESRD.md` section 1).
pub const DEFAULT_PORT: u16 = 4499;
/// The longest Register a v3.2.0 server reads, in bytes, header included, sent
/// in one piece (`docs/wire/ESRD.md` section 3).
pub const MAX_REGISTER: usize = 4096;
/// The longest RegisterReply a v3.2.0 client reads
/// (`docs/wire/ESRD.md` section 3).
pub const MAX_REGISTER_REPLY: usize = 1024;
/// The longest question over UDP (`docs/wire/ESRD.md` section 4).
pub const MAX_RESOLVE: usize = 1024;
/// The longest answer over UDP (`docs/wire/ESRD.md` section 4).
pub const MAX_RESOLVE_REPLY: usize = 4096;

/// The texts of errors that replies carry (`docs/wire/ESRD.md` section 2).
pub mod reason {
    /// The name is registered already.
    pub const TAKEN: &str = "resource is taken";
    /// No such node is registered.
    pub const UNKNOWN: &str = "unknown";
    /// A registration without routes.
    pub const INCORRECT: &str = "incorrect value or argument";
}
