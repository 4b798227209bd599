//! C5: whose turn it is to claim what nobody holds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::Instant;
use crate::ownership::candidates::Candidate;
use crate::ownership::context::Ctx;
use crate::ownership::demand::Demand;
use crate::ownership::members::Member;
use crate::ownership::model::Stage;
use crate::ownership::node::NodeId;
use crate::ownership::scene::Scene;
use crate::ownership::settings::Preference;

/// Nobody waits longer for its turn than the 20th candidate.
pub(super) const MAX_PLACE: u32 = 20;

/// What this member may claim once it is its turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    /// Wanted for the first time while this member served: these are spread by load.
    newborn: BTreeSet<IpAddr>,
    /// Wanted and held by nobody, since when.
    pending: BTreeMap<IpAddr, Instant>,
}

/// How many addresses each candidate has, while several are being distributed.
#[derive(Debug)]
struct Load {
    own: usize,
    /// What candidates will have once they have claimed what is theirs.
    assumed: BTreeMap<NodeId, usize>,
}

impl Turns {
    pub(super) fn follow_demand(&mut self, before: &Demand, demand: &Demand, joined: bool) {
        if joined {
            self.newborn
                .extend(demand.vips().filter(|vip| !before.contains(*vip)));
        }
        self.newborn.retain(|vip| demand.contains(*vip));
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Nobody holds the address `since` then, unless that is known already; or somebody does.
    pub(super) fn set(&mut self, vip: IpAddr, since: Option<Instant>) {
        if let Some(since) = since {
            self.pending.entry(vip).or_insert(since);
        } else {
            self.pending.remove(&vip);
        }
    }

    /// C5: the n-th candidate waits n times the skew, so that the one before it is heard of first. The
    /// addresses whose turn it is, where this member has `own` already.
    pub(super) fn take(&mut self, own: usize, scene: Scene<'_>, ctx: Ctx<'_>) -> Vec<IpAddr> {
        let now = ctx.now;
        let mut load = Load {
            own,
            assumed: BTreeMap::new(),
        };
        let mut taken = Vec::new();
        for (&vip, since) in &mut self.pending {
            if awaits_better(vip, scene, ctx) {
                // Turns begin once it is there, and can have heard of it.
                *since = now + ctx.settings.recontact;
                continue;
            }
            let is_newborn = self.newborn.contains(&vip);
            let Some(place) = place(vip, is_newborn, &mut load, scene, ctx) else {
                continue;
            };
            if now >= *since + ctx.settings.skew * place {
                taken.push(vip);
            }
        }
        taken
    }

    /// The first turn that has not been taken yet.
    pub(super) fn next(&self, ctx: Ctx<'_>) -> Option<Instant> {
        let pending = self.pending.values();
        pending.filter_map(|&since| next_turn(since, ctx)).min()
    }
}

/// Where the whole cluster starts, a better candidate whose node answers has a speaker that is about
/// to start: without that patience whoever starts first would take everything, and after a switch
/// over from `MetalLB` addresses would not stay where they are.
fn awaits_better(vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    let Some(since) = scene.starting_since else {
        return false;
    };
    // S4: who is on its subnet is better, whatever the order.
    let is_on_subnet = scene.demand.is_on_subnet(vip);
    let candidates = scene.demand.candidates(vip);
    let better = candidates.take_while(|one| one.node != ctx.me || !is_on_subnet);
    let mut better = better.filter_map(|candidate| ctx.members.get(candidate.node));
    let is_starting = |one: &Member| {
        let is_joining = one.is_live() && one.record.stage == Stage::Joining;
        let is_there = one.kernel.answered_at().is_some_and(|at| at >= since);
        is_joining || one.is_absent() && is_there
    };
    ctx.members.index().floor(vip) == 0 && better.any(is_starting)
}

/// How many candidates come before this member; `None` if it is none itself.
///
/// Those whose forwarding is in doubt come last. Apart from that it goes by rank alone, so that
/// all agree whatever they have seen so far: orphans, and whatever is wanted when the speakers
/// start, as after a switch over from `MetalLB`. Only for an address that is new do nodes with
/// more than the least load come last; not where the best rank owns anyway.
fn place(
    vip: IpAddr,
    is_newborn: bool,
    load: &mut Load,
    scene: Scene<'_>,
    ctx: Ctx<'_>,
) -> Option<u32> {
    if !scene.may_serve(vip, ctx) {
        return None;
    }
    let candidates = || {
        let all = scene.demand.candidates(vip).copied();
        all.filter(|one| {
            is_candidate(one.node, scene, ctx) && !scene.lacks_subnet(one.node, vip, ctx)
        })
    };
    let is_doubtful = |one: &Candidate| is_doubtful(one.node, vip, scene, ctx);
    let by_rank = [false, true]
        .into_iter()
        .flat_map(|in_doubt| candidates().filter(move |one| is_doubtful(one) == in_doubt));
    if !(is_newborn && is_spread(vip, scene, ctx)) {
        return Some(count_before(by_rank, ctx.me));
    }
    let mut order: Vec<Candidate> = by_rank.collect();
    let group = |one: &Candidate| (is_doubtful(one), one.tier, one.unpreferred);
    let best = group(order.first()?);
    let of_best = order.iter().filter(|one| group(one) == best);
    let least = of_best.map(|one| load.of(one.node, ctx)).min()?;
    order.sort_by_key(|one| (group(one), load.of(one.node, ctx) > least + 1));
    *load.assumed.entry(order.first()?.node).or_default() += 1;
    Some(count_before(order.into_iter(), ctx.me))
}

fn count_before(order: impl Iterator<Item = Candidate>, me: NodeId) -> u32 {
    let before = order.take_while(|candidate| candidate.node != me);
    before.take(MAX_PLACE as usize).count() as u32
}

/// Whether an address that is new goes by load.
fn is_spread(vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    ctx.settings.preference == Preference::Sticky
        && scene.blocked.is_empty()
        && ctx.members.index().floor(vip) == 0
}

impl Load {
    fn of(&self, id: NodeId, ctx: Ctx<'_>) -> usize {
        let member = ctx.members.get(id);
        let claimed = member.map_or(0, |member| member.record.claims.len());
        let claimed = if id == ctx.me { self.own } else { claimed };
        claimed + self.assumed.get(&id).copied().unwrap_or(0)
    }
}

/// Live, neither joining nor leaving. Who hears nobody leaves their turns to those that cannot be
/// heard.
fn is_candidate(id: NodeId, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    if id == ctx.me {
        return scene.stage.serves();
    }
    let member = ctx.members.get(id);
    scene.blocked.is_blocked_with_all_others(id, ctx)
        || member.is_some_and(|one| one.is_live() && one.record.stage.serves())
}

/// By its kube-proxy, or by its link to the address (L14).
fn is_doubtful(id: NodeId, vip: IpAddr, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    if id == ctx.me {
        return scene.doubtful || scene.links.is_silent(vip);
    }
    let is_in_doubt = |one: &Member| one.record.stage == Stage::Doubtful;
    ctx.members.get(id).is_some_and(is_in_doubt) || scene.links.is_silent_at(id, vip, ctx.members)
}

/// The first turn since an address became free that has not been taken yet.
fn next_turn(since: Instant, ctx: Ctx<'_>) -> Option<Instant> {
    if ctx.now < since {
        return Some(since);
    }
    let skew = ctx.settings.skew;
    let waited = ctx.now.saturating_since(since).as_micros() / skew.as_micros();
    let turn = u32::try_from(waited).ok()?.checked_add(1)?;
    (turn <= MAX_PLACE).then(|| since + skew * turn)
}
