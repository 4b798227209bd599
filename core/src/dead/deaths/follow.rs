//! What votes and the kubelet's word change, and when a death is done with.

use std::time::Duration;

use super::death::{Death, Phase};
use super::{CONTRADICTED, DeadNodes, FOLLOWER, MARK_AGAIN};
use crate::dead::judge::{Verdict, judge};
use crate::dead::vote::Process;
use crate::dead::{LIFETIME, QUORUM};
use crate::names::event::{ENDPOINTS_LEFT, ENDPOINTS_REMOVED, ENDPOINTS_RESTORED};
use crate::{Instant, Reason};

impl DeadNodes {
    /// Follows the votes.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.is_ready() {
            return;
        }
        let (Some(nodes), Some(entries)) = (&self.nodes, &self.entries) else {
            return;
        };
        let mut verdicts = judge(nodes, &entries.votes(now));
        self.spared.retain(|_, (until, _)| now < *until);
        self.swept.retain(|_, until| now < *until);
        for (key, verdict) in &verdicts {
            if self.deaths.contains_key(key) {
                continue;
            }
            let phase = match verdict.reason {
                Some(Reason::DeathNotConfirmed) if verdict.heard => {
                    // Whoever marked its pods may have died since.
                    let is_swept = self.swept.contains_key(&key.0);
                    if is_swept || !self.leads {
                        continue;
                    }
                    self.swept.insert(key.0.clone(), now + MARK_AGAIN);
                    Phase::Restoring(None)
                }
                Some(Reason::DeathNotConfirmed) => continue,
                _ => Phase::Waiting(self.turn(&key.0, now)),
            };
            let mut death = Death::new(phase);
            if matches!(phase, Phase::Restoring(_)) {
                death.queue_restores(self.serving.unready(&key.0));
            }
            self.deaths.insert(key.clone(), death);
        }
        let keys: Vec<_> = self.deaths.keys().cloned().collect();
        for key in keys {
            let verdict = verdicts.remove(&key);
            self.follow(&key, verdict, now);
        }
    }

    /// When it is this replica's turn to look at a node.
    fn turn(&self, node: &str, now: Instant) -> Instant {
        let wait = if self.leads { Duration::ZERO } else { FOLLOWER };
        let spared = self.spared.get(node).map(|(until, _)| *until);
        (now + wait).max(spared.unwrap_or_default())
    }

    /// Follows the votes on one process.
    fn follow(&mut self, key: &(String, Process), verdict: Option<Verdict>, now: Instant) {
        let turn = self.turn(&key.0, now);
        let wait = if self.leads { Duration::ZERO } else { FOLLOWER };
        let Some(death) = self.deaths.get_mut(key) else {
            return;
        };
        let reason = verdict.as_ref().map(|verdict| verdict.reason);
        let stands = matches!(reason, Some(None | Some(Reason::TooManyDead)));
        let heard = verdict.as_ref().is_some_and(|verdict| verdict.heard);
        if let Some(verdict) = verdict
            && verdict.by.len() >= QUORUM
        {
            death.verdict = verdict;
        }
        match (death.phase, reason) {
            // Nobody says so any more.
            (Phase::Waiting(_) | Phase::Looking | Phase::Left(_), None) => {
                self.deaths.remove(key);
                return;
            }
            (Phase::Waiting(_) | Phase::Looking, Some(Some(why))) => death.phase = Phase::Left(why),
            (Phase::Left(Reason::TooManyDead | Reason::DeathNotConfirmed), Some(None)) => {
                death.phase = Phase::Waiting(turn);
            }
            (Phase::Left(_), Some(Some(why @ Reason::DeathNotConfirmed))) => {
                death.phase = Phase::Left(why);
            }
            (Phase::Marking(_) | Phase::Marked, _) if heard && !stands => {
                let mut pods = self.serving.unready(&key.0);
                pods.extend(death.removed.iter().cloned());
                death.queue_restores(pods);
                death.phase = Phase::Restoring((!wait.is_zero()).then_some(now + wait));
            }
            // Who is left says nothing new: the node's kubelet will.
            (Phase::Marking(_) | Phase::Marked, None) => {
                death.queue.clear();
                death.phase = Phase::Over(now + LIFETIME);
            }
            (Phase::Marking(_), Some(Some(_))) => death.queue.clear(),
            (Phase::Marked, Some(None)) => self.hear_the_kubelet(key, now),
            (Phase::Restoring(Some(due)), _) if due <= now => death.phase = Phase::Restoring(None),
            (Phase::Over(until), None) if until <= now => {
                self.deaths.remove(key);
                return;
            }
            // Once for each death, however long somebody votes on it.
            (Phase::Over(until), _) if until <= now => death.phase = Phase::Over(now + LIFETIME),
            _ => {}
        }
        self.finish(key, now);
    }

    /// A pod that was marked is ready again although the votes stand: its kubelet lives.
    fn hear_the_kubelet(&mut self, (node, process): &(String, Process), now: Instant) {
        let Some(death) = self.deaths.get_mut(&(node.clone(), *process)) else {
            return;
        };
        let unready = self.serving.unready(node);
        let away = unready.intersection(&death.removed).cloned();
        death.away.extend(away.collect::<Vec<_>>());
        let ready = self.serving.ready_again(death.away.iter(), node);
        let Some(pod) = ready.first() else {
            return;
        };
        let message = format!(
            "the kubelet of {node} says that pod {}/{} is ready, though {}: its pods are left alone \
             for ten minutes",
            pod.namespace,
            pod.name,
            death.who(node)
        );
        death.phase = Phase::Over(now + LIFETIME);
        let until = now + CONTRADICTED;
        let why = Reason::KubeletContradicts;
        self.spared.insert(node.clone(), (until, why));
        self.count("kept", why.as_str(), 1);
        self.notify(node, ENDPOINTS_LEFT, true, message, None);
    }

    /// Whether a death is done with for now.
    pub(super) fn finish(&mut self, key: &(String, Process), now: Instant) {
        let leads = self.leads;
        let Some(death) = self.deaths.get_mut(key) else {
            return;
        };
        if let Phase::Marking(until) = death.phase
            && until <= now
        {
            death.failed += death.queue.len();
            death.queue.clear();
        }
        if !(death.queue.is_empty() && death.under_way.is_empty()) {
            return;
        }
        let node = &key.0;
        match death.phase {
            Phase::Marking(_) => {
                death.phase = Phase::Marked;
                // The other replica's doing is told by that one.
                if !death.removed.is_empty() || (leads && death.failed + death.last_of > 0) {
                    let message = death.removed_in_words(node);
                    let since = death.verdict.since.filter(|_| !death.removed.is_empty());
                    self.notify(node, ENDPOINTS_REMOVED, true, message, since);
                }
            }
            Phase::Restoring(None) => {
                death.phase = Phase::Over(now + LIFETIME);
                if death.restored > 0 {
                    let message = format!(
                        "{node} is heard again: {} of its pods are back in rotation",
                        death.restored
                    );
                    self.notify(node, ENDPOINTS_RESTORED, false, message, None);
                }
            }
            Phase::Left(why) => self.say_that_it_is_left(key, why),
            _ => {}
        }
    }

    /// Once for each reason.
    pub(super) fn say_that_it_is_left(&mut self, key: &(String, Process), why: Reason) {
        let leads = self.leads;
        let Some(death) = self.deaths.get_mut(key) else {
            return;
        };
        // Votes that are taken back one after the other are no news.
        if why == Reason::DeathNotConfirmed || !leads || !death.said.insert(why) {
            return;
        }
        let message = format!(
            "{}; its pods stay in rotation: {} ({why})",
            death.who(&key.0),
            why.explanation().what
        );
        self.count("kept", why.as_str(), 1);
        self.notify(&key.0, ENDPOINTS_LEFT, true, message, None);
    }
}
