//! Pods, versions, and the controllers.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::names::DEFAULT_NAMESPACE;
use ferrolb_core::report::{ConfigurationStatus, ControllerStatus, ObjectStatus};

use super::super::{NodeState, Picture, events};
use super::{Finding, Verdict, of_pod, some, unready_since};
use crate::ago;
use crate::daemons::{Component, Daemon};
use crate::output::causes;

/// A rollout replaces a pod every minute or two. If none was replaced for so long, it stands still.
const ROLLOUT_STANDS_STILL: Duration = Duration::from_secs(600);

/// In place of pods.
const NOT_FOUND: &str = "install FerroLB, or say with -n where it runs";
/// As labels call it.
const CONTROLLER: &str = "controller";

impl Verdict {
    pub(super) fn of_pods(&mut self, picture: &Picture) {
        let daemons = &picture.daemons;
        for daemon in daemons.iter().filter(|daemon| !daemon.ready) {
            if is_on_dead_node(daemon, picture) {
                continue;
            }
            let (pod, namespace) = (&daemon.pod, &daemon.namespace);
            let finding = Finding::problem(
                format!("pod {pod} is not ready"),
                format!("kubectl describe pod -n {namespace} {pod}"),
            );
            let finding = finding.since(daemon.ready_since);
            self.add(Finding {
                node: daemon.node.clone(),
                ..finding
            });
        }
        if !daemons.iter().any(Daemon::is_speaker) {
            let what = "no speaker was found, so nothing announces addresses";
            self.add(Finding::problem(what, NOT_FOUND));
        }
    }

    /// Several at once are right during an upgrade, and for no longer.
    pub(super) fn of_versions(&mut self, picture: &Picture) {
        let images = |component| {
            let of = picture.daemons.iter();
            let of = of.filter(|one| one.component == component);
            of.map(|one| one.image.as_str()).collect::<BTreeSet<_>>()
        };
        let mixed = [Component::Controller, Component::Speaker]
            .map(images)
            .into_iter()
            .filter(|images| images.len() > 1);
        let mixed: Vec<_> = mixed.flatten().map(str::to_owned).collect();
        let speakers = picture.speakers.iter();
        let versions = speakers
            .filter_map(|(_, told)| Some(told.as_ref().ok()?.version.clone()))
            .chain(picture.controller.iter().map(|one| one.version.clone()));
        let versions: BTreeSet<_> = versions.collect();
        let what = if !mixed.is_empty() {
            some(&mixed)
        } else if versions.len() > 1 {
            some(&versions.into_iter().collect::<Vec<_>>())
        } else {
            return;
        };
        let youngest = picture.daemons.iter().filter_map(|daemon| daemon.started);
        let youngest = youngest.max();
        let age = youngest.map(|started| ago::since(started, picture.now));
        if age.is_some_and(|age| age > ROLLOUT_STANDS_STILL) {
            let what = format!("several versions run, and no pod was replaced since: {what}");
            self.add(Finding::problem(what, pods(picture)).since(youngest));
        } else {
            self.add(Finding::note(format!(
                "several versions run, as during an upgrade: {what}"
            )));
        }
    }

    pub(super) fn of_controllers(&mut self, picture: &Picture) {
        let daemons = picture.daemons.iter();
        let controllers = daemons.filter(|one| one.component == Component::Controller);
        match &picture.controller {
            Ok(status) => self.of_controller(status, picture),
            Err(error) if controllers.clone().next().is_none() => {
                self.add(Finding::problem(causes(error), NOT_FOUND));
            }
            Err(_) if controllers.clone().all(|one| is_on_dead_node(one, picture)) => {
                self.add(Finding::problem(
                    "every controller is on a dead node, so no addresses are given",
                    of_pod("get", None, CONTROLLER),
                ));
            }
            Err(error) => {
                let since = controllers.filter_map(unready_since).min();
                let finding = Finding::unknown(causes(error)).next(pods(picture));
                self.add(finding.since(since));
            }
        }
        if picture.leaders.len() > 1 {
            let what = format!(
                "several controllers say that they lead: {}",
                some(&picture.leaders)
            );
            let namespace = namespace(picture);
            let next = format!(
                "kubectl get leases -n {namespace}, and delete the pod that it does not name"
            );
            self.add(Finding::problem(what, next));
        }
    }

    fn of_controller(&mut self, status: &ControllerStatus, picture: &Picture) {
        let pod = |name: &str| picture.daemons.iter().find(|one| one.pod == name);
        let logs = || of_pod("logs", pod(&status.instance), CONTROLLER);
        if !status.leading {
            let finding = match &status.leader {
                Some(leader) => {
                    let what = format!(
                        "the controller that leads, {leader}, does not answer: if it is dead, another \
                         one takes over within seconds"
                    );
                    let leader = pod(leader);
                    Finding::problem(what, of_pod("describe pod", leader, CONTROLLER))
                        .since(leader.and_then(unready_since))
                }
                None => Finding::problem("no controller gives addresses at the moment", logs())
                    .since(pod(&status.instance).and_then(unready_since)),
            };
            self.add(finding);
        }
        let blockers = status.blockers.iter().cloned();
        self.findings
            .extend(blockers.map(|what| Finding::problem(what, logs())));
        if let Some(problem) = &status.configuration.problem {
            let reason = &problem.reason;
            let (namespace, name) = status
                .configuration
                .source
                .split_once('/')
                .unwrap_or_default();
            let is_in_the_map =
                [Reason::ConfigRefused, Reason::AddressesLeftOut].map(Reason::as_str);
            let next = if is_in_the_map.contains(&&**reason) {
                format!("kubectl describe configmap -n {namespace} {name}")
            } else {
                format!("kubectl ferrolb explain {reason}")
            };
            let since = events::config_refused_since("ConfigMap", namespace, name, &picture.events);
            let finding = Finding::problem(format!("{reason}: {}", problem.message), next);
            let is_refused = **reason == *Reason::ConfigRefused.as_str();
            self.add(finding.reason(reason).since(since.filter(|_| is_refused)));
        }
        self.of_objects(&status.configuration, picture);
    }

    /// Of MetalLB's objects, if they count.
    fn of_objects(&mut self, configuration: &ConfigurationStatus, picture: &Picture) {
        let objects = configuration.objects.iter();
        for object in objects.filter(|_| configuration.is_of_objects()) {
            let ObjectStatus {
                kind,
                namespace,
                name,
                reason,
                message,
                ..
            } = object;
            let what = match object.refused {
                true if object.former_in_force => "not in force, its last good version stays: ",
                true => "not in force: ",
                false => "",
            };
            let what = format!("{kind} {namespace}/{name}: {what}{reason}: {message}");
            let look = format!(
                "kubectl describe {} -n {namespace} {name}",
                kind.to_lowercase()
            );
            let finding = if object.refused {
                let since = events::config_refused_since(kind, namespace, name, &picture.events);
                Finding::problem(what, look).since(since)
            } else {
                Finding::note(what).next(look)
            };
            self.add(finding.reason(reason));
        }
        if !configuration.waits_for.is_empty() {
            let waits_for: Vec<_> = configuration
                .waits_for
                .iter()
                .map(ToString::to_string)
                .collect();
            let what = format!(
                "MetalLB's objects are not in force yet: what is in force stays until they hold and announce {}",
                some(&waits_for)
            );
            self.add(Finding::note(what).reason(Reason::ConfigWaits.as_str()));
        }
    }
}

/// What lists the pods of all daemons.
fn pods(picture: &Picture) -> String {
    format!("kubectl get pods -n {} -o wide", namespace(picture))
}

/// Where FerroLB runs.
fn namespace(picture: &Picture) -> &str {
    let first = picture.daemons.first();
    first.map_or(DEFAULT_NAMESPACE, |one| one.namespace.as_str())
}

fn is_on_dead_node(daemon: &Daemon, picture: &Picture) -> bool {
    let node = daemon.node.as_deref().and_then(|name| picture.node(name));
    node.is_some_and(|node| node.state == NodeState::Dead)
}
