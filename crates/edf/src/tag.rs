//! The type tags (`docs/wire/EDF.md` section 2).

pub(crate) const FOLDED: u8 = 0x82;
pub(crate) const REGISTERED: u8 = 0x83;
pub(crate) const ANY: u8 = 0x84;
pub(crate) const ATOM: u8 = 0x8c;
pub(crate) const STRING: u8 = 0x8d;
pub(crate) const BINARY: u8 = 0x8e;
pub(crate) const FLOAT32: u8 = 0x8f;
pub(crate) const FLOAT64: u8 = 0x90;
pub(crate) const BOOL: u8 = 0x91;
pub(crate) const INT8: u8 = 0x92;
pub(crate) const INT16: u8 = 0x93;
pub(crate) const INT32: u8 = 0x94;
pub(crate) const INT64: u8 = 0x95;
pub(crate) const INT: u8 = 0x96;
pub(crate) const UINT8: u8 = 0x97;
pub(crate) const UINT16: u8 = 0x98;
pub(crate) const UINT32: u8 = 0x99;
pub(crate) const UINT64: u8 = 0x9a;
pub(crate) const UINT: u8 = 0x9b;
pub(crate) const ERROR: u8 = 0x9c;
pub(crate) const SLICE: u8 = 0x9d;
pub(crate) const ARRAY: u8 = 0x9e;
pub(crate) const MAP: u8 = 0x9f;
/// Since Ergo 3.3.0 (`docs/wire/EDF.md` section 14).
pub(crate) const POINTER: u8 = 0xa0;
pub(crate) const PID: u8 = 0xaa;
pub(crate) const PROCESS_ID: u8 = 0xab;
pub(crate) const ALIAS: u8 = 0xac;
pub(crate) const EVENT: u8 = 0xad;
pub(crate) const REF: u8 = 0xae;
pub(crate) const TIME: u8 = 0xaf;
pub(crate) const NIL: u8 = 0xff;
