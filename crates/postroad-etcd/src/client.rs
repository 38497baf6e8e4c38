//! Requests to etcd: to whichever member answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use postroad::registrar::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::api::{self, KeyValue};
use crate::error::Tried;
use crate::keys::end_of;
use crate::options::User;
use crate::{EtcdError, EtcdOptions, EtcdTls};

/// The longest answer that is taken, in bytes: a page of keys, or a part of
/// what a watch tells.
const MAX_ANSWER: usize = 8 << 20;

/// How many keys a page has, and how many are read in all, and how many bytes.
const PAGE: i64 = 500;
const MAX_KEYS: usize = 400_000;
const MAX_BYTES: usize = 256 << 20;

/// How often a connection that is idle is probed, and how long that may take.
/// etcd refuses clients that probe more often than every five seconds.
const PROBE: Duration = Duration::from_secs(10);
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// The members of an etcd cluster. The one that answered last is asked first.
pub(crate) struct Client {
    members: Vec<(String, Channel)>,
    current: AtomicUsize,
    user: Option<User>,
    token: Mutex<Option<MetadataValue<Ascii>>>,
    request_timeout: Duration,
}

/// The endpoints that options name, checked.
pub(crate) fn endpoints(options: &EtcdOptions) -> Result<Vec<(String, Endpoint)>, EtcdError> {
    if options.endpoints.is_empty() {
        return Err(EtcdError::NoEndpoints);
    }
    options.endpoints.iter().map(|text| Ok((text.clone(), endpoint(text, options)?))).collect()
}

fn endpoint(text: &str, options: &EtcdOptions) -> Result<Endpoint, EtcdError> {
    let refused = |why: &str| EtcdError::Endpoint { endpoint: text.to_owned(), why: why.to_owned() };
    let uri = match text.split_once("://") {
        Some(("http", _)) if options.tls.is_some() => {
            return Err(refused("it says http, but the options ask for TLS: write https, or nothing"));
        }
        Some(("https", _)) if options.tls.is_none() => {
            return Err(refused(
                "it says https: give the authorities that etcd's certificate is checked with",
            ));
        }
        Some(("http" | "https", _)) => text.to_owned(),
        Some(_) => return Err(refused("write host:port, http://host:port or https://host:port")),
        None if options.tls.is_some() => format!("https://{text}"),
        None => format!("http://{text}"),
    };
    let endpoint = Endpoint::from_shared(uri).map_err(|error| refused(&error.to_string()))?;
    if endpoint.uri().port_u16().is_none_or(|port| port == 0) {
        return Err(refused("it has no port; etcd listens on 2379 if it was not told otherwise"));
    }
    let endpoint = endpoint
        .connect_timeout(options.dial_timeout)
        .http2_keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE_PATIENCE)
        .keep_alive_while_idle(true);
    match &options.tls {
        None => Ok(endpoint),
        Some(tls) => endpoint.tls_config(tls_config(tls)).map_err(|error| {
            let why =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            EtcdError::Tls { why }
        }),
    }
}

fn tls_config(tls: &EtcdTls) -> ClientTlsConfig {
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some((certificate, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(certificate, key.as_slice()));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    config
}

impl Client {
    /// Must be called within a tokio runtime; connections are made when needed.
    pub(crate) fn new(endpoints: &[(String, Endpoint)], options: &EtcdOptions) -> Self {
        if let (Some(user), None) = (&options.user, &options.tls) {
            tracing::warn!(
                user = user.name,
                endpoints = options.endpoints.join(", "),
                "the password for etcd travels as plain text: anybody in between can read it; use TLS"
            );
        }
        let connect = |(name, endpoint): &(String, Endpoint)| (name.clone(), endpoint.connect_lazy());
        Self {
            members: endpoints.iter().map(connect).collect(),
            current: AtomicUsize::new(0),
            user: options.user.clone(),
            token: Mutex::new(None),
            request_timeout: options.request_timeout,
        }
    }

    /// All keys below these prefixes as they are at one moment, and which
    /// revision that is.
    pub(crate) async fn read(&self, prefixes: &[&str]) -> Result<(Vec<KeyValue>, i64), EtcdError> {
        let (mut all, mut bytes, mut revision) = (Vec::new(), 0, 0);
        for prefix in prefixes {
            let (mut key, mut limit) = (prefix.as_bytes().to_vec(), PAGE);
            loop {
                let range =
                    api::RangeRequest { key: key.clone(), range_end: end_of(prefix), limit, revision };
                let page: api::RangeResponse = match self.ask(api::RANGE, &range).await {
                    // Long values: fewer of them at once.
                    Err(error) if error.is_too_long() && limit > 1 => {
                        limit /= 2;
                        continue;
                    }
                    page => page?,
                };
                if revision == 0 {
                    revision = page.header.unwrap_or_default().revision;
                }
                // The next page begins behind the last key of this one.
                let last = page.kvs.last().map(|kv| [kv.key.as_slice(), &[0]].concat());
                bytes += page.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum::<usize>();
                all.extend(page.kvs);
                if all.len() > MAX_KEYS || bytes > MAX_BYTES {
                    return Err(EtcdError::TooMuch { keys: MAX_KEYS, mebibytes: MAX_BYTES >> 20 });
                }
                match last {
                    Some(next) if page.more => key = next,
                    _ => break,
                }
            }
        }
        Ok((all, revision))
    }

    /// The value of one key.
    pub(crate) async fn get(&self, key: String) -> Result<Option<KeyValue>, EtcdError> {
        let range = api::RangeRequest { key: key.into_bytes(), ..Default::default() };
        let found: api::RangeResponse = self.ask(api::RANGE, &range).await?;
        Ok(found.kvs.into_iter().next())
    }

    pub(crate) async fn put(&self, key: String, value: Vec<u8>, lease: i64) -> Result<(), EtcdError> {
        let put = api::PutRequest { key: key.into_bytes(), value, lease };
        self.ask(api::PUT, &put).await.map(|api::Done {}| ())
    }

    pub(crate) async fn delete(&self, key: String) -> Result<(), EtcdError> {
        let delete = api::DeleteRangeRequest { key: key.into_bytes() };
        self.ask(api::DELETE_RANGE, &delete).await.map(|api::Done {}| ())
    }

    /// Whether the comparison held, and all operations were done.
    pub(crate) async fn transact(
        &self,
        compare: api::Compare,
        operations: Vec<api::Operation>,
    ) -> Result<bool, EtcdError> {
        let operation = |operation| api::RequestOp { operation: Some(operation) };
        let success = operations.into_iter().map(operation).collect();
        let txn = api::TxnRequest { compare: vec![compare], success };
        let done: api::TxnResponse = self.ask(api::TXN, &txn).await?;
        Ok(done.succeeded)
    }

    pub(crate) async fn grant(&self, ttl: Duration) -> Result<i64, EtcdError> {
        let grant = api::LeaseGrantRequest { ttl: ttl.as_secs().cast_signed() };
        let granted: api::LeaseGrantResponse = self.ask(api::LEASE_GRANT, &grant).await?;
        Ok(granted.id)
    }

    /// Gives a sign of life; false if the lease is gone.
    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<bool, EtcdError> {
        let kept: api::LeaseTtlResponse =
            self.ask(api::LEASE_KEEP_ALIVE, &api::LeaseRequest { id: lease }).await?;
        Ok(kept.ttl > 0)
    }

    /// How many seconds a lease has left, rounded down; below 0 if it is gone.
    pub(crate) async fn time_to_live(&self, lease: i64) -> Result<i64, EtcdError> {
        let left: api::LeaseTtlResponse =
            self.ask(api::LEASE_TIME_TO_LIVE, &api::LeaseRequest { id: lease }).await?;
        Ok(left.ttl)
    }

    pub(crate) async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        match self.ask(api::LEASE_REVOKE, &api::LeaseRequest { id: lease }).await {
            Ok(api::Done {}) | Err(EtcdError::Refused { code: Code::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Watches all keys below these prefixes from a revision on.
    pub(crate) async fn watch(&self, prefixes: &[&str], from: i64) -> Result<Watch, EtcdError> {
        let create = |prefix: &&str| api::WatchCreateRequest {
            key: prefix.as_bytes().to_vec(),
            range_end: end_of(prefix),
            start_revision: from,
            fragment: true,
        };
        let wanted: Vec<_> = prefixes.iter().map(create).collect();
        self.attempt(|member| Box::pin(self.open_watch(member, wanted.clone()))).await
    }

    async fn open_watch(&self, member: usize, wanted: Vec<api::WatchCreateRequest>) -> Result<Watch, Status> {
        let (sender, requests) = mpsc::channel(wanted.len().max(1));
        for create in wanted {
            // There is room for all of them.
            let _ = sender.try_send(api::WatchRequest { create: Some(create) });
        }
        let mut request = self.request(ReceiverStream::new(requests));
        // A member that has lost the others must not be listened to in silence.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut grpc = grpc(&self.members[member].1).await?;
        let path = PathAndQuery::from_static(api::WATCH);
        let codec = ProstCodec::<api::WatchRequest, api::WatchResponse>::default();
        let answers = grpc.streaming(request, path, codec).await?.into_inner();
        Ok(Watch { answers, _requests: sender })
    }

    async fn ask<Q, A>(&self, path: &'static str, question: &Q) -> Result<A, EtcdError>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        self.attempt(|member| Box::pin(self.unary(member, path, self.request(question.clone())))).await
    }

    /// Tries one member after the other, within the time a request may take. A
    /// member that does not answer costs its share of that time.
    async fn attempt<'a, T>(
        &'a self,
        with: impl Fn(usize) -> BoxFuture<'a, Result<T, Status>>,
    ) -> Result<T, EtcdError> {
        let began = Instant::now();
        let first = self.current.load(Ordering::Relaxed);
        let count = self.members.len();
        let mut tried = Tried::default();
        for number in 0..count {
            let member = (first + number) % count;
            let left = self.request_timeout.saturating_sub(began.elapsed());
            let share = left / (count - number) as u32;
            let authorized = async {
                self.log_in(member).await?;
                match with(member).await {
                    Err(status) if is_stale_token(&status) && self.user.is_some() => {
                        *self.token.lock() = None;
                        self.log_in(member).await?;
                        with(member).await
                    }
                    outcome => outcome,
                }
            };
            let outcome = tokio::time::timeout(share, authorized).await;
            let failure = match outcome {
                Ok(Ok(answer)) => {
                    self.current.store(member, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(status)) if is_members_fault(&status) => why(&status),
                Ok(Err(status)) => return Err(refused(&status)),
                Err(_) => format!("no answer within {share:?}"),
            };
            tried.0.push((self.members[member].0.clone(), failure));
        }
        // Another one first the next time.
        self.current.store((first + 1) % count, Ordering::Relaxed);
        Err(EtcdError::Unreachable { tried })
    }

    async fn unary<Q, A>(&self, member: usize, path: &'static str, request: Request<Q>) -> Result<A, Status>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = grpc(&self.members[member].1).await?;
        let path = PathAndQuery::from_static(path);
        grpc.unary(request, path, ProstCodec::<Q, A>::default()).await.map(tonic::Response::into_inner)
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = self.token.lock().clone() {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    async fn log_in(&self, member: usize) -> Result<(), Status> {
        let Some(user) = &self.user else { return Ok(()) };
        if self.token.lock().is_some() {
            return Ok(());
        }
        let question =
            api::AuthenticateRequest { name: user.name.clone(), password: user.password.to_string() };
        let answer = self.unary(member, api::AUTHENTICATE, Request::new(question)).await;
        let token = match answer {
            Ok(api::AuthenticateResponse { token }) => token,
            // Nobody is asked for a password there.
            Err(status) if status.message().contains("authentication is not enabled") => return Ok(()),
            Err(status) => return Err(status),
        };
        let token = token.parse().map_err(|_| Status::internal("the token is no header value"))?;
        *self.token.lock() = Some(token);
        Ok(())
    }
}

async fn grpc(channel: &Channel) -> Result<Grpc<Channel>, Status> {
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
    grpc.ready().await.map_err(|error| Status::unavailable(chain(&error)))?;
    Ok(grpc)
}

/// A watch. It ends when this is dropped.
pub(crate) struct Watch {
    answers: Streaming<api::WatchResponse>,
    /// etcd ends the watch when it could be told nothing more.
    _requests: mpsc::Sender<api::WatchRequest>,
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchEnd {
    /// The changes that were asked for are not kept any more.
    #[error("etcd has compacted what changed since")]
    Compacted,
    /// etcd ended it.
    #[error("etcd ended the watch: {0}")]
    Ended(String),
}

impl Watch {
    /// What changed next.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Vec<api::Event>, WatchEnd> {
        match self.answers.message().await {
            Ok(Some(answer)) if answer.compact_revision > 0 => Err(WatchEnd::Compacted),
            Ok(Some(answer)) if answer.canceled => Err(WatchEnd::Ended(answer.cancel_reason)),
            Ok(Some(answer)) => Ok(answer.events),
            Ok(None) => Err(WatchEnd::Ended("no reason given".to_owned())),
            Err(status) => Err(WatchEnd::Ended(why(&status))),
        }
    }
}

/// Whether another member may do better.
fn is_members_fault(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
    )
}

fn is_stale_token(status: &Status) -> bool {
    status.message().contains("invalid auth token")
        || status.message().contains("revision of auth store is old")
}

fn refused(status: &Status) -> EtcdError {
    let message = status.message().to_owned();
    let denied = ["authentication failed", "user name is empty", "invalid auth token", "permission denied"];
    if denied.iter().any(|text| message.contains(text)) {
        return EtcdError::Denied { message };
    }
    if message.contains("has been compacted") {
        return EtcdError::Compacted;
    }
    EtcdError::Refused { code: status.code(), message }
}

/// What happened, with the causes that the transport hides behind it.
fn why(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => status.message().to_owned(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_before_anything_starts() {
        let refused = |options: EtcdOptions| endpoints(&options).unwrap_err().to_string();
        assert!(refused(EtcdOptions::new([] as [&str; 0])).contains("at least one"));
        for (endpoint, part) in [
            ("10.0.0.1", "no port"),
            ("10.0.0.1:0", "no port"),
            ("ftp://10.0.0.1:2379", "write host:port"),
            ("https://10.0.0.1:2379", "authorities"),
            ("a b:1", "not an etcd endpoint"),
            ("", "not an etcd endpoint"),
        ] {
            let error = refused(EtcdOptions::new([endpoint]));
            assert!(error.contains(part), "{endpoint}: {error}");
        }
        let tls = || EtcdTls::new("no certificate").identity("x", "a secret");
        assert!(refused(EtcdOptions::new(["http://a:1"]).tls(tls())).contains("https"));
        assert!(!format!("{:?}", EtcdOptions::default().tls(tls()).user("u", "a secret")).contains("secret"));
        assert!(endpoints(&EtcdOptions::new(["localhost:2379", "http://[::1]:2379"])).is_ok());
    }

    /// More time than a clock can express is no limit.
    #[tokio::test]
    async fn all_the_time_in_the_world() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = listener.local_addr().unwrap().to_string();
        drop(listener);
        let options = EtcdOptions::new([&dead]).timeouts(Duration::MAX, Duration::MAX);
        let client = Client::new(&endpoints(&options).unwrap(), &options);
        let error = client.grant(Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(error, EtcdError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_port = silent.local_addr().unwrap().port();
        drop(listener);
        let (dead, mute) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{silent_port}"));
        let limit = Duration::from_millis(200);
        let options = EtcdOptions::new([&dead, &mute]).timeouts(limit, limit);
        let client = Client::new(&endpoints(&options).unwrap(), &options);
        let error = client.grant(Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(error, EtcdError::Unreachable { .. }));
        let text = error.to_string();
        assert!(text.contains(&dead) && text.contains("refused") && text.contains(&mute), "{text}");
    }
}
