//! What a node tells another one of its applications
//! (`docs/wire/ENP.md` section 15).

use std::time::Duration;

use postroad_edf::{Atom, Payload};
use postroad_wire::Version;
use postroad_wire::enp::any::{self, ApplicationDepends, ApplicationDescription, Environment};

use super::Connection;
use super::requests::AnswerTo;
use crate::application::{ApplicationInfo, ApplicationMode};
use crate::node::Node;
use crate::registrar::ApplicationState;

impl Connection {
    /// Describes an application; its environment stays a secret.
    pub(super) fn application_info_asked(&self, asked: &any::ApplicationInfo, answer_to: AnswerTo) {
        let node = Node::from_inner(self.node().clone());
        match node.application_info(asked.name.as_str()) {
            Ok(info) => self.grant(answer_to, Payload::new(described(info))),
            Err(error) => self.refuse(answer_to, error.into()),
        }
    }
}

fn described(info: ApplicationInfo) -> ApplicationDescription {
    ApplicationDescription {
        name: info.name,
        weight: isize::try_from(info.weight).unwrap_or(isize::MAX),
        // Long ones were refused when it was loaded.
        tags: info.tags.iter().filter_map(|tag| Atom::new(tag).ok()).collect(),
        roles: info.roles,
        description: info.description,
        version: Version::new(info.name.as_str(), info.version),
        environment: Environment::new(),
        depends: ApplicationDepends { applications: info.depends, network: false },
        mode: match info.mode {
            ApplicationMode::Temporary => 1,
            ApplicationMode::Transient => 2,
            ApplicationMode::Permanent => 3,
        },
        state: match info.state {
            ApplicationState::Loaded => 1,
            ApplicationState::Running => 2,
            ApplicationState::Stopping => 3,
        },
        parent: info.started_by.unwrap_or_else(Atom::empty),
        uptime: info.uptime.map_or(0, |uptime| i64::try_from(uptime.as_secs()).unwrap_or(i64::MAX)),
        group: info.members,
    }
}

/// A description, unless it is of a mode or a state that nobody knows.
pub(in crate::network) fn understood(described: ApplicationDescription) -> Option<ApplicationInfo> {
    let state = match described.state {
        1 => ApplicationState::Loaded,
        2 => ApplicationState::Running,
        3 => ApplicationState::Stopping,
        _ => return None,
    };
    // Ergo counts from 1970 for what does not run.
    let runs = state != ApplicationState::Loaded;
    Some(ApplicationInfo {
        name: described.name,
        description: described.description,
        version: described.version.release,
        depends: described.depends.applications,
        mode: match described.mode {
            0 | 1 => ApplicationMode::Temporary,
            2 => ApplicationMode::Transient,
            3 => ApplicationMode::Permanent,
            _ => return None,
        },
        weight: described.weight as i64,
        tags: described.tags.iter().map(ToString::to_string).collect(),
        roles: described.roles,
        state,
        started_by: Some(described.parent).filter(|parent| runs && !parent.is_empty()),
        uptime: runs.then(|| Duration::from_secs(described.uptime.max(0) as u64)),
        members: described.group,
    })
}
