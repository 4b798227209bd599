//! What becomes of one Vip on one link.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::{Assignment, Due, LinkId, Settings};
use crate::Instant;
use crate::ownership::Cause;
use crate::wire::MacAddr;

/// What has become of a Vip, or something about another host, that somebody has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another station says that it has a Vip.
    Conflict {
        /// The Vip.
        vip: IpAddr,
        /// Where it was heard.
        link: LinkId,
        /// The station.
        mac: MacAddr,
        /// Whether the Vip was not announced yet: then it is not, as long as the other host has it.
        before_use: bool,
        /// Whether it is the kernel of this node of the cluster (`peer_kernel_answers`), which keeps
        /// nobody from announcing; else it is a foreign host (`address_conflict`).
        node: Option<String>,
    },
    /// No host of a link's subnet can have a Vip (see [`no_host`](crate::subnet::no_host)): it is
    /// announced all the same, for who asked for just that.
    NoHost {
        /// The Vip.
        vip: IpAddr,
        /// The link.
        link: LinkId,
        /// The subnet.
        subnet: IpNetwork,
    },
    /// A Vip is announced and answered for from now on.
    Announced {
        /// The Vip.
        vip: IpAddr,
        /// Where first.
        link: LinkId,
        /// Why this node was told to.
        cause: Cause,
        /// Whether another host had it until now.
        was_in_conflict: bool,
    },
    /// A Vip that was announced is not to be any more: nothing is said of it and no question answered.
    Silent {
        /// The Vip.
        vip: IpAddr,
    },
}

impl Event {
    /// The Vip that it is about.
    #[must_use]
    pub const fn vip(&self) -> IpAddr {
        let (Self::Conflict { vip, .. }
        | Self::NoHost { vip, .. }
        | Self::Announced { vip, .. }
        | Self::Silent { vip }) = self;
        *vip
    }

    /// The link that it was heard on, or that the Vip is announced on; `None` if it is about all.
    #[must_use]
    pub const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Conflict { link, .. }
            | Self::NoHost { link, .. }
            | Self::Announced { link, .. } => Some(*link),
            Self::Silent { .. } => None,
        }
    }
}

/// How far a claim has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Asking whether anybody has the address, with so many probes still to send.
    Probing { probes_left: u32 },
    /// Another host has it: silent until the next probe.
    Conflicting,
    /// Announced, with so many rounds still to go.
    Claiming { rounds_left: u32 },
    /// Announced; refreshed now and then.
    Held,
}

impl State {
    /// Whether requests are answered.
    pub(super) const fn answers(self) -> bool {
        matches!(self, Self::Claiming { .. } | Self::Held)
    }

    /// What the next deadline is for.
    pub(super) const fn waits_for(self) -> &'static str {
        match self {
            Self::Probing { .. } => "probe",
            Self::Conflicting => "retry",
            Self::Claiming { .. } | Self::Held => "round",
        }
    }
}

/// What a claim sends when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Probe,
    Announce,
}

/// A Vip that this node answers for on one link, or is about to.
#[derive(Debug)]
pub(super) struct VipOnLink {
    pub(super) state: State,
    /// When the next step is due, if there is one; the same as in `Announcer::due`.
    pub(super) next: Option<Instant>,
    /// The last announcement against another host (RFC 5227 §2.4).
    defended: Option<Instant>,
    /// Of whom the last event told, and when.
    told: Option<(MacAddr, Instant)>,
    /// After which time one may tell of another host.
    tells_of_others_after: Duration,
    /// How often it has given way since it was announced.
    gave_way_times: u32,
    /// When it was told last that no host can have the Vip.
    no_host_told: Option<Instant>,
    /// Another host was in the way, and its event has not been taken back.
    pub(super) gave_way: bool,
}

impl VipOnLink {
    /// `wanted` is what it is for; `claimed` whether this node has claimed the Vip before.
    pub(super) const fn fresh(
        wanted: &Assignment,
        claimed: bool,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        let probes = (wanted.probe_first || wanted.in_conflict) && !claimed;
        Self {
            state: if probes {
                State::Probing {
                    probes_left: settings.probes,
                }
            } else {
                State::Claiming {
                    rounds_left: settings.rounds,
                }
            },
            next: Some(now),
            defended: None,
            told: None,
            tells_of_others_after: Duration::ZERO,
            gave_way_times: 0,
            no_host_told: None,
            gave_way: wanted.in_conflict && !claimed,
        }
    }

    /// The next step is due: what it sends.
    pub(super) fn advance(&mut self, settings: &Settings, now: Instant) -> Step {
        let rounds_left = match self.state {
            State::Probing { probes_left: 0 } => settings.rounds,
            State::Probing { probes_left } => return self.probe(probes_left, settings, now),
            State::Conflicting => return self.probe(settings.probes, settings, now),
            State::Claiming { rounds_left } => rounds_left,
            State::Held => 0,
        };
        // The round that is sent now is one of them.
        let rounds_left = rounds_left.saturating_sub(1);
        let wait = if rounds_left > 0 {
            self.state = State::Claiming { rounds_left };
            Some(settings.spacing)
        } else {
            self.state = State::Held;
            settings.refresh
        };
        self.next = wait.map(|wait| now + wait);
        self.gave_way_times = 0;
        Step::Announce
    }

    fn probe(&mut self, left: u32, settings: &Settings, now: Instant) -> Step {
        self.state = State::Probing {
            probes_left: left.saturating_sub(1),
        };
        self.next = Some(now + settings.probe_spacing);
        Step::Probe
    }

    /// Moves the next step to another time; `due` holds it for `key`.
    pub(super) fn reschedule(&mut self, next: Instant, due: &mut Due, (vip, id): (IpAddr, LinkId)) {
        if let Some(old) = self.next.replace(next) {
            due.remove(&(old, vip, id));
        }
        due.insert((next, vip, id));
    }

    /// Another host has the address, before this node announced it: silent from now on. After which
    /// time to ask again, unless that is settled: what the host goes on saying puts it off no further.
    pub(super) fn give_way(&mut self, settings: &Settings) -> Option<Duration> {
        self.gave_way = true;
        if self.state == State::Conflicting {
            return None;
        }
        self.state = State::Conflicting;
        let doubled = 1_u32.checked_shl(self.gave_way_times).unwrap_or(u32::MAX);
        self.gave_way_times = self.gave_way_times.saturating_add(1);
        let wait = settings.conflict_retry.saturating_mul(doubled);
        Some(wait.min(settings.conflict_retry_at_most))
    }

    /// Whether to announce against another host now: RFC 5227 §2.4 (c), the way of a host that keeps
    /// its address and may not start a storm.
    pub(super) fn defends(&mut self, settings: &Settings, now: Instant) -> bool {
        let due = self
            .defended
            .is_none_or(|last| now.saturating_since(last) >= settings.defend_interval);
        if due {
            self.defended = Some(now);
        }
        due
    }

    /// Whether another host had the Vip when it was asked for last: while it is asked for again, that
    /// is what is known.
    pub(super) const fn is_in_conflict(&self) -> bool {
        match self.state {
            State::Conflicting => true,
            State::Probing { .. } => self.gave_way_times > 0,
            State::Claiming { .. } | State::Held => false,
        }
    }

    /// Whether it waits for one of these stations.
    pub(super) fn waits_for_any(&self, macs: &BTreeMap<MacAddr, String>) -> bool {
        let other = self.told.is_some_and(|(mac, _)| macs.contains_key(&mac));
        self.state == State::Conflicting && other
    }

    /// Whether the station is to be told of now. Stations that take turns are told of less and less
    /// often: each time costs an Event and a report.
    pub(super) fn tells(&mut self, mac: MacAddr, settings: &Settings, now: Instant) -> bool {
        let silent = self.told.map(|(told, at)| (told, now.saturating_since(at)));
        let due = silent.is_none_or(|(told, silent)| {
            silent
                >= if told == mac {
                    settings.repeat
                } else {
                    self.tells_of_others_after
                }
        });
        if due {
            // Who goes on is told of more often than that.
            let is_new = silent.is_none_or(|(_, silent)| silent >= settings.repeat * 2);
            self.tells_of_others_after = if is_new {
                settings.defend_interval
            } else {
                (self.tells_of_others_after * 2).min(settings.repeat)
            };
            self.told = Some((mac, now));
        }
        due
    }

    /// Whether it is to be told now that no host can have the Vip.
    pub(super) fn tells_of_no_host(&mut self, settings: &Settings, now: Instant) -> bool {
        let due = self
            .no_host_told
            .is_none_or(|at| now.saturating_since(at) >= settings.repeat_no_host);
        if due {
            self.no_host_told = Some(now);
        }
        due
    }
}
