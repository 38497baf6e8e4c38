//! Finds the expressions whose required texts are in a name.
//!
//! Two tries over characters and sets of characters: one for texts that start
//! the name, walked once, and one for texts anywhere, walked from each
//! character. Tries are never changed: adding or removing a text makes a new
//! one that shares all but the nodes on the way to it, so a reader keeps what
//! it has and a writer copies little.

use std::sync::Arc;

use super::expression::{AsciiSet, Element};
use super::texts::Text;

/// Values by the texts a name must contain.
#[derive(Debug)]
pub(super) struct Index<T> {
    starting: Arc<Node<T>>,
    anywhere: Arc<Node<T>>,
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { starting: Arc::clone(&self.starting), anywhere: Arc::clone(&self.anywhere) }
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { starting: Arc::default(), anywhere: Arc::default() }
    }
}

impl<T: Clone> Index<T> {
    /// Makes `value` be found in names that contain `text`.
    pub(super) fn insert(&mut self, text: &Text, value: T) {
        Arc::make_mut(self.trie(text)).insert(&text.elements, Posting { value, ends: text.ends });
    }

    /// Undoes [`Index::insert`] for the values that `is` says.
    pub(super) fn remove(&mut self, text: &Text, is: impl Fn(&T) -> bool) {
        Arc::make_mut(self.trie(text)).remove(&text.elements, &is);
    }

    fn trie(&mut self, text: &Text) -> &mut Arc<Node<T>> {
        // The empty text is in every name, and once is enough.
        let nothing = text.elements.is_empty() && !text.ends;
        if text.starts || nothing { &mut self.starting } else { &mut self.anywhere }
    }
}

impl<T> Index<T> {
    /// Calls `found` with the values of the texts in `name`; with some several times.
    pub(super) fn find<'i>(&'i self, name: &[char], found: &mut impl FnMut(&'i T)) {
        self.starting.walk(name, found);
        for from in 0..=name.len() {
            self.anywhere.walk(&name[from..], found);
        }
    }

    /// All values, with some several times.
    pub(super) fn all<'i>(&'i self, each: &mut impl FnMut(&'i T)) {
        self.starting.all(each);
        self.anywhere.all(each);
    }
}

#[derive(Debug, Clone)]
struct Posting<T> {
    value: T,
    /// The name must end here too.
    ends: bool,
}

#[derive(Debug, Clone)]
struct Node<T> {
    /// What leads here from the node above.
    label: Box<[Element]>,
    postings: Box<[Posting<T>]>,
    /// The nodes below that begin with one certain character, sorted by it.
    certain: Box<[(char, Arc<Node<T>>)]>,
    /// The nodes below that begin with one of several.
    vague: Box<[Vague<T>]>,
}

/// A node that begins with one of several characters, with what can be known of
/// it from outside: a name fits few of them, and the others need not be touched.
#[derive(Debug)]
struct Vague<T> {
    /// The ASCII characters that it begins with.
    first: AsciiSet,
    /// Those that come next, if anything has to.
    second: AsciiSet,
    node: Arc<Node<T>>,
}

impl<T> Clone for Vague<T> {
    fn clone(&self) -> Self {
        Self { first: self.first, second: self.second, node: Arc::clone(&self.node) }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { label: [].into(), postings: [].into(), certain: [].into(), vague: [].into() }
    }
}

impl<T> Node<T> {
    fn walk<'i>(&'i self, rest: &[char], found: &mut impl FnMut(&'i T)) {
        for posting in &self.postings {
            if !posting.ends || rest.is_empty() {
                found(&posting.value);
            }
        }
        let Some(first) = rest.first() else { return };
        if let Ok(at) = self.certain.binary_search_by_key(first, |(char, _)| *char) {
            self.certain[at].1.enter(rest, found);
        }
        let begins = AsciiSet::only(*first);
        // Nothing is known of what is not ASCII, and what is not there is for the node to say.
        let goes_on = rest.get(1).map_or(AsciiSet::NONE, |second| AsciiSet::only(*second));
        for vague in &self.vague {
            let fits = vague.first.meets(begins) || !first.is_ascii() && vague.node.label[0].contains(*first);
            if fits && (goes_on == AsciiSet::NONE || vague.second.meets(goes_on)) {
                vague.node.enter(rest, found);
            }
        }
    }

    /// The ASCII characters that can follow the first one of the label.
    fn second(&self) -> AsciiSet {
        if let Some(second) = self.label.get(1) {
            return second.ascii();
        }
        if !self.postings.is_empty() {
            return AsciiSet::ALL;
        }
        let certain = self.certain.iter().map(|(char, _)| Element::Char(*char).ascii());
        certain.chain(self.vague.iter().map(|vague| vague.first)).fold(AsciiSet::NONE, AsciiSet::or)
    }

    /// Goes on below the label, if `rest` has it; of its first element that is known.
    fn enter<'i>(&'i self, rest: &[char], found: &mut impl FnMut(&'i T)) {
        let len = self.label.len();
        if rest.len() >= len
            && self.label[1..].iter().zip(&rest[1..]).all(|(element, char)| element.contains(*char))
        {
            self.walk(&rest[len..], found);
        }
    }

    fn all<'i>(&'i self, each: &mut impl FnMut(&'i T)) {
        self.postings.iter().for_each(|posting| each(&posting.value));
        self.certain.iter().for_each(|(_, below)| below.all(each));
        self.vague.iter().for_each(|vague| vague.node.all(each));
    }
}

impl<T: Clone> Node<T> {
    /// Adds a posting, `path` below this node.
    fn insert(&mut self, path: &[Element], posting: Posting<T>) {
        let Some(first) = path.first() else {
            return change(&mut self.postings, |postings| postings.push(posting));
        };
        match self.below(first) {
            Ok((below, second)) => {
                let below = Arc::make_mut(below);
                let common = below.label.iter().zip(path).take_while(|(a, b)| a == b).count();
                if common < below.label.len() {
                    below.split(common);
                }
                below.insert(&path[common..], posting);
                if let Some(second) = second {
                    *second = below.second();
                }
            }
            Err(at) => {
                let leaf = Self { label: path.into(), postings: [posting].into(), ..Self::default() };
                self.put_below(at, Arc::new(leaf));
            }
        }
    }

    /// Removes the postings that `is` says, `path` below this node.
    fn remove(&mut self, path: &[Element], is: &impl Fn(&T) -> bool) {
        let Some(first) = path.first() else {
            return change(&mut self.postings, |postings| postings.retain(|posting| !is(&posting.value)));
        };
        let Ok((below, second)) = self.below(first) else { return };
        let Some(path) = path.strip_prefix(&*below.label) else { return };
        let below = Arc::make_mut(below);
        below.remove(path, is);
        if let Some(second) = second {
            *second = below.second();
        }
        if below.postings.is_empty() && below.certain.is_empty() && below.vague.is_empty() {
            match first {
                Element::Char(first) => {
                    change(&mut self.certain, |certain| certain.retain(|(char, _)| char != first))
                }
                first => {
                    change(&mut self.vague, |vague| vague.retain(|vague| vague.node.label[0] != *first));
                }
            }
        }
    }

    /// Cuts the label to `len` elements; the rest leads to a node below that
    /// has all else.
    fn split(&mut self, len: usize) {
        let (label, rest) = self.label.split_at(len);
        let above = Self { label: label.into(), ..Self::default() };
        let below = Self { label: rest.into(), ..std::mem::replace(self, above) };
        if let Err(at) = self.below(&below.label[0]) {
            self.put_below(at, Arc::new(below));
        }
    }

    /// The node below that begins with `first`, and what has to be told if that
    /// changes what comes second; or where it belongs.
    fn below(&mut self, first: &Element) -> Result<(&mut Arc<Self>, Option<&mut AsciiSet>), usize> {
        match first {
            Element::Char(first) => {
                let at = self.certain.binary_search_by_key(first, |(char, _)| *char)?;
                Ok((&mut self.certain[at].1, None))
            }
            first => {
                let count = self.vague.len();
                let found = self.vague.iter_mut().find(|vague| vague.node.label[0] == *first);
                found.map(|vague| (&mut vague.node, Some(&mut vague.second))).ok_or(count)
            }
        }
    }

    fn put_below(&mut self, at: usize, below: Arc<Self>) {
        match &below.label[0] {
            Element::Char(first) => {
                let first = *first;
                change(&mut self.certain, |certain| certain.insert(at, (first, below)));
            }
            first => {
                let (first, second) = (first.ascii(), below.second());
                change(&mut self.vague, |vague| vague.insert(at, Vague { first, second, node: below }));
            }
        }
    }
}

/// Changes a slice as if it were a vector.
fn change<T>(slice: &mut Box<[T]>, change: impl FnOnce(&mut Vec<T>)) {
    let mut vec = std::mem::take(slice).into_vec();
    change(&mut vec);
    *slice = vec.into();
}
