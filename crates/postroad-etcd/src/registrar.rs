//! The registrar that nodes are given.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postroad::Atom;
use postroad::network::routes::Names;
use postroad::registrar::{
    ApplicationRoute, BoxFuture, Capabilities, ConfigValue, Endpoint, ProxyEndpoint, RegisterError,
    Registered, Registrar, RegistrarError, RegistrarEvent, RegistrarInfo, Registration, ResolveError,
    Resolver, StaticRoute,
};
use postroad_wire::Version;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::KeyValue;
use crate::client::{self, Client};
use crate::keys::{self, Keys, Subject};
use crate::mirror::{fits, sort_applications};
use crate::proxy::Proxies;
use crate::session::{EnterError, Session};
use crate::{EtcdError, EtcdOptions, static_route, value};

/// How long etcd may take to be told that the node leaves.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// How many static routes are handed out.
const MAX_STATIC_ROUTES: usize = 10_000;

/// Registers one node with etcd, and finds others there.
///
/// Without being registered with, it resolves: enough to back a static route
/// with [`NetworkRoute::resolve_with`](postroad::network::NetworkRoute::resolve_with).
///
/// While etcd is gone the node lives on: addresses, applications, nodes and
/// configuration are answered from what was known last. When it is back, what
/// has changed meanwhile is told.
#[derive(Clone)]
pub struct EtcdRegistrar(Arc<Inner>);

struct Inner {
    options: EtcdOptions,
    endpoints: Vec<(String, tonic::transport::Endpoint)>,
    client: OnceLock<Arc<Client>>,
    session: OnceLock<Arc<Session>>,
    /// Set when the node is registered.
    entered: OnceLock<()>,
    events: broadcast::Sender<RegistrarEvent>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EtcdRegistrar {
    /// Checks the options. Nothing is connected yet.
    ///
    /// # Errors
    /// [`EtcdError::NoEndpoints`], [`EtcdError::Endpoint`], [`EtcdError::Tls`],
    /// [`EtcdError::Name`] for the cluster, [`EtcdError::LeaseTtl`].
    pub fn new(options: EtcdOptions) -> Result<Self, EtcdError> {
        keys::check_part(&options.cluster)?;
        if !(2..=86_400).contains(&options.lease_ttl.as_secs()) || options.lease_ttl.subsec_nanos() != 0 {
            return Err(EtcdError::LeaseTtl(options.lease_ttl));
        }
        Ok(Self(Arc::new(Inner {
            endpoints: client::endpoints(&options)?,
            options,
            client: OnceLock::new(),
            session: OnceLock::new(),
            entered: OnceLock::new(),
            events: broadcast::channel(1024).0,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Whether etcd answered when it was needed last. What is answered while it
    /// does not is what was known before.
    pub fn is_connected(&self) -> bool {
        self.0.session().is_ok_and(|session| session.connected.load(Ordering::Acquire))
    }
}

impl Registrar for EtcdRegistrar {
    /// Loads the configuration and what else there is before it returns. If a
    /// node of this name died without a word, that takes up to the rest of its
    /// lease.
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, RegisterError>> {
        let inner = &*self.0;
        Box::pin(async move {
            let node = registration.node;
            keys::check_part(node.as_str())?;
            let session = Arc::new(Session::new(
                node,
                &inner.options,
                inner.client(),
                value::encode_endpoints(&registration.endpoints),
                inner.events.clone(),
            ));
            if inner.stop.is_cancelled() || inner.session.set(session.clone()).is_err() {
                return Err(RegisterError::Used);
            }
            let entered = inner.stop.run_until_cancelled(session.enter_first()).await;
            let (all, revision) = match entered.ok_or(RegisterError::Used)? {
                Ok(entered) => entered,
                Err(EnterError::Taken { .. }) => return Err(RegisterError::Taken { node }),
                Err(EnterError::Etcd(error)) => return Err(error.into()),
            };
            let _ = inner.entered.set(());
            let routes = static_routes(&session.keys, &all);
            let stop = inner.stop.clone();
            let run = async move { stop.run_until_cancelled(session.run(revision)).await };
            inner.tasks.spawn_on(run, &registration.runtime);
            Ok(Registered::with_routes(routes))
        })
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        let inner = &*self.0;
        Box::pin(async move {
            inner.stop.cancel();
            inner.tasks.close();
            let revoked = async {
                inner.tasks.wait().await;
                match inner.session.get() {
                    Some(session) => session.revoke_all().await,
                    None => Ok(()),
                }
            };
            match tokio::time::timeout(LEAVE_PATIENCE, revoked).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "left etcd without a word; the lease ends by itself")
                }
                Err(_) => tracing::warn!("etcd does not answer; the lease ends by itself"),
            }
        })
    }

    fn info(&self) -> RegistrarInfo {
        RegistrarInfo {
            server: self.0.options.endpoints.join(", "),
            embedded: false,
            capabilities: Capabilities::ALL,
            version: Version::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        }
    }

    /// If etcd does not answer this is an error, and the application is
    /// published when it does.
    fn register_application(&self, route: ApplicationRoute) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            keys::check_part(route.name.as_str())?;
            if route.node != session.node {
                let name = route.node.as_str().to_owned();
                return Err(RegistrarError::Name { name, why: "it is not the node that has registered" });
            }
            self.0.in_time(session.publish(route)).await
        })
    }

    fn unregister_application(&self, name: Atom) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            if self.0.in_time(session.withdraw(name)).await? { Ok(()) } else { Err(RegistrarError::Unknown) }
        })
    }

    /// If etcd does not answer this is an error, and it is announced when it does.
    fn register_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            self.0.in_time(session.announce(to)).await
        })
    }

    fn unregister_proxy(&self, to: Names) -> BoxFuture<'_, Result<(), RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            if self.0.in_time(session.recall(&to)).await? { Ok(()) } else { Err(RegistrarError::Unknown) }
        })
    }

    fn static_routes(&self) -> BoxFuture<'_, Result<Vec<StaticRoute>, RegistrarError>> {
        let inner = &*self.0;
        Box::pin(async move {
            if inner.stop.is_cancelled() {
                return Err(RegistrarError::Terminated);
            }
            let keys = Keys::new(&inner.options.cluster, "");
            let prefix = keys.static_routes();
            let read = async { inner.client().read(&[&prefix]).await };
            let (all, _) = inner.in_time(read).await?;
            Ok(static_routes(&keys, &all))
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<Atom>, RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            Ok(session.mirror.lock().nodes())
        })
    }

    fn config<'a>(
        &'a self,
        items: &'a [&'a str],
    ) -> BoxFuture<'a, Result<BTreeMap<String, ConfigValue>, RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            let mirror = session.mirror.lock();
            let value = |item: &&str| Some(((*item).to_owned(), mirror.config().get(item)?.clone()));
            Ok(items.iter().filter_map(value).collect())
        })
    }

    fn config_item<'a>(&'a self, item: &'a str) -> BoxFuture<'a, Result<ConfigValue, RegistrarError>> {
        Box::pin(async move {
            let session = self.0.session().map_err(|Ended| RegistrarError::Terminated)?;
            let value = session.mirror.lock().config().get(item).cloned();
            value.ok_or(RegistrarError::Unknown)
        })
    }

    fn subscribe(&self) -> Result<broadcast::Receiver<RegistrarEvent>, RegistrarError> {
        Ok(self.0.events.subscribe())
    }
}

impl Resolver for EtcdRegistrar {
    /// From what is known of the cluster; etcd is asked for a node that is not.
    fn resolve(&self, name: Atom) -> BoxFuture<'_, Result<Vec<Endpoint>, ResolveError>> {
        let inner = &*self.0;
        Box::pin(async move {
            if inner.stop.is_cancelled() {
                return Err(ResolveError::Terminated);
            }
            if let Ok(session) = inner.session() {
                if let Some(known) = session.mirror.lock().endpoints(name) {
                    return Ok(known.to_vec());
                }
                if !session.connected.load(Ordering::Acquire) {
                    return Err(ResolveError::Failed(
                        "etcd is gone, and did not know this node before".into(),
                    ));
                }
            }
            keys::check_part(name.as_str())?;
            let key = Keys::new(&inner.options.cluster, "").node(name.as_str());
            let kv = inner.client().get(key).await?.ok_or(ResolveError::Unknown)?;
            value::decode_endpoints(&kv.value).map_err(|error| {
                ResolveError::Failed(
                    format!("the routes of this node in etcd cannot be read: {error}").into(),
                )
            })
        })
    }

    /// In the order of their names: nothing tells a better one.
    fn resolve_proxy(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ProxyEndpoint>, ResolveError>> {
        let inner = &*self.0;
        Box::pin(async move {
            if inner.stop.is_cancelled() {
                return Err(ResolveError::Terminated);
            }
            let proxies = match inner.session() {
                Ok(session) => session.mirror.lock().proxies(name),
                Err(Ended) => {
                    let keys = Keys::new(&inner.options.cluster, "");
                    let (all, _) = inner.client().read(&[&keys.proxies()]).await?;
                    proxies(&keys, &all).to(name, None)
                }
            };
            if proxies.is_empty() { Err(ResolveError::Unknown) } else { Ok(proxies) }
        })
    }

    fn resolve_application(&self, name: Atom) -> BoxFuture<'_, Result<Vec<ApplicationRoute>, ResolveError>> {
        let inner = &*self.0;
        Box::pin(async move {
            if inner.stop.is_cancelled() {
                return Err(ResolveError::Terminated);
            }
            keys::check_part(name.as_str())?;
            let mut routes = match inner.session() {
                Ok(session) => session.mirror.lock().application(name),
                Err(Ended) => {
                    let keys = Keys::new(&inner.options.cluster, "");
                    let (all, _) = inner.client().read(&[&keys.application(name.as_str())]).await?;
                    all.iter().filter_map(|kv| application(&keys, kv)).collect()
                }
            };
            if routes.is_empty() {
                return Err(ResolveError::Unknown);
            }
            sort_applications(&mut routes);
            Ok(routes)
        })
    }

    fn describe(&self) -> String {
        format!("etcd at {}, cluster {}", self.0.options.endpoints.join(", "), self.0.options.cluster)
    }
}

impl fmt::Debug for EtcdRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdRegistrar").field(&self.0.options).finish()
    }
}

/// No node is registered: not yet, or not any more.
struct Ended;

impl Inner {
    fn client(&self) -> Arc<Client> {
        self.client.get_or_init(|| Arc::new(Client::new(&self.endpoints, &self.options))).clone()
    }

    /// What waits for others as well has the time of one request.
    async fn in_time<T>(
        &self,
        request: impl Future<Output = Result<T, EtcdError>>,
    ) -> Result<T, RegistrarError> {
        let limit = self.options.request_timeout;
        match tokio::time::timeout(limit, request).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(RegistrarError::Timeout(limit)),
        }
    }

    fn session(&self) -> Result<&Session, Ended> {
        match (self.session.get(), self.entered.get()) {
            (Some(session), Some(())) if !self.stop.is_cancelled() => Ok(session),
            _ => Err(Ended),
        }
    }
}

fn static_routes(keys: &Keys, all: &[KeyValue]) -> Vec<StaticRoute> {
    let read = |kv: &KeyValue| {
        let key = std::str::from_utf8(&kv.key).ok()?;
        let Some(Subject::StaticRoute(name)) = keys.read(key) else { return None };
        static_route::decode(&kv.value)
            .inspect_err(|error| tracing::warn!(name, ?error, "static route in etcd cannot be read: skipped"))
            .ok()
    };
    all.iter().filter_map(read).take(MAX_STATIC_ROUTES).collect()
}

fn proxies(keys: &Keys, all: &[KeyValue]) -> Proxies {
    let mut proxies = Proxies::default();
    for kv in all {
        let key = std::str::from_utf8(&kv.key).ok();
        if let Some(Subject::Proxy(node)) = key.and_then(|key| keys.read(key))
            && let Ok(gateway) = value::node(node)
        {
            proxies.put(gateway, &kv.value);
        }
    }
    proxies
}

fn application(keys: &Keys, kv: &KeyValue) -> Option<ApplicationRoute> {
    let key = std::str::from_utf8(&kv.key).ok()?;
    let Some(Subject::Application { name, node }) = keys.read(key) else { return None };
    if !fits(key, &kv.value) {
        return None;
    }
    value::decode_application(name, node, &kv.value)
        .inspect_err(|error| tracing::warn!(key, %error, "value in etcd cannot be read: ignored"))
        .ok()?
}
