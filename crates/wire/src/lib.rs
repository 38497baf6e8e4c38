//! Wire state machines without I/O.
