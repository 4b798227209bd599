//! Every duration and number of the protocol, in two presets.

use std::time::Duration;

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
    /// How many members watch each member (K).
    pub watchers: usize,
    /// How many members a watcher asks for a second opinion at first.
    pub witnesses: usize,
    /// What a live owner does when a better-ranked candidate is there.
    pub preference: Preference,
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
    watchers: 2,
    witnesses: 3,
    preference: Preference::Sticky,
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
    }
}

const _: () = assert!(FAST.is_consistent());
const _: () = assert!(FAST.late().as_micros() + FAST.verdict().as_micros() <= 120_000);
const _: () = assert!(CALM.is_consistent());
