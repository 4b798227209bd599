//! What would change for each Service, in words.

use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::alloc::Decision;
use ferrolb_core::view::ServiceKey;
use serde::Serialize;

use super::decisions::Decided;
use crate::election::Election;
use crate::picture::{NodeState, Picture};

/// A Service of which something would change.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) effect: Effect,
    /// Its addresses afterwards.
    addresses: Vec<String>,
    /// The pool that they would come from.
    pool: Option<String>,
    /// The word for what it would not get.
    reason: Option<String>,
    /// Each in a clause.
    pub(super) what: Vec<String>,
}

/// What a change is to a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effect {
    /// An address, or that it is announced.
    Loses,
    /// Its address would be announced by another node, or count for another pool.
    Changes,
    Gains,
}

impl Effect {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Loses => "loses",
            Self::Changes => "changes",
            Self::Gains => "gains",
        }
    }
}

/// Worst first, then by name.
pub(super) fn changes(
    before: &Election,
    after: &Election,
    picture: &Picture,
    decided: &Decided,
) -> Vec<Change> {
    let changes = decided.after.iter().filter_map(|(key, decision)| {
        let former = decided.before.get(key);
        let mut found = allocation(former, decision);
        for address in decision.addresses() {
            found.extend(announcement(*address, before, after, picture));
        }
        change(key, decision, found)
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort_by_key(|change| change.effect);
    changes
}

type Found = Vec<(Effect, String)>;

fn change(key: &ServiceKey, decision: &Decision, found: Found) -> Option<Change> {
    let effect = found.iter().map(|(effect, _)| *effect).min()?;
    let pool = match decision {
        Decision::Hold { pool, .. } => pool.clone(),
        _ => None,
    };
    Some(Change {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        effect,
        addresses: decision
            .addresses()
            .iter()
            .map(ToString::to_string)
            .collect(),
        pool,
        reason: decision.refusal().map(|refusal| refusal.reason.to_string()),
        what: found.into_iter().map(|(_, what)| what).collect(),
    })
}

fn allocation(before: Option<&Decision>, after: &Decision) -> Found {
    let mut found = Found::new();
    let had = before.map_or(&[][..], Decision::addresses);
    let has = after.addresses();
    let pool = |decision: &Decision| match decision {
        Decision::Hold { pool, .. } => pool.clone(),
        _ => None,
    };
    let from = |decision: &Decision| {
        let pool = pool(decision);
        pool.map_or_else(String::new, |pool| format!(" from pool {pool}"))
    };
    for gained in has.iter().filter(|one| !had.contains(one)) {
        found.push((Effect::Gains, format!("gets {gained}{}", from(after))));
    }
    for lost in had.iter().filter(|one| !has.contains(one)) {
        found.push((Effect::Loses, format!("loses {lost}")));
    }
    let before_pool = before.and_then(pool);
    let after_pool = pool(after);
    if had == has && !has.is_empty() && before_pool != after_pool {
        found.push(match (&before_pool, &after_pool) {
            (_, Some(new)) => (
                Effect::Changes,
                format!("keeps {}, then of pool {new}", joined(has)),
            ),
            (Some(old), None) => (
                Effect::Changes,
                format!(
                    "keeps {}, which is in no pool any more (it was in {old})",
                    joined(has)
                ),
            ),
            (None, None) => return found,
        });
    }
    let was = before.and_then(Decision::refusal).map(|one| one.reason);
    match after.refusal() {
        Some(refusal) if was != Some(refusal.reason) => {
            // What it has, it keeps: this only says what it will not get.
            let effect = if has.is_empty() && had.is_empty() && before.is_some() {
                Effect::Changes
            } else {
                Effect::Loses
            };
            let effect = match refusal.reason {
                Reason::HeldOutsidePools => Effect::Changes,
                _ => effect,
            };
            found.push((effect, format!("{}: {refusal}", refusal.reason)));
        }
        None if was.is_some() && had == has => {
            found.push((Effect::Gains, "has all that it asks for".to_owned()));
        }
        _ => {}
    }
    found
}

fn joined(addresses: &[IpAddr]) -> String {
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Who would announce it in place of whom.
fn announcement(
    address: IpAddr,
    before: &Election,
    after: &Election,
    picture: &Picture,
) -> Option<(Effect, String)> {
    let held = picture.address(address)?;
    let owner = held.nodes.first().map(String::as_str);
    let stands = match after.standings(address, None) {
        Ok(standings) => standings,
        Err(reason) => {
            // As it is now, perhaps: then nothing changes.
            let now = before.standings(address, None).err();
            return (now != Some(reason) && reason != Reason::NodeAddress).then(|| {
                let why = reason.explanation().what;
                let what = format!("{address} would be announced by nobody: {reason}: {why}");
                (Effect::Loses, what)
            });
        }
    };
    let live = |node: &str| {
        let node = picture.node(node);
        node.is_none_or(|node| node.state == NodeState::Live)
    };
    let candidates = stands.candidates(address).into_iter();
    let mut candidates = candidates.filter(|(node, _)| live(node));
    let best = candidates.next();
    match (owner, best) {
        (Some(owner), Some((to, tier))) => {
            // Who announces it keeps it, unless it may not any more, or another one is of a better tier.
            let own = stands.of(owner);
            let stays = own.is_ok_and(|own| own <= tier);
            (!stays).then(|| {
                let why = own
                    .err()
                    .map_or_else(String::new, |why| format!(" ({why})"));
                (
                    Effect::Changes,
                    format!("{address} would move from {owner} to {to}{why}"),
                )
            })
        }
        (Some(_), None) => {
            let why = stands.why_nobody().unwrap_or(Reason::SpeakerSilent);
            let what = why.explanation().what;
            let what = format!("{address} would be announced by nobody: {why}: {what}");
            Some((Effect::Loses, what))
        }
        (None, Some((to, _))) => {
            let was_silent = before
                .standings(address, None)
                .map_or(true, |before| before.candidates(address).is_empty());
            was_silent.then(|| {
                (
                    Effect::Gains,
                    format!("{address} would be announced by {to}"),
                )
            })
        }
        (None, None) => None,
    }
}
