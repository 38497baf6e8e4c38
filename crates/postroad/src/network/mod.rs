//! How a node reaches other nodes.

mod plan;
mod route;
pub mod routes;

pub use self::plan::{
    Attempt, AttemptError, Discovery, FailedAttempt, NoRoute, OwnName, Plan, PlanOptions, Reason, Resolve,
    Stage, Step,
};
pub use self::route::{InvalidRoute, NetworkRoute, OnFailure};
pub use self::routes::{AddRouteError, PatternWarning, exact};
