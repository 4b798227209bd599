//! Nodes and their speakers.

use std::collections::BTreeMap;

use ferrolb_core::Reason;
use ferrolb_core::keep::shown::KeepingStatus;
use ferrolb_core::report::{MemberStatus, SpeakerStatus};
use jiff::Timestamp;

use super::super::{Node, NodeState, Picture};
use super::{Finding, Verdict, of_node, of_pod, some, unready_since};
use crate::daemons::Daemon;
use crate::output::causes;

impl Verdict {
    pub(super) fn of_nodes(&mut self, picture: &Picture) {
        for node in &picture.nodes {
            self.of_member(node);
            let reasons = node.reasons.iter();
            self.findings.extend(reasons.map(|reason| {
                of_node(&node.name, reason).since(picture.unheard_since(&node.name, reason))
            }));
        }
        let without = picture.nodes.iter();
        let without =
            without.filter(|node| node.state == NodeState::NoSpeaker && node.ready == Some(true));
        let without: Vec<_> = without.map(|node| node.name.clone()).collect();
        let is_anywhere = picture.daemons.iter().any(|daemon| daemon.is_speaker());
        if !without.is_empty() && is_anywhere {
            self.add(
                Finding::note(format!(
                    "no speaker on {}, so it announces nothing",
                    some(&without)
                ))
                .next(
                    "is that intended, or does the node have a taint that is not in \
                     speaker.tolerations?",
                ),
            );
        }
    }

    fn of_member(&mut self, node: &Node) {
        let name = &node.name;
        let by = some(&node.by);
        let how = match node.state {
            NodeState::Dead => "dead",
            NodeState::Doubted => "dead by some",
            NodeState::Restarting => {
                self.add(
                    Finding::note(format!("the speaker of {name} restarts, say {by}")).on(name),
                );
                return;
            }
            _ => return,
        };
        let word = node.verdict.as_deref().unwrap_or("gone");
        let heard = if node.since.is_some() {
            ""
        } else {
            ", never heard"
        };
        let finding = Finding::problem(
            format!("{name} is held {how} ({word}, {by} say so){heard}"),
            format!("kubectl describe node {name}, then see its network"),
        );
        self.add(finding.on(name).since(node.since));
    }

    pub(super) fn of_speakers(&mut self, picture: &Picture) {
        for (node, told) in &picture.speakers {
            let is_dead = picture
                .node(node)
                .is_some_and(|node| node.state == NodeState::Dead);
            let pod = picture.speaker_on(node);
            let since = pod.and_then(unready_since);
            match told {
                Ok(status) => {
                    self.of_keeping(node, status.keeping.as_ref(), pod);
                    let Some(missing) = &status.waiting_for else {
                        continue;
                    };
                    let what = format!(
                        "the speaker of {node} announces nothing new yet: it waits for {missing}"
                    );
                    let finding = Finding::problem(what, of_pod("logs", pod, "speaker"));
                    self.add(finding.on(node).since(since));
                }
                // That it is dead says why it does not answer.
                Err(_) if is_dead => {}
                Err(error) => self.add(
                    Finding::unknown(format!(
                        "the speaker of {node} does not answer, so what it announces is not \
                         known: {}",
                        causes(error)
                    ))
                    .on(node)
                    .since(since)
                    .next(of_pod("describe pod", pod, "speaker")),
                ),
            }
        }
    }

    /// Connections that are kept while addresses move. That it is not done is a problem: it was asked for.
    fn of_keeping(&mut self, node: &str, keeping: Option<&KeepingStatus>, pod: Option<&Daemon>) {
        let Some(keeping) = keeping else { return };
        if !keeping.ready {
            let why = keeping.problem.as_deref();
            let why = why.unwrap_or("its keeper has not answered yet");
            let what = format!(
                "{node} cannot keep the open connections of addresses that move to it: {why}"
            );
            let logs = of_pod("logs -c keeper", pod, "speaker");
            self.add(Finding::problem(what, logs).on(node));
        }
        let mut kept: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for one in &keeping.addresses {
            let addresses = kept.entry(&one.from).or_default();
            addresses.push(one.address.to_string());
        }
        for (from, addresses) in kept {
            let first = addresses[0].clone();
            let what = format!(
                "{node} passes open connections of {} on to {from}, where they began",
                some(&addresses)
            );
            let finding = Finding::note(what).on(node);
            let ask = format!("kubectl ferrolb explain {first}");
            self.add(Finding {
                address: Some(first),
                ..finding.next(ask)
            });
        }
    }
}

impl Picture {
    fn speaker_on(&self, node: &str) -> Option<&Daemon> {
        let mut speakers = self.daemons.iter().filter(|one| one.is_speaker());
        speakers.find(|one| one.node.as_deref() == Some(node))
    }

    /// Since when a reason stands against a node, of those that say that nothing is heard: of it by others, or by
    /// itself.
    fn unheard_since(&self, node: &str, reason: &str) -> Option<Timestamp> {
        let is_by_others = reason == Reason::PeerBlocked.as_str();
        if !is_by_others && reason != Reason::Isolated.as_str() {
            return None;
        }
        let views = self.speakers.iter();
        let views = views.filter_map(|(_, told)| told.as_ref().ok());
        let views = views.filter(|view| is_by_others != (view.node == node));
        let concerns = |view: &SpeakerStatus, one: &MemberStatus| match is_by_others {
            true => one.node == node && one.is_blocked(),
            false => one.node != view.node,
        };
        let heard = views.flat_map(|view| {
            let members = view.members.iter();
            members.filter(move |one| concerns(view, one))
        });
        let last = heard.filter_map(|one| one.heard_millis_ago).min()?;
        let last = std::time::Duration::from_millis(last);
        self.now.checked_sub(last).ok()
    }
}
