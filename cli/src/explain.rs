//! `kubectl ferrolb explain`.

pub(crate) mod announced;
mod others;
mod target;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use ferrolb_core::Reason;
use ferrolb_core::dead::DeadNodeStatus;
use ferrolb_core::k8s::service_view;
use ferrolb_core::report::{ControllerStatus, Explained, ServiceStatus};
use ferrolb_core::view::ServiceView;
use k8s_openapi::api::core::v1::{Event, Service};
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

use self::announced::Announcement;
use self::target::Target;
use crate::cluster::{Cluster, OfServices};
use crate::controller::not_leading;
use crate::daemons::Component;
use crate::output::{Format, causes};
use crate::picture::{Happening, Picture, happening, in_order};
use crate::speaker::Said;
use crate::terminal::{BAD, GOOD, sentence};

/// Explain a Service, an address, a node, a pool, or a reason: what is so, why, and what to do.
///
/// Exit status: 0 if it is explained, even if the Service waits; 2 if there is no such thing, or the cluster does
/// not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Explain {
    /// svc/NAME (or NAME alone), an address, node/NAME, pool/NAME, or the word of a reason.
    #[arg(value_name = "WHAT")]
    what: String,
    #[command(flatten)]
    services: OfServices,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Why is it pending?
  kubectl ferrolb explain svc/web

  # In another namespace
  kubectl ferrolb explain -n shop svc/web

  # Who announces an address, and why the others do not; what a node announces
  kubectl ferrolb explain 192.168.64.240
  kubectl ferrolb explain node/n1

  # What a word in an Event or an alert means; this needs no cluster
  kubectl ferrolb explain pool_exhausted";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    namespace: String,
    name: String,
    /// What the Service's status shows.
    addresses: Vec<String>,
    pool: Option<String>,
    /// Of each address that could be asked about.
    announcements: Vec<Announcement>,
    /// What stands in the way, or is worth knowing.
    findings: Vec<Finding>,
    /// Oldest first.
    events: Vec<EventLine>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    reason: Option<String>,
    what: String,
    /// What exactly, on this Service.
    here: Option<String>,
    remedy: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventLine {
    time: String,
    r#type: String,
    reason: String,
    message: String,
}

impl Explain {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match Target::of(&self.what)? {
            Target::Service(name) => self.service(out, name, None)?,
            Target::Bare(name) => self.service(out, name, Some(name))?,
            Target::Reason(reason) => others::reason(out, self.format, reason)?,
            Target::Address(address) => {
                let picture = self.picture()?;
                others::address(out, self.format, &picture, address)?;
            }
            Target::Node(name) => others::node(out, self.format, &self.picture()?, name)?,
            Target::Pool(name) => others::pool(out, self.format, &self.picture()?, name)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn picture(&self) -> anyhow::Result<Picture> {
        self.services.run(async |cluster| cluster.picture().await)
    }

    /// If there is none and `or_else` is given, whatever else has that name.
    fn service(
        &self,
        out: &mut impl Write,
        name: &str,
        or_else: Option<&str>,
    ) -> anyhow::Result<()> {
        let explained = self.services.run(async |cluster| {
            let service = match cluster.service(name).await {
                Ok(service) => service,
                Err(error) => {
                    let Some(word) = or_else else {
                        return Err(error);
                    };
                    let other = others::of_that_name(cluster, word).await;
                    return other.map(Err).ok_or(error);
                }
            };
            let events = events(cluster, &service).await?;
            let picture = cluster.picture().await?;
            let controller = match not_leading(&picture.controller) {
                Some(why) => Err(anyhow!(why)),
                None => picture.controller,
            };
            let view = service_view(&service).context("the Service has no name")?;
            let said = match picture.speakers {
                said if said.is_empty() => Err(anyhow!("no FerroLB speaker found")),
                said => Ok(said),
            };
            Ok(Ok(answer(&view, controller, said, events)))
        })?;
        match explained {
            Ok(answer) => self.format.print(out, &answer, |out| text(out, &answer)),
            Err(other) => others::any(out, self.format, &other),
        }
    }
}

async fn events(cluster: &Cluster, service: &Service) -> anyhow::Result<Vec<Event>> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    Ok(api.list(&about).await.context("cannot list events")?.items)
}

fn answer(
    view: &ServiceView,
    controller: anyhow::Result<ControllerStatus>,
    speakers: anyhow::Result<Said>,
    events: Vec<Event>,
) -> Answer {
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
                findings.extend(service.problem.as_ref().map(finding));
                // Who has all that it asks for has nothing to do with an entry that is left out.
                let is_of_interest = |problem: &&Explained| {
                    service.problem.as_ref() != Some(*problem)
                        && (service.problem.is_some() || problem.reason != Reason::AddressesLeftOut)
                };
                let problem = status.configuration.problem.as_ref();
                if let Some(problem) = problem.filter(is_of_interest) {
                    findings.push(finding(problem));
                }
            }
            None if view.class.is_some() => findings.push(finding(&Explained {
                reason: Reason::OtherClass.into(),
                message: format!("its class is {}", view.class.as_deref().unwrap_or_default()),
            })),
            None => findings.push(Finding {
                reason: None,
                what: "the controller does not serve the Service yet".to_owned(),
                here: None,
                remedy: "wait a moment; if the controller was started with --lb-class, give the \
                         Service that spec.loadBalancerClass"
                    .to_owned(),
            }),
        },
    }
    findings.extend(view.unknown_annotations.as_deref().map(|text| {
        finding(&Explained {
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
    Answer {
        namespace: view.key.namespace.clone(),
        name: view.key.name.clone(),
        addresses: view.assigned.iter().map(ToString::to_string).collect(),
        pool,
        announcements,
        findings,
        events: events.iter().map(event_line).collect(),
    }
}

fn decided<'a>(view: &ServiceView, status: &'a ControllerStatus) -> Option<&'a ServiceStatus> {
    let mut services = status.services.iter();
    services.find(|one| one.namespace == view.key.namespace && one.name == view.key.name)
}

fn finding(problem: &Explained) -> Finding {
    let (what, remedy) = meaning(&problem.reason, Component::Controller);
    Finding {
        reason: Some(problem.reason.to_string()),
        what,
        here: Some(problem.message.clone()),
        remedy,
    }
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

/// What the word of a daemon means, and what to do.
fn meaning(word: &str, of: Component) -> (String, String) {
    let of = of.name();
    match Reason::of(word).map(Reason::explanation) {
        Some(known) => (known.what.to_owned(), known.remedy.to_owned()),
        None => (
            format!("reported by a newer {of}; this plugin does not know the word"),
            format!("use the plugin of the same version as the {of}"),
        ),
    }
}

fn event_line(event: &Happening) -> EventLine {
    EventLine {
        time: event.time.map(|time| time.to_string()).unwrap_or_default(),
        r#type: event.r#type.clone(),
        reason: event.reason.clone(),
        message: event.message.clone(),
    }
}

/// The heading and a line for each.
fn events_text(out: &mut impl Write, events: &[EventLine]) -> anyhow::Result<()> {
    if !events.is_empty() {
        writeln!(out, "\nEvents:")?;
    }
    for event in events {
        let EventLine {
            time,
            r#type,
            reason,
            message,
        } = event;
        sentence(
            out,
            None,
            "  ",
            &format!("{time} {type} {reason}: {message}"),
        )?;
    }
    Ok(())
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let state = match answer.addresses.as_slice() {
        [] => "no address".to_owned(),
        some => some.join(", "),
    };
    let pool = answer.pool.as_ref();
    let pool = pool.map_or_else(String::new, |pool| format!(", from pool {pool}"));
    writeln!(
        out,
        "Service {}/{}: {state}{pool}",
        answer.namespace, answer.name
    )?;
    for announcement in &answer.announcements {
        writeln!(out)?;
        announcement.text(out)?;
    }
    let are_fine = answer.announcements.iter().all(Announcement::is_fine);
    if answer.findings.is_empty() && are_fine {
        writeln!(out, "\n{GOOD}No problems found.{GOOD:#}")?;
    }
    findings_text(out, &answer.findings)?;
    events_text(out, &answer.events)
}

/// Each after a blank line.
fn findings_text(out: &mut impl Write, findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        let reason = finding.reason.as_ref();
        let reason = reason.map_or_else(String::new, |reason| format!("{reason}: "));
        writeln!(out)?;
        sentence(out, Some(BAD), &reason, &finding.what)?;
        if let Some(here) = &finding.here {
            sentence(out, None, "  here: ", here)?;
        }
        sentence(out, None, "  what to do: ", &finding.remedy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{as_data, controller, found_dead, printed, said};
    use crate::output::Output;

    fn view(name: &str, spec: Value, address: Option<&str>) -> ServiceView {
        let ingress: Vec<_> = address.iter().map(|ip| json!({ "ip": ip })).collect();
        let service = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": name },
            "spec": spec,
            "status": { "loadBalancer": { "ingress": ingress } },
        }));
        service_view(&service.unwrap()).unwrap()
    }

    fn event(minute: u8, kind: &str, reason: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {},
            "involvedObject": {},
            "type": kind,
            "reason": reason,
            "message": message,
            "lastTimestamp": format!("2026-11-25T18:{minute:02}:00Z"),
        }))
        .unwrap()
    }

    fn shown(view: &ServiceView, status: ControllerStatus, events: Vec<Event>) -> String {
        let said = said(&[("n1", None), ("n2", Some("not_owner"))]);
        printed(|out| text(out, &answer(view, Ok(status), Ok(said), events)))
    }

    #[test]
    fn a_service_with_an_address_has_nothing_in_its_way() {
        let view = view(
            "web",
            json!({ "type": "LoadBalancer" }),
            Some("192.168.64.241"),
        );
        let events = vec![
            event(2, "Normal", "nodeAssigned", "announcing from node \"n1\""),
            event(
                1,
                "Normal",
                "IPAllocated",
                "assigned 192.168.64.241 from pool default",
            ),
        ];
        insta::assert_snapshot!(shown(&view, controller(), events));
    }

    #[test]
    fn a_service_with_pods_on_a_dead_node_is_told_that_they_are_out_of_rotation() {
        let spec = json!({ "type": "LoadBalancer" });
        let told = |name: &str, state: &str| {
            let view = view(name, spec.clone(), Some("192.168.64.241"));
            let mut status = controller();
            status.dead_nodes = Some(found_dead(state, None));
            shown(&view, status, vec![])
        };
        let out = told("web", "removed");
        assert!(out.contains("its pods on n2 are out of rotation"), "{out}");
        assert!(out.contains("the node is dead, say n1 and n3"), "{out}");
        assert!(!told("web", "left").contains("out of rotation"));
        assert!(!told("db", "removed").contains("out of rotation"));
    }

    #[test]
    fn a_service_that_waits_is_told_why_and_what_to_do() {
        let view = view("worker", json!({ "type": "LoadBalancer" }), None);
        let mut status = controller();
        status.configuration.problem = Some(Explained {
            reason: "config_refused".into(),
            message: "ConfigMap metallb-system/config is refused: line 5, column 3: …".to_owned(),
        });
        let message = status.services[2].problem.clone().unwrap().message;
        let events = vec![event(1, "Warning", "AllocationFailed", &message)];
        insta::assert_snapshot!(shown(&view, status, events));
    }

    #[test]
    fn a_service_that_is_not_ours_is_said_to_be_none() {
        let other = view("other", json!({ "type": "ClusterIP" }), None);
        let class = json!({ "type": "LoadBalancer", "loadBalancerClass": "example.com/lb" });
        let class = view("classy", class, None);
        let shown = [
            shown(&other, controller(), vec![]),
            shown(&class, controller(), vec![]),
        ];
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn without_any_daemon_the_events_are_still_told() {
        let view = view(
            "web",
            json!({ "type": "LoadBalancer" }),
            Some("192.168.64.241"),
        );
        let controller = Err(anyhow::anyhow!("no controller of FerroLB was found"));
        let speakers = Err(anyhow::anyhow!("no speaker of FerroLB was found"));
        let events = vec![event(1, "Normal", "IPAllocated", "assigned 192.168.64.241")];
        let answer = answer(&view, controller, speakers, events);
        insta::assert_snapshot!(printed(|out| text(out, &answer)));
    }

    #[test]
    fn programs_get_the_findings_as_data() {
        let view = view("worker", json!({ "type": "LoadBalancer" }), None);
        let answer = answer(&view, Ok(controller()), Ok(Vec::new()), vec![]);
        insta::assert_snapshot!(as_data(Output::Json, &answer));
    }
}
