//! Where the cookie comes from.

use std::path::PathBuf;

use anyhow::Context as _;
use postroad::Cookie;

const VARIABLE: &str = "POSTROAD_COOKIE";

/// What to say where there must be a cookie and there is none.
pub(crate) const NO_COOKIE: &str =
    "no cookie: give --cookie-file, POSTROAD_COOKIE or --cookie, or one in a configuration file";

/// The secret that two nodes share.
#[derive(clap::Args)]
pub(crate) struct CookieArgs {
    /// The cookie. Whoever may list the processes of this machine can read it
    /// there: better use --cookie-file, or the environment variable
    /// POSTROAD_COOKIE.
    #[arg(long, value_name = "COOKIE", conflicts_with = "cookie_file")]
    cookie: Option<Cookie>,
    /// A file that holds the cookie; white space around it does not count.
    #[arg(long, value_name = "FILE")]
    cookie_file: Option<PathBuf>,
}

impl CookieArgs {
    /// The cookie, wherever it was given; none if it was not.
    pub(crate) fn find(&self) -> anyhow::Result<Option<Cookie>> {
        let cookie = match (&self.cookie, &self.cookie_file) {
            (Some(cookie), _) => Some(cookie.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the cookie file {}", file.display()))?;
                Some(Cookie::new(text.trim()))
            }
            (None, None) => std::env::var(VARIABLE).ok().map(Cookie::new),
        };
        anyhow::ensure!(cookie.as_ref().is_none_or(|cookie| !cookie.is_empty()), "the cookie is empty");
        Ok(cookie)
    }
}
