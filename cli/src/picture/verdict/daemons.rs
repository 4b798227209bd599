//! Pods, versions, and the controllers.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::report::{ConfigurationStatus, ControllerStatus, ObjectStatus};

use super::super::{NodeState, Picture};
use super::{Finding, Verdict, some};
use crate::ago;
use crate::daemons::{Component, Daemon};
use crate::output::causes;

/// A rollout replaces a pod every minute or two. If none was replaced for so long, it stands still.
const ROLLOUT_STANDS_STILL: Duration = Duration::from_secs(600);

impl Verdict {
    pub(super) fn of_pods(&mut self, picture: &Picture) {
        let daemons = &picture.daemons;
        for daemon in daemons.iter().filter(|daemon| !daemon.ready) {
            if is_on_dead_node(daemon, picture) {
                continue;
            }
            let (pod, namespace) = (&daemon.pod, &daemon.namespace);
            let finding = Finding::problem(format!("pod {pod} is not ready"))
                .since(daemon.ready_since)
                .next(format!("kubectl describe pod -n {namespace} {pod}"));
            self.add(Finding {
                node: daemon.node.clone(),
                ..finding
            });
        }
        if !daemons.iter().any(Daemon::is_speaker) {
            self.add(
                Finding::problem("no speaker was found, so nothing announces addresses")
                    .next("install FerroLB, or say with -n where it runs"),
            );
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
            let namespace = picture.daemons.first().map(|one| one.namespace.as_str());
            self.add(
                Finding::problem(format!(
                    "several versions run, and no pod was replaced since: {what}"
                ))
                .since(youngest)
                .next(format!(
                    "kubectl get pods -n {} -o wide",
                    namespace.unwrap_or_default()
                )),
            );
        } else {
            self.add(Finding::note(format!(
                "several versions run, as during an upgrade: {what}"
            )));
        }
    }

    pub(super) fn of_controllers(&mut self, picture: &Picture) {
        let daemons = picture.daemons.iter();
        let mut controllers = daemons.filter(|one| one.component == Component::Controller);
        match &picture.controller {
            Ok(status) => self.of_controller(status),
            Err(error) if controllers.clone().next().is_none() => {
                self.add(Finding::problem(causes(error)));
            }
            Err(_) if controllers.all(|one| is_on_dead_node(one, picture)) => self.add(
                Finding::problem("every controller is on a dead node, so no addresses are given")
                    .next("kubectl get pods -A -o wide -l app.kubernetes.io/component=controller"),
            ),
            Err(error) => self.add(Finding::unknown(causes(error))),
        }
        if picture.leaders.len() > 1 {
            self.add(Finding::problem(format!(
                "several controllers say that they lead: {}",
                some(&picture.leaders)
            )));
        }
    }

    fn of_controller(&mut self, status: &ControllerStatus) {
        if !status.leading {
            let finding = match &status.leader {
                Some(leader) => Finding::problem(format!(
                    "the controller that leads, {leader}, does not answer: if it is dead, another \
                     one takes over within seconds"
                )),
                None => Finding::problem("no controller gives addresses at the moment"),
            };
            self.add(finding);
        }
        let blockers = status.blockers.iter().cloned();
        self.findings.extend(blockers.map(Finding::problem));
        if let Some(problem) = &status.configuration.problem {
            let what = format!("{}: {}", problem.reason, problem.message);
            self.add(Finding::problem(what).reason(&problem.reason));
        }
        self.of_objects(&status.configuration);
    }

    /// Of MetalLB's objects, if they count.
    fn of_objects(&mut self, configuration: &ConfigurationStatus) {
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
            let (finding, what): (fn(String) -> Finding, _) = match object.refused {
                true if object.former_in_force => (
                    Finding::problem,
                    "not in force, its last good version stays: ",
                ),
                true => (Finding::problem, "not in force: "),
                false => (Finding::note, ""),
            };
            let what = format!("{kind} {namespace}/{name}: {what}{reason}: {message}");
            self.add(finding(what).reason(reason));
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

fn is_on_dead_node(daemon: &Daemon, picture: &Picture) -> bool {
    let node = daemon.node.as_deref().and_then(|name| picture.node(name));
    node.is_some_and(|node| node.state == NodeState::Dead)
}
