//! J1: a speaker that starts learns before it claims.

use super::blocked::PER_ROUND;
use super::{NodeId, Ownership};
use crate::Instant;

/// Members to learn from: the first may be about to die.
const TEACHERS: u32 = 3;

#[derive(Debug, Clone)]
pub(super) enum Join {
    /// No Nodes list yet, or nothing is heard: there is nobody to learn from, and to be alone proves
    /// nothing.
    Waiting,
    Joining {
        since: Instant,
        hellos: usize,
        teachers: u32,
    },
    Joined {
        /// It began to join then.
        since: Instant,
    },
}

impl Join {
    pub(super) const fn new() -> Self {
        Self::Waiting
    }

    pub(super) const fn is_joined(&self) -> bool {
        matches!(self, Self::Joined { .. })
    }
}

impl Ownership {
    /// The first Nodes list begins it.
    pub(super) fn begin_join(&mut self, now: Instant) {
        if matches!(self.join, Join::Waiting) && !self.watching.is_isolated() {
            self.rejoin(now);
        }
    }

    pub(super) fn rejoin(&mut self, now: Instant) {
        self.join = Join::Joining {
            since: now,
            hellos: 0,
            teachers: 0,
        };
        self.claims.publish = true;
    }

    pub(super) fn unjoin(&mut self) {
        self.join = Join::Waiting;
        self.claims.publish = true;
    }

    pub(super) fn join_when_due(&mut self, now: Instant) {
        let Join::Joining {
            since,
            hellos,
            teachers,
        } = &mut self.join
        else {
            return;
        };
        let since = *since;
        let hello = self.settings.hellos.get(*hellos);
        if now >= since + self.settings.join {
            self.listen_first(now);
            self.complete_join(now);
        } else if hello.is_some_and(|&at| now >= since + at) {
            *hellos += 1;
            *teachers = 0;
            self.say_hello(since);
        }
    }

    fn say_hello(&mut self, since: Instant) {
        let silent: Vec<NodeId> = self
            .members
            .iter()
            .filter(|(id, member)| *id != self.me && member.heard_at.is_none_or(|at| at < since))
            .map(|(id, _)| id)
            .collect();
        for &id in &silent {
            let ping = self.ping(false, None);
            self.send(id, &ping);
        }
        // B2: whether their nodes live, should nothing else come of it.
        for id in self.pick(PER_ROUND, silent) {
            self.probe(id);
        }
    }

    /// While this member joins, every digest is a chance: a joined member's that equals ours ends
    /// it, any other is asked for what we lack. False once it has joined.
    pub(super) fn learn(
        &mut self,
        from: NodeId,
        is_equal: bool,
        joined: bool,
        now: Instant,
    ) -> bool {
        let Join::Joining { teachers, .. } = &mut self.join else {
            return false;
        };
        if is_equal && joined {
            self.complete_join(now);
        } else if !is_equal && *teachers < TEACHERS {
            *teachers += 1;
            self.sync_with(from);
        }
        true
    }

    fn complete_join(&mut self, now: Instant) {
        if let Join::Joining { since, .. } = self.join {
            self.join = Join::Joined { since };
        }
        self.clear_lost(now);
        self.claims.reconsider_all();
        self.claims.publish = true;
    }

    /// When this member began to join, if its cluster may be starting just now.
    pub(super) fn starting_since(&self, now: Instant) -> Option<Instant> {
        match self.join {
            Join::Joined { since } if now < since + self.settings.starting => Some(since),
            _ => None,
        }
    }

    pub(super) fn join_due(&self) -> Option<(Instant, &'static str)> {
        let Join::Joining { since, hellos, .. } = self.join else {
            return None;
        };
        let hello = self.settings.hellos.get(hellos);
        hello
            .map(|&at| (since + at, "a greeting"))
            .into_iter()
            .chain([(since + self.settings.join, "the end of joining")])
            .min()
    }
}
