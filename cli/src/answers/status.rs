//! How FerroLB is.

use ferrolb_core::report::{ConfigurationStatus, PoolStatus};
use serde::Serialize;

use crate::daemons::Component;
use crate::picture::{Address, Finding, Node, NodeState, Picture, Severity};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusAnswer {
    pub(crate) well: bool,
    /// What is not as it should be, each in a sentence.
    pub(crate) problems: Vec<String>,
    /// What could not be read, so that it is not known whether it is as it should be.
    pub(crate) unknown: Vec<String>,
    /// What is as it should be, and may surprise.
    pub(crate) notes: Vec<String>,
    /// The same three, in parts.
    pub(crate) findings: Vec<Finding>,
    pub(crate) daemons: Vec<DaemonStatus>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) configuration: Option<ConfigurationStatus>,
    pub(crate) pools: Vec<PoolStatus>,
    pub(crate) services: usize,
    /// Services without an address.
    pub(crate) waiting: usize,
    /// What its rights do not allow the controller, and what that switches off.
    pub(crate) limits: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DaemonStatus {
    pub(crate) component: &'static str,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) node: Option<String>,
    pub(crate) ready: bool,
    /// Of controllers: whether it is the one that gives addresses.
    pub(crate) leads: Option<bool>,
    pub(crate) image: String,
}

impl StatusAnswer {
    pub(crate) fn of(picture: &Picture) -> Self {
        let verdict = &picture.verdict;
        let sentences = |severity| {
            let findings = verdict.of(severity);
            findings.map(|one| one.sentence(picture.now)).collect()
        };
        let controller = picture.controller.as_ref().ok();
        let leader = controller.filter(|status| status.leading);
        let services = picture.services.iter();
        let waiting = services.filter(|one| one.status.addresses.is_empty());
        let daemons = picture.daemons.iter().map(|daemon| DaemonStatus {
            component: daemon.component.name(),
            namespace: daemon.namespace.clone(),
            pod: daemon.pod.clone(),
            node: daemon.node.clone(),
            ready: daemon.ready,
            leads: (daemon.component == Component::Controller)
                .then(|| leader.is_some_and(|status| status.instance == daemon.pod)),
            image: daemon.image.clone(),
        });
        Self {
            well: verdict.is_well(),
            problems: sentences(Severity::Problem),
            unknown: sentences(Severity::Unknown),
            notes: sentences(Severity::Note),
            findings: verdict.findings.clone(),
            daemons: daemons.collect(),
            nodes: picture.nodes.clone(),
            addresses: picture.addresses.clone(),
            configuration: controller.map(|status| status.configuration.clone()),
            pools: picture.pools().to_vec(),
            services: picture.services.len(),
            waiting: waiting.count(),
            limits: controller.map_or_else(Vec::new, |status| status.limits.clone()),
        }
    }

    /// Pods of the component.
    pub(crate) fn count(&self, component: Component) -> usize {
        let daemons = self.daemons.iter();
        daemons
            .filter(|one| one.component == component.name())
            .count()
    }

    pub(crate) fn live(&self) -> usize {
        let live = self
            .nodes
            .iter()
            .filter(|node| node.state == NodeState::Live);
        live.count()
    }
}
