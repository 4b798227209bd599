//! Who answers for which address: the speakers agree without a leader, a lock or the API server.
//!
//! [`Ownership`] is one speaker's side of the protocol, without any I/O. Members beat to the few
//! that watch them; a late beat makes the watcher probe and ask witnesses; a verdict is told to all;
//! each member alone writes what it announces; digests find and repair what was lost.
//!
//! | rules | module |
//! | --- | --- |
//! | L1, L2 who beats to whom, and when | `beats` |
//! | L1, L3, L8 whom a member watches, and when a beat is late | `watch` |
//! | L4, L5, L9 suspicion and verdict | `watch::suspicion` |
//! | L4 second opinions | `witness` |
//! | L6, L7 what is shared, what is private; L11 boots | `members`, `liveness`, `own` |
//! | L9 addresses are announced again after an absence | `reminders` |
//! | L10 finding each other again; L11 names that two have | `contact` |
//! | C1, C2, C6, C8 claims | `claims`, `claims::yields` |
//! | C3 strong and weak | `claims::majority` |
//! | C4 a node's own eligibility | `scene` |
//! | C5 whose turn it is | `claims::turns` |
//! | C9 what was free is probed | `claims::freedom` |
//! | C7 publishing and repair | `sync` |
//! | J1 joining | `join` |
//! | H1, H2 handing over | `handover` |
//! | H2, R4 leaving | `presence` |
//! | H3 two views, one order | `consent` |
//! | H4 preferred nodes take their addresses back | `handover::preferred` |
//! | R1 a restart is not a death | `watch::held`, and `reservations` in `members` |
//! | R2 who returns claims first | `claims::former` |
//! | L13 kernels that never answer | `kernels` |
//! | L14 links that no beat passes | `links` |
//! | S1 to S4 subnets that only some nodes have | `subnets` |
//! | B1 to B3 members that cannot be heard | `blocked` |
//! | D1 to D5 which nodes are told to be dead, and when | `found` |
//! | A2 to A5 where a member is | `members::place` |
//! | A6 to A8 a node that moved | `moved` |
//! | G1 to G4 who is let in | `gate` |
//! | K1 to K4 keys, while they are changed | `key_ring` |
//! | N1 to N3 numbers that only grow | `numbers` |
//!
//! Each part owns its fields: they are private to its module. It is handed a `Ctx` for
//! questions, or a `Step` where it may change the table, send, or have something follow;
//! of other parts it sees those that its signature names. What has to follow elsewhere it asks for
//! (`effects`) or returns, and [`Ownership`] carries that out. What a datagram brings is handed on in `input`.
//!
//! The words that all of these use stand in `model`, a member's state in `standing`, each duration in
//! `settings`; `wire` knows the bytes of the words, and nothing else does.
//!
//! A driver hands in what it received, then calls [`Ownership::handle_timeout`], then carries out
//! what [`Ownership::poll_event`] and [`Ownership::poll_transmit`] hold, and sleeps until
//! [`Ownership::poll_timeout`]. It drains its socket before it looks at timers (L3); after it was
//! stopped for more than a second it drops queued ARP requests first (L12).

mod beats;
mod blocked;
mod candidates;
mod claims;
mod consent;
mod contact;
mod context;
mod demand;
mod effects;
mod epoch;
mod found;
mod gate;
mod handover;
mod input;
mod interface;
mod join;
mod kernels;
mod key_ring;
mod links;
mod liveness;
mod members;
mod model;
mod moved;
mod node;
mod numbers;
#[cfg(test)]
mod order;
mod own;
mod presence;
mod reminders;
mod replay;
mod scene;
mod settings;
mod standing;
mod status;
mod subnets;
mod sync;
mod watch;
mod wire;
mod witness;

use std::time::Duration;

pub use candidates::{Candidate, Candidates, Lists};
pub use interface::{Cause, Event, Identity, KernelAnswer, Leaving, Transmit, Wanted};
pub use key_ring::{KeyProblem, KeyRing};
pub use model::Verdict;
pub use node::NodeId;
pub use settings::{CALM, FAST, Preference, STOPPED, Settings};
pub use standing::{Hold, Standing};
pub use status::{MemberStatus, VipStatus};
pub use wire::{Key, KeyTooShort, Keys, MAX_DATAGRAM, PORT};

use beats::{Beats, Condition};
use blocked::{Blocked, Look};
use claims::Claims;
use contact::Contact;
use context::Common;
use demand::Demand;
use found::Findings;
use gate::Gate;
use handover::Handover;
use join::Join;
use links::Links;
use members::Member;
use model::Record;
use moved::{Follows, Moved};
use numbers::Horizon;
use presence::Presence;
use reminders::Reminders;
use scene::Scene;
use settings::TIDY;
use sync::{Sync, send_own_record};
use watch::Watching;
use witness::Witness;

use crate::{Instant, Reason};

/// One speaker's side of the protocol.
#[derive(Debug, Clone)]
pub struct Ownership {
    common: Common,
    demand: Demand,
    presence: Presence,
    gate: Gate,
    horizon: Horizon,
    beats: Beats,
    watching: Watching,
    witness: Witness,
    findings: Findings,
    contact: Contact,
    blocked: Blocked,
    moved: Moved,
    links: Links,
    sync: Sync,
    join: Join,
    claims: Claims,
    handover: Handover,
    reminders: Reminders,
    handled_at: Instant,
    tidied_at: Instant,
}

impl Ownership {
    /// Knows nobody, wants nothing. `seed` decides which members are asked, nothing else.
    #[must_use]
    pub fn new(
        identity: Identity,
        settings: Settings,
        keys: Keys,
        seed: u64,
        now: Instant,
    ) -> Self {
        let Identity {
            node,
            address,
            mac,
            boot,
        } = identity;
        let own = Member::own(address, boot, now);
        Self {
            demand: Demand::default(),
            presence: Presence::default(),
            gate: Gate::new(now),
            horizon: Horizon::new(boot, now),
            beats: Beats::new(now),
            watching: Watching::new(now + settings.subscribe, now),
            witness: Witness::default(),
            findings: Findings::new(now),
            contact: Contact::new(now + settings.recontact),
            blocked: Blocked::new(now),
            moved: Moved::new(address, mac),
            links: Links::new(now),
            sync: Sync::new(now),
            join: Join::new(),
            handover: Handover::default(),
            reminders: Reminders::default(),
            handled_at: now,
            tidied_at: now,
            claims: Claims::new(&node),
            common: Common::new(NodeId::of(&node), settings, keys, seed, own),
        }
    }

    /// Does everything that is due. To be called after each batch of inputs, and at
    /// [`Self::poll_timeout`].
    ///
    /// The order of the parts is one of causes and effects, so that one call carries out everything that
    /// follows from what was heard (`order` tests it):
    ///
    /// 1. Whose time to leave is over does nothing more: others have its addresses.
    /// 2. Joining and the holds of others may end, which changes the table.
    /// 3. What follows from changes of the table, by what was heard or by 2: who is watched, and which
    ///    addresses are looked at again. Beats carry the digest of that table to those watchers.
    /// 4. Members and links are watched. Verdicts change the table once more, so what follows from them
    ///    comes once more.
    /// 5. Each address is decided on, with all that is known.
    /// 6. What was decided is published at once; whoever hears of this member by other ways gets the
    ///    record that was published.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.presence.has_left() {
            return;
        }
        if now > self.handled_at + STOPPED {
            // L12: others may have answered for our addresses meanwhile.
            self.reminders.soon(self.common.ctx(now));
        }
        self.handled_at = now;
        self.presence
            .handle_timeout(&mut self.claims, &mut self.common.step(now));
        if self.presence.has_left() {
            return;
        }
        self.join_when_due(now);
        self.common.members.end_reservations(now);
        self.follow_changes(now);
        let condition = self.condition();
        self.beats
            .handle_timeout(condition, &mut self.common.step(now));
        self.watch(now);
        self.follow_changes(now);
        self.vote_when_due(now);
        self.decide(now);
        self.publish_when_due(now);
        let follows = self.moved.handle_timeout(&mut self.common.step(now));
        self.follow_moved(follows, now);
        self.tidy(now);
    }

    const fn condition(&self) -> Condition {
        Condition {
            deaf: self.watching.is_isolated(),
            joined: self.join.is_joined(),
        }
    }

    fn join_when_due(&mut self, now: Instant) {
        let step = &mut self.common.step(now);
        if self.join.handle_timeout(step) {
            self.blocked.listen_first(step);
            self.complete_join(now);
        }
    }

    /// From now on this member decides.
    fn complete_join(&mut self, now: Instant) {
        let step = &mut self.common.step(now);
        self.join.complete(step);
        self.claims.reconsider_all(&self.demand, step);
    }

    /// Carries on what changes of the table bring with them.
    fn follow_changes(&mut self, now: Instant) {
        let step = &mut self.common.step(now);
        let changes = step.members.take_changes();
        if changes.gone {
            self.findings.note_silence(now);
            self.claims.weaken_young(step);
        }
        if changes.returned {
            self.reminders.soon(step.ctx());
        }
        step.reconsider(changes.vips);
        self.claims.set_released(changes.released);
        if changes.candidates {
            // A better one may be there.
            step.reconsider(self.claims.owned());
        }
        if changes.ring {
            self.watching.rewatch(self.join.is_joined(), step);
        }
        if changes.ring || changes.away {
            self.contact.soon(step.ctx());
        }
    }

    /// Members, and links; and what is found to differ is repaired.
    fn watch(&mut self, now: Instant) {
        let step = &mut self.common.step(now);
        if self.watching.renew_when_due(self.join.is_joined(), step) {
            self.claims.confirm_weak(step);
        }
        self.watching.watch_when_due(&mut self.join, step);
        for (node, witness) in self.watching.take_found() {
            self.findings.found(node, witness, step);
        }
        self.witness.handle_timeout(self.join.is_joined(), step);
        let has_moved = self.moved.has_moved();
        self.contact
            .handle_timeout(self.join.is_joined(), has_moved, step);
        let look = self.blocked.handle_timeout(!self.claims.is_empty(), step);
        if look == Look::Remind {
            self.reminders.soon(step.ctx());
        }
        if look != Look::NotDue && self.moved.look_again() == Follows::Reconsider {
            self.claims.reconsider_all(&self.demand, step);
        }
        if self.links.handle_timeout(step) {
            step.reconsider(self.claims.owned());
        }
        self.sync.repair_when_due(self.join.is_joined(), step);
    }

    /// Whoever hears nothing, is not heard, or has yet to learn what it missed, votes on nobody (D5).
    fn vote_when_due(&mut self, now: Instant) {
        let joined = self.join.is_joined();
        let is_cut_off = self.watching.is_isolated() || self.contact.is_quiet(now);
        let step = &mut self.common.step(now);
        self.findings
            .handle_timeout(joined && !is_cut_off, joined, step);
    }

    /// Looks again at every address of which something changed, then at those without an owner.
    fn decide(&mut self, now: Instant) {
        let step = &mut self.common.step(now);
        let scene = Scene {
            demand: &self.demand,
            links: &self.links,
            blocked: &self.blocked,
            moved: &self.moved,
            stage: self.presence.stage(self.join.is_joined()),
            doubtful: self.presence.is_doubtful(),
            starting_since: self.join.starting_since(step.settings, now),
        };
        if self.contact.is_name_shared(now) {
            self.claims.withdraw_all(Reason::NameShared, step);
        }
        while let Some(vip) = self.common.effects.next_to_reconsider() {
            let step = &mut self.common.step(now);
            if self.claims.review(vip, scene, &mut self.reminders, step) {
                self.handover.review(vip, &self.claims, scene, step.ctx());
            }
        }
        let step = &mut self.common.step(now);
        self.claims.forget_released();
        self.claims.send_yields(step);
        self.handover.take_offers(&mut self.claims, scene, step);
        self.handover.give_when_due(&mut self.claims, scene, step);
        let is_quiet = self.contact.is_quiet(now) || self.blocked.is_listening(now);
        if scene.stage.serves() && !is_quiet {
            self.claims.reclaim(scene, step);
            self.claims.claim_in_turn(scene, step);
        }
        let due = self.reminders.take_due(self.claims.owned(), now);
        self.claims.announce_again(due, step);
    }

    fn publish_when_due(&mut self, now: Instant) {
        // Whenever it is published or repeated, all that are live have it.
        let once_more = self.common.effects.take_record_to();
        if self.common.effects.take_publish() {
            let record = self.own_record();
            self.sync.publish(record, &mut self.common.step(now));
        } else if self.sync.repeat_when_due(&mut self.common.step(now)) {
            self.claims.repeat_yields(&mut self.common.step(now));
        } else {
            let step = &mut self.common.step(now);
            once_more
                .into_iter()
                .for_each(|id| send_own_record(id, step));
        }
    }

    /// What this member publishes of itself.
    fn own_record(&self) -> Record {
        let (address, mac) = self.moved.station();
        let (links, tells_subnets) = self.links.own();
        Record {
            seq: 0,
            stage: self.presence.stage(self.join.is_joined()),
            consents: true,
            address,
            mac,
            links,
            tells_subnets,
            claims: self.claims.all(),
        }
    }

    fn tidy(&mut self, now: Instant) {
        if now >= self.tidied_at + TIDY {
            self.tidied_at = now;
            let is_wanted = |vip| self.demand.contains(vip);
            self.common.members.forget_idle(is_wanted);
        }
    }

    /// When [`Self::handle_timeout`] is due next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.presence.has_left() {
            return None;
        }
        let (settings, effects) = (&self.common.settings, &self.common.effects);
        let ctx = self.common.ctx(self.handled_at);
        let is_serving = self.presence.stage(self.join.is_joined()).serves();
        let has_changed = effects.has_to_reconsider()
            || self.reminders.is_due_now()
            || self.handover.has_offers()
            || ctx.members.index().has_changes();
        let at_once = |is_due: bool, what| is_due.then_some((Instant::START, what));
        [
            self.join.due(settings),
            ctx.members.reservation_due(),
            self.beats.due(),
            self.watching.due(),
            self.witness.due(),
            self.findings.due(settings),
            self.contact.due(ctx),
            self.blocked.due(ctx),
            self.links.due(),
            self.moved.due(),
            at_once(effects.has_to_publish(), "a record to publish"),
            self.sync.due(),
            at_once(has_changed, "something changed"),
            self.reminders.due(),
            self.claims.due(is_serving, ctx),
            self.handover.due(settings),
            self.presence.due(&self.claims, settings),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The next thing to send, until there is none.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.common.effects.next_transmit()
    }

    /// The next thing to do or tell, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.common.effects.next_event()
    }

    /// The longest time between two beats of a member that this one watches, since the last call.
    pub const fn poll_gap(&mut self) -> Option<Duration> {
        self.watching.poll_gap()
    }
}
