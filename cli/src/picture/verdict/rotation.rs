//! Pods of dead nodes: which are out of rotation, and why others are not.

use ferrolb_core::dead::DeadNodeStatus;

use super::super::Picture;
use super::{Finding, Verdict, of_node, some};
use crate::output::counted;

impl Verdict {
    /// What the controller does about nodes that speakers found dead (`deadNodes.endpoints: remove`).
    pub(super) fn of_rotation(&mut self, picture: &Picture) {
        let controller = picture.controller.as_ref().ok();
        let Some(dead) = controller.and_then(|status| status.dead_nodes.as_ref()) else {
            return;
        };
        if let Some(reason) = &dead.reason {
            let finding = of_node("dead nodes", reason);
            self.add(Finding {
                node: None,
                ..finding
            });
        }
        for node in &dead.nodes {
            if node.is_out() {
                self.add(out_of_rotation(node));
            } else if let Some(reason) = node.reason.as_ref().filter(|_| node.is_left()) {
                self.add(of_node(&node.node, reason).since(since(node)));
            }
        }
    }
}

fn since(node: &DeadNodeStatus) -> Option<jiff::Timestamp> {
    node.since.as_ref()?.parse().ok()
}

fn out_of_rotation(node: &DeadNodeStatus) -> Finding {
    let left = match node.left.len() {
        0 => String::new(),
        left => format!("; {left} more stay"),
    };
    let what = format!(
        "{} of {} are out of rotation, because {} find it dead{left}",
        counted(node.pods.len(), "pod"),
        node.node,
        some(&node.found_by)
    );
    let next = format!("kubectl ferrolb explain node/{}", node.node);
    let finding = Finding::problem(what, next);
    finding.on(&node.node).since(since(node))
}
