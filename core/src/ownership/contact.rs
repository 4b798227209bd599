//! L10, L11: members that are not live are tried again; a member that is not heard, or whose name is
//! taken, claims nothing.

use super::beats::ping;
use super::context::{Ctx, Step};
use super::interface::Event;
use super::members::{Member, Way};
use super::node::NodeId;
use super::own;
use super::reminders::Reminders;
use super::settings::Settings;
use super::sync::send_own_record;
use crate::Instant;

/// Members tried again in one round: the rest has its turn in the next.
const PER_ROUND: usize = 2;
/// The same in a round of those alone that are long away, or of so many that a speaker has more to try than
/// these, and each waits for seconds anyway: the same pace, with a tenth of the rounds.
const PER_SLOW_ROUND: usize = 20;
/// So many PINGs in a row that hold this member gone, although it refuted: it is not heard.
const UNHEARD_PINGS: u32 = 3;
/// So often outbid within [`Settings::outbid`], a boot is another speaker under the same name.
const OUTBIDS: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Contact {
    next_round: Instant,
    /// When [`PER_SLOW_ROUND`] may be tried again: a round that comes sooner ([`Contact::soon`]) is a small one.
    next_slow_round: Instant,
    unheard_pings: u32,
    quiet_until: Instant,
    name_shared_until: Instant,
    outbid_at: Vec<Instant>,
}

impl Contact {
    pub(super) const fn new(next_round: Instant) -> Self {
        Self {
            next_round,
            next_slow_round: Instant::START,
            unheard_pings: 0,
            quiet_until: Instant::START,
            name_shared_until: Instant::START,
            outbid_at: Vec::new(),
        }
    }

    /// L10: the sender holds this member gone, in the incarnation `gone`. If that is this one it is
    /// refuted; if it has been before, this member is not heard.
    pub(super) fn handle_ping(
        &mut self,
        gone: Option<u32>,
        reminders: &mut Reminders,
        step: &mut Step<'_>,
    ) {
        match gone {
            Some(inc) if inc >= step.members.own().inc => own::refute(inc, reminders, step),
            gone => self.count_unheard(gone.is_some(), step.settings, step.now),
        }
        if gone.is_some() {
            reminders.once_heard(step.ctx());
        }
    }

    fn count_unheard(&mut self, is_unheard: bool, settings: &Settings, now: Instant) {
        self.unheard_pings = if is_unheard {
            self.unheard_pings + 1
        } else {
            0
        };
        if self.unheard_pings >= UNHEARD_PINGS {
            self.quiet_until = self.quiet_until.max(now + settings.mute);
        }
    }

    /// L11: others know a later `boot` of this name; clocks go back.
    pub(super) fn outbid(&mut self, boot: u64, step: &mut Step<'_>) {
        if boot <= step.members.own().boot || self.is_name_shared(step.now) {
            // Whoever outbids last has the name.
            return;
        }
        if self.note_outbid(step.settings, step.now) {
            step.tell(Event::NameShared);
        }
        own::take_boot(boot + 1, step);
    }

    /// L11: another boot of this name outbid this one. Whether that is one time too many.
    fn note_outbid(&mut self, settings: &Settings, now: Instant) -> bool {
        let within = settings.outbid;
        self.outbid_at.retain(|&at| now < at + within);
        self.outbid_at.push(now);
        let is_shared = self.outbid_at.len() >= OUTBIDS;
        if is_shared {
            self.name_shared_until = now + within;
        }
        is_shared
    }

    /// Whether this member must claim nothing for now.
    pub(super) fn is_quiet(&self, now: Instant) -> bool {
        now < self.quiet_until || self.is_name_shared(now)
    }

    /// L11: whether another speaker runs under this node's name.
    pub(super) fn is_name_shared(&self, now: Instant) -> bool {
        now < self.name_shared_until
    }

    /// `has_moved`: others may look for this member where it was, and have not heard that it moved: they had
    /// no key then, or did not run. So each attempt tells where it is (A6).
    pub(super) fn handle_timeout(&mut self, joined: bool, has_moved: bool, step: &mut Step<'_>) {
        if step.now < self.next_round {
            return;
        }
        let ctx = step.ctx();
        let settings = ctx.settings;
        if ctx.members.index().absent.is_empty() {
            self.next_round = ctx.now + settings.recontact;
            return;
        }
        // Of thousands, one look at each in turn takes less time than looking each one up.
        let absent = || ctx.members.iter().filter(|(_, member)| member.is_absent());
        let mut due: Vec<(Instant, NodeId)> = absent()
            .filter_map(|(id, member)| Some((tried_at_if_due(member, ctx)?, id)))
            .collect();
        due.sort_unstable();
        let is_slow = share_of(due.len(), ctx) > PER_SLOW_ROUND
            || absent().all(|(_, member)| is_long_away(member, ctx));
        let mut count = PER_ROUND;
        if is_slow && ctx.now >= self.next_slow_round {
            self.next_slow_round = ctx.now + settings.slowly;
            count = PER_SLOW_ROUND;
        }
        self.next_round = match is_slow {
            true => self.next_slow_round,
            false => ctx.now + settings.recontact,
        };
        // Whose it is to try takes longer to find out, and thousands may be absent.
        let due = due.into_iter();
        let mine = due.filter(|(_, id)| is_mine_to_contact(*id, ctx));
        let mine: Vec<_> = mine.take(count).collect();
        for (_, id) in mine {
            step.members.note_tried(id, step.now);
            let member = step.members.get(id);
            let known = member.filter(|member| member.standing.is_heard_of());
            let gone = known.map(|member| member.inc);
            step.send(id, &ping(joined, false, gone, step.ctx()));
            if has_moved {
                send_own_record(id, step);
            }
        }
    }

    /// Who is live or away has changed: those that are away since now are not to wait for those long away.
    pub(super) fn soon(&mut self, ctx: Ctx<'_>) {
        self.next_round = self.next_round.min(ctx.now + ctx.settings.recontact);
    }

    pub(super) fn due(&self, ctx: Ctx<'_>) -> Option<(Instant, &'static str)> {
        let is_needed = !ctx.members.index().absent.is_empty();
        is_needed.then_some((self.next_round, "members to find again"))
    }
}

/// L10: the first K live members after it on the ring, dead, lost or never heard.
fn is_mine_to_contact(id: NodeId, ctx: Ctx<'_>) -> bool {
    ctx.members
        .neighbours(id, Way::After, ctx.settings.watchers)
        .contains(&ctx.me)
}

/// How many of so many members that are not live each live one tries, on average: each is tried by K of
/// those that are live. To count one's own takes a look at the ring for each of them.
fn share_of(absent: usize, ctx: Ctx<'_>) -> usize {
    let live = ctx.members.index().live.len().max(1);
    (absent * ctx.settings.watchers).div_ceil(live).min(absent)
}

fn is_long_away(member: &Member, ctx: Ctx<'_>) -> bool {
    ctx.now >= member.since + ctx.settings.long_away
}

/// When it was tried last, if it is time to try again.
fn tried_at_if_due(member: &Member, ctx: Ctx<'_>) -> Option<Instant> {
    let tried_at = member.tried_at.unwrap_or_default();
    let is_due = !is_long_away(member, ctx) || ctx.now >= tried_at + ctx.settings.slowly;
    is_due.then_some(tried_at)
}
