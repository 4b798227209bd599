//! What a cordon means for the election, if it is not to move anything.

use ferrolb_core::cordon::Cordon;
use ferrolb_core::view::NodeView;
use ferrolb_kube::watch::Event;

use super::View;

/// A Node as its watch tells of it.
type NodeEvent = Event<(String, Option<NodeView>)>;

impl View {
    /// What a mere cordon does.
    #[must_use]
    pub fn with_cordon(mut self, cordon: Cordon) -> Self {
        self.cordon = cordon;
        self
    }

    /// With [`Cordon::Stay`] the election sees no cordon. This node's own is remembered: told to stop on a
    /// cordoned node, the speaker hands its addresses over, since a reboot comes next.
    pub(super) fn note_cordon(&mut self, event: NodeEvent) -> NodeEvent {
        if self.cordon == Cordon::Move {
            return event;
        }
        match event {
            Event::InitApply(node) => Event::InitApply(self.without_cordon(node)),
            Event::Apply(node) => Event::Apply(self.without_cordon(node)),
            other @ (Event::Init | Event::InitDone | Event::Delete(_) | Event::Unreadable(_)) => {
                other
            }
        }
    }

    fn without_cordon(
        &mut self,
        (name, node): (String, Option<NodeView>),
    ) -> (String, Option<NodeView>) {
        let node = node.map(|node| {
            if name == self.me {
                self.cordoned_here = node.unschedulable;
            }
            NodeView {
                unschedulable: false,
                ..node
            }
        });
        (name, node)
    }
}
