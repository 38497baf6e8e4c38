//! Applications of other nodes.

use std::time::Duration;

use postroad_edf::Ref;
use postroad_wire::NetworkFlags;
use postroad_wire::enp::any::{self, ApplicationDescription, ApplicationOptions, ApplicationStart, Request};
use postroad_wire::tunnel::Operations;

use super::{LOG_LEVEL, RemoteNode};
use crate::application::{ApplicationInfo, StartOptions};
use crate::error::{InvalidName, SendError};
use crate::network::connection::understood;
use crate::network::{AskError, ConnectError, Refusal};
use crate::node::process_name;
use crate::process::Environment;
use crate::{Atom, ExitReason};

/// Why another node did not start an application.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteStartError {
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Name(#[from] InvalidName),
    /// There is no connection with the node.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request was not sent.
    #[error(transparent)]
    Send(SendError),
    /// The node starts no application for this one, or not through the gateways
    /// that it is reached through.
    #[error("not allowed: {node} does not start that for this node, or not through the gateways in between")]
    NotAllowed {
        /// The other node.
        node: Atom,
    },
    /// The application is not enabled there.
    #[error("unknown name: {node} has no application enabled as {name}")]
    NameUnknown {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
    },
    /// It is enabled, but not loaded there.
    #[error("unknown application: {name} is enabled on {node}, but not loaded there")]
    ApplicationUnknown {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
    },
    /// It runs already.
    #[error("application is still running: {name} on {node}")]
    Running {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
    },
    /// It was not started, for a reason of that node.
    #[error("{node} has not started {name}: {reason}")]
    Refused {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
        /// What the node says.
        reason: ExitReason,
    },
    /// The node did not answer in time. The application may have been started
    /// all the same.
    #[error("timed out: {node} did not answer within {limit:?}")]
    Timeout {
        /// The other node.
        node: Atom,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection ended before the node answered. The application may have
    /// been started all the same.
    #[error("lost the connection with {node} while waiting for its answer")]
    NoConnection {
        /// The other node.
        node: Atom,
    },
}

/// Why another node did not describe an application.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteInfoError {
    /// The name is empty or too long.
    #[error("not a name: {0}")]
    Name(#[from] InvalidName),
    /// There is no connection with the node.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request was not sent.
    #[error(transparent)]
    Send(SendError),
    /// The node describes no application to anybody: Ergo's do since 3.2.0.
    #[error("not supported: {node} describes no applications; an Ergo node does since 3.2.0")]
    NotSupported {
        /// The other node.
        node: Atom,
    },
    /// It is not loaded there.
    #[error("unknown application: {node} has none named {name}")]
    ApplicationUnknown {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
    },
    /// The node does not describe it to this one.
    #[error("not described: {node} says {reason}")]
    Refused {
        /// The other node.
        node: Atom,
        /// What it says.
        reason: ExitReason,
    },
    /// The node did not answer in time.
    #[error("timed out: {node} did not answer within {limit:?}")]
    Timeout {
        /// The other node.
        node: Atom,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection ended before the node answered.
    #[error("lost the connection with {node} while waiting for its answer")]
    NoConnection {
        /// The other node.
        node: Atom,
    },
    /// The node answered something that does not describe the application.
    #[error("{node} answered without a description of {name}")]
    Malformed {
        /// The other node.
        node: Atom,
        /// The application.
        name: Atom,
    },
}

/// Applications.
impl RemoteNode {
    /// Has the node start an application that is loaded and enabled there, in
    /// the mode of its spec. Waits five seconds at most.
    ///
    /// This node's environment goes along if that is exposed
    /// ([`NodeBuilder::expose_env_remote_application_start`](crate::NodeBuilder::expose_env_remote_application_start)):
    /// there it lies below that node's own and that of the spec.
    ///
    /// Cancellation: a dropped future leaves it open whether it is started.
    pub async fn start_application(&self, name: &str) -> Result<(), RemoteStartError> {
        self.start_application_with(name, StartOptions::new()).await
    }

    /// [`start_application`](Self::start_application), but as the options say.
    pub async fn start_application_with(
        &self,
        name: &str,
        options: StartOptions,
    ) -> Result<(), RemoteStartError> {
        let name = process_name(name)?;
        let (local, node) = (&self.node, self.name());
        let connection = local.network.connection(local, node).await?;
        if !connection.may_ask_for(NetworkFlags::REMOTE_APPLICATION_START, Operations::APPLICATION_START) {
            return Err(RemoteStartError::NotAllowed { node });
        }
        let core = local.core();
        let exposed = match local.exposes.remote_application_start {
            true => local.environment.lock().clone(),
            false => Environment::new(),
        };
        let core_environment = exposed.to_wire(&local.registry);
        let environment = options.environment.to_wire(&local.registry);
        let asked = connection.ask(core.id, |reference| {
            Request::ApplicationStart(Box::new(ApplicationStart {
                mode: options.mode.map(any::ApplicationMode::from).unwrap_or_default(),
                options: ApplicationOptions { environment, ..ApplicationOptions::default() },
                core_environment,
                core_log_level: LOG_LEVEL,
                ..ApplicationStart::new(name, core, reference)
            }))
        });
        asked.await.map(drop).map_err(|error| match error {
            AskError::Send(SendError::NoConnection { node }) => RemoteStartError::NoConnection { node },
            AskError::Send(error) => RemoteStartError::Send(error),
            AskError::Refused(Refusal::NotAllowed) => RemoteStartError::NotAllowed { node },
            AskError::Refused(Refusal::NameUnknown) => RemoteStartError::NameUnknown { node, name },
            AskError::Refused(Refusal::ApplicationUnknown) => {
                RemoteStartError::ApplicationUnknown { node, name }
            }
            AskError::Refused(Refusal::ApplicationRunning) => RemoteStartError::Running { node, name },
            AskError::Refused(other) => {
                RemoteStartError::Refused { node, name, reason: ExitReason::error(other) }
            }
            AskError::Timeout(limit) => RemoteStartError::Timeout { node, limit },
            AskError::NoConnection { node } => RemoteStartError::NoConnection { node },
        })
    }

    /// Has the node tell what one of its applications is and does. Its
    /// environment is not told. Waits five seconds at most.
    ///
    /// Cancel safe: nothing changes over there.
    pub async fn application_info(&self, name: &str) -> Result<ApplicationInfo, RemoteInfoError> {
        let name = process_name(name)?;
        let (local, node) = (&self.node, self.name());
        let connection = local.network.connection(local, node).await?;
        if !connection.describes_applications() {
            return Err(RemoteInfoError::NotSupported { node });
        }
        let request = |reference: Ref| Request::ApplicationInfo(any::ApplicationInfo { name, reference });
        let answer = connection.ask(local.core().id, request).await.map_err(|error| match error {
            AskError::Send(SendError::NoConnection { node }) => RemoteInfoError::NoConnection { node },
            AskError::Send(error) => RemoteInfoError::Send(error),
            AskError::Refused(Refusal::ApplicationUnknown) => {
                RemoteInfoError::ApplicationUnknown { node, name }
            }
            AskError::Refused(Refusal::NotSupported) => RemoteInfoError::NotSupported { node },
            AskError::Refused(other) => RemoteInfoError::Refused { node, reason: ExitReason::error(other) },
            AskError::Timeout(limit) => RemoteInfoError::Timeout { node, limit },
            AskError::NoConnection { node } => RemoteInfoError::NoConnection { node },
        })?;
        let described = answer.downcast::<ApplicationDescription>().ok().and_then(understood);
        described.filter(|info| info.name == name).ok_or(RemoteInfoError::Malformed { node, name })
    }
}
