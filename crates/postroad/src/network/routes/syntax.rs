//! Reads patterns: Go's regular expressions, as the seed's routes are written in.
//!
//! Go's syntax and Rust's differ where it hurts silently (`\d`, `\w`, `\s` and
//! `\b` are ASCII in Go; `[a&&b]` are three characters; `\<` is a `<`; `a{,2}`
//! is a text), so patterns are read by Go's rules and not translated. Beyond
//! Go nothing is accepted.

use regex_syntax::hir::{self, ClassUnicode, ClassUnicodeRange, HirKind, Look};

use super::expression::{Element, Expression};

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternFault {
    /// `(` without `)`.
    #[error("this group is never closed; add `)`, or write `\\(` for the character")]
    UnclosedGroup,
    /// `)` without `(`.
    #[error("there is no group to close; remove it, or write `\\)` for the character")]
    UnopenedGroup,
    /// `[` without `]`.
    #[error("this set of characters is never closed; add `]`, or write `\\[` for the character")]
    UnclosedClass,
    /// `[z-a]`.
    #[error("the range ends before it begins")]
    BackwardRange,
    /// `*`, `+`, `?` or `{n}` with nothing before it.
    #[error("there is nothing before it to repeat; for any text write `.*`")]
    NothingToRepeat,
    /// `a**`.
    #[error("what is repeated already is repeated again; for any text write `.*`")]
    RepeatedTwice,
    /// `a{1001}` or `a{3,2}`.
    #[error("a repetition counts upwards and to 1000 at most")]
    RepetitionCount,
    /// A `\` with nothing behind it.
    #[error("nothing follows the backslash; write `\\\\` for the character")]
    TrailingBackslash,
    /// `\y`.
    #[error("an escape that does not exist")]
    UnknownEscape,
    /// `\1`.
    #[error("back-references are not supported: they have no bound on the time they take")]
    BackReference,
    /// `(?=a)`, `(?!a)`, `(?<=a)`, `(?<!a)`, `(?>a)`.
    #[error(
        "looking ahead or behind is not supported: it has no bound on the time it takes; \
         use several routes with weights instead"
    )]
    LookAround,
    /// `(?x)` and whatever else follows `(?`.
    #[error("an unknown kind of group; known are `(?:…)`, `(?P<name>…)` and the flags i, m, s and U")]
    UnknownGroup,
    /// `(?P<name>a)(?P<name>b)`.
    #[error("there is another group of that name")]
    GroupNameTaken,
    /// `\p{Klingon}`, `[[:letter:]]`.
    #[error("there is no class of characters of that name")]
    UnknownClass,
    /// More than 100 groups in one another.
    #[error("groups are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

/// How deep groups may be nested.
const MAX_DEPTH: usize = 100;
/// The most a repetition may count to, as in Go.
const MAX_COUNT: u32 = 1000;

/// Reads `pattern`. An error comes with the byte it is about.
pub(super) fn read(pattern: &str) -> Result<Expression, (usize, PatternFault)> {
    let mut reader = Reader { text: pattern, at: 0, flags: Flags::default(), depth: 0, names: Vec::new() };
    let expression = reader.alternation()?;
    if reader.at < pattern.len() {
        return Err((reader.at, PatternFault::UnopenedGroup));
    }
    Ok(expression)
}

struct Reader<'p> {
    text: &'p str,
    at: usize,
    flags: Flags,
    depth: usize,
    /// Of the groups so far.
    names: Vec<&'p str>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    lines: bool,
    dot_is_any: bool,
}

type Read<T> = Result<T, (usize, PatternFault)>;

impl<'p> Reader<'p> {
    fn rest(&self) -> &'p str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn skip(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Up to the end or a `)`, which stays.
    fn alternation(&mut self) -> Read<Expression> {
        let mut branches = vec![self.concatenation()?];
        while self.skip("|") {
            branches.push(self.concatenation()?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Expression::Alternate(branches) })
    }

    fn concatenation(&mut self) -> Read<Expression> {
        let mut items = Vec::new();
        let mut repeated = false;
        while let Some(char) = self.peek() {
            let start = self.at;
            if let Some((min, max)) = self.repetition()? {
                if repeated {
                    return Err((start, PatternFault::RepeatedTwice));
                }
                let of = items.pop().ok_or((start, PatternFault::NothingToRepeat))?;
                self.skip("?");
                repeated = true;
                items.push(Expression::Repeat { of: Box::new(of), min, max });
                continue;
            }
            repeated = false;
            match char {
                '|' | ')' => break,
                '(' => items.extend(self.group()?),
                '[' => items.push(self.class()?),
                '\\' => self.escape(&mut items)?,
                '.' => items.push(self.dot()),
                '^' => items.push(self.line(Look::Start, Look::StartLF)),
                '$' => items.push(self.line(Look::End, Look::EndLF)),
                char => {
                    self.at += char.len_utf8();
                    items.push(self.literal(char));
                }
            }
        }
        Ok(Expression::concat(items))
    }

    fn dot(&mut self) -> Expression {
        self.at += 1;
        Expression::Element(if self.flags.dot_is_any {
            Element::of(&ranges(EVERYTHING))
        } else {
            Element::Any
        })
    }

    fn line(&mut self, text: Look, line: Look) -> Expression {
        self.at += 1;
        Expression::Look(if self.flags.lines { line } else { text })
    }

    fn literal(&self, char: char) -> Expression {
        Expression::Element(if self.flags.fold_case {
            Element::of(&self.set(char, char))
        } else {
            Element::Char(char)
        })
    }

    /// The characters of a range, and those that differ from them by case only
    /// if case does not count.
    fn set(&self, first: char, last: char) -> ClassUnicode {
        self.folded(ranges(&[(first, last)]), false)
    }

    fn folded(&self, mut set: ClassUnicode, negated: bool) -> ClassUnicode {
        if self.flags.fold_case {
            set.case_fold_simple();
        }
        if negated {
            set.negate();
        }
        set
    }

    /// `*`, `+`, `?` or a count in braces.
    fn repetition(&mut self) -> Read<Option<(u32, Option<u32>)>> {
        let bounds = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.count(),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(bounds))
    }

    /// `{n}`, `{n,}` or `{n,m}`. A brace with anything else in it is a character.
    fn count(&mut self) -> Read<Option<(u32, Option<u32>)>> {
        let Some((inside, _)) = self.rest()[1..].split_once('}') else { return Ok(None) };
        let (min, max) = inside.split_once(',').unwrap_or((inside, inside));
        let is_number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
        };
        if min.is_empty() || !is_number(min) || !is_number(max) {
            return Ok(None);
        }
        let number = |text: &str| text.parse().unwrap_or(u32::MAX);
        let (min, max) = (number(min), (!max.is_empty()).then(|| number(max)));
        if min > MAX_COUNT || max.is_some_and(|max| max > MAX_COUNT || max < min) {
            return Err((self.at, PatternFault::RepetitionCount));
        }
        self.at += inside.len() + 2;
        Ok(Some((min, max)))
    }

    /// From `(` to `)`; nothing if it only sets flags.
    fn group(&mut self) -> Read<Option<Expression>> {
        let start = self.at;
        self.at += 1;
        let outer = self.flags;
        if self.skip("?") {
            match self.peek() {
                Some('=' | '!' | '>') => return Err((start, PatternFault::LookAround)),
                Some('P' | '<') => self.group_name(start)?,
                _ => {
                    if self.flags_of_group(start)? {
                        return Ok(None);
                    }
                }
            }
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((start, PatternFault::TooDeep));
        }
        let inner = self.alternation()?;
        if !self.skip(")") {
            return Err((start, PatternFault::UnclosedGroup));
        }
        self.depth -= 1;
        self.flags = outer;
        Ok(Some(inner))
    }

    /// `P<name>` or `<name>`.
    fn group_name(&mut self, start: usize) -> Read<()> {
        self.skip("P");
        if self.rest().starts_with("<=") || self.rest().starts_with("<!") {
            return Err((start, PatternFault::LookAround));
        }
        let name = self.rest().strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(name, _)| name);
        match name {
            Some(name) if self.names.contains(&name) => Err((start, PatternFault::GroupNameTaken)),
            Some(name) if !name.is_empty() && name.chars().all(is_word) => {
                self.names.push(name);
                self.at += name.len() + 2;
                Ok(())
            }
            _ => Err((start, PatternFault::UnknownGroup)),
        }
    }

    /// `i`, `m`, `s`, `U` and `-`, up to `)` (true: they hold from here on) or
    /// `:` (they hold for the group).
    fn flags_of_group(&mut self, start: usize) -> Read<bool> {
        let mut on = true;
        loop {
            match self.next() {
                Some('i') => self.flags.fold_case = on,
                Some('m') => self.flags.lines = on,
                Some('s') => self.flags.dot_is_any = on,
                // Which of several matches is preferred: all the same here.
                Some('U') => {}
                Some('-') if on => on = false,
                Some(end @ (')' | ':')) if self.text.as_bytes()[self.at - 2] != b'-' => return Ok(end == ')'),
                _ => return Err((start, PatternFault::UnknownGroup)),
            }
        }
    }

    /// From a `\` on, outside of a set.
    fn escape(&mut self, items: &mut Vec<Expression>) -> Read<()> {
        let start = self.at;
        let look = match self.rest().as_bytes().get(1) {
            Some(b'A') => Look::Start,
            Some(b'z') => Look::End,
            Some(b'b') => Look::WordAscii,
            Some(b'B') => Look::WordAsciiNegate,
            Some(b'Q') => {
                let (quoted, end) = match self.rest()[2..].split_once("\\E") {
                    Some((quoted, _)) => (quoted, quoted.len() + 4),
                    None => (&self.rest()[2..], self.rest().len()),
                };
                items.extend(quoted.chars().map(|char| self.literal(char)));
                self.at += end;
                return Ok(());
            }
            _ => {
                let item = match self.named_class(start)? {
                    Some(set) => Expression::Element(Element::of(&set)),
                    None => {
                        let char = self.escaped_char(start)?;
                        self.literal(char)
                    }
                };
                items.push(item);
                return Ok(());
            }
        };
        self.at += 2;
        items.push(Expression::Look(look));
        Ok(())
    }

    /// `\d`, `\D`, `\pL`, `\p{Greek}` and their like, in a set or outside.
    fn named_class(&mut self, start: usize) -> Read<Option<ClassUnicode>> {
        let Some(letter) = self.rest().strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
            return Ok(None);
        };
        let mut negated = letter.is_ascii_uppercase();
        let set = match letter {
            'd' | 'D' => ranges(DIGIT),
            'w' | 'W' => ranges(WORD),
            's' | 'S' => ranges(SPACE),
            'p' | 'P' => {
                let unknown = (start, PatternFault::UnknownClass);
                let rest = &self.rest()[2..];
                let name = match rest.strip_prefix('{') {
                    Some(rest) => rest.split_once('}').map(|(name, _)| name),
                    None => rest.chars().next().map(|letter| &rest[..letter.len_utf8()]),
                };
                let name = name.ok_or(unknown.clone())?;
                let plain = name.strip_prefix('^').unwrap_or(name);
                negated ^= plain.len() < name.len();
                let set = unicode_set(plain).ok_or(unknown)?;
                self.at += if rest.starts_with('{') { name.len() + 2 } else { name.len() };
                set
            }
            _ => return Ok(None),
        };
        self.at += 2;
        Ok(Some(self.folded(set, negated)))
    }

    /// An escape that stands for one character.
    fn escaped_char(&mut self, start: usize) -> Read<char> {
        self.at += 1;
        let fault = |fault| (start, fault);
        match self.next().ok_or(fault(PatternFault::TrailingBackslash))? {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            'x' => self.hexadecimal().ok_or(fault(PatternFault::UnknownEscape)),
            '1'..='7' if !matches!(self.peek(), Some('0'..='7')) => Err(fault(PatternFault::BackReference)),
            '8' | '9' => Err(fault(PatternFault::BackReference)),
            first @ '0'..='7' => {
                let more =
                    self.rest().bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let value =
                    self.rest()[..more].chars().fold(octal(first), |value, char| value * 8 + octal(char));
                self.at += more;
                char::from_u32(value).ok_or(fault(PatternFault::UnknownEscape))
            }
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => Ok(char),
            _ => Err(fault(PatternFault::UnknownEscape)),
        }
    }

    /// `41` or `{1F600}`.
    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.skip("{") {
            let digits = self.rest().split_once('}')?.0;
            self.at += 1;
            digits
        } else {
            self.rest().get(..2)?
        };
        self.at += digits.len();
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    /// From `[` to `]`.
    fn class(&mut self) -> Read<Expression> {
        let start = self.at;
        let unclosed = (start, PatternFault::UnclosedClass);
        self.at += 1;
        let negated = self.skip("^");
        let mut set = ClassUnicode::empty();
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            let item = self.at;
            if let Some(named) = self.posix_class()? {
                set.union(&named);
            } else if let Some(named) = self.named_class(item)? {
                set.union(&named);
            } else {
                let from = self.class_char(&unclosed)?;
                let mut to = from;
                if self.rest().starts_with('-') && !self.rest().starts_with("-]") && self.rest().len() > 1 {
                    self.at += 1;
                    to = self.class_char(&unclosed)?;
                }
                if to < from {
                    return Err((item, PatternFault::BackwardRange));
                }
                set.union(&self.set(from, to));
            }
            if self.peek().is_none() {
                return Err(unclosed);
            }
        }
        self.at += 1;
        if negated {
            set.negate();
        }
        Ok(Expression::Element(Element::of(&set)))
    }

    fn class_char(&mut self, unclosed: &(usize, PatternFault)) -> Read<char> {
        match self.peek() {
            Some('\\') => self.escaped_char(self.at),
            Some(char) => {
                self.at += char.len_utf8();
                Ok(char)
            }
            None => Err(unclosed.clone()),
        }
    }

    /// `[:alpha:]` or `[:^alpha:]`, in a set.
    fn posix_class(&mut self) -> Read<Option<ClassUnicode>> {
        let Some(rest) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some((name, _)) = rest.split_once(":]") else { return Ok(None) };
        let plain = name.strip_prefix('^').unwrap_or(name);
        let set: &[(char, char)] = match plain {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\x7f')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
            "digit" => DIGIT,
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => WORD,
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err((self.at, PatternFault::UnknownClass)),
        };
        self.at += name.len() + 4;
        Ok(Some(self.folded(ranges(set), plain.len() < name.len())))
    }
}

const DIGIT: &[(char, char)] = &[('0', '9')];
const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
/// Without the vertical tab, unlike `[:space:]`.
const SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
const EVERYTHING: &[(char, char)] = &[('\0', char::MAX)];

fn ranges(ranges: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(ranges.iter().map(|&(first, last)| ClassUnicodeRange::new(first, last)))
}

/// A general category or a script of Unicode.
fn unicode_set(name: &str) -> Option<ClassUnicode> {
    if !name.chars().all(is_word) {
        return None;
    }
    match regex_syntax::parse(&format!("\\p{{{name}}}")).ok()?.into_kind() {
        HirKind::Class(hir::Class::Unicode(set)) => Some(set),
        HirKind::Literal(hir::Literal(bytes)) => {
            let char = std::str::from_utf8(&bytes).ok()?.chars().next()?;
            Some(ranges(&[(char, char)]))
        }
        _ => None,
    }
}

fn is_word(char: char) -> bool {
    char == '_' || char.is_ascii_alphanumeric()
}

fn octal(digit: char) -> u32 {
    digit.to_digit(8).unwrap_or(0)
}
