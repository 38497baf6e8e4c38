//! One link (socket) of a connection: its writer and its reader.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postroad_wire::Version;
use postroad_wire::enp::{self, Split, SplitError};
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Connection, DownReason, LinkLoss, Log, log};
use crate::Atom;
use crate::event::FanOut;
use crate::network::protocol::{self, Mismatch, Reading, Stumble, Writing};
use crate::network::transport::{ReadHalf, Stream, WriteHalf};

/// A reader starts with this much room and grows to `READ_MAX` while reads fill it.
const READ_MIN: usize = 16 << 10;
const READ_MAX: usize = 256 << 10;

/// How long a reader of a new link waits at most for the older links to be read.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the input of a link whose connection has ended is still read: if it
/// were closed with unread input, the system would reset it, and the peer lose
/// the end of what was sent.
const LINGER: Duration = Duration::from_millis(200);

/// How long what has arrived on a link that cannot be written to any more may
/// take to be handled.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What others know of a running link.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Cancelled when either half has failed, or the connection ends.
    pub(super) dead: CancellationToken,
    /// Asks the reader to say when it has read everything that has arrived.
    settle: watch::Sender<u64>,
    /// The last such request that the reader has answered.
    settled: watch::Receiver<u64>,
    pub(super) since: Instant,
}

/// Starts a link in slot `index`, which must be linked to it already, on a
/// stream and what came in behind the handshake. `between` it and the frames
/// stands what the protocol has there.
///
/// `elders` are the links that were there before: nothing of this one is
/// handled until what has arrived on them has been. A peer that replaces a dead
/// link sends on the new one what comes after the old one's, and ours may not
/// have noticed yet that the old one is dead.
pub(super) fn start(
    connection: &Arc<Connection>,
    index: usize,
    (stream, tail): (Stream, Vec<u8>),
    between: Option<(Writing, Reading)>,
    elders: Vec<Link>,
) -> Link {
    let (read, write) = stream.split();
    let (writing, reading) = between.unzip();
    let (settle, asked) = watch::channel(0);
    let (answer, settled) = watch::channel(0);
    let link = Link { dead: connection.ended.child_token(), settle, settled, since: Instant::now() };
    let node = connection.node();
    let (receiver, sender) = (connection.clone(), connection.clone());
    let (peer, log) = (connection.peer.name, connection.log);
    let heard = Arc::new(AtomicBool::new(false));
    let notes = heard.clone();
    let (dead, guard) = (link.dead.clone(), link.dead.clone().drop_guard());
    node.tasks.spawn_on(
        async move {
            let _guard = guard;
            dead.run_until_cancelled(settle_all(elders)).await;
            let mut incoming = Incoming {
                connection: receiver,
                index,
                half: read,
                reading,
                begun: false,
                asked,
                answer,
                settling: 0,
                heard: notes,
            };
            let loss = tokio::select! {
                biased;
                () = dead.cancelled() => LinkLoss::Closed,
                loss = incoming.run(tail) => loss,
            };
            end(&dead, peer, log, index, &loss);
            if let LinkLoss::AnotherProtocol(_) = loss {
                // No other link would bring anything else.
                incoming.connection.shut_down(DownReason::Lost);
            }
            if incoming.connection.is_down() {
                incoming.drain().await;
            }
        },
        &node.runtime,
    );
    if let Some(keepalive) = connection.keepalive {
        let (dead, watched) = (link.dead.clone(), connection.clone());
        let watch = async move {
            let silence = keepalive.watch(&watched.slots[index], &heard);
            if let Some(loss) = dead.run_until_cancelled(silence).await {
                end(&dead, peer, log, index, &loss);
            }
        };
        node.tasks.spawn_on(watch, &node.runtime);
    }
    let (dead, started, mut read_to_the_end) = (link.dead.clone(), link.since, link.settled.clone());
    node.tasks.spawn_on(
        async move {
            let loss = write_all(&sender, index, write, writing, &dead).await;
            if let LinkLoss::Io(_) = loss {
                // What the peer said before may not have been read yet.
                let _ = tokio::time::timeout(LAST_WORDS, dead.cancelled()).await;
            }
            match loss {
                LinkLoss::NotWritten { .. } => end(&dead, peer, log, index, &loss),
                _ => dead.cancel(),
            }
            // The successor must not be handled while this link's frames still are.
            while read_to_the_end.changed().await.is_ok() {}
            sender.link_lost(index, started, loss);
        },
        &node.runtime,
    );
    link
}

/// Ends both halves of a link.
fn end(dead: &CancellationToken, peer: Atom, log: Log, index: usize, loss: &LinkLoss) {
    dead.cancel();
    if !matches!(loss, LinkLoss::Closed) {
        log!(log, WARN, %peer, link = index, %loss, "link closed");
    }
}

/// Waits until everything that has arrived on these links has been handled.
async fn settle_all(elders: Vec<Link>) {
    let all = async {
        for mut elder in elders {
            let mut request = 0;
            elder.settle.send_modify(|asked| {
                *asked += 1;
                request = *asked;
            });
            // An error means that the reader has ended: it has read everything.
            let _ = elder.settled.wait_for(|answered| *answered >= request).await;
        }
    };
    let _ = tokio::time::timeout(SETTLE, all).await;
}

/// Writes batches until the link or the connection ends.
async fn write_all(
    connection: &Connection,
    index: usize,
    mut half: WriteHalf,
    mut writing: Option<Writing>,
    dead: &CancellationToken,
) -> LinkLoss {
    let slot = &connection.slots[index];
    let mut batch = Vec::new();
    let loss = loop {
        batch.clear();
        let Some(whole) = slot.take(&mut batch) else {
            tokio::select! {
                biased;
                () = dead.cancelled() => break LinkLoss::Closed,
                () = slot.filled() => continue,
            }
        };
        let stumble = writing.as_mut().and_then(|writing| writing.lay(&batch).err());
        let bytes = writing.as_ref().map_or(&batch[..], Writing::laid);
        if let Err((written, loss)) = write_batch(&mut half, bytes, dead).await {
            let taken = writing.as_ref().map_or(written, |writing| writing.taken(written));
            connection.log_lost(slot.give_back(&batch, whole, taken));
            break loss;
        }
        if let Some(Stumble { end, panic }) = stumble {
            // Without the frame at fault: it would end the next link as well.
            connection.log_lost(slot.give_back(&batch, whole, end));
            break LinkLoss::NotWritten { spoken: connection.stack.protocol.clone(), panic };
        }
        if whole < batch.len() {
            slot.fragments_written();
        }
        let flushed = tokio::select! {
            biased;
            () = dead.cancelled() => Ok(()),
            flushed = half.flush() => flushed,
        };
        if let Err(error) = flushed {
            break LinkLoss::Io(error);
        }
        connection.counters.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    };
    if let LinkLoss::Closed | LinkLoss::NotWritten { .. } = loss {
        let _ = tokio::time::timeout(LINGER, half.shutdown()).await;
    }
    loss
}

/// Hands a batch over to the system; if that cannot be done, how many bytes of
/// it were taken.
async fn write_batch(
    half: &mut WriteHalf,
    batch: &[u8],
    dead: &CancellationToken,
) -> Result<(), (usize, LinkLoss)> {
    let mut written = 0;
    while written < batch.len() {
        let outcome = tokio::select! {
            biased;
            () = dead.cancelled() => Ok(0),
            outcome = half.write(&batch[written..]) => outcome,
        };
        match outcome {
            Ok(0) => return Err((written, LinkLoss::Closed)),
            Ok(n) => written += n,
            Err(error) => return Err((written, LinkLoss::Io(error))),
        }
    }
    Ok(())
}

struct Incoming {
    connection: Arc<Connection>,
    index: usize,
    half: ReadHalf,
    /// What finds the frames, if they do not lie there as they are.
    reading: Option<Reading>,
    /// Whether anything but a part of the first frame has been handled.
    begun: bool,
    asked: watch::Receiver<u64>,
    answer: watch::Sender<u64>,
    /// The last request to settle; the half knows how much had arrived by then.
    settling: u64,
    /// Whether something has come since this was last looked at.
    heard: Arc<AtomicBool>,
}

impl Incoming {
    /// Reads and handles frames until the link ends. `tail` is what came in
    /// behind the handshake.
    async fn run(&mut self, tail: Vec<u8>) -> LinkLoss {
        let mut buffer = tail;
        let mut filled = buffer.len();
        let mut start = 0;
        loop {
            match self.handle(&buffer[start..filled]) {
                Ok((0, _)) => {}
                Ok((handled, wide)) => {
                    start += handled;
                    self.begun = true;
                    if let Some(fan_out) = wide {
                        self.connection.fan_out(fan_out).await;
                        continue;
                    }
                    // Whoever got something may be waiting for this thread.
                    tokio::task::yield_now().await;
                }
                Err(loss) => return loss,
            }
            make_room(&mut buffer, &mut start, &mut filled);
            match self.read(&mut buffer[filled..]).await {
                Ok(0) if filled > 0 => return LinkLoss::Truncated(filled),
                Ok(0) => return LinkLoss::Closed,
                Ok(n) => {
                    self.heard.store(true, Ordering::Relaxed);
                    self.connection.counters.bytes_in.fetch_add(n as u64, Ordering::Relaxed);
                    filled += n;
                }
                Err(error) => return LinkLoss::Io(error),
            }
        }
    }

    /// Reads what still comes, until the peer has closed as well.
    async fn drain(mut self) {
        let mut dropped = vec![0; READ_MIN];
        let closed = async { while !matches!(self.half.read(&mut dropped).await, Ok(0) | Err(_)) {} };
        let _ = tokio::time::timeout(LINGER, closed).await;
    }

    /// Handles the complete frames at the front, up to a publication for very
    /// many, which is left to be handed out; how many bytes they have.
    fn handle(&mut self, bytes: &[u8]) -> Result<(usize, Option<FanOut>), LinkLoss> {
        let Some(reading) = &mut self.reading else {
            return self.handle_frames(bytes).map_err(|error| match bytes.first() {
                Some(&protocol::GREETING) if !self.begun => {
                    LinkLoss::AnotherProtocol(Box::new(Mismatch::of(Version::enp(), bytes)))
                }
                _ => error.into(),
            });
        };
        let connection = &self.connection;
        let limit = connection.limits.max_frame;
        let (mut read, mut frames, mut wide) = (0, 0, None);
        let mut more = true;
        while more && wide.is_none() {
            let (taken, frame) = reading
                .next(&bytes[read..], limit)
                .map_err(|error| LinkLoss::Misread { spoken: connection.stack.protocol.clone(), error })?;
            if let Some(frame) = frame {
                wide = connection.handle_frame(self.index, frame);
                frames += 1;
            }
            read += taken;
            more = taken > 0;
        }
        connection.counters.frames_in.fetch_add(frames, Ordering::Relaxed);
        Ok((read, wide))
    }

    /// The same where the frames lie there as they are.
    fn handle_frames(&self, bytes: &[u8]) -> Result<(usize, Option<FanOut>), SplitError> {
        let mut left = bytes;
        let mut frames = 0;
        let mut wide = None;
        while wide.is_none()
            && let Split::Frame { frame, rest } = enp::split(left, self.connection.limits.max_frame as u64)?
        {
            wide = self.connection.handle_frame(self.index, frame);
            left = rest;
            frames += 1;
        }
        self.connection.counters.frames_in.fetch_add(frames, Ordering::Relaxed);
        Ok((bytes.len() - left.len(), wide))
    }

    /// Reads something. Whoever asked whether what had arrived by then has been
    /// handled is answered as soon as it has been.
    async fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let mut can_be_asked = true;
        loop {
            let request = *self.asked.borrow_and_update();
            if request > self.settling {
                self.settling = request;
                self.half.mark_arrived()?;
            }
            let Self { half, asked, answer, settling, .. } = self;
            let settle = |half: &ReadHalf| {
                if half.has_read_marked() && *settling > *answer.borrow() {
                    answer.send_replace(*settling);
                }
            };
            let read = poll_fn(|cx| {
                settle(half);
                let mut room = ReadBuf::new(room);
                let read = Pin::new(&mut *half).poll_read(cx, &mut room);
                if read.is_pending() {
                    // What was there may be no more than a part of a TLS record.
                    settle(half);
                }
                read.map_ok(|()| room.filled().len())
            });
            tokio::select! {
                read = read => return read,
                changed = asked.changed(), if can_be_asked => can_be_asked = changed.is_ok(),
            }
        }
    }
}

/// Moves what is left to the front, and grows the buffer if it is full or a
/// long frame is coming in: by what has arrived, not by what was announced.
fn make_room(buffer: &mut Vec<u8>, start: &mut usize, filled: &mut usize) {
    let was_full = *filled == buffer.len();
    // A long frame comes in many reads, and must not be moved for each of them.
    if *start > 0 {
        buffer.copy_within(*start..*filled, 0);
        *filled -= *start;
        *start = 0;
    }
    let size = buffer.len();
    if *filled * 2 > size || (was_full && size < READ_MAX) {
        buffer.resize((size * 2).max(READ_MIN), 0);
    } else if size > READ_MAX && *filled < READ_MAX / 2 {
        buffer.truncate(READ_MAX);
        buffer.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_with_what_arrives_and_shrinks_again() {
        let mut buffer = Vec::new();
        let (mut start, mut filled) = (0, 0);
        make_room(&mut buffer, &mut start, &mut filled);
        assert_eq!(buffer.len(), READ_MIN);
        while buffer.len() < 8 * READ_MAX {
            filled = buffer.len();
            make_room(&mut buffer, &mut start, &mut filled);
            assert!(filled < buffer.len(), "there is always room to read into");
            assert!(buffer.len() <= (2 * filled).max(READ_MIN));
        }
        start = filled;
        make_room(&mut buffer, &mut start, &mut filled);
        assert_eq!((start, filled, buffer.len()), (0, 0, READ_MAX));
    }

    #[test]
    fn what_is_left_moves_to_the_front() {
        let mut buffer = (0..=255u8).cycle().take(READ_MIN).collect::<Vec<_>>();
        let (mut start, mut filled) = (100, 110);
        make_room(&mut buffer, &mut start, &mut filled);
        assert_eq!(&buffer[..filled], &(100..110u8).collect::<Vec<_>>()[..]);
    }
}
