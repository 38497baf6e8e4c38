//! One direction of a stream: what is under way, and what has arrived.

use std::collections::VecDeque;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::Wakers;

/// How many bytes may be under way or unread, as in the buffers of a system.
const WINDOW: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Lane {
    parcels: VecDeque<Parcel>,
    /// How many bytes that are.
    bytes: usize,
    /// Since when nothing arrives any more.
    cut: Option<Instant>,
    /// What went out has come to its end, or is lost from here on.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Parcel {
    arrives: Instant,
    load: Load,
}

enum Load {
    Bytes {
        bytes: Vec<u8>,
        taken: usize,
    },
    /// Nothing follows.
    End,
    /// The stream is broken.
    Reset,
}

/// What a reader finds.
pub(super) enum Found {
    Bytes,
    End,
    Reset,
    /// Nothing, but something may arrive at that time.
    Nothing(Option<Instant>),
}

impl Lane {
    /// Takes so many bytes as there is room for; none if that is none.
    pub(super) fn send(&mut self, bytes: &[u8], arrives: Instant) -> usize {
        let taken = bytes.len().min(WINDOW.saturating_sub(self.bytes));
        if taken > 0 {
            self.bytes += taken;
            self.push(arrives, Load::Bytes { bytes: bytes[..taken].to_vec(), taken: 0 });
        }
        taken
    }

    pub(super) fn send_end(&mut self, arrives: Instant) {
        if !std::mem::replace(&mut self.closed, true) {
            self.push(arrives, Load::End);
        }
    }

    /// Says that the stream is broken, behind what is under way.
    pub(super) fn send_reset(&mut self, arrives: Instant) {
        self.closed = true;
        self.push(arrives, Load::Reset);
    }

    /// Breaks the stream: what has arrived can be read, the rest is lost.
    pub(super) fn reset(&mut self, now: Instant) {
        self.lose(now);
        self.parcels.push_back(Parcel { arrives: self.cut.unwrap_or(now).min(now), load: Load::Reset });
    }

    /// What is under way is lost, and so is all that would follow.
    pub(super) fn lose(&mut self, now: Instant) {
        self.closed = true;
        while self.parcels.back().is_some_and(|last| !self.has_arrived(last, now)) {
            if let Some(Parcel { load: Load::Bytes { bytes, taken }, .. }) = self.parcels.pop_back() {
                self.bytes -= bytes.len() - taken;
            }
        }
    }

    /// Drops everything: nobody reads any more.
    pub(super) fn clear(&mut self) {
        self.parcels.clear();
        self.bytes = 0;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Reads what has arrived, or finds out why there is nothing.
    pub(super) fn receive(&mut self, now: Instant, room: &mut ReadBuf<'_>) -> Found {
        let before = room.filled().len();
        while let Some(front) = self.parcels.front_mut() {
            if front.arrives > self.cut.unwrap_or(now).min(now) {
                break;
            }
            let Load::Bytes { bytes, taken } = &mut front.load else { break };
            let n = room.remaining().min(bytes.len() - *taken);
            room.put_slice(&bytes[*taken..*taken + n]);
            *taken += n;
            self.bytes -= n;
            if *taken < bytes.len() {
                return Found::Bytes;
            }
            self.parcels.pop_front();
        }
        if room.filled().len() > before { Found::Bytes } else { self.peek(now) }
    }

    /// What a reader would find.
    fn peek(&self, now: Instant) -> Found {
        match self.parcels.front() {
            Some(front) if self.has_arrived(front, now) => match front.load {
                Load::Bytes { .. } => Found::Bytes,
                Load::End => Found::End,
                Load::Reset => Found::Reset,
            },
            Some(front) => Found::Nothing(self.cut.is_none().then_some(front.arrives)),
            None => Found::Nothing(None),
        }
    }

    /// When it is known that the stream is broken, if it is; not known yet while
    /// the road is cut.
    pub(super) fn breaks_at(&self, now: Instant) -> Option<Instant> {
        let last = self.parcels.back().filter(|last| matches!(last.load, Load::Reset))?;
        (self.cut.is_none() || self.has_arrived(last, now)).then_some(last.arrives)
    }

    /// Whether something was sent that was not read.
    pub(super) fn holds_bytes(&self) -> bool {
        self.bytes > 0
    }

    /// How many bytes have arrived and were not read.
    pub(super) fn arrived(&self, now: Instant) -> u64 {
        let arrived = self.parcels.iter().take_while(|parcel| self.has_arrived(parcel, now));
        arrived.map(Parcel::len).sum()
    }

    pub(super) fn cut(&mut self, now: Instant) {
        self.cut.get_or_insert(now);
    }

    /// What was under way when the road was cut arrives now, or then.
    pub(super) fn mend(&mut self, arrives: Instant) {
        let Some(cut) = self.cut.take() else { return };
        for parcel in self.parcels.iter_mut().filter(|parcel| parcel.arrives > cut) {
            parcel.arrives = parcel.arrives.max(arrives);
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub(super) fn await_arrival(&mut self, cx: &Context<'_>) {
        self.reader = Some(cx.waker().clone());
    }

    pub(super) fn await_room(&mut self, cx: &Context<'_>) {
        self.writer = Some(cx.waker().clone());
    }

    pub(super) fn wake_reader(&mut self, wakers: &mut Wakers) {
        wakers.extend(self.reader.take());
    }

    pub(super) fn wake_writer(&mut self, wakers: &mut Wakers) {
        wakers.extend(self.writer.take());
    }

    fn push(&mut self, arrives: Instant, load: Load) {
        let last = self.parcels.back().map(|last| last.arrives);
        // What is sent at the very moment of the cut is sent after it.
        let after = self.cut.map(|cut| cut + Duration::from_nanos(1));
        let arrives = [last, after].into_iter().flatten().fold(arrives, Instant::max);
        self.parcels.push_back(Parcel { arrives, load });
    }

    fn has_arrived(&self, parcel: &Parcel, now: Instant) -> bool {
        parcel.arrives <= self.cut.unwrap_or(now).min(now)
    }
}

impl Parcel {
    fn len(&self) -> u64 {
        match &self.load {
            Load::Bytes { bytes, taken } => (bytes.len() - taken) as u64,
            Load::End | Load::Reset => 0,
        }
    }
}
