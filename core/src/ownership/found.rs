//! Who found for itself that a node is dead: L5 e seen by the watcher, and by the witness that agreed. What
//! reaches others by hearsay is no finding.

use super::Ownership;
use super::context::Step;
use super::interface::Event;
use super::model::{Death, Verdict};
use super::node::NodeId;
use super::standing::Standing;
use super::witness::Witness;

/// The watcher's side, and the witness's: tells it, unless the member has refuted it by now, or most of the
/// members are gone for this one: then it is rather this side that is cut off.
pub(super) fn found_dead(id: NodeId, with: NodeId, step: &mut Step<'_>) {
    let index = step.members.index();
    let is_small = 2 * index.live.len() < index.known;
    let Some(member) = step.members.get(id) else {
        return;
    };
    if member.standing != Standing::Gone(Verdict::Node) || is_small {
        return;
    }
    let event = Event::FoundDead {
        node: id,
        boot: member.boot,
        incarnation: member.inc,
        with,
    };
    step.tell(event);
}

/// A verdict has come, and this member may have been its witness.
pub(super) fn confirm_death(from: NodeId, death: &Death, witness: &Witness, step: &mut Step<'_>) {
    let member = step.members.get(death.member);
    let is_of = member.is_some_and(|one| (one.boot, one.inc) == (death.boot, death.inc));
    if death.verdict == Verdict::Node && is_of && witness.found_nothing_of(death.member) {
        found_dead(death.member, from, step);
    }
}

impl Ownership {
    /// The process of a member that is live: its boot and incarnation.
    #[must_use]
    pub fn live_process(&self, node: NodeId) -> Option<(u64, u32)> {
        let member = self.common.members.get(node)?;
        member.is_live().then_some((member.boot, member.inc))
    }
}
