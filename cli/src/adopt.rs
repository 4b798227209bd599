//! `kubectl ferrolb adopt`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ferrolb_core::adopt::{clock, not_before, switch_off, writer};
use ferrolb_core::k8s::service_view;
use ferrolb_core::names::ANNOTATION_ADOPT_FROM;
use ferrolb_core::view::{ServiceKey, ServiceView};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Scope, pages};
use crate::output::{Format, counted};
use crate::service::name_of;
use crate::terminal::WARNING;

/// Something that was named is not taken over.
const NOT_ALL: u8 = 1;

/// Take Services over from another load balancer that served them.
///
/// FerroLB leaves a Service alone if another load balancer wrote its status, because silence does not mean
/// that the other one is gone. Turn it off first. This command sets the annotation ferrolb.io/adopt-from, with
/// the other one's name, on each Service, with your rights (`patch` on services). The controller then keeps
/// addresses that are in a pool and replaces all others. If the other one writes the status again, it gets the
/// Service back.
///
/// A Service is refused if the other one wrote its status within the last ten minutes: it is still running.
///
/// Exit status: 0 if every Service is FerroLB's or has asked, 1 if one was refused (with the reason), 2 if the
/// cluster does not answer or there is no such Service, and nothing was written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Adopt {
    /// The Services: svc/NAME.
    #[arg(
        value_name = "svc/NAME",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    services: Vec<String>,
    /// Every Service whose status the manager of --manager wrote
    #[arg(long, requires = "manager")]
    all: bool,
    /// Only from this load balancer: its name in metadata.managedFields, as Events and explain show it
    #[arg(long, value_name = "NAME")]
    manager: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # One Service, after the other load balancer was turned off
  kubectl ferrolb adopt -n shop svc/web

  # All Services that k3s' ServiceLB left, in every namespace: first show what would be done
  kubectl ferrolb adopt --manager k3s --all -A --dry-run
  kubectl ferrolb adopt --manager k3s --all -A";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    dry_run: bool,
    services: Vec<Adopted>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Adopted {
    namespace: String,
    name: String,
    /// Who wrote its status; null if that is FerroLB, or nobody.
    manager: Option<String>,
    addresses: Vec<String>,
    outcome: Outcome,
    /// Why, or what follows.
    message: String,
    /// When it may be tried again.
    not_before: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// The Service asks for it, or would.
    Asked,
    /// There is nothing to take over.
    Nothing,
    Refused,
}

impl Adopt {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let scope = &self.scope;
        if scope.all_namespaces && !self.all {
            bail!("-A needs --all: a named Service is in one namespace");
        }
        let answer = scope.services.run(async |cluster| {
            let views = if self.all {
                cluster.candidates(scope.all_namespaces).await?
            } else {
                named(cluster, &self.services).await?
            };
            // Nothing is written before all of them have been read.
            let now = Timestamp::now();
            let judged = judge(views, self.manager.as_deref(), self.all, now);
            if judged.is_empty() {
                let manager = self.manager.as_deref().unwrap_or_default();
                let (place, hint) = if scope.all_namespaces {
                    ("any namespace".to_owned(), "")
                } else {
                    (
                        format!("namespace {}", cluster.namespace),
                        "; -A looks in all of them",
                    )
                };
                bail!("no Service in {place} has a status written by {manager}{hint}");
            }
            if !self.dry_run {
                for (view, adopted) in &judged {
                    if adopted.outcome == Outcome::Asked {
                        cluster.ask_to_adopt(view).await?;
                    }
                }
            }
            Ok(Answer {
                dry_run: self.dry_run,
                services: judged.into_iter().map(|(_, adopted)| adopted).collect(),
            })
        })?;
        self.format.print(out, &answer, |out| text(out, &answer))?;
        let refused = |one: &Adopted| one.outcome == Outcome::Refused;
        Ok(if answer.services.iter().any(refused) {
            ExitCode::from(NOT_ALL)
        } else {
            ExitCode::SUCCESS
        })
    }
}

async fn named(cluster: &Cluster, services: &[String]) -> anyhow::Result<Vec<ServiceView>> {
    let names: anyhow::Result<BTreeSet<_>> = services.iter().map(|one| name_of(one)).collect();
    let mut views = Vec::new();
    for name in names? {
        let service = cluster.service(name).await?;
        views.push(service_view(&service).context("the Service has no name")?);
    }
    Ok(views)
}

impl Cluster {
    /// The Services of type `LoadBalancer` whose status another one wrote.
    async fn candidates(&self, in_all: bool) -> anyhow::Result<Vec<ServiceView>> {
        let api: Api<Service> = if in_all {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        };
        let keep = |service: Service| {
            let view = service_view(&service)?;
            (view.load_balancer && view.foreign_manager().is_some()).then_some(view)
        };
        pages(&api, "services", keep).await
    }

    async fn ask_to_adopt(&self, view: &ServiceView) -> anyhow::Result<()> {
        let ServiceKey { namespace, name } = &view.key;
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let manager = view.foreign_manager();
        let annotate = async |manager: Option<&str>| {
            let patch = Patch::Merge(patch(manager));
            let patched = api.patch(name, &PatchParams::default(), &patch).await;
            patched
                .with_context(|| format!("cannot annotate Service {}", view.key))
                .map(drop)
        };
        // It may have been taken over before and lost again: only a change asks anew.
        if view.adopt_from.as_deref() == manager {
            annotate(None).await?;
        }
        annotate(manager).await
    }
}

/// RFC 7396: null takes away.
fn patch(manager: Option<&str>) -> Value {
    json!({ "metadata": { "annotations": { ANNOTATION_ADOPT_FROM: manager } } })
}

/// What is done for each. Of those that nobody has named, only the manager's count.
fn judge(
    views: Vec<ServiceView>,
    manager: Option<&str>,
    all: bool,
    now: Timestamp,
) -> Vec<(ServiceView, Adopted)> {
    let is_meant = |view: &ServiceView| !all || view.foreign_manager() == manager;
    let meant = views.into_iter().filter(is_meant);
    let judged = meant.map(|view| {
        let adopted = verdict(&view, manager, now);
        (view, adopted)
    });
    judged.collect()
}

fn verdict(view: &ServiceView, wanted: Option<&str>, now: Timestamp) -> Adopted {
    let manager = view.foreign_manager();
    let later = manager.and_then(|_| not_before(view, now));
    let (outcome, message) = match manager {
        _ if !view.load_balancer => (
            Outcome::Refused,
            "it is not of type LoadBalancer".to_owned(),
        ),
        None => (
            Outcome::Nothing,
            "no other load balancer wrote its status".to_owned(),
        ),
        Some(manager) if wanted.is_some_and(|wanted| wanted != manager) => (
            Outcome::Refused,
            format!("{} wrote its status", writer(manager)),
        ),
        Some(manager) => match later {
            Some(time) => (
                Outcome::Refused,
                format!(
                    "{} wrote its status within the last ten minutes, so it is still running: {}; \
                     if it writes nothing more, try again at {}",
                    writer(manager),
                    switch_off(manager),
                    clock(time)
                ),
            ),
            None => (Outcome::Asked, after(view, manager)),
        },
    };
    Adopted {
        namespace: view.key.namespace.to_string(),
        name: view.key.name.to_string(),
        manager: manager.map(str::to_owned),
        addresses: view.assigned.iter().map(ToString::to_string).collect(),
        outcome,
        message,
        not_before: later.map(|time| time.to_string()),
    }
}

fn after(view: &ServiceView, manager: &str) -> String {
    let class = view.class.as_ref().map_or_else(String::new, |class| {
        format!("; its spec.loadBalancerClass is {class}: only a FerroLB of that class serves it")
    });
    format!("from {}{class}", writer(manager))
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let would = if answer.dry_run { "would be " } else { "" };
    for one in &answer.services {
        let service = format!("Service {}/{}", one.namespace, one.name);
        let message = &one.message;
        match one.outcome {
            Outcome::Asked => writeln!(out, "{service}: {would}taken over {message}")?,
            Outcome::Nothing => writeln!(out, "{service}: nothing to take over: {message}")?,
            Outcome::Refused => writeln!(
                out,
                "{WARNING}{service}: not taken over:{WARNING:#} {message}"
            )?,
        }
    }
    let asked: Vec<_> = answer
        .services
        .iter()
        .filter(|one| one.outcome == Outcome::Asked)
        .collect();
    let Some(first) = asked.first().filter(|_| !answer.dry_run) else {
        return Ok(());
    };
    writeln!(
        out,
        "\nasked for {}: addresses in a pool are kept, others are replaced within seconds; to see \
         the result: kubectl ferrolb explain -n {} svc/{}",
        counted(asked.len(), "Service"),
        first.namespace,
        first.name
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
