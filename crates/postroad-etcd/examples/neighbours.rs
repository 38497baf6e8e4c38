//! A node that registers with etcd, and tells who else comes and goes.
//!
//! ```sh
//! cargo run -p postroad-etcd --example neighbours -- a@localhost localhost:2379 &
//! cargo run -p postroad-etcd --example neighbours -- b@localhost localhost:2379
//! etcdctl put services/ergo/config/global/greeting hello
//! ```

use std::sync::Arc;

use postroad::Node;
use postroad::registrar::{Registrar, RegistrarEvent};
use postroad_etcd::{EtcdOptions, EtcdRegistrar};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(endpoints)) = (arguments.next(), arguments.next()) else {
        return Err("usage: neighbours NAME@HOST ENDPOINT[,ENDPOINT...]".into());
    };
    let registrar = Arc::new(EtcdRegistrar::new(EtcdOptions::new(endpoints.split(',')))?);
    let mut events = registrar.subscribe()?;
    let node = Node::builder(name).cookie("neighbours").registrar(registrar).start().await?;
    loop {
        match events.recv().await? {
            RegistrarEvent::NodeJoined { node: other } => {
                let connected = node.network().connect(other.as_str()).await;
                println!(
                    "{other} came; {}",
                    connected.map_or_else(|error| error.to_string(), |peer| peer.info().version.clone())
                );
            }
            event => println!("{event:?}"),
        }
    }
}
