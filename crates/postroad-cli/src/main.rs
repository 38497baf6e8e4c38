//! The postroad program.
fn main() {}
