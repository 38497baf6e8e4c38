//! Streams between hosts, and their two halves at each end.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::lane::{Found, Lane};
use super::{Shared, State, Wakers};

/// The first of the ports that are given out.
pub(super) const FIRST_PORT: u16 = 49152;

/// A side of a stream: who dialed is 0, who accepted 1.
type Side = usize;

/// What connects two ends.
pub(super) struct Wire {
    ends: [End; 2],
    /// Each leads away from that side.
    lanes: [Lane; 2],
}

struct End {
    address: SocketAddr,
    /// How many of its halves are held by somebody.
    halves: u8,
    /// Its host has crashed.
    lost: bool,
    /// It said something on a road that is cut, to somebody who is gone.
    unanswered: bool,
}

impl End {
    fn new(address: SocketAddr) -> Self {
        Self { address, halves: 2, lost: false, unanswered: false }
    }

    /// Whether nobody is there who knows of the stream.
    fn is_gone(&self) -> bool {
        self.halves == 0 || self.lost
    }
}

impl Wire {
    /// From which host to which the lane of a side leads.
    pub(super) fn road(&self, side: Side) -> (IpAddr, IpAddr) {
        (self.ends[side].address.ip(), self.ends[1 - side].address.ip())
    }

    /// Whether it is a stream between these hosts that is of use.
    pub(super) fn connects(&self, hosts: [IpAddr; 2]) -> bool {
        let (one, other) = self.road(0);
        let there = [[one, other], [other, one]].contains(&hosts);
        there && self.ends.iter().all(|end| !end.is_gone()) && self.lanes.iter().all(|lane| !lane.is_closed())
    }

    pub(super) fn reset(&mut self, now: Instant, wakers: &mut Wakers) {
        for lane in &mut self.lanes {
            lane.reset(now);
        }
        self.wake_all(wakers);
    }

    /// The host has crashed: what is held there of the stream is of no use.
    pub(super) fn lose_end(&mut self, host: IpAddr, now: Instant, wakers: &mut Wakers) {
        for side in [0, 1] {
            if self.ends[side].address.ip() == host {
                self.ends[side].lost = true;
                self.lanes[side].lose(now);
                self.lanes[1 - side].clear();
                self.lanes[side].wake_writer(wakers);
                self.lanes[1 - side].wake_reader(wakers);
            }
        }
    }

    pub(super) fn cut(&mut self, side: Side, now: Instant) {
        self.lanes[side].cut(now);
    }

    pub(super) fn mend(&mut self, side: Side, now: Instant, delay: Duration, wakers: &mut Wakers) {
        self.lanes[side].mend(now + delay);
        self.lanes[side].wake_reader(wakers);
        if std::mem::take(&mut self.ends[side].unanswered) {
            self.break_for(side, now + delay * 2, wakers);
        }
    }

    /// Tells a side that the stream is broken.
    fn break_for(&mut self, side: Side, arrives: Instant, wakers: &mut Wakers) {
        self.lanes[1 - side].send_reset(arrives);
        self.lanes[1 - side].wake_reader(wakers);
        self.lanes[side].wake_writer(wakers);
    }

    /// A side has said something to somebody who is gone, which is there then.
    fn say_to_nobody(&mut self, side: Side, back: Instant, wakers: &mut Wakers) {
        if self.lanes[side].is_cut() {
            self.ends[side].unanswered = true;
        } else {
            self.break_for(side, back, wakers);
        }
    }

    fn wake_all(&mut self, wakers: &mut Wakers) {
        for lane in &mut self.lanes {
            lane.wake_reader(wakers);
            lane.wake_writer(wakers);
        }
    }
}

impl State {
    /// A new stream, with both its ends.
    pub(super) fn new_wire(
        &mut self,
        network: &Arc<Shared>,
        from: IpAddr,
        to: SocketAddr,
    ) -> (MemoryStream, MemoryStream) {
        let id = self.next_wire;
        self.next_wire += 1;
        let port = FIRST_PORT + (id % u64::from(u16::MAX - FIRST_PORT)) as u16;
        let from = SocketAddr::new(from, port);
        let mut wire = Wire { ends: [from, to].map(End::new), lanes: Default::default() };
        for side in [0, 1] {
            let (from, to) = wire.road(side);
            if self.is_cut(from, to) {
                wire.cut(side, Instant::now());
            }
        }
        self.wires.insert(id, wire);
        let end = |side, address| {
            let handle = || Handle { network: network.clone(), id, side };
            let read = MemoryReadHalf { end: handle(), alarm: Alarm::default() };
            MemoryStream { address, read, write: MemoryWriteHalf { end: handle(), alarm: Alarm::default() } }
        };
        (end(0, from), end(1, to))
    }

    /// The stream, and how long what a side says is under way.
    fn wire(&mut self, id: u64, side: Side) -> Option<(&mut Wire, Duration)> {
        let (from, to) = self.wires.get(&id)?.road(side);
        let delay = self.draw_delay(from, to);
        self.wires.get_mut(&id).map(|wire| (wire, delay))
    }
}

/// An end of a stream.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    address: SocketAddr,
    read: MemoryReadHalf,
    write: MemoryWriteHalf,
}

/// The incoming half of an end.
#[derive(Debug)]
pub(crate) struct MemoryReadHalf {
    end: Handle,
    alarm: Alarm,
}

/// The outgoing half of an end; dropped, it tells the peer that nothing more
/// will come.
#[derive(Debug)]
pub(crate) struct MemoryWriteHalf {
    end: Handle,
    alarm: Alarm,
}

struct Handle {
    network: Arc<Shared>,
    id: u64,
    side: Side,
}

/// Wakes when something arrives.
#[derive(Debug, Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until then, or for good.
    fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.side)
    }
}

impl Handle {
    /// Does something with the stream, and then wakes whom that concerns.
    fn with<T>(&self, act: impl FnOnce(&mut Wire, Duration, &mut Wakers) -> io::Result<T>) -> io::Result<T> {
        let mut wakers = Wakers::new();
        let outcome = {
            let mut state = self.network.state.lock();
            match state.wire(self.id, self.side) {
                Some((wire, _)) if wire.ends[self.side].lost => Err(io::ErrorKind::ConnectionReset.into()),
                Some((wire, delay)) => act(wire, delay, &mut wakers),
                None => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        wakers.into_iter().for_each(Waker::wake);
        outcome
    }

    /// Waits until there is something to read.
    fn poll_receive(
        &self,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let next = self.with(|wire, _, wakers| {
                let lane = &mut wire.lanes[1 - self.side];
                match lane.receive(Instant::now(), room) {
                    Found::Bytes => lane.wake_writer(wakers),
                    Found::End => {}
                    Found::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
                    Found::Nothing(next) => {
                        lane.await_arrival(cx);
                        return Ok(Some(next));
                    }
                }
                Ok(None)
            })?;
            match next {
                None => return Poll::Ready(Ok(())),
                Some(next) => ready!(alarm.poll(cx, next)),
            }
        }
    }

    /// One half less.
    fn drop_half(&self, writing: bool) {
        let mut wakers = Wakers::new();
        {
            let mut state = self.network.state.lock();
            let Some((wire, delay)) = state.wire(self.id, self.side) else { return };
            let (side, arrives) = (self.side, Instant::now() + delay);
            if writing && !wire.lanes[side].is_closed() {
                wire.lanes[side].send_end(arrives);
                wire.lanes[side].wake_reader(&mut wakers);
            }
            wire.ends[side].halves -= 1;
            if wire.ends[side].halves == 0 && !wire.ends[side].lost {
                // What was said and not read makes a system break the stream.
                if wire.lanes[1 - side].holds_bytes() {
                    wire.say_to_nobody(1 - side, arrives, &mut wakers);
                }
                wire.lanes[1 - side].clear();
            }
            if wire.ends.iter().all(|end| end.halves == 0) {
                state.wires.remove(&self.id);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl MemoryStream {
    pub(in crate::network) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::network) fn into_split(self) -> (MemoryReadHalf, MemoryWriteHalf) {
        (self.read, self.write)
    }
}

impl MemoryReadHalf {
    /// How many bytes have arrived and were not read.
    pub(in crate::network) fn arrived(&self) -> u64 {
        let arrived = self.end.with(|wire, _, _| Ok(wire.lanes[1 - self.end.side].arrived(Instant::now())));
        arrived.unwrap_or(0)
    }
}

impl AsyncRead for MemoryReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { end, alarm } = &mut *self;
        end.poll_receive(alarm, cx, buf)
    }
}

impl AsyncWrite for MemoryWriteHalf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { end, alarm } = &mut *self;
        let side = end.side;
        loop {
            let written = end.with(|wire, delay, wakers| {
                let now = Instant::now();
                let breaks = wire.lanes[1 - side].breaks_at(now);
                if breaks.is_some_and(|at| at <= now) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                if wire.lanes[side].is_closed() {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if wire.ends[1 - side].is_gone() {
                    wire.say_to_nobody(side, now + delay * 2, wakers);
                    return Ok(Ok(bytes.len()));
                }
                let lane = &mut wire.lanes[side];
                let taken = lane.send(bytes, now + delay);
                if taken == 0 && !bytes.is_empty() {
                    lane.await_room(cx);
                    return Ok(Err(breaks));
                }
                lane.wake_reader(wakers);
                Ok(Ok(taken))
            })?;
            match written {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(breaks) => ready!(alarm.poll(cx, breaks)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.end.side;
        Poll::Ready(self.end.with(|wire, delay, wakers| {
            wire.lanes[side].send_end(Instant::now() + delay);
            wire.lanes[side].wake_reader(wakers);
            Ok(())
        }))
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

impl Drop for MemoryReadHalf {
    fn drop(&mut self) {
        self.end.drop_half(false);
    }
}

impl Drop for MemoryWriteHalf {
    fn drop(&mut self) {
        self.end.drop_half(true);
    }
}
