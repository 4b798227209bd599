//! L6, L7, L11: what a datagram says of its sender, and how verdicts spread.

use std::net::IpAddr;

use super::beats::ping;
use super::context::Step;
use super::interface::Event;
use super::model::{Death, Verdict};
use super::node::NodeId;
use super::wire::{Header, Message};
use crate::Reason;

/// Why a datagram does not count.
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) reason: Reason,
    /// What to tell its sender; nothing where it is a copy of one that counted.
    pub(super) answer: Option<Message>,
}

/// Only what was said to this boot, by the sender's latest boot, for the first time, counts.
pub(super) fn check_freshness(
    header: &Header,
    joined: bool,
    step: &mut Step<'_>,
) -> Result<(), Stale> {
    let known = step.members.get(header.sender);
    let known_boot = known.map_or(0, |member| member.boot);
    let (reason, answer) = if header.echo != step.members.own().boot {
        // The sender does not know this boot yet, or this was said to the one before.
        let ping = ping(joined, false, None, step.ctx());
        (Reason::NotFresh, Some(ping))
    } else if header.boot < known_boot {
        let answer = Message::Stale { boot: known_boot };
        (Reason::StaleBoot, Some(answer))
    } else {
        let members = &mut *step.members;
        let is_new = members.admit(header.sender, header.boot, header.counter);
        if is_new {
            return Ok(());
        }
        (Reason::Replayed, None)
    };
    Err(Stale { reason, answer })
}

/// Notes the sender's boot and incarnation. Whether it is new here: a first contact or restart.
pub(super) fn meet(header: &Header, step: &mut Step<'_>) -> bool {
    let known = step
        .members
        .get(header.sender)
        .filter(|member| member.standing.is_heard_of());
    let is_new = known.is_none_or(|member| member.boot < header.boot);
    step.members
        .heard_of(header.sender, header.boot, header.inc, step.now);
    if is_new {
        step.members
            .admit(header.sender, header.boot, header.counter);
    }
    is_new
}

/// L6: it does not know that it is held gone; it alone can refute. It may have moved since: so it is
/// told where it speaks from as well (A8).
pub(super) fn tell_if_gone(
    from: IpAddr,
    header: &Header,
    message: &Message,
    step: &mut Step<'_>,
) -> Result<(), Reason> {
    let sender = header.sender;
    let Some(member) = step.members.get(sender) else {
        return Ok(());
    };
    let Some(verdict) = member.standing.verdict() else {
        return Ok(());
    };
    if matches!(verdict, Verdict::Restarting | Verdict::Left) {
        return Err(Reason::Leaving);
    }
    let death = Death {
        member: sender,
        boot: header.boot,
        inc: member.inc,
        verdict,
    };
    let is_elsewhere = member.address != from;
    if step.members.is_to_be_told(sender, step.settings, step.now) {
        step.send(sender, &Message::Dead(death));
        if is_elsewhere {
            step.send_to(from, header.boot, &Message::Dead(death));
        }
    }
    match message {
        // Knowledge is knowledge, whoever brings it.
        Message::Dead(_) | Message::Sync { .. } | Message::Records(_) | Message::Stale { .. } => {
            Ok(())
        }
        _ => Err(Reason::SpeakerSilent),
    }
}

/// Any datagram of a member proves it well; of a lost one, that all loss was on this side (L6).
pub(super) fn hear(sender: NodeId, step: &mut Step<'_>) {
    step.members.note_heard(sender, step.now);
    let member = step.members.get(sender);
    if member.is_some_and(|member| member.standing.is_lost()) {
        step.members.find_lost(step.now);
    }
}

/// L6: a verdict of ours, confirmed by a witness or by the kernel, is everybody's.
pub(super) fn pronounce(id: NodeId, verdict: Verdict, step: &mut Step<'_>) {
    let Some(member) = step.members.get(id) else {
        return;
    };
    let death = Death {
        member: id,
        boot: member.boot,
        inc: member.inc,
        verdict,
    };
    step.send(id, &Message::Dead(death));
    if step.members.bury(&death, step.now) {
        step.tell(Event::Gone { node: id, verdict });
        step.send_to_all(&Message::Dead(death));
    }
}

/// L6: nobody can confirm it, so nobody is told.
pub(super) fn lose(id: NodeId, step: &mut Step<'_>) {
    step.members.lose(id, step.now);
    step.tell(Event::Lost { node: id });
}
