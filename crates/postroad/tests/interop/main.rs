//! Real Ergo (Go) nodes and postroad nodes, each at either end of the road.
//!
//! The environment variable `POSTROAD_ERGO_PEER` names the program that runs one
//! Ergo node: build it from `interop/peer` as `interop/README.md` says, then
//!
//! ```text
//! POSTROAD_ERGO_PEER=/path/to/ergo-peer cargo test -p postroad --features interop --test interop
//! ```
//!
//! What Ergo itself breaks (`docs/wire/QUIRKS.md`) is said where a test has to
//! mind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod applications;
mod at_once;
mod bridge;
mod calls;
mod compression;
mod connecting;
mod discovery;
mod events;
mod important;
mod messages;
mod order;
mod payloads;
mod peer;
mod relations;
mod restart;
mod road;
mod samples;
mod shared;
mod since_320;
mod spawning;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tunnel;
mod typed;
mod types;

use std::future::Future;
use std::time::Duration;

/// Longer than anything takes on a slow machine: nothing may hang.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: waited for {PATIENCE:?}"))
}
