//! J1: a speaker that starts learns before it claims.

use super::beats::ping;
use super::blocked::PER_ROUND;
use super::context::Step;
use super::node::NodeId;
use super::settings::Settings;
use super::sync::compare_with;
use crate::Instant;

/// Members to learn from: the first may be about to die.
const TEACHERS: u32 = 3;

#[derive(Debug, Clone)]
pub(super) struct Join(State);

#[derive(Debug, Clone)]
enum State {
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

/// What a digest was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learned {
    /// This member does not join.
    NotJoining,
    /// There is more to learn.
    Something,
    /// It knows what a member knows that has joined.
    Everything,
}

impl Join {
    pub(super) const fn new() -> Self {
        Self(State::Waiting)
    }

    pub(super) const fn is_joined(&self) -> bool {
        matches!(self.0, State::Joined { .. })
    }

    /// The first Nodes list begins it.
    pub(super) const fn begin(&mut self, step: &mut Step<'_>) {
        if matches!(self.0, State::Waiting) {
            self.again(step);
        }
    }

    /// It may have missed something, and learns as one that starts does.
    pub(super) const fn again(&mut self, step: &mut Step<'_>) {
        self.0 = State::Joining {
            since: step.now,
            hellos: 0,
            teachers: 0,
        };
        step.publish();
    }

    /// It hears nothing: it begins once it does.
    pub(super) const fn wait(&mut self, step: &mut Step<'_>) {
        self.0 = State::Waiting;
        step.publish();
    }

    /// Greets whoever is silent. Whether nobody taught this member anything for so long that it has to
    /// decide alone.
    pub(super) fn handle_timeout(&mut self, step: &mut Step<'_>) -> bool {
        let State::Joining {
            since,
            hellos,
            teachers,
        } = &mut self.0
        else {
            return false;
        };
        let (now, since) = (step.now, *since);
        let hello = step.settings.hellos.get(*hellos);
        if now >= since + step.settings.join {
            return true;
        }
        if hello.is_some_and(|&at| now >= since + at) {
            *hellos += 1;
            *teachers = 0;
            say_hello(since, step);
        }
        false
    }

    /// While this member joins, every digest is a chance: a joined member's that equals ours ends
    /// it, any other is asked for what we lack.
    pub(super) fn learn(
        &mut self,
        from: NodeId,
        is_equal: bool,
        joined: bool,
        step: &mut Step<'_>,
    ) -> Learned {
        let State::Joining { teachers, .. } = &mut self.0 else {
            return Learned::NotJoining;
        };
        if is_equal && joined {
            return Learned::Everything;
        }
        if !is_equal && *teachers < TEACHERS {
            *teachers += 1;
            compare_with(from, false, step);
        }
        Learned::Something
    }

    /// From now on this member decides.
    pub(super) fn complete(&mut self, step: &mut Step<'_>) {
        if let State::Joining { since, .. } = self.0 {
            self.0 = State::Joined { since };
        }
        step.members.find_lost(step.now);
        step.publish();
    }

    /// When this member began to join, if its cluster may be starting just now.
    pub(super) fn starting_since(&self, settings: &Settings, now: Instant) -> Option<Instant> {
        match self.0 {
            State::Joined { since } if now < since + settings.starting => Some(since),
            _ => None,
        }
    }

    pub(super) fn due(&self, settings: &Settings) -> Option<(Instant, &'static str)> {
        let State::Joining { since, hellos, .. } = self.0 else {
            return None;
        };
        let hello = settings.hellos.get(hellos);
        hello
            .map(|&at| (since + at, "a greeting"))
            .into_iter()
            .chain([(since + settings.join, "the end of joining")])
            .min()
    }
}

fn say_hello(since: Instant, step: &mut Step<'_>) {
    let others = step.members.iter().filter(|(id, _)| *id != step.me);
    let silent = others.filter(|(_, member)| member.heard_at.is_none_or(|at| at < since));
    let silent: Vec<NodeId> = silent.map(|(id, _)| id).collect();
    for &id in &silent {
        step.send(id, &ping(false, false, None, step.ctx()));
    }
    // B2: whether their nodes live, should nothing else come of it.
    for id in step.pick(PER_ROUND, silent) {
        step.probe(id);
    }
}
