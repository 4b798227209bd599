//! Which nodes this member found dead for itself, and when that is told to whoever takes their pods out of
//! rotation. Nothing here changes who owns an address.
//!
//! - D1 Only a finding counts: L5 e, as the watcher saw it, or the witness that agreed. What reaches others by
//!   hearsay is none. A kernel that is not known to answer proves nothing by its silence.
//! - D2 A finding waits, and any sign of life of the node ends it.
//! - D3 It waits anew when somebody else falls silent: whoever is cut off with a few others finds the rest
//!   gone one after the other.
//! - D4 Before it is told, everybody is asked. Most of the members have to answer: else it is this side that
//!   is cut off.
//! - D5 Whoever was stopped meanwhile asks again; whoever hears nothing, or has much to learn, forgets.

use std::collections::BTreeMap;

use super::beats::ping;
use super::context::{Ctx, Step};
use super::interface::Event;
use super::model::{Death, Verdict};
use super::node::NodeId;
use super::settings::{FORGOTTEN, Settings};
use super::standing::Standing;
use super::witness::Witness;
use crate::Instant;

/// What was found and is not told yet.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    all: BTreeMap<NodeId, Finding>,
    /// When somebody fell silent last.
    silence_at: Instant,
    asked: Option<Asked>,
    looked_at: Instant,
}

#[derive(Debug, Clone)]
struct Finding {
    boot: u64,
    inc: u32,
    with: NodeId,
    since: Instant,
}

/// Everybody is asked since `at`, and whoever has not answered is asked again at `again`.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    again: Instant,
}

impl Findings {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            all: BTreeMap::new(),
            silence_at: now,
            asked: None,
            looked_at: now,
        }
    }

    /// D1: this member, and `with` for itself, heard neither process nor kernel of `id`.
    pub(super) fn found(&mut self, id: NodeId, with: NodeId, step: &Step<'_>) {
        let Some(member) = step.members.get(id) else {
            return;
        };
        let is_dead = member.standing == Standing::Gone(Verdict::Node);
        if step.settings.votes_after.is_none() || !is_dead || !member.kernel.is_known_to_answer() {
            return;
        }
        let (boot, inc) = (member.boot, member.inc);
        let known = self.all.get(&id).map(|known| (known.boot, known.inc));
        if known != Some((boot, inc)) {
            let finding = Finding {
                boot,
                inc,
                with,
                since: step.now,
            };
            self.all.insert(id, finding);
        }
    }

    /// D1: a verdict has come, and this member may have been its witness.
    pub(super) fn confirm(
        &mut self,
        from: NodeId,
        death: &Death,
        witness: &Witness,
        step: &Step<'_>,
    ) {
        let member = step.members.get(death.member);
        let is_of = member.is_some_and(|one| (one.boot, one.inc) == (death.boot, death.inc));
        if death.verdict == Verdict::Node && is_of && witness.found_nothing_of(death.member) {
            self.found(death.member, from, step);
        }
    }

    /// D2: its process or its kernel said something, whatever it was.
    pub(super) fn heard(&mut self, id: NodeId) {
        self.all.remove(&id);
    }

    /// D3: somebody is live no more.
    pub(super) const fn note_silence(&mut self, now: Instant) {
        self.silence_at = now;
        self.asked = None;
    }

    /// Whether this member `knows_enough` to tell anybody, and whether it has `joined`.
    pub(super) fn handle_timeout(&mut self, knows_enough: bool, joined: bool, step: &mut Step<'_>) {
        let (now, answering) = (step.now, step.settings.answering());
        let looked_at = std::mem::replace(&mut self.looked_at, now);
        if now > looked_at + answering {
            // D5: what it was told meanwhile may be lost.
            self.asked = None;
        }
        self.all
            .retain(|id, finding| knows_enough && finding.stands(*id, step.ctx()));
        if self.all.is_empty() {
            self.asked = None;
            return;
        }
        match self.asked {
            Some(asked) if now >= asked.at + answering => self.tell(asked.at, step),
            Some(asked) if now >= asked.again => self.ask(asked.at, joined, step),
            None if now >= self.to_ask_at(step.settings) => self.ask(now, joined, step),
            _ => {}
        }
    }

    /// D2, D3
    fn to_ask_at(&self, settings: &Settings) -> Instant {
        let last = self.all.values().map(|finding| finding.since).max();
        let wait = settings.vote_wait().saturating_sub(settings.answering());
        last.unwrap_or_default().max(self.silence_at) + wait
    }

    /// D4: the dead for the last time, and all others.
    fn ask(&mut self, since: Instant, joined: bool, step: &mut Step<'_>) {
        self.asked = Some(Asked {
            at: since,
            again: step.now + step.settings.beat,
        });
        for (id, finding) in &self.all {
            step.send(*id, &ping(joined, false, Some(finding.inc), step.ctx()));
            step.probe(*id);
        }
        let others: Vec<NodeId> = step.members.live_others().collect();
        for id in others {
            if !has_spoken(id, since, step.ctx()) {
                step.send(id, &ping(joined, false, None, step.ctx()));
            }
        }
    }

    /// D4: all at once, or none.
    fn tell(&mut self, asked_at: Instant, step: &mut Step<'_>) {
        self.asked = None;
        let others = step.members.live_others();
        let heard = others.filter(|id| has_spoken(*id, asked_at, step.ctx()));
        let is_most = 2 * (heard.count() + 1) > step.members.index().known;
        for (node, finding) in std::mem::take(&mut self.all) {
            if is_most {
                step.tell(Event::FoundDead {
                    node,
                    boot: finding.boot,
                    incarnation: finding.inc,
                    with: finding.with,
                    ago: step.now.saturating_since(finding.since),
                });
            }
        }
    }

    pub(super) fn due(&self, settings: &Settings) -> Option<(Instant, &'static str)> {
        let at = match self.asked {
            _ if self.all.is_empty() => return None,
            Some(asked) => asked.again.min(asked.at + settings.answering()),
            None => self.to_ask_at(settings),
        };
        Some((at, "a vote on a dead node"))
    }
}

impl Finding {
    /// Nobody has refuted it.
    fn stands(&self, id: NodeId, ctx: Ctx<'_>) -> bool {
        let member = ctx.members.get(id);
        ctx.now < self.since + ctx.settings.vote_wait() + FORGOTTEN
            && member.is_some_and(|member| {
                member.standing == Standing::Gone(Verdict::Node)
                    && (member.boot, member.inc) == (self.boot, self.inc)
            })
    }
}

fn has_spoken(id: NodeId, since: Instant, ctx: Ctx<'_>) -> bool {
    let member = ctx.members.get(id);
    member.is_some_and(|member| member.heard_at >= Some(since))
}
