//! Addresses and routes as people write them.

use std::fmt;
use std::str::FromStr;

use postroad::Cookie;

use crate::config::{DEFAULT_WEIGHT, Route};

/// `host:port`; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A static route: `PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE]`.
#[derive(Debug, Clone)]
pub(crate) struct RouteArg {
    pattern: String,
    address: Address,
    weight: i64,
    cookie: Option<Cookie>,
}

impl RouteArg {
    pub(crate) fn route(&self) -> Route {
        let Self { pattern, address, weight, cookie } = self.clone();
        Route { weight, cookie, ..Route::to(&pattern, &address.host, address.port) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not HOST:PORT (examples: 10.0.0.7:11144, [::1]:11144)")]
pub(crate) struct NoAddress(String);

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let parsed = || {
            let (host, port) = text.rsplit_once(':')?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let is_host = match bare {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && !host.contains([':', '[', ']', '/', '@', '=', ',', ' ']),
            };
            is_host.then_some(())?;
            Some(Self { host: bare.unwrap_or(host).to_owned(), port: port.parse().ok()? })
        };
        parsed().ok_or_else(|| NoAddress(text.to_owned()))
    }
}

/// A text that is no route. It is not repeated: it may hold a cookie.
#[derive(Debug, thiserror::Error)]
#[error(
    "not of the form PATTERN=HOST:PORT[,weight=N][,cookie=COOKIE] \
     (example: ^db@=10.0.0.7:11144,weight=200); a cookie comes last"
)]
pub(crate) struct NoRouteArg;

impl FromStr for RouteArg {
    type Err = NoRouteArg;

    /// The pattern ends at the first `=` behind which everything fits: a
    /// pattern and a cookie may hold `=` and commas themselves.
    fn from_str(text: &str) -> Result<Self, NoRouteArg> {
        text.match_indices('=')
            .find_map(|(at, _)| {
                let mut route = road(&text[at + 1..])?;
                text[..at].clone_into(&mut route.pattern);
                Some(route)
            })
            .ok_or(NoRouteArg)
    }
}

/// What stands behind the pattern.
fn road(text: &str) -> Option<RouteArg> {
    let (address, mut rest) = match text.split_once(',') {
        Some((address, rest)) => (address, Some(rest)),
        None => (text, None),
    };
    let address = address.parse().ok()?;
    let mut route = RouteArg { pattern: String::new(), address, weight: DEFAULT_WEIGHT, cookie: None };
    while let Some(option) = rest {
        if let Some(cookie) = option.strip_prefix("cookie=") {
            route.cookie = Some(Cookie::new(cookie));
            return Some(route);
        }
        let weight;
        (weight, rest) = match option.strip_prefix("weight=")?.split_once(',') {
            Some((weight, rest)) => (weight, Some(rest)),
            None => (option.strip_prefix("weight=")?, None),
        };
        route.weight = weight.parse().ok()?;
    }
    Some(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let address = |host: &str, port| Address { host: host.to_owned(), port };
        assert_eq!("db.example.com:4370".parse::<Address>().unwrap(), address("db.example.com", 4370));
        assert_eq!("[::1]:0".parse::<Address>().unwrap(), address("::1", 0));
        for wrong in ["", "host", ":1", "host:", "host:70000", "::1:80", "[host]:1", "a b:1", "a@b:1"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn routes() {
        let route: RouteArg = "^db@=10.0.0.7:11144".parse().unwrap();
        assert_eq!((route.pattern.as_str(), route.weight, route.cookie.is_some()), ("^db@", 100, false));
        let route: RouteArg = "x=[12]{1,2}=h:1,weight=-5,cookie=a=,b:1".parse().unwrap();
        assert_eq!((route.pattern.as_str(), route.weight), ("x=[12]{1,2}", -5));
        assert_eq!(route.address.host, "h");
        assert_eq!(route.cookie, Some(Cookie::new("a=,b:1")));
        for wrong in ["", "h:1", "p=h", "p=h:1,", "p=h:1,weight=x", "p=h:1,wait=1", "p=h:1,cookie"] {
            let error = wrong.parse::<RouteArg>().unwrap_err();
            assert!(error.to_string().contains("PATTERN=HOST:PORT"), "{wrong}");
        }
    }
}
