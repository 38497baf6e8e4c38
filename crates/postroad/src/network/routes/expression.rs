//! What a pattern says once it is read: a tree over characters.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex_syntax::hir::{self, ClassUnicode, Hir, Look};

/// A regular expression as a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// One character.
    Element(Element),
    /// A place in the name: its start, its end, the boundary of a word.
    Look(Look),
    /// One after the other; none at all matches the empty text.
    Concat(Vec<Expression>),
    /// One of them.
    Alternate(Vec<Expression>),
    /// The same, at least `min` times and at most `max` times.
    Repeat { of: Box<Expression>, min: u32, max: Option<u32> },
}

/// What one character of a name may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// Exactly this one.
    Char(char),
    /// Any but a newline: the dot.
    Any,
    /// One of a set.
    Class(Arc<Class>),
}

/// A set of ASCII characters: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AsciiSet(u128);

/// A set of characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    ascii: AsciiSet,
    ranges: Box<[(char, char)]>,
}

impl Expression {
    /// One after the other, flat.
    pub(super) fn concat(items: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Self::Concat(inner) => flat.extend(inner),
                item => flat.push(item),
            }
        }
        match flat.len() {
            1 => flat.remove(0),
            _ => Self::Concat(flat),
        }
    }

    /// Whether the empty text matches wherever it stands, so that the
    /// expression demands nothing.
    pub(super) fn demands_nothing(&self) -> bool {
        match self {
            Self::Element(_) | Self::Look(_) => false,
            Self::Concat(items) => items.iter().all(Self::demands_nothing),
            Self::Alternate(items) => items.iter().any(Self::demands_nothing),
            Self::Repeat { of, min, .. } => *min == 0 || of.demands_nothing(),
        }
    }

    /// The same expression as the regular expression engine takes it.
    pub(super) fn to_hir(&self) -> Hir {
        match self {
            Self::Element(Element::Char(char)) => {
                Hir::literal(char.encode_utf8(&mut [0; 4]).as_bytes().to_vec())
            }
            Self::Element(Element::Any) => Hir::dot(hir::Dot::AnyCharExceptLF),
            Self::Element(Element::Class(class)) => Hir::class(hir::Class::Unicode(class.to_unicode())),
            Self::Look(look) => Hir::look(*look),
            Self::Concat(items) => Hir::concat(items.iter().map(Self::to_hir).collect()),
            Self::Alternate(items) => Hir::alternation(items.iter().map(Self::to_hir).collect()),
            Self::Repeat { of, min, max } => Hir::repetition(hir::Repetition {
                min: *min,
                max: *max,
                greedy: true,
                sub: Box::new(of.to_hir()),
            }),
        }
    }
}

impl Element {
    /// The set as the smallest element that says it.
    pub(super) fn of(set: &ClassUnicode) -> Self {
        let ranges: Box<[_]> = set.iter().map(|range| (range.start(), range.end())).collect();
        match *ranges {
            [(first, last)] if first == last => Self::Char(first),
            [('\0', '\t'), ('\u{b}', char::MAX)] => Self::Any,
            _ => Self::Class(Class::shared(ranges)),
        }
    }

    pub(super) fn contains(&self, char: char) -> bool {
        match self {
            Self::Char(this) => *this == char,
            Self::Any => char != '\n',
            Self::Class(class) => class.contains(char),
        }
    }

    /// The ASCII characters it may be.
    pub(super) fn ascii(&self) -> AsciiSet {
        match self {
            Self::Char(char) => AsciiSet::only(*char),
            Self::Any => AsciiSet::of(|char| char != '\n'),
            Self::Class(class) => class.ascii,
        }
    }

    /// How much a name tells by having such a character: from 0 (nothing) to
    /// 6 (it is one certain character).
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Char(_) => 6,
            Self::Any => 0,
            Self::Class(class) => class.weight(),
        }
    }
}

impl AsciiSet {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(u128::MAX);

    /// This character, if it is one of ASCII.
    pub(super) fn only(char: char) -> Self {
        if char.is_ascii() { Self(1 << char as u32) } else { Self::NONE }
    }

    /// Whether something is in both.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What is in either.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(contains: impl Fn(char) -> bool) -> Self {
        let bits = (0..128u8).filter(|byte| contains(char::from(*byte)));
        Self(bits.fold(0, |set, byte| set | 1 << byte))
    }
}

/// So many sets a thread remembers at most.
const MAX_SHARED: usize = 256;
/// Those of more ranges are not shared: they are rare, and would be kept for long.
const MAX_SHARED_RANGES: usize = 32;

thread_local! {
    /// The sets that patterns were read with lately.
    static SHARED: RefCell<HashSet<ByRanges>> = RefCell::default();
}

impl Class {
    /// Patterns have most sets in common: one of each takes less memory, and less
    /// time to read.
    fn shared(ranges: Box<[(char, char)]>) -> Arc<Self> {
        if ranges.len() > MAX_SHARED_RANGES {
            return Arc::new(Self::new(ranges));
        }
        SHARED.with_borrow_mut(|shared| {
            if let Some(ByRanges(class)) = shared.get(&*ranges) {
                return Arc::clone(class);
            }
            if shared.len() == MAX_SHARED {
                shared.clear();
            }
            let class = Arc::new(Self::new(ranges));
            shared.insert(ByRanges(Arc::clone(&class)));
            class
        })
    }

    fn new(ranges: Box<[(char, char)]>) -> Self {
        Self { ascii: AsciiSet::of(|char| within(&ranges, char)), ranges }
    }

    fn contains(&self, char: char) -> bool {
        if char.is_ascii() { self.ascii.meets(AsciiSet::only(char)) } else { within(&self.ranges, char) }
    }

    fn weight(&self) -> u32 {
        6u32.saturating_sub(self.ascii.0.count_ones().max(1).ilog2()).max(1)
    }

    fn to_unicode(&self) -> ClassUnicode {
        ClassUnicode::new(self.ranges.iter().map(|&(start, end)| hir::ClassUnicodeRange::new(start, end)))
    }
}

/// A set that is found by its ranges.
struct ByRanges(Arc<Class>);

impl Borrow<[(char, char)]> for ByRanges {
    fn borrow(&self) -> &[(char, char)] {
        &self.0.ranges
    }
}

impl PartialEq for ByRanges {
    fn eq(&self, other: &Self) -> bool {
        self.0.ranges == other.0.ranges
    }
}

impl Eq for ByRanges {}

impl Hash for ByRanges {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.ranges.hash(state);
    }
}

fn within(ranges: &[(char, char)], char: char) -> bool {
    let after = ranges.partition_point(|&(start, _)| start <= char);
    after > 0 && char <= ranges[after - 1].1
}
