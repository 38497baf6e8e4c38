//! Large frames in parts, type 202 (`docs/wire/ENP.md` section 15).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::frame::Head;
use super::split::{HEADER_LEN, Split, SplitError, split};

/// The length of a fragment frame that stock nodes use, header included.
pub const DEFAULT_FRAGMENT_LEN: usize = 65_000;
/// The shortest fragment frame that makes sense.
pub const MIN_FRAGMENT_LEN: usize = 4096;
/// The most fragments a frame may come in.
pub const MAX_FRAGMENTS: u16 = 10_000;
/// The most frames that may be incomplete at a time.
pub const MAX_ASSEMBLIES: usize = 1000;
/// How long a frame may stay incomplete.
pub const ASSEMBLY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a fragment frame has before its part: header, sequence, index, total.
const FRAGMENT_HEAD: usize = HEADER_LEN + 8;

/// Takes a frame apart: the heads and payloads of the fragments, in order, to be
/// written with the order byte of the whole and sent over one link. The
/// parameters are those of [`fragment`].
pub fn fragments(frame: &[u8], sequence: u32, len: usize) -> impl Iterator<Item = (Head<'static>, &[u8])> {
    (0..).map_while(move |index| fragment(frame, sequence, index, len))
}

/// The head and the payload of one fragment of a frame, counted from 0; nothing
/// behind the last one.
///
/// * `frame`: a whole frame as [`write`](super::write()) appends it, possibly
///   packed.
/// * `sequence`: tells it from other frames in parts on the connection.
/// * `len`: the longest fragment frame, header included; at least
///   [`MIN_FRAGMENT_LEN`]. A frame that would need more than [`MAX_FRAGMENTS`]
///   of that length has longer ones.
pub fn fragment(frame: &[u8], sequence: u32, index: u16, len: usize) -> Option<(Head<'static>, &[u8])> {
    let part = (len.max(MIN_FRAGMENT_LEN) - FRAGMENT_HEAD).max(frame.len().div_ceil(MAX_FRAGMENTS.into()));
    let total = frame.len().div_ceil(part) as u16;
    let payload = frame.chunks(part).nth(index.into())?;
    Some((Head::Fragment { sequence, index, total }, payload))
}

/// Why a fragment is dropped, and with it the frame it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// The index is not below the total, or the total is 0 or above
    /// [`MAX_FRAGMENTS`].
    #[error("fragment {index} of {total}")]
    OutOfRange {
        /// The index.
        index: u16,
        /// The total.
        total: u16,
    },
    /// Fragments of one frame disagree about their total.
    #[error("a fragment says {got} where others of its frame said {expected}")]
    TotalChanged {
        /// What the first one said.
        expected: u16,
        /// What this one says.
        got: u16,
    },
    /// Too many frames are incomplete.
    #[error("{MAX_ASSEMBLIES} frames are incomplete already")]
    TooManyOpen,
    /// The frame is longer than this side takes.
    #[error("a frame in fragments has {bytes} bytes or more, at most {limit} are taken")]
    TooLong {
        /// How many bytes of it have come.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The incomplete frames take up too much room.
    #[error("incomplete frames would take {bytes} bytes, at most {limit} are kept")]
    TooMuchOpen {
        /// How many bytes they would take.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// What the fragments make up is not a frame.
    #[error("fragments make up no frame: {0}")]
    NoFrame(SplitError),
    /// What the fragments make up is not exactly one frame.
    #[error("fragments make up a frame of another length")]
    NotOneFrame,
}

/// What an [`Assembler`] takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssemblyLimits {
    /// The longest frame.
    pub frame: u64,
    /// All incomplete frames together.
    pub open: u64,
}

/// Puts frames together that come in parts. One for each connection, because
/// parts may come over different links.
///
/// Memory grows with the parts that come, never with what they announce.
#[derive(Debug)]
pub struct Assembler {
    limits: AssemblyLimits,
    kept: u64,
    open: HashMap<u32, Assembly>,
    refused: Refused,
}

/// The last [`MAX_ASSEMBLIES`] frames that were given up because of what came of
/// them: what still comes is dropped, for as long as it may.
#[derive(Debug, Default)]
struct Refused {
    sequences: HashSet<u32>,
    /// When each of them is forgotten, the oldest first.
    until: VecDeque<(Duration, u32)>,
}

impl Refused {
    fn add(&mut self, now: Duration, sequence: u32) {
        if self.until.len() >= MAX_ASSEMBLIES {
            self.forget_oldest();
        }
        if self.sequences.insert(sequence) {
            self.until.push_back((now + ASSEMBLY_TIMEOUT, sequence));
        }
    }

    fn expire(&mut self, now: Duration) {
        while self.until.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, sequence)) = self.until.pop_front() {
            self.sequences.remove(&sequence);
        }
    }
}

/// What has come of a frame: its front, and parts that came before their turn.
#[derive(Debug)]
struct Assembly {
    /// The link that all of it comes over, if that is known.
    link: Option<usize>,
    total: u16,
    /// The part that the front goes on with.
    next: u16,
    front: Vec<u8>,
    early: BTreeMap<u16, Box<[u8]>>,
    cost: u64,
    deadline: Duration,
}

/// What a part costs that is kept by itself, beside its bytes.
const EARLY_PART_COST: u64 = 64;

impl Assembler {
    /// Keeps as much of incomplete frames as the limits allow.
    pub fn new(limits: AssemblyLimits) -> Self {
        Self { limits, kept: 0, open: HashMap::new(), refused: Refused::default() }
    }

    /// Takes a fragment and returns the whole frame with the last one. A
    /// fragment that comes twice counts once.
    ///
    /// `link` is the link it came over, if the others of its frame come over the
    /// same one: those with an order byte other than 0 do.
    ///
    /// Frames that were begun more than [`ASSEMBLY_TIMEOUT`] before `now` are
    /// given up first.
    /// `now` is the time since whichever moment the caller chooses, always the
    /// same one.
    ///
    /// # Errors
    /// The frame that the fragment belongs to is given up, and what still comes
    /// of it is dropped without a further error; the link lives on.
    pub fn insert(
        &mut self,
        now: Duration,
        link: Option<usize>,
        sequence: u32,
        index: u16,
        total: u16,
        part: &[u8],
    ) -> Result<Option<Vec<u8>>, AssemblyError> {
        self.expire(now);
        if self.refused.sequences.contains(&sequence) {
            return Ok(None);
        }
        if let Err(error) = self.add(now, link, sequence, index, total, part) {
            if self.close(sequence).is_some() {
                self.refused.add(now, sequence);
            }
            return Err(error);
        }
        if !self.open.get(&sequence).is_some_and(Assembly::is_whole) {
            return Ok(None);
        }
        let frame = self.close(sequence).map(|assembly| assembly.front).unwrap_or_default();
        match split(&frame, self.limits.frame) {
            Ok(Split::Frame { rest: [], .. }) => Ok(Some(frame)),
            Ok(_) => Err(AssemblyError::NotOneFrame),
            Err(error) => Err(AssemblyError::NoFrame(error)),
        }
    }

    /// Gives frames up that were begun too long before `now`, and returns how
    /// many those are.
    pub fn expire(&mut self, now: Duration) -> usize {
        self.refused.expire(now);
        let before = self.open.len();
        let kept = &mut self.kept;
        self.open.retain(|_, assembly| {
            let alive = assembly.deadline > now;
            if !alive {
                *kept -= assembly.cost;
            }
            alive
        });
        before - self.open.len()
    }

    /// Gives up what a link has left incomplete from which nothing more comes:
    /// it takes no room from what the peer sends anew.
    pub fn link_lost(&mut self, link: usize) {
        let kept = &mut self.kept;
        self.open.retain(|_, assembly| {
            let alive = assembly.link != Some(link);
            if !alive {
                *kept -= assembly.cost;
            }
            alive
        });
    }

    /// When the next incomplete frame is to be given up, if there is one.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.open.values().map(|assembly| assembly.deadline).min()
    }

    /// Gives all incomplete frames up.
    pub fn clear(&mut self) {
        self.open = HashMap::new();
        self.refused = Refused::default();
        self.kept = 0;
    }

    fn add(
        &mut self,
        now: Duration,
        link: Option<usize>,
        sequence: u32,
        index: u16,
        total: u16,
        part: &[u8],
    ) -> Result<(), AssemblyError> {
        if index >= total || total > MAX_FRAGMENTS {
            return Err(AssemblyError::OutOfRange { index, total });
        }
        if self.open.len() >= MAX_ASSEMBLIES && !self.open.contains_key(&sequence) {
            return Err(AssemblyError::TooManyOpen);
        }
        let assembly = self.open.entry(sequence).or_insert_with(|| Assembly {
            link,
            total,
            next: 0,
            front: Vec::new(),
            early: BTreeMap::new(),
            cost: 0,
            deadline: now + ASSEMBLY_TIMEOUT,
        });
        if assembly.has(index) {
            return Ok(());
        }
        if total != assembly.total {
            return Err(AssemblyError::TotalChanged { expected: assembly.total, got: total });
        }
        let cost = part.len() as u64 + if index == assembly.next { 0 } else { EARLY_PART_COST };
        let (bytes, limit) = (assembly.cost + cost, self.limits.frame);
        if limit != 0 && bytes > limit {
            return Err(AssemblyError::TooLong { bytes, limit });
        }
        let (bytes, limit) = (self.kept + cost, self.limits.open);
        if bytes > limit {
            return Err(AssemblyError::TooMuchOpen { bytes, limit });
        }
        assembly.add(index, part);
        assembly.cost += cost;
        self.kept = bytes;
        Ok(())
    }

    fn close(&mut self, sequence: u32) -> Option<Assembly> {
        let assembly = self.open.remove(&sequence)?;
        self.kept -= assembly.cost;
        Some(assembly)
    }
}

impl Assembly {
    fn has(&self, index: u16) -> bool {
        index < self.next || self.early.contains_key(&index)
    }

    fn add(&mut self, index: u16, part: &[u8]) {
        if index > self.next {
            self.early.insert(index, part.into());
            return;
        }
        self.front.extend_from_slice(part);
        self.next += 1;
        while let Some(part) = self.early.remove(&self.next) {
            self.front.extend_from_slice(&part);
            self.next += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.next == self.total
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::enp::{Frame, write};

    /// An Any frame of about `len` bytes.
    fn frame(len: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write::<Infallible>(&mut out, 0, &Head::Any, |out| {
            out.extend((0..len).map(|n| n as u8));
            Ok(())
        })
        .unwrap();
        out
    }

    const NOW: Duration = Duration::from_secs(1000);

    fn insert(assembler: &mut Assembler, now: Duration, (head, part): (Head<'_>, &[u8])) -> Outcome {
        let Head::Fragment { sequence, index, total } = head else { panic!("{head:?}") };
        assembler.insert(now, None, sequence, index, total, part)
    }

    fn limited(limit: u64) -> Assembler {
        Assembler::new(AssemblyLimits { frame: limit, open: limit })
    }

    type Outcome = Result<Option<Vec<u8>>, AssemblyError>;

    #[test]
    fn a_frame_comes_out_whole_in_any_order() {
        let (now, whole) = (NOW, frame(20_000));
        let parts: Vec<_> = fragments(&whole, 7, 4096).collect();
        assert_eq!(parts.len(), 5);
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            let mut assembler = limited(1 << 20);
            for index in &order[..4] {
                assert_eq!(insert(&mut assembler, now, parts[*index]), Ok(None));
            }
            assert_eq!(insert(&mut assembler, now, parts[order[4]]), Ok(Some(whole.clone())));
            assert_eq!((assembler.kept, assembler.open.len()), (0, 0));
        }
    }

    #[test]
    fn fragments_are_frames_of_the_length_asked_for() {
        let whole = frame(20_000);
        for (head, part) in fragments(&whole, 7, 4096) {
            let mut out = Vec::new();
            write::<Infallible>(&mut out, 9, &head, |out| {
                out.extend_from_slice(part);
                Ok(())
            })
            .unwrap();
            assert!(out.len() <= 4096);
            assert_eq!(Frame::parse(&out), Ok(Frame { order: 9, head, payload: part }));
        }
    }

    #[test]
    fn a_very_long_frame_has_longer_fragments() {
        let part = MIN_FRAGMENT_LEN - FRAGMENT_HEAD;
        let whole = vec![0; part * 10_000 + 1];
        let longest = |whole| fragments(whole, 1, MIN_FRAGMENT_LEN).map(|(_, part)| part.len()).max();
        assert_eq!(longest(&whole[1..]), Some(part));
        assert_eq!(longest(&whole), Some(part + 1));
        assert!(fragments(&whole, 1, MIN_FRAGMENT_LEN).count() <= MAX_FRAGMENTS.into());
    }

    #[test]
    fn bad_input_indexes_and_totals() {
        let now = NOW;
        let mut assembler = limited(1 << 20);
        for (index, total) in [(0, 0), (3, 3), (0, MAX_FRAGMENTS + 1)] {
            let refused = assembler.insert(now, None, 1, index, total, b"x");
            assert_eq!(refused, Err(AssemblyError::OutOfRange { index, total }));
        }
        assert_eq!(assembler.insert(now, None, 1, 0, 3, b"x"), Ok(None));
        let refused = assembler.insert(now, None, 1, 1, 4, b"x");
        assert_eq!(refused, Err(AssemblyError::TotalChanged { expected: 3, got: 4 }));
        for index in [0, 1, 2] {
            assert_eq!(assembler.insert(now, None, 1, index, 3, b"x"), Ok(None), "the frame is given up");
        }
        assert_eq!(assembler.kept, 0);
    }

    #[test]
    fn a_part_that_comes_twice_counts_once() {
        let (now, whole) = (NOW, frame(10_000));
        let parts: Vec<_> = fragments(&whole, 7, 4096).collect();
        let mut assembler = limited(1 << 20);
        for part in [parts[0], parts[0], parts[2], parts[2]] {
            assert_eq!(insert(&mut assembler, now, part), Ok(None));
        }
        assert_eq!(insert(&mut assembler, now, parts[1]), Ok(Some(whole.clone())));
        assert_eq!(assembler.kept, 0);
    }

    #[test]
    fn bad_input_parts_that_are_no_frame() {
        let now = NOW;
        let mut assembler = limited(1 << 20);
        assert_eq!(
            assembler.insert(now, None, 1, 0, 1, b"GET / HTTP/1.1"),
            Err(AssemblyError::NoFrame(SplitError::WrongMagic(b'G')))
        );
        let two = [frame(1), frame(1)].concat();
        assert_eq!(assembler.insert(now, None, 1, 0, 1, &two), Err(AssemblyError::NotOneFrame));
    }

    #[test]
    fn bad_input_incomplete_frames_are_bounded() {
        let now = NOW;
        let mut assembler = Assembler::new(AssemblyLimits { frame: 9000, open: 10_000 });
        assert_eq!(assembler.insert(now, None, 1, 0, 3, &[0; 6000]), Ok(None));
        let refused = assembler.insert(now, None, 2, 0, 3, &[0; 6000]);
        assert_eq!(refused, Err(AssemblyError::TooMuchOpen { bytes: 12_000, limit: 10_000 }));
        assert_eq!(assembler.insert(now, None, 2, 1, 3, &[0; 3000]), Ok(None), "no more is heard of it");
        assert_eq!(assembler.kept, 6000);
        assert_eq!(assembler.insert(now, None, 1, 1, 3, &[0; 3000]), Ok(None), "the other one lives on");
        let refused = assembler.insert(now, None, 1, 2, 3, &[0]);
        assert_eq!(refused, Err(AssemblyError::TooLong { bytes: 9001, limit: 9000 }));
        assert_eq!(assembler.kept, 0);

        let mut assembler = limited(1 << 20);
        for sequence in 0..MAX_ASSEMBLIES as u32 {
            assert_eq!(assembler.insert(now, None, sequence, 0, 2, b"x"), Ok(None));
        }
        assert_eq!(assembler.insert(now, None, 5000, 0, 2, b"x"), Err(AssemblyError::TooManyOpen));
        let refused = assembler.insert(now, None, 0, 1, 3, b"x");
        assert_eq!(refused, Err(AssemblyError::TotalChanged { expected: 2, got: 3 }));
        assert_eq!(
            assembler.insert(now, None, 5000, 0, 2, b"x"),
            Ok(None),
            "what was given up takes no place"
        );

        let mut assembler = limited(1 << 20);
        for sequence in 0..2 * MAX_ASSEMBLIES as u32 {
            assert_eq!(assembler.insert(now, None, sequence, 0, 2, b"x"), Ok(None));
            assert!(assembler.insert(now, None, sequence, 1, 3, b"x").is_err());
        }
        assert_eq!(assembler.refused.until.len(), MAX_ASSEMBLIES, "nor is it remembered for nothing");
        assert_eq!(assembler.refused.sequences.len(), MAX_ASSEMBLIES);
        assembler.expire(now + ASSEMBLY_TIMEOUT);
        assert!(assembler.refused.until.is_empty() && assembler.refused.sequences.is_empty());

        // Empty parts ahead of their turn are not free.
        let mut assembler = limited(10_000);
        let refused = (1..MAX_FRAGMENTS)
            .find_map(|index| assembler.insert(now, None, 1, index, MAX_FRAGMENTS, b"").err());
        assert!(matches!(refused, Some(AssemblyError::TooLong { .. })));
    }

    #[test]
    fn what_a_lost_link_left_makes_room() {
        let now = NOW;
        let mut assembler = limited(10_000);
        assert_eq!(assembler.insert(now, Some(0), 1, 0, 2, &[0; 6000]), Ok(None));
        assert_eq!(assembler.insert(now, Some(1), 2, 0, 2, &[0; 1000]), Ok(None));
        assert_eq!(assembler.insert(now, None, 3, 0, 2, &[0; 1000]), Ok(None));
        assembler.link_lost(0);
        assert_eq!((assembler.kept, assembler.open.len()), (2000, 2), "the others may still be completed");
        assert_eq!(assembler.insert(now, Some(0), 4, 0, 2, &[0; 8000]), Ok(None));
    }

    #[test]
    fn incomplete_frames_are_given_up_in_time() {
        let begun = NOW;
        let mut assembler = limited(1 << 20);
        assert_eq!(assembler.next_deadline(), None);
        assembler.insert(begun, None, 1, 0, 2, b"x").unwrap();
        let deadline = begun + ASSEMBLY_TIMEOUT;
        assert_eq!(assembler.next_deadline(), Some(deadline));
        assert_eq!(assembler.expire(deadline - Duration::from_nanos(1)), 0);
        assert_eq!(assembler.expire(deadline), 1);
        assert_eq!((assembler.kept, assembler.open.len()), (0, 0));
    }
}
