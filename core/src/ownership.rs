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
//! | L6, L7 what is shared, what is private; L11 boots | `members`, `liveness` |
//! | L10 finding each other again | `contact` |
//! | C1 to C4, C6, C8 claims | `claims` |
//! | C5 whose turn it is | `claims::turns` |
//! | C9 what was free is probed | `claims::freedom` |
//! | C7 publishing and repair | `sync` |
//! | J1 joining | `join` |
//! | H1, H2 handing over and leaving | `handover` |
//! | H3 two views, one order | `consent` |
//! | R1, R2, R4 a restart is not a death | `hold`, and `reservations` in `members` |
//! | L13 kernels that never answer | `kernels` |
//! | L14 links that no beat passes | `links` |
//! | S1 to S4 subnets that only some nodes have | `subnets` |
//! | B1 to B3 members that cannot be heard | `blocked` |
//! | A2 to A5 where a member is | `members::place` |
//! | A6 to A8 a node that moved | `moved` |
//! | G1 to G4 who is let in | `gate` |
//! | K1 to K4 keys, while they are changed | `key_ring` |
//! | N1 to N3 numbers that only grow | `numbers` |
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
mod claims;
mod consent;
mod contact;
mod epoch;
mod gate;
mod handover;
mod hold;
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
mod replay;
mod settings;
mod standing;
mod status;
mod subnets;
mod sync;
mod watch;
mod wire;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

pub use interface::{Candidate, Cause, Event, Identity, KernelAnswer, Leaving, Transmit, Wanted};
pub use key_ring::{KeyProblem, KeyRing};
pub use model::Verdict;
pub use node::NodeId;
pub use settings::{CALM, FAST, Preference, STOPPED, Settings};
pub use standing::{Hold, Standing};
pub use status::{MemberStatus, VipStatus};
pub use wire::{Key, KeyTooShort, Keys, MAX_DATAGRAM, PORT};

use beats::Beats;
use blocked::Blocked;
use claims::Claims;
use contact::Contact;
use gate::Gate;
use join::Join;
use links::Links;
use members::{Member, Members};
use moved::Moved;
use node::Random;
use numbers::Horizon;
use settings::TIDY;
use sync::Sync;
use watch::Watching;
use wire::{Header, Message, Signature};
use witness::Witness;

use crate::{Instant, Reason};

/// One speaker's side of the protocol.
#[derive(Debug, Clone)]
pub struct Ownership {
    me: NodeId,
    identity: Identity,
    settings: Settings,
    keys: Keys,
    gate: Gate,
    horizon: Horizon,
    random: Random,
    counter: u64,
    members: Members,
    beats: Beats,
    watching: Watching,
    witness: Witness,
    contact: Contact,
    blocked: Blocked,
    moved: Moved,
    links: Links,
    sync: Sync,
    join: Join,
    claims: Claims,
    /// This node may be unable to forward.
    doubtful: bool,
    /// Why and since when this speaker is leaving.
    leaving: Option<(Leaving, Instant)>,
    has_left: bool,
    /// The last reception of anything: proves that this node can hear (L9).
    received_at: Instant,
    gateway_answered_at: Option<Instant>,
    handled_at: Instant,
    tidied_at: Instant,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
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
        let me = NodeId::of(&identity.node);
        let mut own = Member::new(identity.address, now);
        (own.standing, own.boot, own.listed) = (Standing::Live, identity.boot, true);
        Self {
            me,
            members: Members::new(me, own, &settings),
            beats: Beats::new(now),
            watching: Watching::new(now + settings.subscribe),
            witness: Witness::default(),
            contact: Contact::new(now + settings.recontact),
            blocked: Blocked::new(now),
            moved: Moved::new(identity.address),
            links: Links::new(now),
            sync: Sync::new(now),
            join: Join::new(),
            claims: Claims::default(),
            gate: Gate::new(now),
            horizon: Horizon::new(&identity, now),
            identity,
            settings,
            keys,
            random: Random::new(seed),
            counter: 0,
            doubtful: false,
            leaving: None,
            has_left: false,
            received_at: now,
            gateway_answered_at: None,
            handled_at: now,
            tidied_at: now,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The Nodes list: where speakers may be, each with its Node's addresses in their order. Joining
    /// begins with the first one (J1).
    pub fn set_nodes(&mut self, nodes: &BTreeMap<NodeId, Vec<IpAddr>>, now: Instant) {
        self.members.set_listed(nodes, now);
        self.let_in_nodes(nodes);
        self.note_whether_heard(now);
        self.begin_join(now);
    }

    /// Whether this node's forwarding is in doubt. It keeps what it has, since a doubt resets no
    /// connections, and all others go first with what is new.
    pub fn set_doubtful(&mut self, doubtful: bool) {
        if std::mem::replace(&mut self.doubtful, doubtful) != doubtful {
            self.claims.publish = true;
        }
    }

    /// The keys in force.
    pub fn set_keys(&mut self, keys: Keys, now: Instant) {
        self.keys = keys;
        self.note_whether_heard(now);
    }

    /// A datagram on port 7946, from anybody. `Err` says why it was not listened to: to be
    /// counted, not logged, since anybody can send them.
    pub fn handle_datagram(
        &mut self,
        from: IpAddr,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), Reason> {
        if self.has_left {
            return Err(Reason::Leaving);
        }
        let (header, message, signature) = self.let_in(from, bytes, now)?;
        self.received(now);
        self.check_freshness(from, &header, now)?;
        if signature == Signature::Valid {
            self.has_proven(header.sender, from, now);
        }
        self.receive(from, &header, message, signature, now)
    }

    /// A frame of any kind from anybody else: this node can hear (L9).
    pub fn handle_any_frame(&mut self, now: Instant) {
        self.received(now);
    }

    /// The gateway's kernel answered a [`Transmit::ProbeGateway`].
    pub fn handle_gateway_answer(&mut self, now: Instant) {
        self.gateway_answered_at = Some(now);
        self.received(now);
    }

    /// A node's kernel answered a [`Transmit::Probe`] or a datagram.
    pub fn handle_kernel_answer(&mut self, from: IpAddr, answer: KernelAnswer, now: Instant) {
        self.received(now);
        self.hear_on_links(from, now);
        if let Some(id) = self.members.by_address(from) {
            self.kernel_answered(id, answer, now);
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
        if self.has_left {
            return;
        }
        if now > self.handled_at + STOPPED {
            // L12: others may have answered for our addresses meanwhile.
            self.remind_soon(now);
        }
        self.handled_at = now;
        self.leave_when_due(now);
        if self.has_left {
            return;
        }
        self.join_when_due(now);
        self.members.end_reservations(now);
        self.follow_changes(now);
        self.beat_when_due(now);
        self.watch_when_due(now);
        self.witness_when_due(now);
        self.contact_when_due(now);
        self.attend_blocked(now);
        self.attend_links(now);
        self.repair_when_due(now);
        self.follow_changes(now);
        self.decide(now);
        self.publish_when_due(now);
        self.tell_where_this_is(now);
        self.tidy(now);
    }

    fn tidy(&mut self, now: Instant) {
        if now >= self.tidied_at + TIDY {
            self.tidied_at = now;
            let is_wanted = |vip| self.claims.wanted(vip).is_some();
            self.members.forget_idle(is_wanted);
        }
    }

    /// When [`Self::handle_timeout`] is due next, and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.has_left {
            return None;
        }
        [
            self.join_due(),
            self.reservation_due(),
            self.beat_due(),
            self.watch_due(),
            self.witness_due(),
            self.contact_due(),
            self.blocked_due(),
            self.links_due(),
            self.moved_due(),
            self.repair_due(),
            self.claim_due(),
            self.give_due(),
            self.leave_due(),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The next thing to send, until there is none.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to do or tell, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn boot(&self) -> u64 {
        self.members.own().boot
    }

    fn inc(&self) -> u32 {
        self.members.own().inc
    }

    fn send(&mut self, to: NodeId, message: &Message) {
        if let Some(member) = self.members.get(to) {
            let (address, echo) = (member.address, member.boot);
            self.send_to(address, echo, message);
        }
    }

    /// `echo` is the boot of the receiver that this answers.
    fn send_to(&mut self, to: IpAddr, echo: u64, message: &Message) {
        self.counter += 1;
        let header = Header {
            sender: self.me,
            counter: self.counter,
            boot: self.boot(),
            echo,
            inc: self.inc(),
        };
        let bytes = wire::seal(&self.keys, to, &header, message);
        self.transmits.push_back(Transmit::Datagram { to, bytes });
    }

    fn send_to_all(&mut self, message: &Message) {
        let live: Vec<NodeId> = self.members.live_others().collect();
        for id in live {
            self.send(id, message);
        }
    }

    /// `count` of `choices`, at random.
    fn pick(&mut self, count: usize, mut choices: Vec<NodeId>) -> Vec<NodeId> {
        (0..count)
            .map_while(|_| self.random.take(&mut choices))
            .collect()
    }
}
