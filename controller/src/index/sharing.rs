//! Both sides are told that they share an address: whoever knows a sharing key comes to share it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::alloc::{Decision, Refusal};
use ferrolb_core::names::event;
use ferrolb_core::view::ServiceKey;
use ferrolb_core::{Instant, Reason};
use ferrolb_kube::events::{Object, fingerprint};

use super::{Index, Update};
use crate::notice::Notice;

/// Each Service is told once in this time at most, whoever comes and goes at its address meanwhile.
const PAUSE: Duration = Duration::from_secs(60);
/// So many of those who had the address before are told of one that comes.
const MOST_TOLD: usize = 16;
/// So many of the others are named.
const NAMED: usize = 5;

/// What a Service was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    at: Instant,
    /// Of with whom it shares which address.
    state: u64,
}

/// What a Service is to be told later.
#[derive(Debug)]
pub(super) struct Due {
    at: Instant,
    address: IpAddr,
    newcomer: ServiceKey,
}

/// Whom to tell later.
pub(super) type DueTimes = BTreeMap<ServiceKey, Due>;

impl Index {
    /// Tells whoever shares an address from now on, and whoever had it before.
    pub(super) fn tell_of_sharing(&mut self, update: &Update, now: Instant) {
        let key = &update.key;
        let is_new = |address: &&IpAddr| !update.former.contains(*address);
        for address in update.addresses.iter().filter(is_new) {
            let others = || {
                let users = self.allocator.users(*address);
                users.filter(|other| *other != key)
            };
            // Strangers are told before neighbours.
            let is_stranger = |other: &&ServiceKey| other.namespace != key.namespace;
            let strangers = others().filter(is_stranger);
            let neighbours = others().filter(|other| !is_stranger(other));
            let told = strangers.chain(neighbours).take(MOST_TOLD);
            let told: Vec<_> = told.cloned().collect();
            if let Some(first) = told.first() {
                self.tell_sharer(key, *address, first, now);
            }
            for other in &told {
                self.tell_sharer(other, *address, key, now);
            }
        }
    }

    /// When somebody is to be told, at the latest.
    pub(super) fn sharing_due(&self) -> Option<Instant> {
        let later = self.sharing.values().map(|due| due.at);
        later.chain(self.discord.values().copied()).min()
    }

    /// Whether the Service is warned now. That it disagrees with another one is that one's doing, who
    /// may do so as often as it likes: it is said after a pause, if it is still so.
    pub(super) fn is_time_to_warn(&mut self, key: &ServiceKey, refusal: &Refusal) -> bool {
        let Some(entry) = self.services.get_mut(key) else {
            return false;
        };
        if refusal.reason != Reason::SharedInDiscord {
            return true;
        }
        let now = self.wall_clock.map_or(Instant::START, |(_, now)| now);
        match entry
            .told_of_discord
            .filter(|at| now.saturating_since(*at) < PAUSE)
        {
            Some(at) => {
                self.discord.insert(key.clone(), at + PAUSE);
                false
            }
            None => {
                entry.told_of_discord = Some(now);
                true
            }
        }
    }

    /// The pause of some is over.
    pub(super) fn resume_sharing(&mut self, now: Instant) {
        let due: Vec<_> = self
            .sharing
            .extract_if(.., |_, due| due.at <= now)
            .collect();
        for (key, due) in due {
            self.tell_sharer(&key, due.address, &due.newcomer, now);
        }
        let due: Vec<_> = self.discord.extract_if(.., |_, at| *at <= now).collect();
        for (key, _) in due {
            let Some(entry) = self.services.get_mut(&key) else {
                continue;
            };
            let refusal = entry.decision.as_ref().and_then(Decision::refusal);
            let refusal = refusal.filter(|one| one.reason == Reason::SharedInDiscord);
            if let Some(refusal) = refusal.cloned() {
                entry.told_of_discord = Some(now);
                self.warn(&key, refusal, false);
            }
        }
    }

    fn tell_sharer(
        &mut self,
        key: &ServiceKey,
        address: IpAddr,
        newcomer: &ServiceKey,
        now: Instant,
    ) {
        let Some((state, message)) = self.sharers(key, address, newcomer) else {
            return;
        };
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        if let Some(told) = entry.told_of_sharing
            && now.saturating_since(told.at) < PAUSE
        {
            if told.state != state {
                let due = Due {
                    at: told.at + PAUSE,
                    address,
                    newcomer: newcomer.clone(),
                };
                self.sharing.insert(key.clone(), due);
            }
            return;
        }
        entry.told_of_sharing = Some(Told { at: now, state });
        self.sharing.remove(key);
        tracing::info!(service = %key, "{message}");
        let object = Object::service(&entry.view);
        let notice = Notice::normal(object, event::ADDRESS_SHARED, message);
        self.say(notice.one_about(address));
    }

    /// With whom the Service shares the address, in a number and in a sentence that names the newcomer
    /// first; `None` if with nobody.
    fn sharers(
        &self,
        key: &ServiceKey,
        address: IpAddr,
        newcomer: &ServiceKey,
    ) -> Option<(u64, String)> {
        let mut users: Vec<_> = self.allocator.users(address).collect();
        let place = users.iter().position(|user| *user == key)?;
        users.remove(place);
        let words: Vec<_> = users.iter().map(ToString::to_string).collect();
        let words = words.iter().map(String::as_str);
        let at = address.to_string();
        let state = fingerprint(
            &std::iter::once(at.as_str())
                .chain(words)
                .collect::<Vec<_>>(),
        );
        users.sort_by_key(|user| *user != newcomer);
        let named: Vec<_> = users.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match users.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = named.join(", ");
        if named.is_empty() {
            return None;
        }
        let is_stranger = |user: &&ServiceKey| user.namespace != key.namespace;
        let across = match users.iter().any(is_stranger) {
            true => {
                ", since they have the same allow-shared-ip; share-within: namespace in the pool keeps \
                 other namespaces out"
            }
            false => "",
        };
        Some((
            state,
            format!("shares {address} with Service {named}{more}{across}"),
        ))
    }
}

#[cfg(test)]
mod tests;
