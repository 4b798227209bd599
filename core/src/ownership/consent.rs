//! H3: whoever may keep an address gives it only to one that agrees.
//!
//! Speakers hear of an order (a move, a cordon, a label) at different times, so that two of them
//! would hand an address to and fro, a hundred times a second, until both have heard. Therefore an
//! owner that is not forced offers, and a taker accepts what belongs to it as far as it knows
//! itself. Who took an address then gives it on only after its own view has changed, so each order
//! moves an address once at most. Who must give (H1) asks for no consent: somebody has to serve.
//! Weights are an order, too (H4): who takes an address for them is preferred by its own view.

use std::net::IpAddr;

use super::context::Ctx;
use super::node::NodeId;
use super::scene::Scene;
use super::settings::Preference;

/// Whose view has to agree with a handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// The owner may not keep it.
    Needless,
    /// The taker must be the best that there is, as far as it knows.
    Needed,
    /// The same, but whoever is better than the taker cannot.
    OthersCannot,
}

/// Whether `vip` belongs here rather than to `from`. `better` are those who would be better than this
/// member.
pub(super) fn agrees(
    vip: IpAddr,
    from: NodeId,
    consent: Consent,
    mut better: impl Iterator<Item = NodeId>,
    scene: Scene<'_>,
    ctx: Ctx<'_>,
) -> bool {
    if consent == Consent::Needless {
        return true;
    }
    let mut is_best = || better.all(|id| id == from);
    is_better_than(vip, from, scene, ctx) && (consent == Consent::OthersCannot || is_best())
}

fn is_better_than(vip: IpAddr, other: NodeId, scene: Scene<'_>, ctx: Ctx<'_>) -> bool {
    let place = |id: NodeId| {
        let mut candidates = scene.demand.candidates(vip).enumerate();
        let (place, candidate) = candidates.find(|(_, one)| one.node == id)?;
        Some((place, (candidate.tier, candidate.unpreferred)))
    };
    let (Some(own), Some(its)) = (place(ctx.me), place(other)) else {
        // It may not serve, as far as this member knows.
        return true;
    };
    let is_before = match ctx.settings.preference {
        Preference::Sticky => own.1 < its.1,
        Preference::BestRank => own.0 < its.0,
    };
    is_before || scene.links.is_silent_at(other, vip, ctx.members)
}
