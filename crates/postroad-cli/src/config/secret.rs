//! Secrets in a configuration file: where they come from.

use std::fmt;
use std::path::Path;

use postroad::Cookie;
use zeroize::Zeroizing;

use super::Reading;
use super::section::Section;

/// A text that nobody is shown, and that leaves nothing in memory behind.
#[derive(Clone, PartialEq)]
pub(crate) struct Secret(Zeroizing<String>);

/// Under which keys a secret may be given.
struct Keys {
    plain: &'static str,
    file: &'static str,
    variable: &'static str,
}

const COOKIE: Keys = Keys { plain: "cookie", file: "cookie_file", variable: "cookie_env" };
const PASSWORD: Keys = Keys { plain: "password", file: "password_file", variable: "password_env" };

/// The cookie of a section.
pub(crate) fn cookie(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Cookie> {
    read(section, reading, &COOKIE).map(|secret| Cookie::new(secret.expose()))
}

/// The password of a section.
pub(crate) fn password(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Secret> {
    read(section, reading, &PASSWORD)
}

impl Secret {
    /// The text itself, for whoever needs it to prove something.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(unix)]
fn may_be_read_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let others = 0o004;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & others != 0)
}

#[cfg(not(unix))]
fn may_be_read_by_others(_: &Path) -> bool {
    false
}

/// A secret from a file, from the environment, or, if the file says that it may
/// hold secrets, from the file itself.
fn read(section: &mut Section<'_>, reading: &Reading<'_>, keys: &Keys) -> Option<Secret> {
    let reader = section.reader;
    let what = keys.plain;
    let plain = section.text(keys.plain);
    let file = section.text(keys.file);
    let variable = section.text(keys.variable);
    let given: Vec<_> = [&plain, &file, &variable].into_iter().flatten().map(|text| text.span()).collect();
    if let [_, second, ..] = &given[..] {
        let one_of = format!("say one of {what}, {} and {}", keys.file, keys.variable);
        reader.error(second.clone(), format!("more than one {what}: {one_of}"));
        return None;
    }
    let span = given.into_iter().next()?;
    let text = if let Some(file) = file {
        let path = reader.source.relative(file.get_ref());
        let is_new = reading.depends_on(&path);
        if is_new && may_be_read_by_others(&path) {
            reader.warning(
                span.clone(),
                format!("everybody on this machine may read the {what} file: chmod o-rwx {}", path.display()),
            );
        }
        std::fs::read_to_string(&path)
            .map(|text| Zeroizing::new(Zeroizing::new(text).trim().to_owned()))
            .map_err(|error| format!("cannot read the {what} file {}: {error}", path.display()))
    } else if let Some(variable) = variable {
        std::env::var(variable.get_ref())
            .map(Zeroizing::new)
            .map_err(|error| format!("the environment variable {}: {error}", variable.get_ref()))
    } else if reading.cookies_in_file {
        Ok(Zeroizing::new(plain?.into_inner()))
    } else {
        let help = format!(
            "put it into a file of its own and say {} = \"FILE\", or allow it here with \
             cookies_in_file = true in [node]",
            keys.file
        );
        reader.error_with_help(span, format!("a {what} in plain text"), help);
        return None;
    };
    match text {
        Ok(text) if text.is_empty() => reader.error(span, format!("the {what} is empty")),
        Ok(text) => return Some(Secret(text)),
        Err(error) => reader.error(span, error),
    }
    None
}
