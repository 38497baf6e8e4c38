//! What a name must contain for an expression to match it.
//!
//! An expression is turned into a few *texts*: sequences of characters or sets
//! of characters, each perhaps bound to the start or the end of the name. A
//! name that contains none of them cannot match. Often the opposite holds too
//! (`^db@host$`, `prod-.*`, `.*@example\.com`, `prod-(a|b)`): then finding one
//! of the texts decides, and no expression is run.

use regex_syntax::hir::{ClassUnicode, Look};

use super::expression::{Element, Expression};

/// So many texts stand for one expression at most; beyond, fewer are demanded.
const MAX_TEXTS: usize = 64;
/// So long a text is followed at most; beyond, its first part is demanded.
const MAX_LEN: usize = 256;
/// So long a text is kept when finding it does not decide.
const MAX_HINT: usize = 32;
/// So many times more than at least may something be repeated for each number
/// of times to become a text of its own.
const MAX_OPTIONAL: u32 = 4;
/// The weight of three certain characters: a text that has them needs no vague
/// ones in front.
const ENOUGH: u32 = 18;

/// A sequence of characters, or of sets of them, that stands somewhere in a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text {
    /// The name starts with it.
    pub(super) starts: bool,
    pub(super) elements: Vec<Element>,
    /// The name ends with it.
    pub(super) ends: bool,
}

/// One of these must be in the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Required {
    pub(super) texts: Vec<Text>,
    /// Whether a name with one of the texts matches for certain.
    pub(super) decides: bool,
}

impl Required {
    /// What an unanchored search for `expression` needs.
    pub(super) fn by(expression: &Expression) -> Self {
        match Language::of(expression) {
            Language::All { texts, precise: true } => Self { texts, decides: true },
            language => {
                let mut texts =
                    most_telling([language.prefixes(), language.suffixes(), language.infixes()]).to_vec();
                texts.iter_mut().for_each(Text::shorten);
                Self { decides: texts.is_empty(), texts }
            }
        }
    }

    /// What an entry is found by: one text at least.
    pub(super) fn into_texts(self) -> Vec<Text> {
        if self.texts.is_empty() { vec![Text::impossible()] } else { self.texts }
    }
}

/// Takes from both ends of an expression what a search does not need: `prod-.*`
/// finds what `prod-` finds, and `[a-z]+-db` what `[a-z]-db` does.
pub(super) fn strip(expression: Expression) -> Expression {
    match expression {
        Expression::Concat(mut items) => {
            while let Some(last) = items.pop() {
                if let Some(core) = edge(last) {
                    items.push(core);
                    break;
                }
            }
            items.reverse();
            while let Some(first) = items.pop() {
                if let Some(core) = edge(first) {
                    items.push(core);
                    break;
                }
            }
            items.reverse();
            Expression::concat(items)
        }
        Expression::Alternate(branches) => Expression::Alternate(branches.into_iter().map(strip).collect()),
        item => edge(item).unwrap_or(Expression::Concat(Vec::new())),
    }
}

/// What remains of an item at the edge of an expression.
fn edge(item: Expression) -> Option<Expression> {
    match item {
        item if item.demands_nothing() => None,
        Expression::Repeat { of, min: 1, .. } => Some(*of),
        Expression::Repeat { of, min, .. } => Some(Expression::Repeat { of, min, max: Some(min) }),
        item => Some(item),
    }
}

/// What is known of the texts that an expression matches.
enum Language {
    /// They are these; not `precise` if more is asked than texts can say, such
    /// as the boundary of a word.
    All { texts: Vec<Text>, precise: bool },
    /// Each of them starts with one of these, ends with one of these and
    /// contains one of these.
    Open { prefixes: Vec<Text>, suffixes: Vec<Text>, infixes: Vec<Text> },
}

impl Language {
    fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Element(element) => {
                Self::one(Text { elements: vec![element.clone()], ..Text::default() })
            }
            Expression::Look(Look::Start) => Self::one(Text { starts: true, ..Text::default() }),
            Expression::Look(Look::End) => Self::one(Text { ends: true, ..Text::default() }),
            Expression::Look(_) => Self::All { texts: vec![Text::default()], precise: false },
            Expression::Concat(items) => {
                items.iter().map(Self::of).fold(Self::one(Text::default()), Self::then)
            }
            Expression::Alternate(branches) => {
                let none = Self::All { texts: Vec::new(), precise: true };
                branches.iter().map(Self::of).fold(none, Self::or)
            }
            Expression::Repeat { of, min, max } => Self::of(of).repeated(*min, *max),
        }
    }

    fn one(text: Text) -> Self {
        Self::All { texts: vec![text], precise: true }
    }

    fn prefixes(&self) -> &[Text] {
        match self {
            Self::All { texts, .. } | Self::Open { prefixes: texts, .. } => texts,
        }
    }

    fn suffixes(&self) -> &[Text] {
        match self {
            Self::All { texts, .. } | Self::Open { suffixes: texts, .. } => texts,
        }
    }

    fn infixes(&self) -> &[Text] {
        match self {
            Self::All { texts, .. } | Self::Open { infixes: texts, .. } => texts,
        }
    }

    fn then(mut self, next: Self) -> Self {
        if let (Self::All { texts, precise }, Self::All { texts: more, precise: also }) = (&mut self, &next)
            && fit(texts, more)
        {
            append(texts, more);
            *precise &= also;
            return self;
        }
        let prefixes = match &self {
            Self::All { texts, .. } => joined(texts, next.prefixes()).unwrap_or_else(|| texts.clone()),
            Self::Open { prefixes, .. } => prefixes.clone(),
        };
        let suffixes = match &next {
            Self::All { texts, .. } => joined(self.suffixes(), texts).unwrap_or_else(|| texts.clone()),
            Self::Open { suffixes, .. } => suffixes.clone(),
        };
        let across = joined(self.suffixes(), next.prefixes()).unwrap_or_else(anything);
        let infixes = most_telling([&across, self.infixes(), next.infixes()]).to_vec();
        Self::Open { prefixes, suffixes, infixes }
    }

    fn or(mut self, other: Self) -> Self {
        if let (Self::All { texts, precise }, Self::All { texts: more, precise: also }) = (&mut self, &other)
            && texts.len() + more.len() <= MAX_TEXTS
        {
            texts.extend_from_slice(more);
            *precise &= also;
            return self;
        }
        let either = |these: &[Text], those: &[Text]| {
            if these.len() + those.len() > MAX_TEXTS { anything() } else { [these, those].concat() }
        };
        Self::Open {
            prefixes: either(self.prefixes(), other.prefixes()),
            suffixes: either(self.suffixes(), other.suffixes()),
            infixes: either(self.infixes(), other.infixes()),
        }
    }

    fn repeated(self, min: u32, max: Option<u32>) -> Self {
        let (texts, precise) = match self {
            Self::All { texts, precise } => (texts, precise),
            open if min > 0 => return open,
            _ => return Self::Open { prefixes: anything(), suffixes: anything(), infixes: anything() },
        };
        // What it takes at least, as far as it can be followed.
        let mut least = anything();
        let mut count = 0;
        while count < min && fit(&least, &texts) {
            append(&mut least, &texts);
            count += 1;
        }
        if let Some(max) = max.filter(|max| count == min && max - min <= MAX_OPTIONAL) {
            let (mut all, mut power) = (least.clone(), least.clone());
            while count < max && fit(&power, &texts) && all.len() + power.len() * texts.len() <= MAX_TEXTS {
                append(&mut power, &texts);
                all.extend_from_slice(&power);
                count += 1;
            }
            if count == max {
                return Self::All { texts: all, precise };
            }
        }
        Self::Open { prefixes: least.clone(), suffixes: least.clone(), infixes: least }
    }
}

impl Text {
    /// The text that no name contains, for expressions that match none.
    fn impossible() -> Self {
        Self { elements: vec![Element::of(&ClassUnicode::empty())], ..Self::default() }
    }

    /// Lets `next` follow. False if nothing can be both.
    fn append(&mut self, next: &Self) -> bool {
        let possible = (!self.ends || next.elements.is_empty()) && (!next.starts || self.elements.is_empty());
        self.starts |= next.starts;
        self.elements.extend_from_slice(&next.elements);
        self.ends |= next.ends;
        possible
    }

    /// How much a name tells by having it.
    fn weight(&self) -> u32 {
        let weight = weight(&self.elements);
        if weight == 0 { 0 } else { weight + 6 * (u32::from(self.starts) + u32::from(self.ends)) }
    }

    /// Drops what tells little, for a text that is only a hint where to look.
    fn shorten(&mut self) {
        if !self.starts
            && let Some(first) = self.elements.iter().position(|element| matches!(element, Element::Char(_)))
            && weight(&self.elements[first..]) >= ENOUGH
        {
            self.elements.drain(..first);
        }
        if self.elements.len() > MAX_HINT {
            self.elements.truncate(MAX_HINT);
            self.ends = false;
        }
        while !self.ends && self.elements.last().is_some_and(|last| last.weight() == 0) {
            self.elements.pop();
        }
    }
}

fn weight(elements: &[Element]) -> u32 {
    elements.iter().map(Element::weight).sum()
}

/// The set of texts that is hardest to have any of.
fn most_telling<const N: usize>(sets: [&[Text]; N]) -> &[Text] {
    let weight = |texts: &[Text]| texts.iter().map(Text::weight).min().unwrap_or(u32::MAX);
    sets.into_iter().max_by_key(|texts| weight(texts)).unwrap_or_default()
}

/// The text that every name contains.
fn anything() -> Vec<Text> {
    vec![Text::default()]
}

/// Whether each of `texts` followed by each of `more` is not too much.
fn fit(texts: &[Text], more: &[Text]) -> bool {
    let longest = |texts: &[Text]| texts.iter().map(|text| text.elements.len()).max().unwrap_or(0);
    texts.len() * more.len() <= MAX_TEXTS && longest(texts) + longest(more) <= MAX_LEN
}

/// Each of `texts` followed by each of `more`, as far as that is possible.
fn append(texts: &mut Vec<Text>, more: &[Text]) {
    if let [next] = more {
        texts.retain_mut(|text| text.append(next));
        return;
    }
    let mut all = Vec::with_capacity(texts.len() * more.len());
    for (text, next) in texts.iter().flat_map(|text| more.iter().map(move |next| (text, next))) {
        let mut text = text.clone();
        if text.append(next) && !all.contains(&text) {
            all.push(text);
        }
    }
    *texts = all;
}

fn joined(texts: &[Text], more: &[Text]) -> Option<Vec<Text>> {
    fit(texts, more).then(|| {
        let mut texts = texts.to_vec();
        append(&mut texts, more);
        texts
    })
}
