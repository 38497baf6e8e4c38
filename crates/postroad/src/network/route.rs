//! interim
use std::time::Duration;
use postroad_wire::Cookie;
/// interim
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// a
    #[default] Fail,
    /// b
    Discover }
/// interim
#[derive(Debug, Clone)]
pub struct NetworkRoute { pub(crate) host: String, pub(crate) port: u16, pub(crate) cookie: Option<Cookie>, pub(crate) timeout: Option<Duration> }
impl NetworkRoute {
    /// to
    pub fn to(host: impl Into<String>, port: u16) -> Self { Self { host: host.into(), port, cookie: None, timeout: None } }
    /// cookie
    pub fn cookie(mut self, c: impl Into<Cookie>) -> Self { self.cookie = Some(c.into()); self }
}
