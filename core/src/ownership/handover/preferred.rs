//! H4: where nodes have weights, a preferred one takes its addresses back once it has been well for a while.
//!
//! Each move resets the connections through an address, so a node that comes and goes gets nothing: its time
//! begins anew with each interruption that the owner sees. Owners know of weights by the order of candidates,
//! each by its own view, and the taker has to agree by its own (H3). Without weights nothing here happens.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Instant;
use crate::ownership::context::Ctx;
use crate::ownership::members::Member;
use crate::ownership::model::Stage;
use crate::ownership::node::NodeId;
use crate::ownership::scene::Scene;
use crate::ownership::settings::{Preference, Settings};

/// Who should have which of this member's addresses, as soon as it has been well for long enough.
#[derive(Debug, Clone, Default)]
pub(super) struct Preferred {
    /// Since when, without interruption.
    well: BTreeMap<IpAddr, BTreeMap<NodeId, Instant>>,
    /// The one that is being offered.
    under_way: Option<IpAddr>,
    /// No other one is offered before.
    not_before: Instant,
}

impl Preferred {
    /// Looks again at who is preferred for an address of this member.
    pub(super) fn follow(&mut self, vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) {
        let before = self.well.remove(&vip).unwrap_or_default();
        let well = well_and_preferred(vip, scene, ctx).map(|(id, member)| {
            let since = before.get(&id).copied().unwrap_or(ctx.now);
            // It may have been away since this member looked last.
            (id, since.max(member.since))
        });
        let well: BTreeMap<_, _> = well.collect();
        if !well.is_empty() {
            self.well.insert(vip, well);
        }
    }

    /// Forgets what this member does not own.
    pub(super) fn keep(&mut self, owns: impl Fn(IpAddr) -> bool) {
        self.well.retain(|vip, _| owns(*vip));
    }

    /// Those who may have it now, the most preferred first.
    pub(super) fn ready<'a>(
        &'a self,
        vip: IpAddr,
        scene: Scene<'a>,
        ctx: Ctx<'a>,
    ) -> impl Iterator<Item = NodeId> + use<'a> {
        let well = self.well.get(&vip);
        well_and_preferred(vip, scene, ctx)
            .map(|(id, _)| id)
            .filter(move |id| {
                let since = well.and_then(|well| well.get(id));
                since.is_some_and(|since| is_long_ago(*since, ctx))
            })
    }

    /// The address that is to be offered now, if it is time for one. `is_given`: it is on its way already.
    pub(super) fn next_when_due(
        &mut self,
        is_given: impl Fn(IpAddr) -> bool,
        scene: Scene<'_>,
        ctx: Ctx<'_>,
    ) -> Option<IpAddr> {
        if self.under_way.is_some_and(&is_given) {
            return None;
        }
        if self.under_way.take().is_some() {
            self.not_before = ctx.now + ctx.settings.take_back_pause;
        }
        if ctx.now < self.not_before {
            return None;
        }
        let due = self.well.iter().filter(|(vip, well)| {
            let mut well = well.values();
            !is_given(**vip) && well.any(|since| is_long_ago(*since, ctx))
        });
        let due: Vec<IpAddr> = due.map(|(vip, _)| *vip).collect();
        self.under_way = due.into_iter().find(|vip| {
            self.follow(*vip, scene, ctx);
            self.ready(*vip, scene, ctx).next().is_some()
        });
        self.under_way
    }

    /// Nobody took it: whoever is well has to be so for as long again.
    pub(super) fn put_off(&mut self, vip: IpAddr, now: Instant) {
        for well in self
            .well
            .get_mut(&vip)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            *well = now;
        }
    }

    /// When somebody may have an address, unless one is on its way.
    pub(super) fn due(
        &self,
        is_given: impl Fn(IpAddr) -> bool,
        settings: &Settings,
    ) -> Option<Instant> {
        if self.under_way.is_some() {
            return None;
        }
        let waiting = self.well.iter().filter(|(vip, _)| !is_given(**vip));
        let since = waiting.flat_map(|(_, well)| well.values()).min()?;
        let first = *since + settings.take_back;
        Some(first.max(self.not_before))
    }
}

/// Long enough for a node that is well since then.
fn is_long_ago(since: Instant, ctx: Ctx<'_>) -> bool {
    ctx.now >= since + ctx.settings.take_back
}

/// Those who are preferred to this member for the address and could take it, the most preferred first. With
/// `MetalLB`'s way the best rank owns at once, and weights are a part of that.
fn well_and_preferred<'a>(
    vip: IpAddr,
    scene: Scene<'a>,
    ctx: Ctx<'a>,
) -> impl Iterator<Item = (NodeId, &'a Member)> + use<'a> {
    let own = scene.demand.candidate(vip, ctx.me);
    let own =
        own.filter(|own| own.unpreferred > 0 && ctx.settings.preference == Preference::Sticky);
    let preferred = own.into_iter().flat_map(move |own| {
        let candidates = scene.demand.candidates(vip);
        candidates.filter(move |one| one.tier <= own.tier && one.unpreferred < own.unpreferred)
    });
    preferred.filter_map(move |one| {
        let member = ctx.members.get(one.node)?;
        let serves = member.is_live() && member.record.stage == Stage::Serving;
        let is_on_its_network = !scene.lacks_subnet(one.node, vip, ctx)
            && !scene.links.is_silent_at(one.node, vip, ctx.members);
        // One of a version that knows neither consent nor weights is given nothing for them.
        (serves && is_on_its_network && member.record.consents).then_some((one.node, member))
    })
}
