//! B1 to B3: members that live and cannot be heard, as where a firewall drops UDP 7946.
//!
//! What is left is the wire: whoever owns an address announces it, and announces again each few
//! seconds as long as somebody may depend on that. An announcement by a member that is not live here
//! is its claim.
//!
//! - B1 Of two that announce, the one of lower rank falls silent.
//! - B2 Nobody claims what is announced by a member whose kernel answers; who starts listens first.
//! - B3 What is announced no more, for three rounds, is claimed in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::context::{Ctx, Step};
use super::demand::Demand;
use super::interface::Event;
use super::members::Member;
use super::node::NodeId;
use crate::Instant;
use crate::wire::MacAddr;

/// Absent members that are asked in one look, besides owners.
pub(super) const PER_ROUND: usize = 8;

/// What to do about an address that such a member announces as well, or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contest {
    Nothing,
    FallSilent,
    /// This member announces it again.
    Insist,
}

/// What came of a look for such members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    NotDue,
    Done,
    /// What this member has it has to announce again (B3).
    Remind,
}

#[derive(Debug, Clone)]
pub(super) struct Blocked {
    /// Who they are, as of the last look.
    members: BTreeSet<NodeId>,
    /// What they announce.
    heard: BTreeMap<IpAddr, (NodeId, Instant)>,
    insisted_at: BTreeMap<IpAddr, Instant>,
    next_round: Instant,
    remind_at: Instant,
    listen_until: Instant,
}

impl Blocked {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            members: BTreeSet::new(),
            heard: BTreeMap::new(),
            insisted_at: BTreeMap::new(),
            next_round: now,
            remind_at: Instant::START,
            listen_until: Instant::START,
        }
    }

    /// B2: whether this member claims nothing yet.
    pub(super) fn is_listening(&self, now: Instant) -> bool {
        now < self.listen_until
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.members.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members that hear each other count turns among themselves, since they may not agree on who
    /// cannot be heard.
    pub(super) fn is_blocked_with_all_others(&self, id: NodeId, ctx: Ctx<'_>) -> bool {
        self.contains(id) && ctx.members.index().live.len() == 1
    }

    /// B1: another station announced a wanted address. `asking` is whether this member still asks for it,
    /// if it has it.
    pub(super) fn handle_announcement(
        &mut self,
        vip: IpAddr,
        from: MacAddr,
        asking: Option<bool>,
        demand: &Demand,
        step: &mut Step<'_>,
    ) -> Contest {
        let Some(id) = self.hear_claimant(vip, from, demand, step) else {
            return Contest::Nothing;
        };
        if asking.is_none() {
            Contest::Nothing
        } else if demand.ranks_before(vip, id, step.me) {
            Contest::FallSilent
        } else {
            self.insist(vip, step.ctx())
        }
    }

    /// Another station asks whether anybody has a wanted address. A member that asks is about to
    /// announce it (C9): nobody else claims it meanwhile. Of two that ask the one of lower rank gives up;
    /// whoever announces it already says so again, unless the other one is the better.
    pub(super) fn handle_probe(
        &mut self,
        vip: IpAddr,
        from: MacAddr,
        asking: Option<bool>,
        demand: &Demand,
        step: &mut Step<'_>,
    ) -> Contest {
        let Some(id) = self.hear_claimant(vip, from, demand, step) else {
            return Contest::Nothing;
        };
        let Some(asking) = asking else {
            return Contest::Nothing;
        };
        match (demand.ranks_before(vip, id, step.me), asking) {
            (true, true) => Contest::FallSilent,
            (false, false) => self.insist(vip, step.ctx()),
            _ => Contest::Nothing,
        }
    }

    /// The member, if it is one that only the wire tells of.
    fn hear_claimant(
        &mut self,
        vip: IpAddr,
        from: MacAddr,
        demand: &Demand,
        step: &mut Step<'_>,
    ) -> Option<NodeId> {
        let id = step.members.by_mac(from)?;
        // Those who are heard settle it by their claims.
        if id == step.me || step.members.is_live(id) || !demand.contains(vip) {
            return None;
        }
        self.heard.insert(vip, (id, step.now));
        step.reconsider([vip]);
        Some(id)
    }

    fn insist(&mut self, vip: IpAddr, ctx: Ctx<'_>) -> Contest {
        let last = self.insisted_at.get(&vip);
        if last.is_some_and(|&at| ctx.now < at + ctx.settings.insist) {
            return Contest::Nothing;
        }
        self.insisted_at.insert(vip, ctx.now);
        Contest::Insist
    }

    /// B2: but for those who said good-bye.
    pub(super) fn is_announced_elsewhere(&self, vip: IpAddr, ctx: Ctx<'_>) -> bool {
        let (now, fresh) = (ctx.now, ctx.settings.announcement_fresh);
        self.heard.get(&vip).is_some_and(|&(id, at)| {
            let member = ctx.members.get(id).filter(|one| one.is_absent());
            let has_kernel = member.is_some_and(|one| {
                one.kernel
                    .has_answered_within(ctx.settings.owner_fresh, now)
            });
            now < at + fresh && has_kernel
        })
    }

    /// B2: nobody told this member anything, and some may be unable to.
    pub(super) fn listen_first(&mut self, step: &mut Step<'_>) {
        self.find_blocked(Duration::ZERO, step);
        if !self.is_empty() {
            self.listen_until = step.now + step.settings.listen;
        }
    }

    /// Looks for such members, and asks their kernels. `owns` is whether this member has any address.
    pub(super) fn handle_timeout(&mut self, owns: bool, step: &mut Step<'_>) -> Look {
        let now = step.now;
        if now < self.next_round {
            return Look::NotDue;
        }
        self.next_round = now + step.settings.blocked_round;
        self.find_blocked(step.settings.absent, step);
        self.ask_the_absent(step);
        let is_due = now >= self.remind_at;
        let has_to_remind = is_due && !self.is_empty() && owns;
        if has_to_remind {
            self.remind_at = now + step.settings.unheard_remind;
        }
        self.insisted_at
            .retain(|_, at| now < *at + step.settings.insist);
        let heard = self.heard.keys().copied();
        let ended: Vec<IpAddr> = heard
            .filter(|&vip| !self.is_announced_elsewhere(vip, step.ctx()))
            .collect();
        for vip in &ended {
            self.heard.remove(vip);
        }
        step.reconsider(ended);
        match has_to_remind {
            true => Look::Remind,
            false => Look::Done,
        }
    }

    /// Every owner, and some of the others: who was asked longest ago.
    fn ask_the_absent(&self, step: &mut Step<'_>) {
        let absent = step.members.index().absent.iter().copied();
        let asked_at = |id| step.members.get(id).and_then(|one| one.kernel.asked_at());
        let mut others: Vec<_> = absent.map(|id| (asked_at(id), id)).collect();
        others.sort_unstable();
        let owners = self.heard.values().map(|&(id, _)| id);
        let others = others.into_iter().take(PER_ROUND).map(|(_, id)| id);
        for id in owners.chain(others).collect::<BTreeSet<_>>() {
            if let Some(kernel) = step.members.kernel_mut(id) {
                kernel.note_asked(step.now);
            }
            step.probe(id);
        }
    }

    fn find_blocked(&mut self, absent_for: Duration, step: &mut Step<'_>) {
        let ctx = step.ctx();
        let absent = ctx.members.index().absent.iter().copied();
        let blocked: BTreeSet<NodeId> = absent
            .filter(|&id| {
                let member = ctx.members.get(id);
                member.is_some_and(|one| ctx.now >= one.since + absent_for && is_blocked(one, ctx))
            })
            .collect();
        for &node in blocked.difference(&self.members) {
            step.tell(Event::Blocked { node });
            // It may be about to claim what this member has.
            self.remind_at = step.now;
        }
        self.members = blocked;
    }

    pub(super) fn due(&self, ctx: Ctx<'_>) -> Option<(Instant, &'static str)> {
        let is_needed = !self.is_empty() || !ctx.members.index().absent.is_empty();
        is_needed.then_some((self.next_round, "members that cannot be heard"))
    }
}

/// Its node lives, nothing says that its process does not, and yet it is not heard.
fn is_blocked(member: &Member, ctx: Ctx<'_>) -> bool {
    let (settings, kernel) = (ctx.settings, &member.kernel);
    let has_kernel = kernel.answered_at().is_some_and(|at| at > member.since)
        && kernel.has_answered_within(settings.kernel_fresh, ctx.now);
    let has_no_process = kernel.has_denied_within(settings.no_process, ctx.now);
    member.is_absent() && has_kernel && !has_no_process
}
