//! Whom this node is dialing and meeting, and who waits for that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use postroad_wire::Cookie;
use tokio::sync::{Notify, watch};

use super::connect::ConnectError;
use super::connection::Connection;
use super::plan::Attempt;
use super::route::NetworkRoute;
use super::unreachable::Unreachable;
use crate::Atom;

pub(super) type Outcome = Result<Arc<Connection>, ConnectError>;

/// Whom this node is dialing.
#[derive(Default)]
pub(super) struct Dialing {
    pub(super) peers: Mutex<HashMap<Atom, Flight>>,
    meetings: Mutex<Meetings>,
    /// Which node waits for the connection with which other one, through which
    /// it is reached; and how many do so.
    waiting: Mutex<HashMap<(Atom, Atom), usize>>,
    /// Notified whenever a connection is made.
    pub(super) connected: Notify,
    pub(super) unreachable: Unreachable,
}

/// With whom a connection is being made at this moment. So the two sides' dials
/// do not both succeed: at the node with the smaller name one excludes the other.
#[derive(Default)]
struct Meetings {
    /// To whom this node, having dialed, is about to introduce itself. A dial
    /// that has reached nobody who knows the cookie says nothing: it may never
    /// reach the peer.
    knocking: HashSet<Atom>,
    /// Who dialed and was let in, once for each handshake.
    admitted: Vec<Atom>,
}

/// What a dial goes by.
#[derive(Debug, Clone)]
pub(super) enum Course {
    /// The node's routes, unless they failed a moment ago.
    Sending,
    /// The node's routes.
    Routes,
    /// A route that somebody gave.
    Given(Arc<NetworkRoute>),
    /// The node's routes, with this cookie in place of theirs.
    Keyed(Cookie),
    /// One address.
    Address(Arc<Attempt>),
}

impl Course {
    /// Whether the outcome is that of all who go by the node's routes. What a
    /// given route comes to says nothing to others.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Sending | Self::Routes)
    }

    /// Whether who goes by `other` would try the same.
    pub(super) fn is_as_good_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keyed(cookie), Self::Keyed(another)) => cookie == another,
            (Self::Address(attempt), Self::Address(another)) => {
                attempt.endpoint == another.endpoint
                    && attempt.cookie == another.cookie
                    && attempt.reason == another.reason
            }
            _ => self.is_shared() && other.is_shared(),
        }
    }

    /// Lets an attempt go by the cookie of this course, if it has one.
    pub(super) fn rekey(&self, attempt: &mut Attempt) {
        if let Self::Keyed(cookie) = self {
            attempt.cookie = Some(cookie.clone());
        }
    }
}

/// A dial that is under way.
#[derive(Clone)]
pub(super) struct Flight {
    pub(super) course: Course,
    pub(super) outcome: watch::Receiver<Option<Outcome>>,
}

impl Dialing {
    /// Takes the turn to introduce oneself to a peer that was dialed; nothing if
    /// the peer dialed as well and was let in.
    pub(super) fn knock(&self, peer: Atom) -> Option<Knocking<'_>> {
        let mut meetings = self.meetings.lock();
        if meetings.admitted.contains(&peer) {
            return None;
        }
        meetings.knocking.insert(peer);
        Some(Knocking { dialing: self, peer })
    }

    /// Lets a peer in that dialed. If both dial at once the dial of the smaller
    /// name wins.
    pub(super) fn admit(&self, own: Atom, peer: Atom) -> bool {
        let mut meetings = self.meetings.lock();
        let admitted = own > peer || !meetings.knocking.contains(&peer);
        if admitted {
            meetings.admitted.push(peer);
        }
        admitted
    }

    /// The handshake of a peer that was let in has come to its end.
    pub(super) fn has_met(&self, peer: Atom) {
        let mut meetings = self.meetings.lock();
        if let Some(at) = meetings.admitted.iter().position(|admitted| *admitted == peer) {
            meetings.admitted.swap_remove(at);
        }
    }

    /// Notes that reaching `target` waits for the connection with `proxy`; nothing
    /// if that one waits for `target`, be it by way of others.
    pub(super) fn wait_for(&self, target: Atom, proxy: Atom) -> Option<Waiting<'_>> {
        let mut waiting = self.waiting.lock();
        let (mut ahead, mut seen) = (vec![proxy], HashSet::new());
        while let Some(node) = ahead.pop() {
            if node == target {
                return None;
            }
            if seen.insert(node) {
                ahead.extend(waiting.keys().filter(|(who, _)| *who == node).map(|(_, whom)| *whom));
            }
        }
        *waiting.entry((target, proxy)).or_default() += 1;
        Some(Waiting { dialing: self, between: (target, proxy) })
    }

    pub(super) fn connected(&self, peer: Atom) {
        self.unreachable.forget(peer);
        self.connected.notify_waiters();
    }
}

/// A dial whose other end has proved the cookie, until this is dropped.
pub(super) struct Knocking<'a> {
    dialing: &'a Dialing,
    peer: Atom,
}

impl Drop for Knocking<'_> {
    fn drop(&mut self) {
        self.dialing.meetings.lock().knocking.remove(&self.peer);
    }
}

/// A node waits for the connection with its proxy, until this is dropped.
pub(super) struct Waiting<'a> {
    dialing: &'a Dialing,
    between: (Atom, Atom),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.dialing.waiting.lock();
        if let Some(count) = waiting.get_mut(&self.between) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.between);
            }
        }
    }
}

/// A dial that is under way, until this is dropped.
pub(super) struct Underway<'a> {
    pub(super) dialing: &'a Dialing,
    pub(super) peer: Atom,
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.dialing.peers.lock().remove(&self.peer);
    }
}
