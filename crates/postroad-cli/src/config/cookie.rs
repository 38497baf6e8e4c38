//! Cookies in a configuration file: where they come from.

use postroad::Cookie;

use super::Reading;
use super::section::Section;

/// The cookie of a section: from a file, from the environment, or, if the file
/// says that it may hold cookies, from the file itself.
pub(crate) fn read(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Cookie> {
    let reader = section.reader;
    let plain = section.text("cookie");
    let file = section.text("cookie_file");
    let variable = section.text("cookie_env");
    let given: Vec<_> = [&plain, &file, &variable].into_iter().flatten().map(|text| text.span()).collect();
    if let [_, second, ..] = &given[..] {
        reader.error(second.clone(), "more than one cookie: say one of cookie, cookie_file and cookie_env");
        return None;
    }
    let span = given.into_iter().next()?;
    let cookie = if let Some(file) = file {
        let path = reader.source.relative(file.get_ref());
        reading.depends_on(&path);
        std::fs::read_to_string(&path)
            .map(|text| Cookie::new(text.trim()))
            .map_err(|error| format!("cannot read the cookie file {}: {error}", path.display()))
    } else if let Some(variable) = variable {
        std::env::var(variable.get_ref())
            .map(Cookie::new)
            .map_err(|error| format!("the environment variable {}: {error}", variable.get_ref()))
    } else if reading.cookies_in_file {
        Ok(Cookie::new(plain?.into_inner()))
    } else {
        reader.error_with_help(
            span,
            "a cookie in plain text",
            "put it into a file of its own and say cookie_file = \"FILE\", or allow it here with \
             cookies_in_file = true in [node]",
        );
        return None;
    };
    match cookie {
        Ok(cookie) if cookie.is_empty() => reader.error(span, "the cookie is empty"),
        Ok(cookie) => return Some(cookie),
        Err(error) => reader.error(span, error),
    }
    None
}
