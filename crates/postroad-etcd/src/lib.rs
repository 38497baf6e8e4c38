//! Finds nodes through etcd, with the keys and values of Ergo's etcd registrar:
//! postroad nodes and Ergo nodes of one cluster see each other.
//!
//! ```no_run
//! use std::sync::Arc;
//! use postroad::Node;
//! use postroad_etcd::{EtcdOptions, EtcdRegistrar};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = EtcdOptions::new(["10.0.0.1:2379", "10.0.0.2:2379"]).cluster("shop");
//! let registrar = Arc::new(EtcdRegistrar::new(options)?);
//! let node = Node::builder("orders@10.0.0.7").cookie("secret").registrar(registrar.clone()).start().await?;
//! println!("registered beside {:?}", node.network().registrar().expect("it has one").nodes().await?);
//! # Ok(())
//! # }
//! ```
//!
//! What is kept where, and whom that trusts: `docs/discovery.md`. Building needs
//! no `protoc`: the few messages of etcd's v3 API that are used are in this crate.

mod api;
mod client;
mod config;
mod error;
mod keys;
mod mirror;
mod options;
mod proxy;
mod registrar;
mod session;
mod static_route;
mod value;

pub use error::EtcdError;
pub use options::{EtcdOptions, EtcdTls};
pub use registrar::EtcdRegistrar;

pub use postroad_wire::stored::ErgoRelease;
