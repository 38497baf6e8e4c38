//! Decides whether a name that contains what an expression requires matches it.

use regex_automata::nfa::thompson::pikevm::{Cache, PikeVM};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_syntax::hir::Look;

use super::expression::{Element, Expression};
use super::texts::Required;

/// So much memory one expression may take, in bytes. The time to run it grows
/// with it.
const MAX_ENGINE_SIZE: usize = 64 << 10;

/// A name that is looked up.
pub(super) struct Name<'n> {
    text: &'n str,
    pub(super) chars: Vec<char>,
}

/// The rest of the work once an expression's texts were found in a name.
#[derive(Debug)]
pub(super) enum Matcher {
    /// None: they decide.
    Found,
    /// The expression is a sequence of characters, each so many times.
    Sequence(Sequence),
    /// Everything else.
    Engine(Box<PikeVM>),
}

/// What matchers work in; one serves all expressions of a lookup.
#[derive(Default)]
pub(super) struct Workspace {
    reached: Vec<usize>,
    next: Vec<usize>,
    cache: Option<Cache>,
}

/// The expression needs more than the engine is given.
#[derive(Debug)]
pub(super) struct TooLarge;

impl<'n> Name<'n> {
    pub(super) fn new(text: &'n str) -> Self {
        Self { text, chars: text.chars().collect() }
    }
}

impl Matcher {
    pub(super) fn new(expression: &Expression, required: &Required) -> Result<Self, TooLarge> {
        if required.decides {
            return Ok(Self::Found);
        }
        if let Some(sequence) = Sequence::new(expression) {
            return Ok(Self::Sequence(sequence));
        }
        let config = NFA::config()
            .nfa_size_limit(Some(MAX_ENGINE_SIZE))
            .which_captures(WhichCaptures::None)
            .shrink(true);
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(&expression.to_hir());
        let engine = nfa.and_then(PikeVM::new_from_nfa).map_err(|_| TooLarge)?;
        Ok(Self::Engine(Box::new(engine)))
    }

    pub(super) fn matches(&self, name: &Name<'_>, workspace: &mut Workspace) -> bool {
        match self {
            Self::Found => true,
            Self::Sequence(sequence) => sequence.matches(&name.chars, workspace),
            Self::Engine(engine) => {
                let cache = workspace.cache.get_or_insert_with(|| engine.create_cache());
                cache.reset(engine);
                engine.is_match(cache, name.text)
            }
        }
    }
}

/// Characters one after the other, each so many times.
#[derive(Debug)]
pub(super) struct Sequence {
    starts: bool,
    steps: Box<[Step]>,
    ends: bool,
}

#[derive(Debug)]
enum Step {
    Text(Box<str>),
    Repeat { element: Element, min: u16, max: Option<u16> },
}

impl Sequence {
    fn new(expression: &Expression) -> Option<Self> {
        let mut items = match expression {
            Expression::Concat(items) => items.as_slice(),
            item => std::slice::from_ref(item),
        };
        let starts = matches!(items.first(), Some(Expression::Look(Look::Start)));
        items = &items[usize::from(starts)..];
        let ends = matches!(items.last(), Some(Expression::Look(Look::End)));
        items = &items[..items.len() - usize::from(ends)];

        let mut steps = Vec::new();
        let mut text = String::new();
        for item in items {
            let (of, min, max) = match item {
                Expression::Repeat { of, min, max } => (&**of, *min, *max),
                item => (item, 1, Some(1)),
            };
            let Expression::Element(element) = of else { return None };
            if let (Element::Char(char), 1, Some(1)) = (element, min, max) {
                text.push(*char);
                continue;
            }
            if !text.is_empty() {
                steps.push(Step::Text(std::mem::take(&mut text).into()));
            }
            let max = max.map(u16::try_from).transpose().ok()?;
            steps.push(Step::Repeat { element: element.clone(), min: u16::try_from(min).ok()?, max });
        }
        if !text.is_empty() {
            steps.push(Step::Text(text.into()));
        }
        Some(Self { starts, steps: steps.into(), ends })
    }

    /// Follows all ways through the sequence at once: `reached` holds where in
    /// the name the steps so far can end, in order.
    fn matches(&self, name: &[char], workspace: &mut Workspace) -> bool {
        let Workspace { reached, next, .. } = workspace;
        reached.clear();
        reached.extend(0..=if self.starts { 0 } else { name.len() });
        for step in &self.steps {
            next.clear();
            for from in reached.iter() {
                step.follow(name, *from, next);
            }
            std::mem::swap(reached, next);
        }
        if self.ends { reached.last() == Some(&name.len()) } else { !reached.is_empty() }
    }
}

impl Step {
    /// Adds where the step can end that begins at `from`, if it is not in
    /// `reached` yet. What is there comes from earlier beginnings.
    fn follow(&self, name: &[char], from: usize, reached: &mut Vec<usize>) {
        match self {
            Self::Text(text) => {
                let mut at = from;
                for char in text.chars() {
                    if name.get(at) != Some(&char) {
                        return;
                    }
                    at += 1;
                }
                reached.push(at);
            }
            Self::Repeat { element, min, max } => {
                for count in 0..=max.map_or(usize::MAX, usize::from) {
                    let at = from + count;
                    if count >= usize::from(*min) {
                        if reached.last().is_none_or(|last| *last < at) {
                            reached.push(at);
                        } else if max.is_none() {
                            // An earlier beginning has been everywhere from here on.
                            return;
                        }
                    }
                    if !name.get(at).is_some_and(|char| element.contains(*char)) {
                        return;
                    }
                }
            }
        }
    }
}
