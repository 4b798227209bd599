//! A Service: what it has, what stands in its way, and what happened to it.

use anyhow::anyhow;
use ferrolb_core::Reason;
use ferrolb_core::dead::DeadNodeStatus;
use ferrolb_core::report::{ControllerStatus, Explained, ServiceStatus};
use ferrolb_core::view::ServiceView;
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use super::announced::{self, Announcement};
use super::{EventLine, Finding};
use crate::controller::not_leading;
use crate::output::causes;
use crate::picture::{Picture, happening, in_order};
use crate::speaker::Said;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceAnswer {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What the Service's status shows.
    pub(crate) addresses: Vec<String>,
    pub(crate) pool: Option<String>,
    /// Of each address that could be asked about.
    pub(crate) announcements: Vec<Announcement>,
    /// What stands in the way, or is worth knowing.
    pub(crate) findings: Vec<Finding>,
    /// Oldest first.
    pub(crate) events: Vec<EventLine>,
}

impl ServiceAnswer {
    /// `events`: those about the Service.
    pub(crate) fn of(view: &ServiceView, picture: Picture, events: &[Event]) -> Self {
        let controller = match not_leading(&picture.controller) {
            Some(why) => Err(anyhow!(why)),
            None => picture.controller,
        };
        let said = match picture.speakers {
            said if said.is_empty() => Err(anyhow!("no FerroLB speaker found")),
            said => Ok(said),
        };
        Self::by(view, controller, said, events)
    }

    /// By what a controller and the speakers said, or why they did not.
    pub(crate) fn by(
        view: &ServiceView,
        controller: anyhow::Result<ControllerStatus>,
        speakers: anyhow::Result<Said>,
        events: &[Event],
    ) -> Self {
        let mut findings = Vec::new();
        let mut pool = None;
        match controller {
            _ if !view.load_balancer => findings.push(Finding {
                reason: None,
                what: "the Service is not of type LoadBalancer, so it gets no address".to_owned(),
                here: None,
                remedy: "set spec.type: LoadBalancer if it should have one".to_owned(),
            }),
            Err(error) => findings.push(Finding {
                reason: None,
                what: "the controller did not say what it decided".to_owned(),
                here: Some(causes(&error)),
                remedy: "kubectl ferrolb status shows what is wrong".to_owned(),
            }),
            Ok(status) => match decided(view, &status) {
                Some(service) => {
                    findings.extend(out_of_rotation(view, &status));
                    pool.clone_from(&service.pool);
                    findings.extend(service.problem.as_ref().map(Finding::of));
                    // Who has all that it asks for has nothing to do with an entry that is left out.
                    let is_of_interest = |problem: &&Explained| {
                        service.problem.as_ref() != Some(*problem)
                            && (service.problem.is_some()
                                || problem.reason != Reason::AddressesLeftOut)
                    };
                    let problem = status.configuration.problem.as_ref();
                    if let Some(problem) = problem.filter(is_of_interest) {
                        findings.push(Finding::of(problem));
                    }
                }
                None if view.class.is_some() => findings.push(Finding::of(&Explained {
                    reason: Reason::OtherClass.into(),
                    message: format!("its class is {}", view.class.as_deref().unwrap_or_default()),
                })),
                None => findings.push(Finding {
                    reason: None,
                    what: "the controller does not serve the Service yet".to_owned(),
                    here: None,
                    remedy:
                        "wait a moment; if the controller was started with --lb-class, give the \
                             Service that spec.loadBalancerClass"
                            .to_owned(),
                }),
            },
        }
        findings.extend(view.unknown_annotations.as_deref().map(|text| {
            Finding::of(&Explained {
                reason: Reason::UnknownAnnotation.into(),
                message: text.to_owned(),
            })
        }));
        let announcements = match speakers {
            Ok(said) => announced::of(&view.assigned, &said),
            Err(error) => {
                findings.push(Finding {
                    reason: None,
                    what: "no speaker said who announces the address".to_owned(),
                    here: Some(causes(&error)),
                    remedy: "kubectl ferrolb status shows what is wrong".to_owned(),
                });
                Vec::new()
            }
        };
        let mut events: Vec<_> = events.iter().map(happening).collect();
        in_order(&mut events);
        Self {
            namespace: view.key.namespace.to_string(),
            name: view.key.name.to_string(),
            addresses: view.assigned.iter().map(ToString::to_string).collect(),
            pool,
            announcements,
            findings,
            events: events.iter().map(EventLine::of).collect(),
        }
    }
}

fn decided<'a>(view: &ServiceView, status: &'a ControllerStatus) -> Option<&'a ServiceStatus> {
    let mut services = status.services.iter();
    services.find(|one| *one.namespace == *view.key.namespace && *one.name == *view.key.name)
}

/// Its pods on nodes that are dead.
fn out_of_rotation(view: &ServiceView, status: &ControllerStatus) -> Vec<Finding> {
    let key = view.key.to_string();
    let nodes = status.dead_nodes.iter().flat_map(|dead| &dead.nodes);
    let nodes = nodes.filter(|node| node.is_out() && node.services.contains(&key));
    let of = |node: &DeadNodeStatus| Finding {
        reason: None,
        what: format!("its pods on {} are out of rotation", node.node),
        here: Some(format!(
            "the node is dead, say {}; pods on other nodes serve",
            node.found_by.join(" and ")
        )),
        remedy: format!("kubectl ferrolb explain node/{}", node.node),
    };
    nodes.map(of).collect()
}
