//! Patterns that are valid and probably not what was meant.

use regex_syntax::hir::Look;

use super::exact;
use super::expression::{Element, Expression};
use super::texts::{Required, Text};

/// Something to tell whoever wrote a pattern. The pattern was accepted as the
/// regular expression it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternWarning {
    /// `prod-*`: a glob that became a regular expression.
    #[error(
        "`{pattern}` is a regular expression, where `{repeated}` is any number of `{character}`; \
         for any text write `{instead}`"
    )]
    LooksLikeGlob {
        /// The pattern.
        pattern: Box<str>,
        /// The part that means something else in a glob.
        repeated: Box<str>,
        /// The character that it repeats.
        character: char,
        /// What was meant, probably.
        instead: Box<str>,
    },
    /// `db@host` or `prod-.*`: a name, or the beginning or end of one, that is
    /// also found in the middle of others, or whose dot is any character.
    #[error("`{pattern}` also matches `{example}`; to leave that out write `{instead}`")]
    MatchesMore {
        /// The pattern.
        pattern: Box<str>,
        /// A name it matches as well.
        example: Box<str>,
        /// What was meant, probably.
        instead: Box<str>,
    },
    /// The pattern matches every name.
    #[error("`{pattern}` matches every node")]
    MatchesEverything {
        /// The pattern.
        pattern: Box<str>,
    },
    /// The pattern matches no name, like `$a`.
    #[error("`{pattern}` matches no name at all")]
    MatchesNothing {
        /// The pattern.
        pattern: Box<str>,
    },
}

pub(super) fn warnings(pattern: &str, expression: &Expression, required: &Required) -> Vec<PatternWarning> {
    let mut warnings = Vec::new();
    let anything = |text: &Text| text.elements.is_empty() && !(text.starts && text.ends);
    if required.texts.is_empty() {
        warnings.push(PatternWarning::MatchesNothing { pattern: pattern.into() });
    } else if required.decides && required.texts.iter().any(anything) {
        warnings.push(PatternWarning::MatchesEverything { pattern: pattern.into() });
    }
    let items = match expression {
        Expression::Concat(items) => items.as_slice(),
        item => std::slice::from_ref(item),
    };
    warnings.extend(items.iter().find_map(|item| looks_like_glob(pattern, item)));
    warnings.extend(matches_more(pattern, items));
    warnings
}

fn looks_like_glob(pattern: &str, item: &Expression) -> Option<PatternWarning> {
    let Expression::Repeat { of, min: 0, max } = item else { return None };
    let Expression::Element(Element::Char(character)) = **of else { return None };
    let (operator, any) = match max {
        None => ('*', ".*"),
        Some(1) if !character.is_alphanumeric() => ('?', "."),
        _ => return None,
    };
    let repeated = format!("{character}{operator}");
    let instead = pattern.replace(&repeated, &format!("{character}{any}"));
    Some(PatternWarning::LooksLikeGlob {
        pattern: pattern.into(),
        repeated: repeated.into(),
        character,
        instead: instead.into(),
    })
}

/// Recognises `name@host`, `beginning.*` and `.*end`, with or without anchors.
fn matches_more(pattern: &str, mut items: &[Expression]) -> Option<PatternWarning> {
    let any = Expression::Repeat { of: Box::new(Expression::Element(Element::Any)), min: 0, max: None };
    let starts = strip_first(&mut items, &Expression::Look(Look::Start));
    let open_start = strip_first(&mut items, &any);
    let ends = strip_last(&mut items, &Expression::Look(Look::End));
    let open_end = strip_last(&mut items, &any);

    let mut dots = false;
    let mut body = String::new();
    for item in items {
        match item {
            Expression::Element(Element::Char(char)) => body.push(*char),
            Expression::Element(Element::Any) => {
                dots = true;
                body.push('.');
            }
            _ => return None,
        }
    }
    // `^db@` and `@prod$` are for many nodes, on purpose.
    let is_name = body.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    // A letter that makes another name of it wherever it is put.
    let other = ('a'..='z').rev().find(|char| !body.contains(*char))?;
    let exact = exact(&body);
    let inner = &exact[1..exact.len() - 1];
    let outside = |bound: bool| if bound { String::new() } else { other.to_string() };
    let (example, instead) = match (open_start, open_end) {
        (false, false) if is_name && !(starts && ends) => {
            (format!("{}{body}{}", outside(starts), outside(ends)), exact)
        }
        (false, false) if is_name && dots => (body.replace('.', &outside(false)), exact),
        (false, true) if !starts && !body.is_empty() => (format!("{other}{body}"), format!("^{inner}.*")),
        (true, false) if !ends && !body.is_empty() => (format!("{body}{other}"), format!(".*{inner}$")),
        _ => return None,
    };
    Some(PatternWarning::MatchesMore {
        pattern: pattern.into(),
        example: example.into(),
        instead: instead.into(),
    })
}

fn strip_first(items: &mut &[Expression], what: &Expression) -> bool {
    let rest = items.strip_prefix(std::slice::from_ref(what));
    *items = rest.unwrap_or(items);
    rest.is_some()
}

fn strip_last(items: &mut &[Expression], what: &Expression) -> bool {
    let rest = items.strip_suffix(std::slice::from_ref(what));
    *items = rest.unwrap_or(items);
    rest.is_some()
}
