//! L10, L11: members that are not live are tried again; a member that is not heard, or whose name is
//! taken, claims nothing.

use super::members::Way;
use super::{NodeId, Ownership, Settings};
use crate::Instant;

/// Members tried again in one round: the rest has its turn in the next.
const PER_ROUND: usize = 2;
/// So many PINGs in a row that hold this member gone, although it refuted: it is not heard.
const UNHEARD_PINGS: u32 = 3;
/// So often outbid within [`Settings::outbid`], a boot is another speaker under the same name.
const OUTBIDS: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Contact {
    next_round: Instant,
    unheard_pings: u32,
    quiet_until: Instant,
    name_shared_until: Instant,
    outbid_at: Vec<Instant>,
}

impl Contact {
    pub(super) const fn new(next_round: Instant) -> Self {
        Self {
            next_round,
            unheard_pings: 0,
            quiet_until: Instant::START,
            name_shared_until: Instant::START,
            outbid_at: Vec::new(),
        }
    }

    /// L10: `gone` is older than this member's incarnation, or absent.
    pub(super) fn note_ping(&mut self, gone: Option<u32>, settings: &Settings, now: Instant) {
        self.unheard_pings = if gone.is_some() {
            self.unheard_pings + 1
        } else {
            0
        };
        if self.unheard_pings >= UNHEARD_PINGS {
            self.quiet_until = self.quiet_until.max(now + settings.mute);
        }
    }

    /// L11: another boot of this name outbid this one. Whether that is one time too many.
    pub(super) fn note_stale(&mut self, settings: &Settings, now: Instant) -> bool {
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
}

impl Ownership {
    pub(super) fn contact_when_due(&mut self, now: Instant) {
        if now < self.contact.next_round {
            return;
        }
        self.contact.next_round = now + self.settings.recontact;
        let mut due: Vec<(Instant, NodeId)> = self
            .members
            .index()
            .absent
            .iter()
            .map(|&id| {
                let member = self.members.get(id);
                let tried_at = member.and_then(|member| member.tried_at);
                (tried_at.unwrap_or_default(), id)
            })
            .filter(|&(tried_at, id)| self.is_mine_to_contact(id) && self.is_due(id, tried_at, now))
            .collect();
        due.sort_unstable();
        for (_, id) in due.into_iter().take(PER_ROUND) {
            let Some(member) = self.members.get_mut(id) else {
                continue;
            };
            member.tried_at = Some(now);
            let gone = member.standing.is_heard_of().then_some(member.inc);
            let ping = self.ping(false, gone);
            self.send(id, &ping);
        }
    }

    /// L10: the first K live members after it on the ring, dead, lost or never heard.
    fn is_mine_to_contact(&self, id: NodeId) -> bool {
        self.members
            .neighbours(id, Way::After, self.settings.watchers)
            .contains(&self.me)
    }

    fn is_due(&self, id: NodeId, tried_at: Instant, now: Instant) -> bool {
        let is_long_away = self
            .members
            .get(id)
            .is_some_and(|member| now >= member.since + self.settings.long_away);
        !is_long_away || now >= tried_at + self.settings.slowly
    }

    pub(super) fn contact_due(&self) -> Option<(Instant, &'static str)> {
        Some((self.contact.next_round, "members to find again"))
    }
}
