//! Nodes and their speakers.

use super::super::{Node, NodeState, Picture};
use super::{Finding, Verdict, of_node, some};
use crate::output::causes;

impl Verdict {
    pub(super) fn of_nodes(&mut self, picture: &Picture) {
        for node in &picture.nodes {
            self.of_member(node);
            let reasons = node.reasons.iter();
            self.findings
                .extend(reasons.map(|reason| of_node(&node.name, reason)));
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
        let finding =
            Finding::problem(format!("{name} is held {how} ({word}, {by} say so){heard}"));
        self.add(finding.on(name).since(node.since).next(format!(
            "kubectl describe node {name}, then see its network"
        )));
    }

    pub(super) fn of_speakers(&mut self, picture: &Picture) {
        for (node, told) in &picture.speakers {
            let is_dead = picture
                .node(node)
                .is_some_and(|node| node.state == NodeState::Dead);
            match told {
                Ok(status) => {
                    let Some(missing) = &status.waiting_for else {
                        continue;
                    };
                    self.add(
                        Finding::problem(format!(
                            "the speaker of {node} announces nothing new yet: it waits for \
                             {missing}"
                        ))
                        .on(node),
                    );
                }
                // That it is dead says why it does not answer.
                Err(_) if is_dead => {}
                Err(error) => self.add(
                    Finding::unknown(format!(
                        "the speaker of {node} does not answer, so what it announces is not \
                         known: {}",
                        causes(error)
                    ))
                    .on(node),
                ),
            }
        }
    }
}
