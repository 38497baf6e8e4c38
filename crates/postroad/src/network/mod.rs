//! How a node reaches other nodes.

