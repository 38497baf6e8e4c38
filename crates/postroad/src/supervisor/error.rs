//! What can go wrong with a supervisor.

use std::time::Duration;

use crate::actor::ExitReason;
use crate::error::{CallError, InvalidName, SpawnError};
use crate::{Atom, Pid};

/// Why a supervisor did not start, ended, or refused a request. Nothing has
/// changed then.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// Its spec names no child.
    #[error("children list can not be empty")]
    NoChildren,
    /// A child's name is empty or too long.
    #[error("invalid child spec Name: {0}")]
    ChildName(#[from] InvalidName),
    /// Two children have this name.
    #[error("duplicate child spec Name: {name}")]
    Duplicate {
        /// The name.
        name: Atom,
    },
    /// It has no child of that name.
    #[error("unknown child: {name}")]
    ChildUnknown {
        /// The name.
        name: Atom,
    },
    /// The child runs.
    #[error("child process is already running: {name} is {pid}")]
    ChildRunning {
        /// The child.
        name: Atom,
        /// Its process.
        pid: Pid,
    },
    /// The child is not to run until it is enabled.
    #[error("child is disabled: enable {name} first")]
    ChildDisabled {
        /// The child.
        name: Atom,
    },
    /// Children are being ended for a restart, or because they were disabled:
    /// try again.
    #[error("supervisor strategy is active")]
    StrategyActive,
    /// The actor of the child takes arguments of another type.
    #[error("the actor of {name} takes other arguments than these")]
    Arguments {
        /// The child.
        name: Atom,
    },
    /// The child did not start.
    #[error("child {name} did not start: {source}")]
    Start {
        /// The child.
        name: Atom,
        /// Why.
        source: SpawnError,
    },
    /// The `init` of the child did not end in time.
    #[error("child {name} did not start: its init took longer than {limit:?}")]
    InitTimeout {
        /// The child.
        name: Atom,
        /// The limit of its spec.
        limit: Duration,
    },
    /// A child was killed and has not ended: it blocks its thread, which nothing
    /// can end. Its successor could not be told from it, so the supervisor ends.
    #[error("child {name} does not end: {pid} blocks its thread; do in spawn_blocking what blocks")]
    LeftBehind {
        /// The child.
        name: Atom,
        /// Its process.
        pid: Pid,
    },
    /// There were more restarts than the supervisor was to bear.
    #[error("restart intensity is exceeded")]
    IntensityExceeded,
    /// The request did not reach a supervisor, or it ended before it answered.
    #[error("no answer of the supervisor: {0}")]
    Request(CallError),
}

impl SupervisorError {
    /// With what reason a supervisor ends because of this: a child's own if it
    /// was its `init` that refused.
    pub(super) fn into_reason(self) -> ExitReason {
        match self {
            Self::Start { source: SpawnError::Init(reason), .. } => reason,
            other => other.into(),
        }
    }
}
