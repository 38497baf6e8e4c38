//! For whom tunnels are carried: what they may have, and what has passed.
//!
//! A client is known for sure only if it is the neighbour itself. Of others it is
//! the neighbour, a gateway, that says who they are. So each of them has what a
//! client may have, and all that one gateway brings have a limit together: one
//! that makes up names gets no more than that, and takes nothing from anybody else.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use postroad_wire::tunnel::Refusal;

use super::limit::Limit;
use super::policy::TransitOptions;
use crate::Atom;

/// Who has nothing open and owes nothing is forgotten when there are more.
const REMEMBERED: usize = 1024;

/// What is read at once at least, in bytes, however little may pass.
const LEAST_PORTION: usize = 512;

/// All for whom something is or was carried.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    payers: Mutex<HashMap<Payer, Arc<Account>>>,
    traffic: Mutex<HashMap<Atom, Arc<Traffic>>>,
}

/// Whose limits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Payer {
    /// A neighbour that comes for itself.
    Neighbour(Atom),
    /// Who comes by way of another gateway, as that one says.
    Guest { client: Atom, gateway: Atom },
    /// All that this other gateway brings.
    Gateway(Atom),
}

/// What one payer may have, and has.
#[derive(Debug)]
struct Account {
    tunnels: AtomicUsize,
    limits: ArcSwap<Limits>,
}

#[derive(Debug)]
struct Limits {
    max_tunnels: usize,
    requests: Limit,
    bytes: Option<Limit>,
}

/// What has passed for others, by way of one neighbour, in bytes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) came: AtomicU64,
    pub(super) went: AtomicU64,
}

/// A tunnel's place among those of its client, and of the gateway that has
/// brought it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    client: Seat,
    gateway: Option<Seat>,
}

#[derive(Debug)]
struct Seat(Arc<Account>);

impl Accounts {
    /// A place for one more tunnel that the neighbour asks for, for `client` as it
    /// says.
    pub(super) fn place(
        &self,
        client: Atom,
        neighbour: Atom,
        options: &TransitOptions,
    ) -> Result<Place, Refusal> {
        // Who may not speak for others is charged for what it says.
        if client == neighbour || !options.believes(neighbour) {
            let client = self.seat(Payer::Neighbour(neighbour), options)?;
            return Ok(Place { client, gateway: None });
        }
        let gateway = self.seat(Payer::Gateway(neighbour), options)?;
        let client = self.seat(Payer::Guest { client, gateway: neighbour }, options);
        // What one guest asks too much is not to be missing for the others.
        let client = client.inspect_err(|_| gateway.0.limits.load().requests.give_back())?;
        Ok(Place { client, gateway: Some(gateway) })
    }

    fn seat(&self, payer: Payer, options: &TransitOptions) -> Result<Seat, Refusal> {
        let account = entry(&self.payers, payer, || Account::of(payer, options), Account::owes);
        let limits = account.limits.load();
        if !limits.requests.take() {
            return Err(Refusal::TooManyRequests);
        }
        let taken = account.tunnels.fetch_add(1, Ordering::Relaxed);
        let max_tunnels = limits.max_tunnels;
        drop(limits);
        let seat = Seat(account);
        if taken < max_tunnels { Ok(seat) } else { Err(Refusal::TooManyTunnels) }
    }

    /// Lets these limits hold for all from now on.
    pub(super) fn limit(&self, options: &TransitOptions) {
        for (payer, account) in &*self.payers.lock() {
            account.limits.store(Arc::new(Limits::of(*payer, options)));
        }
    }

    /// Where it is counted what passes by way of a neighbour.
    pub(super) fn traffic(&self, neighbour: Atom) -> Arc<Traffic> {
        entry(&self.traffic, neighbour, Traffic::default, |_| false)
    }

    /// How many bytes came from and went to a neighbour for others.
    pub(super) fn transit_of(&self, neighbour: Atom) -> (u64, u64) {
        self.traffic.lock().get(&neighbour).map_or((0, 0), |traffic| {
            (traffic.came.load(Ordering::Relaxed), traffic.went.load(Ordering::Relaxed))
        })
    }
}

/// What is kept under `key`. Nothing is forgotten that somebody has, or that is
/// to be `kept`.
fn entry<K: Eq + Hash, V>(
    all: &Mutex<HashMap<K, Arc<V>>>,
    key: K,
    new: impl FnOnce() -> V,
    kept: impl Fn(&V) -> bool,
) -> Arc<V> {
    let mut all = all.lock();
    if all.len() >= REMEMBERED && !all.contains_key(&key) {
        all.retain(|_, value| Arc::strong_count(value) > 1 || kept(value));
    }
    all.entry(key).or_insert_with(|| Arc::new(new())).clone()
}

impl Account {
    fn of(payer: Payer, options: &TransitOptions) -> Self {
        Self { tunnels: AtomicUsize::new(0), limits: ArcSwap::from_pointee(Limits::of(payer, options)) }
    }

    /// Whether a new account would have more.
    fn owes(&self) -> bool {
        let limits = self.limits.load();
        !limits.requests.is_full() || limits.bytes.as_ref().is_some_and(|bytes| !bytes.is_full())
    }
}

impl Limits {
    fn of(payer: Payer, options: &TransitOptions) -> Self {
        let clients = match payer {
            Payer::Gateway(_) => options.clients_per_gateway.max(1),
            Payer::Neighbour(_) | Payer::Guest { .. } => 1,
        };
        let share = f64::from(clients);
        let requests = f64::from(options.requests_per_second.max(1)) * share;
        let bytes = options.bytes_per_second.map(|bytes| bytes.max(1) as f64 * share);
        Self {
            max_tunnels: options.max_tunnels_per_client.saturating_mul(clients as usize),
            requests: Limit::new(requests, requests * 2.0),
            bytes: bytes.map(|bytes| Limit::new(bytes, bytes)),
        }
    }
}

impl Place {
    /// So much may be read at once: a tenth of a second's worth, so that nobody has
    /// to wait long. A link that stood still would be given up.
    pub(super) fn portion(&self) -> usize {
        let tenth = |bytes: &Limit| (bytes.per_second() / 10.0) as usize;
        let limits = self.limits().filter_map(|limits| limits.bytes.as_ref().map(tenth));
        limits.min().unwrap_or(usize::MAX).max(LEAST_PORTION)
    }

    /// Charges for bytes that pass; how long to wait before more do.
    pub(super) fn owe(&self, bytes: usize) -> Duration {
        let owed = |limits: Guard<Arc<Limits>>| limits.bytes.as_ref().map(|limit| limit.owe(bytes));
        self.limits().filter_map(owed).max().unwrap_or_default()
    }

    fn limits(&self) -> impl Iterator<Item = Guard<Arc<Limits>>> {
        let payers = [Some(&self.client), self.gateway.as_ref()];
        payers.into_iter().flatten().map(|seat| seat.0.limits.load())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::TransitRule;

    fn atom(name: &str) -> Atom {
        Atom::new(name).unwrap()
    }

    /// Two tunnels and ten requests for a client, and three clients' worth for a gateway.
    fn options() -> TransitOptions {
        let rule = TransitRule::new(".*", ".*").unwrap().through("gateway@.*").unwrap();
        TransitOptions::new()
            .allow(rule)
            .max_tunnels_per_client(2)
            .requests_per_second(10)
            .clients_per_gateway(3)
    }

    #[test]
    fn each_client_of_a_gateway_has_limits_of_its_own() {
        let (accounts, gateway) = (Accounts::default(), atom("gateway@dmz"));
        let place = |client| accounts.place(atom(client), gateway, &options());
        let _places = [place("a@x").unwrap(), place("a@x").unwrap(), place("b@x").unwrap()];
        assert_eq!(place("a@x").unwrap_err(), Refusal::TooManyTunnels);
        let third = place("b@x").unwrap();
        drop(third);
        place("b@x").unwrap();
    }

    #[test]
    fn a_gateway_that_makes_up_names_gets_no_more_than_its_share() {
        let (accounts, gateway) = (Accounts::default(), atom("gateway@dmz"));
        let place = |client: &str, by| accounts.place(atom(client), by, &options());
        let places: Vec<_> = (0..100).map(|number| place(&format!("made-up-{number}@x"), gateway)).collect();
        assert_eq!(places.iter().filter(|place| place.is_ok()).count(), 6);
        let own = place("gateway@dmz", gateway).expect("what it asks for itself is another matter");
        place("a@x", atom("gateway@cloud")).expect("and so is what another one brings");
        drop((own, places));
        let asked = |number| place(&format!("more-{number}@x"), gateway);
        let refused = (0..100).find_map(|number| asked(number).err());
        assert_eq!(refused, Some(Refusal::TooManyRequests));
    }

    /// It is refused, and the others that come by the same gateway are not.
    #[tokio::test(start_paused = true)]
    async fn who_asks_too_much_takes_nothing_from_other_guests() {
        let (accounts, gateway) = (Accounts::default(), atom("gateway@dmz"));
        let asks = |client: &str| accounts.place(atom(client), gateway, &options()).map(drop);
        let granted = (0..1000).filter(|_| asks("greedy@x").is_ok()).count();
        assert_eq!(granted, 20);
        for _ in 0..20 {
            asks("modest@x").unwrap();
        }
        assert_eq!(asks("modest@x"), Err(Refusal::TooManyRequests));
        // The gateway was charged for what passed: of its 60 there are 20 left.
        let left = (0..100).filter(|number| asks(&format!("another-{number}@x")).is_ok()).count();
        assert_eq!(left, 20);
    }

    #[test]
    fn nobody_speaks_for_others_without_a_rule() {
        let (accounts, neighbour) = (Accounts::default(), atom("liar@x"));
        let place = |client: &str| accounts.place(atom(client), neighbour, &options());
        let _places = [place("liar@x").unwrap(), place("a@x").unwrap()];
        assert_eq!(place("b@x").unwrap_err(), Refusal::TooManyTunnels);
    }

    /// Names without end take no memory without end, and let nobody start afresh.
    #[tokio::test(start_paused = true)]
    async fn who_owes_nothing_is_forgotten() {
        let (accounts, options) = (Accounts::default(), options());
        let client = |number| atom(&format!("client-{number}@x"));
        let spent = client(REMEMBERED);
        while accounts.place(spent, spent, &options).is_ok() {}
        for number in 0..REMEMBERED {
            accounts.place(client(number), client(number), &options).unwrap();
        }
        tokio::time::advance(Duration::from_millis(150)).await;
        accounts.place(atom("one-more@x"), atom("one-more@x"), &options).unwrap();
        assert_eq!(accounts.payers.lock().len(), 2, "who has spent all is not forgotten");
        assert!(accounts.place(spent, spent, &options).is_ok(), "one has come back meanwhile");
        assert_eq!(accounts.place(spent, spent, &options).unwrap_err(), Refusal::TooManyRequests);
    }

    /// A link of which nothing is heard is given up: nobody waits long at once.
    #[tokio::test(start_paused = true)]
    async fn little_is_read_at_once_where_little_may_pass() {
        let accounts = Accounts::default();
        let place = |name, bytes: Option<u64>| {
            let mut options = options();
            options.bytes_per_second = bytes;
            accounts.place(atom(name), atom(name), &options).unwrap()
        };
        assert!(place("unlimited@x", None).portion() > 1 << 20);
        assert_eq!(place("slow@x", Some(100_000)).portion(), 10_000);
        let slowest = place("slowest@x", Some(0));
        assert_eq!((slowest.portion(), slowest.owe(2)), (512, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_charged_to_both() {
        let (accounts, gateway) = (Accounts::default(), atom("gateway@dmz"));
        let options = options().bytes_per_second(1000);
        let place = |client: &str| accounts.place(atom(client), gateway, &options).unwrap();
        let [a, b, c] = ["a@x", "b@x", "c@x"].map(place);
        assert_eq!(a.owe(1500), Duration::from_millis(500));
        assert_eq!(b.owe(1000), Duration::ZERO);
        assert_eq!(c.owe(500), Duration::ZERO);
        assert_eq!(place("d@x").owe(300), Duration::from_millis(100), "of the gateway's 3000 bytes a second");
    }
}
