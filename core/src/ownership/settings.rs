//! Every duration of the protocol, in two presets, and the relations that its rules rest on.

use std::time::Duration;

// Whoever asks for these knows of no preset.

/// A driver that comes so late was stopped, or its machine paused (L12). Its timers alone, and its
/// longest wait, bring it far more often.
pub const STOPPED: Duration = Duration::from_millis(1_000);
/// What nobody needs any more is looked for this often.
pub(super) const TIDY: Duration = Duration::from_secs(60);
/// A changed Secret has reached every node by then: kubelets look once a minute, and keep what
/// they saw for as long again (K1).
pub(super) const SETTLED: Duration = Duration::from_secs(300);
/// A boot is its process's clock when it started, in microseconds. Clocks may be wrong, but not by
/// more: a cluster's certificate authority lasts for ten years, and whose clock is further behind
/// reaches no API server (N1).
pub(super) const AHEAD: Duration = Duration::from_secs(10 * 365 * 86_400);
/// An address from which a member spoke counts as a node's for so long: nodes behind address
/// translation are heard during a flood, too (G2).
pub(super) const PROVEN: Duration = Duration::from_secs(60);
/// A datagram that cannot count is answered at most this often: two speakers under one name would
/// otherwise answer each other's echoes without end.
pub(super) const ANSWER: Duration = Duration::from_millis(5);
/// A dead node on which no vote was possible for so long after its time is left to Kubernetes, which acts after
/// 50 s (D3).
pub(super) const FORGOTTEN: Duration = Duration::from_secs(10);

/// How eagerly a death is found, and what an address does when a better-ranked node is back.
///
/// All durations are lower bounds: a driver that wakes late adds to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A member beats to each of its watchers this often.
    pub beat: Duration,
    /// How late a beat may be before its sender is suspected: network jitter and a busy core.
    pub slack: Duration,
    /// A suspected member is probed this often.
    pub probe_gap: Duration,
    /// A suspicion is not judged before this many probes have had `probe_gap` each to be answered:
    /// at 5 % loss both ways all three are lost once in 1,000 suspicions, and witnesses must agree.
    pub probes: u32,
    /// A witness repeats its own probes this often. After `probes` of them it says what it heard,
    /// before the watcher judges.
    pub witness_gap: Duration,
    /// Without any witness's answer (two members, or none reachable) a member is lost only after
    /// this long: nobody can tell a pause of the path from a death.
    pub alone: Duration,
    /// Where a member's kernel answers no question (a router or firewall in between), the silence of
    /// its process is all there is: then neither a witness nor time ends it before this.
    pub unanswering: Duration,
    /// A member whose kernel answers while its process does not is given up after this long.
    pub stalled: Duration,
    /// The addresses of a process that went away stay reserved to it for this long, as long as its
    /// node answers. Neighbours bridge 2.8 s without a responder and lose no packet (measured).
    pub hold: Duration,
    /// The same for a process that said that it will be back: a DaemonSet's rolling update takes 2 s
    /// to 4 s on a busy node until the next speaker claims. A neighbour whose entry ends meanwhile
    /// waits; after 5 s away one probe in 500 was lost (measured), while a move resets every
    /// connection.
    pub hold_restart: Duration,
    /// Two beats in a row unanswered by the kernel of a held member make its node suspect.
    pub held_misses: u32,
    /// The n-th candidate waits n times this long before it claims an orphan: longer than a claim,
    /// its repetition after `record_repeat`, and a wake-up need to arrive.
    pub skew: Duration,
    /// A speaker that finds nobody to learn from decides on its own after this long.
    pub join: Duration,
    /// A watcher renews its subscription this often.
    pub subscribe: Duration,
    /// Beats to a watcher end this long after its last renewal.
    pub lease: Duration,
    /// Members that are not live are tried again this often, two at a time.
    pub recontact: Duration,
    /// Each published record and notice is sent a second time after this long.
    pub record_repeat: Duration,
    /// An address is offered to its next owner this often, until the claim is seen.
    pub give_retry: Duration,
    /// Offers to one successor before the next one is tried.
    pub give_tries: u32,
    /// A handover that nobody accepts ends after this long.
    pub give_limit: Duration,
    /// Once everybody has been asked in vain to take an address, the pause grows to this: for whom
    /// has to give it,
    pub must_give_pause: Duration,
    /// and for whom may keep it.
    pub may_give_pause: Duration,
    /// Speakers hear of an order within so long of each other: who declines an address meanwhile is asked again before
    /// another one is (H3).
    pub hear_orders: Duration,
    /// A preferred node has an address back once it has been well for so long without interruption (H4): longer
    /// than any other rule waits for a node that comes and goes.
    pub take_back: Duration,
    /// After each address that goes back, its owner keeps the others for so long: clients come again, and a node
    /// that fails under them takes few along.
    pub take_back_pause: Duration,
    /// A speaker that starts greets all listed nodes this long after it began, and those that are
    /// silent again (J1).
    pub hellos: [Duration; 3],
    /// The speakers of a `DaemonSet` start within this time of each other (C5).
    pub starting: Duration,
    /// After a suspicion that was no death, the next look (L5).
    pub look_again: Duration,
    /// How long a member must say that it hears nothing, while it is pinged (L9).
    pub deaf: Duration,
    /// Verdicts in this time widen the watch (L8).
    pub recent: Duration,
    /// How long a member that somebody else holds gone is watched by oneself (L7).
    pub doubt: Duration,
    /// A member that does not know of its own death is told at most this often (L6).
    pub tell_the_dead: Duration,
    /// A claim younger than this was made by a member that may not have seen yet that it was cut off
    /// (C3).
    pub unsettled: Duration,
    /// A gateway that answered so recently breaks the tie between two halves (C3).
    pub gateway_fresh: Duration,
    /// Neighbours may have learned another owner while a member was away: they are told again after
    /// this long (L9).
    pub remind: Duration,
    /// Once digests differ for so long, a record and its repetition had their time: something was
    /// lost (C7).
    pub differs: Duration,
    /// Whoever learned by repair passes it on, at most this often (C7).
    pub spread: Duration,
    /// A member that was away for so long (L10)
    pub long_away: Duration,
    /// is tried again only this often.
    pub slowly: Duration,
    /// A member that is not heard claims nothing for so long (L10).
    pub mute: Duration,
    /// Outbid several times within this time, a boot is another speaker under the same name (L11).
    pub outbid: Duration,
    /// A kernel that answers is asked again after this long (L13),
    pub ask_again: Duration,
    /// and one that does not after this long.
    pub ask_the_silent: Duration,
    /// A kernel that answered so recently runs: of many that are absent each is asked as often (B2).
    pub kernel_fresh: Duration,
    /// That of an owner who is absent is asked in each round; one that missed three is gone (B3).
    pub owner_fresh: Duration,
    /// Between two looks at those who are absent (B2).
    pub blocked_round: Duration,
    /// An absence shorter than this is a restart or a verdict in the making (B2).
    pub absent: Duration,
    /// A kernel says at most once a second that no process listens (Linux), if anybody asks. So long
    /// that counts (B2).
    pub no_process: Duration,
    /// Owners announce again this often while some members cannot be heard (B3).
    pub unheard_remind: Duration,
    /// An announcement by a member that cannot be heard counts for so long: three of them (B3).
    pub announcement_fresh: Duration,
    /// Who starts among members that cannot be heard listens for one of them (B2).
    pub listen: Duration,
    /// An owner that hears a lesser one announce answers at most this often (B1).
    pub insist: Duration,
    /// Between two rounds of questions on a further link (L14).
    pub link_round: Duration,
    /// The same while one is unanswered.
    pub link_doubt: Duration,
    /// Who takes over must have heard somebody on the link so recently.
    pub link_fresh: Duration,
    /// Who refused to take over may accept after this long.
    pub link_try_again: Duration,
    /// Who has not been heard since this node moved is told again for so long; then it is tried as
    /// all who are absent are (A6).
    pub tell_moved: Duration,
    /// How many members watch each member (K).
    pub watchers: usize,
    /// How many members a watcher asks for a second opinion at first.
    pub witnesses: usize,
    /// What a live owner does when a better-ranked candidate is there.
    pub preference: Preference,
    /// A node that was found dead is voted on after it has been silent for so much longer, and not before
    /// [`Self::alone`] (D2). `None`: nobody votes.
    pub votes_after: Option<Duration>,
}

/// What a live owner does when a better-ranked candidate is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preference {
    /// Keeps its addresses: each move resets their TCP connections.
    Sticky,
    /// Hands over to the best rank, as `MetalLB` does.
    BestRank,
}

/// Death known within 50 + 20 + 45 ms of the last beat: 78 ms in the mean, as beats are shifted.
pub const FAST: Settings = Settings {
    beat: Duration::from_millis(50),
    slack: Duration::from_millis(20),
    probe_gap: Duration::from_millis(15),
    probes: 3,
    witness_gap: Duration::from_millis(13),
    alone: Duration::from_millis(400),
    unanswering: Duration::from_millis(1_000),
    stalled: Duration::from_millis(3_000),
    hold: Duration::from_millis(2_500),
    hold_restart: Duration::from_millis(5_000),
    held_misses: 2,
    skew: Duration::from_millis(50),
    join: Duration::from_millis(500),
    subscribe: Duration::from_millis(1_000),
    lease: Duration::from_millis(3_000),
    recontact: Duration::from_millis(100),
    record_repeat: Duration::from_millis(15),
    give_retry: Duration::from_millis(10),
    give_tries: 6,
    give_limit: Duration::from_millis(2_000),
    must_give_pause: Duration::from_millis(100),
    may_give_pause: Duration::from_millis(1_000),
    hear_orders: Duration::from_millis(1_000),
    take_back: Duration::from_secs(30),
    take_back_pause: Duration::from_millis(1_000),
    hellos: [
        Duration::ZERO,
        Duration::from_millis(100),
        Duration::from_millis(300),
    ],
    starting: Duration::from_secs(3),
    look_again: Duration::from_millis(100),
    deaf: Duration::from_millis(60),
    recent: Duration::from_millis(2_000),
    doubt: Duration::from_millis(1_000),
    tell_the_dead: Duration::from_millis(40),
    unsettled: Duration::from_millis(3_000),
    gateway_fresh: Duration::from_millis(500),
    remind: Duration::from_millis(50),
    differs: Duration::from_millis(90),
    spread: Duration::from_millis(100),
    long_away: Duration::from_secs(60),
    slowly: Duration::from_millis(1_000),
    mute: Duration::from_millis(1_000),
    outbid: Duration::from_secs(10),
    ask_again: Duration::from_secs(60),
    ask_the_silent: Duration::from_secs(10),
    kernel_fresh: Duration::from_secs(60),
    owner_fresh: Duration::from_millis(3_500),
    blocked_round: Duration::from_millis(1_000),
    absent: Duration::from_millis(1_000),
    no_process: Duration::from_secs(10),
    unheard_remind: Duration::from_secs(5),
    announcement_fresh: Duration::from_secs(15),
    listen: Duration::from_secs(6),
    insist: Duration::from_millis(1_000),
    link_round: Duration::from_millis(1_000),
    link_doubt: Duration::from_millis(500),
    link_fresh: Duration::from_millis(1_500),
    link_try_again: Duration::from_secs(10),
    tell_moved: Duration::from_secs(3),
    watchers: 2,
    witnesses: 3,
    preference: Preference::Sticky,
    votes_after: None,
};

/// For virtual machines that are paused or migrated, and for paths with long gaps: silence of up to
/// 0.5 s is no death. Found within 0.2 + 0.5 + 0.15 s of the last beat.
pub const CALM: Settings = Settings {
    beat: Duration::from_millis(200),
    slack: Duration::from_millis(500),
    probe_gap: Duration::from_millis(50),
    witness_gap: Duration::from_millis(43),
    alone: Duration::from_millis(1_000),
    skew: Duration::from_millis(100),
    ..FAST
};

impl Settings {
    /// From the first to the last possible answer of a suspicion's probes.
    #[must_use]
    pub const fn verdict(&self) -> Duration {
        Duration::from_micros(self.probe_gap.as_micros() as u64 * self.probes as u64)
    }

    /// A beat later than this after the one before is late.
    #[must_use]
    pub const fn late(&self) -> Duration {
        Duration::from_micros((self.beat.as_micros() + self.slack.as_micros()) as u64)
    }

    /// From a finding to a vote. Whoever is cut off with a few others has lost all others by then (D2, D3).
    pub(super) fn vote_wait(&self) -> Duration {
        self.votes_after.unwrap_or_default().max(self.alone)
    }

    /// So long everybody may answer before a vote (D4).
    pub(super) fn answering(&self) -> Duration {
        self.alone / 2
    }

    /// The relations that the rules rest on.
    const fn is_consistent(&self) -> bool {
        let hop = 1_000; // generous: hops on a LAN take 80 to 200 µs
        self.witness_gap.as_micros() * self.probes as u128 + 2 * hop < self.verdict().as_micros()
            && self.verdict().as_micros() < self.alone.as_micros()
            && self.alone.as_micros() <= self.unanswering.as_micros()
            && self.unanswering.as_micros() < self.stalled.as_micros()
            && self.record_repeat.as_micros() + 20 * hop < self.skew.as_micros()
            && self.give_retry.as_micros() * (self.give_tries as u128) < self.give_limit.as_micros()
            && self.subscribe.as_micros() * 3 <= self.lease.as_micros()
            && self.join.as_micros() < self.hold.as_micros()
            && self.hold.as_micros() < 2_800_000
            && self.hold.as_micros() <= self.hold_restart.as_micros()
            && self.watchers >= 1
            && self.probes >= 1
            && self.is_patient()
            && self.repeats_in_time()
            && self.bears_unheard_members()
    }

    /// A death, also one that only this member sees, is found before anything concludes from it that
    /// it was not found.
    const fn is_patient(&self) -> bool {
        let found = self.late().as_micros() + self.verdict().as_micros();
        found < self.doubt.as_micros()
            && found < self.recent.as_micros()
            && self.late().as_micros() + self.alone.as_micros() < self.unsettled.as_micros()
            && self.look_again.as_micros() < self.alone.as_micros()
            && self.hold_restart.as_micros() < self.long_away.as_micros()
            && self.takes_back_late()
    }

    /// H4: a node that restarts, starts, is outbid or was cut off is through with that before it has anything back.
    /// Nobody is asked for so long that the next address should have had its turn.
    const fn takes_back_late(&self) -> bool {
        let take_back = self.take_back.as_micros();
        self.hold_restart.as_micros() + self.starting.as_micros() < take_back
            && self.stalled.as_micros() + self.unsettled.as_micros() < take_back
            && self.outbid.as_micros() < take_back
            && self.announcement_fresh.as_micros() < take_back
            && self.give_retry.as_micros() * (self.give_tries as u128)
                < self.take_back_pause.as_micros()
            && self.take_back_pause.as_micros() < take_back
    }

    /// What is said again is said before it is needed, and not more often than it can be answered.
    const fn repeats_in_time(&self) -> bool {
        let [first, second, third] = self.hellos;
        first.is_zero()
            && second.as_micros() < third.as_micros()
            && third.as_micros() < self.join.as_micros()
            && self.join.as_micros() < self.starting.as_micros()
            && self.record_repeat.as_micros() * 2 < self.differs.as_micros()
            && self.tell_the_dead.as_micros() <= self.beat.as_micros()
            && self.give_retry.as_micros() <= self.must_give_pause.as_micros()
            && self.must_give_pause.as_micros() <= self.may_give_pause.as_micros()
            && self.give_retry.as_micros() < self.hear_orders.as_micros()
            && self.must_give_pause.as_micros() < self.give_limit.as_micros()
            && self.recontact.as_micros() < self.slowly.as_micros()
            && self.recontact.as_micros() < self.mute.as_micros()
            && self.recontact.as_micros() < self.tell_moved.as_micros()
            && self.ask_the_silent.as_micros() < self.ask_again.as_micros()
            && self.link_doubt.as_micros() < self.link_round.as_micros()
            && self.link_round.as_micros() < self.link_try_again.as_micros()
    }

    /// B1 to B3: three of everything may be lost.
    const fn bears_unheard_members(&self) -> bool {
        self.blocked_round.as_micros() * 3 < self.owner_fresh.as_micros()
            && self.owner_fresh.as_micros() < self.kernel_fresh.as_micros()
            && self.blocked_round.as_micros() <= self.absent.as_micros()
            && self.insist.as_micros() < self.unheard_remind.as_micros()
            && self.unheard_remind.as_micros() * 3 <= self.announcement_fresh.as_micros()
            && self.unheard_remind.as_micros() < self.listen.as_micros()
            && self.listen.as_micros() < self.announcement_fresh.as_micros()
            && self.no_process.as_micros() > 1_000_000
    }
}

const _: () = assert!(FAST.is_consistent());
const _: () = assert!(FAST.late().as_micros() + FAST.verdict().as_micros() <= 120_000);
const _: () = assert!(CALM.is_consistent());
