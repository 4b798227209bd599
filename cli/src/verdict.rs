//! What the daemons' answers mean: what is wrong, what is worth knowing, and what is not known.
//! Silence is no proof of health: what could not be read is never called well.

mod addresses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ferrolb_core::Reason;
use ferrolb_core::report::{ControllerStatus, MemberStatus, ServiceStatus, SpeakerStatus};

use crate::daemons::{Component, Daemon};
use crate::output::causes;
use crate::picture::Picture;
use crate::speaker::Said;

/// As many names of a sentence as can be read.
const NAMED: usize = 5;

/// Each a sentence, with what to do next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is not as it should be.
    pub(crate) problems: Vec<String>,
    /// What could not be read, so that nothing can be said of it.
    pub(crate) unknown: Vec<String>,
    /// What is as it should be, and may surprise.
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    pub(crate) const fn is_well(&self) -> bool {
        self.problems.is_empty() && self.unknown.is_empty()
    }
}

/// Judges all that the daemons say.
pub(crate) fn of(picture: &Picture) -> Verdict {
    let mut verdict = Verdict::default();
    let Picture {
        daemons,
        controller,
        speakers,
    } = picture;
    verdict.of_pods(daemons);
    match controller {
        Ok(status) => verdict.of_controller(status),
        Err(error)
            if daemons
                .iter()
                .any(|one| one.component == Component::Controller) =>
        {
            verdict.unknown.push(causes(error));
        }
        Err(error) => verdict.problems.push(causes(error)),
    }
    let dead = verdict.of_members(daemons, speakers);
    for (node, said) in speakers {
        match said {
            Ok(status) => verdict.of_speaker(status),
            // That it is dead says why it does not answer.
            Err(_) if dead.contains(node.as_str()) => {}
            Err(error) => verdict.unknown.push(format!(
                "the speaker of {node} does not answer, so what it announces is not known: {}",
                causes(error)
            )),
        }
    }
    if let Ok(status) = controller {
        verdict.of_addresses(&status.services, speakers, &dead);
    }
    verdict
}

impl Verdict {
    fn of_pods(&mut self, daemons: &[Daemon]) {
        for daemon in daemons.iter().filter(|daemon| !daemon.ready) {
            self.problems.push(format!(
                "pod {} is not ready: kubectl describe pod -n {} {}",
                daemon.pod, daemon.namespace, daemon.pod
            ));
        }
        let mut components = daemons.iter().map(|daemon| daemon.component);
        if !components.any(|component| component == Component::Speaker) {
            self.problems
                .push("no speaker was found: nothing announces addresses".to_owned());
        }
        let images = |component| {
            let of = daemons.iter().filter(|one| one.component == component);
            of.map(|one| one.image.as_str()).collect::<BTreeSet<_>>()
        };
        for component in [Component::Controller, Component::Speaker] {
            let images = images(component);
            if images.len() > 1 {
                let images: Vec<_> = images.into_iter().map(str::to_owned).collect();
                self.notes.push(format!(
                    "{}s of several images run, as during an upgrade: {}",
                    component.name(),
                    some(&images)
                ));
            }
        }
    }

    fn of_controller(&mut self, status: &ControllerStatus) {
        if !status.leading {
            self.problems.push(match &status.leader {
                Some(leader) => format!(
                    "the controller that leads, {leader}, does not answer: if it is dead, another one \
                     takes over within seconds"
                ),
                None => "no controller gives addresses at the moment".to_owned(),
            });
        }
        self.problems.extend(status.blockers.iter().cloned());
        if let Some(problem) = &status.configuration.problem {
            self.problems
                .push(format!("{}: {}", problem.reason, problem.message));
        }
        let undecided = status
            .services
            .iter()
            .filter(|service| service.addresses.is_empty() && service.problem.is_none());
        let undecided: Vec<_> = undecided.map(name).collect();
        if !undecided.is_empty() {
            self.problems.push(format!(
                "without an address, and not yet decided: {}",
                some(&undecided)
            ));
        }
        let mut refused: BTreeMap<&str, Vec<&ServiceStatus>> = BTreeMap::new();
        for service in &status.services {
            if let Some(problem) = &service.problem {
                refused.entry(&problem.reason).or_default().push(service);
            }
        }
        for (reason, services) in refused {
            let names: Vec<_> = services.iter().map(|service| name(service)).collect();
            let waiting = services
                .iter()
                .filter(|service| service.addresses.is_empty())
                .count();
            let (namespace, first) = (&services[0].namespace, &services[0].name);
            let sentence = format!(
                "{reason}: {}{}: kubectl ferrolb explain -n {namespace} svc/{first}",
                some(&names),
                match waiting {
                    0 => String::new(),
                    all if all == names.len() => " without an address".to_owned(),
                    part => format!(", {part} of them without an address"),
                }
            );
            if reason == Reason::ForeignStatus.as_str() {
                self.notes.push(sentence);
            } else {
                self.problems.push(sentence);
            }
        }
    }

    /// What the speakers say of each other; the nodes that are dead by their word.
    fn of_members<'a>(&mut self, daemons: &[Daemon], speakers: &'a Said) -> BTreeSet<&'a str> {
        let mut dead = BTreeSet::new();
        let mut views: BTreeMap<&str, Vec<(&str, &MemberStatus)>> = BTreeMap::new();
        for (node, status) in speakers {
            let Ok(status) = status else { continue };
            for member in &status.members {
                // Nobody is a witness to itself.
                if member.node != *node {
                    views.entry(&member.node).or_default().push((node, member));
                }
            }
        }
        for (node, seen) in views {
            let runs = |daemon: &Daemon| {
                daemon.component == Component::Speaker && daemon.node.as_deref() == Some(node)
            };
            // A Node may have no speaker: the DaemonSet leaves it out.
            if !daemons.iter().any(runs) {
                continue;
            }
            let absent: Vec<_> = seen.iter().filter(|(_, one)| !one.is_live()).collect();
            if let Some((_, first)) = absent.first() {
                let by: Vec<_> = absent.iter().map(|(by, _)| (*by).to_owned()).collect();
                let heard = absent.iter().filter_map(|(_, one)| one.heard_millis_ago);
                let heard = match heard.min() {
                    Some(millis) => format!("last heard {} ago", duration(millis)),
                    None => "never heard".to_owned(),
                };
                let verdict = first.verdict.as_deref();
                if verdict == Some("restarting") {
                    self.notes
                        .push(format!("the speaker of {node} restarts, say {}", some(&by)));
                    continue;
                }
                let word = verdict.unwrap_or(&first.standing);
                self.problems.push(format!(
                    "{node} is held {}, {heard} ({word}, {} say so): see the node and its network, then \
                     its speaker's pod",
                    if absent.len() == seen.len() {
                        "dead"
                    } else {
                        "dead by some"
                    },
                    some(&by)
                ));
                if let Some((own, _)) = speakers.iter().find(|(one, _)| one == node) {
                    dead.insert(own.as_str());
                }
            }
            let reasons: BTreeSet<_> = seen
                .iter()
                .filter_map(|(_, one)| one.reason.as_deref())
                .collect();
            for reason in reasons {
                self.problems.push(of_node(node, reason));
            }
        }
        dead
    }

    fn of_speaker(&mut self, status: &SpeakerStatus) {
        let node = &status.node;
        if let Some(missing) = &status.waiting_for {
            self.problems.push(format!(
                "the speaker of {node} announces nothing new yet: it waits for {missing}"
            ));
        }
        if status.isolated {
            self.problems.push(of_node(node, Reason::Isolated.as_str()));
        }
        let own = [Reason::KubeProxyUnhealthy, Reason::NameShared];
        for reason in own.map(Reason::as_str) {
            let mut vips = status.vips.iter();
            if vips.any(|vip| vip.reason.as_deref() == Some(reason)) {
                self.problems.push(of_node(node, reason));
            }
        }
    }
}

/// What stands against a node, with what it means and what to do.
fn of_node(node: &str, reason: &str) -> String {
    match Reason::of(reason).map(Reason::explanation) {
        Some(known) => format!("{node}: {reason}: {}: {}", known.what, known.remedy),
        None => format!("{node}: {reason}"),
    }
}

fn name(service: &ServiceStatus) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// `a, b and 3 more`
fn some(names: &[String]) -> String {
    let some = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// `3 s`, `2 m`, `5 h`
fn duration(millis: u64) -> String {
    match millis / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} m", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
