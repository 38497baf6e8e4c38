//! Why a table was not changed.

use super::MAX_PATTERN_LEN;
use super::syntax::PatternFault;
use crate::network::proxy_route::InvalidProxyRoute;
use crate::network::route::InvalidRoute;

/// Why a route was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddRouteError {
    /// There is a route under this pattern already.
    #[error(
        "resource is taken: there is a route for `{pattern}` already; remove it first, or write a \
         different pattern that matches the same names"
    )]
    Taken {
        /// The pattern.
        pattern: Box<str>,
    },
    /// The pattern is not a regular expression.
    #[error("`{pattern}` is not a valid pattern: at character {position}, {fault}")]
    InvalidPattern {
        /// The pattern.
        pattern: Box<str>,
        /// The character it is about, counted from 1.
        position: usize,
        /// What is wrong there.
        fault: PatternFault,
    },
    /// The pattern is longer than [`MAX_PATTERN_LEN`].
    #[error("a pattern has {MAX_PATTERN_LEN} bytes at most, this one has {len}")]
    TooLong {
        /// How long it is, in bytes.
        len: usize,
    },
    /// The route itself cannot be used.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
    /// The proxy route itself cannot be used.
    #[error(transparent)]
    ProxyRoute(#[from] InvalidProxyRoute),
    /// The pattern repeats so much that running it would take too long.
    #[error("`{pattern}` is too large once its repetitions are written out; use smaller counts")]
    TooLarge {
        /// The pattern.
        pattern: Box<str>,
    },
}

/// Why none of several routes was added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no route was added, because of entry {} (`{pattern}`): {source}", index + 1)]
#[non_exhaustive]
pub struct AddRoutesError {
    /// The place of the first route that cannot be added in what was given, counted from 0.
    pub index: usize,
    /// Its pattern.
    pub pattern: Box<str>,
    /// What is wrong with it. [`AddRouteError::Taken`] also if an earlier entry has the same pattern.
    pub source: Box<AddRouteError>,
}

/// Why a route was not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveRouteError {
    /// No route was added under exactly this pattern.
    #[error("unknown: there is no route for `{pattern}`; the text must be the one it was added with")]
    Unknown {
        /// The pattern.
        pattern: Box<str>,
    },
}

/// Why a route was not replaced: the former one stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceRouteError {
    /// No route was added under exactly this pattern.
    #[error("unknown: there is no route for `{pattern}` to replace; add it")]
    Unknown {
        /// The pattern.
        pattern: Box<str>,
    },
    /// The new route cannot be used.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
    /// The new proxy route cannot be used.
    #[error(transparent)]
    ProxyRoute(#[from] InvalidProxyRoute),
}

/// Why several changes were not made: not one of them was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeRoutesError {
    /// A route cannot be removed.
    #[error("no route was changed: {0}")]
    Remove(#[from] RemoveRouteError),
    /// A route cannot be replaced.
    #[error("no route was changed, because of `{pattern}`: {source}")]
    Replace {
        /// Its pattern.
        pattern: Box<str>,
        /// What is wrong with it.
        source: Box<ReplaceRouteError>,
    },
    /// A route cannot be added.
    #[error(transparent)]
    Add(#[from] AddRoutesError),
}
