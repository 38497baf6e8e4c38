//! How a node reaches other nodes.

pub mod routes;
