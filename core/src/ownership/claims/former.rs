//! R2: whoever returns claims its former addresses first.

use super::Claims;
use crate::ownership::context::Step;
use crate::ownership::interface::Cause;
use crate::ownership::scene::Scene;

impl Claims {
    /// This node's former addresses, claimed before anybody else may.
    pub(in crate::ownership) fn reclaim(&mut self, scene: Scene<'_>, step: &mut Step<'_>) {
        let Some(former) = step.members.own().former.clone() else {
            return;
        };
        for (&vip, claim) in &former.record.claims {
            let is_free = step.members.owner(vip).is_none();
            if is_free && scene.may_serve(vip, step.ctx()) {
                self.claim(vip, Cause::Restart, claim.asking, scene, step);
            }
        }
    }
}
