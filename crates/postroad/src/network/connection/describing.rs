//! What the peer's node is told of applications of this one
//! (`docs/wire/ENP.md` section 15).

use std::collections::BTreeMap;

use postroad_edf::{Atom, ErrorValue};
use postroad_wire::Version;
use postroad_wire::enp::any::{self, ApplicationDescription, Environment};

use super::Connection;
use super::requests::AnswerTo;
use crate::application::{ApplicationInfo, ApplicationMode};
use crate::network::Refusal;
use crate::node::Node;
use crate::registrar::ApplicationState;

impl Connection {
    /// Describes an application; its environment stays a secret.
    pub(super) fn application_info_asked(&self, asked: &any::ApplicationInfo, answer_to: AnswerTo) {
        let node = Node::from_inner(self.node().clone());
        match node.application_info(asked.name.as_str()) {
            Ok(info) => match described(info).to_payload() {
                Ok(description) => self.grant(answer_to, description),
                Err(error) => {
                    self.refuse(answer_to, Refusal::Other(ErrorValue::new(error.to_string())));
                }
            },
            Err(error) => self.refuse(answer_to, error.into()),
        }
    }
}

fn described(info: ApplicationInfo) -> ApplicationDescription {
    ApplicationDescription {
        name: info.name,
        weight: isize::try_from(info.weight).unwrap_or(isize::MAX),
        tags: Vec::new(),
        roles: BTreeMap::new(),
        description: info.description,
        version: Version::new(info.name.as_str(), info.version),
        environment: Environment::new(),
        depends: info.depends,
        needs_network: false,
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
