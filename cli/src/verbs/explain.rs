//! `kubectl ferrolb explain`.

pub(super) mod announced;
mod others;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use ferrolb_core::Reason;
use ferrolb_core::k8s::service_view;
use k8s_openapi::api::core::v1::{Event, Service};
use kube::Api;
use kube::api::ListParams;

use crate::answers::explain::announced::Announcement;
use crate::answers::explain::{
    AddressAnswer, EventLine, ExplainAnswer, Finding, NodeAnswer, PoolAnswer, ReasonAnswer,
    ServiceAnswer, Target,
};
use crate::cluster::{Cluster, OfServices};
use crate::output::Format;
use crate::picture::Picture;
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

impl Explain {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = match Target::of(&self.what)? {
            Target::Service(name) => self.service(name, None)?,
            Target::Bare(name) => self.service(name, Some(name))?,
            Target::Reason(reason) => ExplainAnswer::Reason(ReasonAnswer::of(reason)),
            Target::Address(address) => {
                ExplainAnswer::Address(AddressAnswer::of(&self.picture()?, address))
            }
            Target::Node(name) => ExplainAnswer::Node(NodeAnswer::of(&self.picture()?, name)?),
            Target::Pool(name) => ExplainAnswer::Pool(PoolAnswer::of(&self.picture()?, name)?),
        };
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(ExitCode::SUCCESS)
    }

    fn picture(&self) -> anyhow::Result<Picture> {
        self.services.run(async |cluster| cluster.picture().await)
    }

    /// If there is none and `or_else` is given, whatever else has that name.
    fn service(&self, name: &str, or_else: Option<&str>) -> anyhow::Result<ExplainAnswer> {
        self.services.run(async |cluster| {
            let service = match cluster.service(name).await {
                Ok(service) => service,
                Err(error) => {
                    let Some(word) = or_else else {
                        return Err(error);
                    };
                    return of_that_name(cluster, word).await.ok_or(error);
                }
            };
            let events = events(cluster, &service).await?;
            let picture = cluster.picture().await?;
            let view = service_view(&service).context("the Service has no name")?;
            let answer = ServiceAnswer::of(&view, picture, &events);
            Ok(ExplainAnswer::Service(answer))
        })
    }
}

/// What else is called `word`.
async fn of_that_name(cluster: &Cluster, word: &str) -> Option<ExplainAnswer> {
    if let Some(reason) = Reason::of(word) {
        return Some(ExplainAnswer::Reason(ReasonAnswer::of(reason)));
    }
    let picture = cluster.picture().await.ok()?;
    let node = NodeAnswer::of(&picture, word).map(ExplainAnswer::Node);
    let pool = || PoolAnswer::of(&picture, word).map(ExplainAnswer::Pool);
    node.or_else(|_| pool()).ok()
}

async fn events(cluster: &Cluster, service: &Service) -> anyhow::Result<Vec<Event>> {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    Ok(api.list(&about).await.context("cannot list events")?.items)
}

fn text(out: &mut impl Write, answer: &ExplainAnswer) -> anyhow::Result<()> {
    match answer {
        ExplainAnswer::Service(answer) => service_text(out, answer),
        ExplainAnswer::Address(answer) => others::address_text(out, answer),
        ExplainAnswer::Node(answer) => others::node_text(out, answer),
        ExplainAnswer::Pool(answer) => others::pool_text(out, answer),
        ExplainAnswer::Reason(answer) => others::reason_text(out, answer),
    }
}

fn service_text(out: &mut impl Write, answer: &ServiceAnswer) -> anyhow::Result<()> {
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
        announced::text(out, announcement)?;
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

#[cfg(test)]
mod tests {
    use ferrolb_core::report::{ControllerStatus, Explained};
    use ferrolb_core::view::ServiceView;
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
        let answer = ServiceAnswer::by(view, Ok(status), Ok(said), &events);
        printed(|out| service_text(out, &answer))
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
        let answer = ServiceAnswer::by(&view, controller, speakers, &events);
        insta::assert_snapshot!(printed(|out| service_text(out, &answer)));
    }

    #[test]
    fn programs_get_the_findings_as_data() {
        let view = view("worker", json!({ "type": "LoadBalancer" }), None);
        let answer = ServiceAnswer::by(&view, Ok(controller()), Ok(Vec::new()), &[]);
        let answer = ExplainAnswer::Service(answer);
        insta::assert_snapshot!(as_data(Output::Json, &answer));
    }
}
