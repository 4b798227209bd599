//! Addresses that a Service has and no node announces: an Event says so, once, from one speaker.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::names::event;
use ferrolb_core::report::MemberStatus;
use ferrolb_core::view::ServiceView;
use ferrolb_core::{Instant, Reason};
use ferrolb_kube::events::{Object, Severity, Words, fingerprint};
use k8s_openapi::jiff::Timestamp;

/// Pods that are replaced are ready again within this time, as a rule, and so is a first one whose
/// image is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of an address that nobody announces.
#[derive(Debug)]
struct Silent {
    reason: Reason,
    /// When it is told; `None` if it has been.
    due: Option<Instant>,
    /// It was so when this speaker first looked: another process may have told it.
    from_start: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Unannounced(BTreeMap<IpAddr, Silent>);

/// Something to tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Untold {
    /// The address.
    pub address: IpAddr,
    /// Why no node announces it.
    pub reason: Reason,
    /// Another process may have told it.
    pub from_start: bool,
}

impl Unannounced {
    /// Why nobody announces `address`; `None` if somebody does, or if nobody needs to.
    pub fn set(&mut self, address: IpAddr, reason: Option<Reason>, from_start: bool, now: Instant) {
        let Some(reason) = reason else {
            self.0.remove(&address);
            return;
        };
        if self
            .0
            .get(&address)
            .is_some_and(|silent| silent.reason == reason)
        {
            return;
        }
        let due = Some(now + PATIENCE);
        let silent = Silent {
            reason,
            due,
            from_start,
        };
        self.0.insert(address, silent);
    }

    /// When [`Self::poll_untold`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(|silent| silent.due).min()
    }

    /// The next one to tell, if it is time.
    pub fn poll_untold(&mut self, now: Instant) -> Option<Untold> {
        let is_due = |silent: &Silent| silent.due.is_some_and(|due| due <= now);
        let (address, silent) = self.0.iter_mut().find(|(_, silent)| is_due(silent))?;
        silent.due = None;
        Some(Untold {
            address: *address,
            reason: silent.reason,
            from_start: silent.from_start,
        })
    }
}

/// Whether `me` is the one of the live speakers that tells it: they agree on that without a word, as
/// they agree on who is live. Where they do not, the Event's name is the same.
#[must_use]
pub fn is_told_by(me: &str, address: IpAddr, members: &[MemberStatus]) -> bool {
    let live = members.iter().filter(|member| member.is_live());
    let mut nodes: Vec<_> = live.map(|member| member.node.as_str()).collect();
    if !nodes.contains(&me) {
        nodes.push(me);
    }
    nodes.sort_unstable();
    let place = fingerprint(&[&address.to_string()]) % nodes.len() as u64;
    nodes
        .get(usize::try_from(place).unwrap_or_default())
        .is_some_and(|node| *node == me)
}

impl Untold {
    /// The Event on `service`, and a number for its name: the same in whichever process and at whatever
    /// time if it was so from the start, else the same within five minutes.
    #[must_use]
    pub fn note(&self, service: &ServiceView, now: Timestamp) -> (Words, u64) {
        let Self {
            address, reason, ..
        } = self;
        let message = format!("no node announces {address}: {} ({reason})", why(*reason));
        let words = Words {
            object: Object::service(service),
            severity: Severity::Warning,
            reason: event::NOT_ANNOUNCED,
            message,
        };
        let time = (!self.from_start).then(|| (now.as_second() / 300).to_string());
        let number = fingerprint(&[&service.uid, &words.message, &time.unwrap_or_default()]);
        (words, number)
    }
}

/// What a Reason, which is about one node elsewhere, means when it is so on all.
fn why(reason: Reason) -> String {
    let text = match reason {
        Reason::NoLocalEndpoint => {
            "with externalTrafficPolicy: Local only a node with a ready pod of the Service may, and none \
             that may has one: start one there, or set externalTrafficPolicy: Cluster"
        }
        Reason::NodeNotSelected => {
            "the node-selectors of its pool select no node: change them, or label a node"
        }
        Reason::StrictlyExcludedNode => {
            "every node that could has the label \
             node.kubernetes.io/exclude-from-external-load-balancers, and the speakers take it \
             strictly: remove it from one, or set excludeLabel: prefer"
        }
        Reason::NetworkUnavailable => {
            "the condition NetworkUnavailable is true on every node: see what the network plugin says"
        }
        other => {
            let known = other.explanation();
            return format!("{}: {}", known.what, known.remedy);
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn vip() -> IpAddr {
        IpAddr::from([192, 168, 64, 20])
    }

    fn told(unannounced: &mut Unannounced, now: u64) -> Vec<(Reason, bool)> {
        let all = std::iter::from_fn(|| unannounced.poll_untold(at(now)));
        all.map(|untold| (untold.reason, untold.from_start))
            .collect()
    }

    #[test]
    fn it_is_told_once_after_ten_seconds_and_again_only_after_a_change() {
        let mut unannounced = Unannounced::default();
        let no_endpoint = Some(Reason::NoEndpoint);
        unannounced.set(vip(), no_endpoint, true, at(1));
        unannounced.set(vip(), no_endpoint, false, at(9));
        assert_eq!(unannounced.poll_timeout(), Some(at(11)));
        assert_eq!(told(&mut unannounced, 10), []);
        assert_eq!(told(&mut unannounced, 11), [(Reason::NoEndpoint, true)]);
        unannounced.set(vip(), no_endpoint, false, at(12));
        assert_eq!(unannounced.poll_timeout(), None);
        // Another reason is news, and so is the same one after all was well.
        unannounced.set(vip(), Some(Reason::NoLocalEndpoint), false, at(20));
        assert_eq!(
            told(&mut unannounced, 30),
            [(Reason::NoLocalEndpoint, false)]
        );
        unannounced.set(vip(), None, false, at(40));
        unannounced.set(vip(), Some(Reason::NoLocalEndpoint), false, at(50));
        assert_eq!(
            told(&mut unannounced, 60),
            [(Reason::NoLocalEndpoint, false)]
        );
    }

    #[test]
    fn a_rollout_that_is_over_in_time_is_not_told() {
        let mut unannounced = Unannounced::default();
        unannounced.set(vip(), Some(Reason::NoEndpoint), false, at(0));
        unannounced.set(vip(), None, false, at(9));
        assert_eq!(
            (told(&mut unannounced, 100), unannounced.poll_timeout()),
            (vec![], None)
        );
    }

    fn member(node: &str, standing: &str) -> MemberStatus {
        MemberStatus {
            node: node.to_owned(),
            address: vip(),
            mac: String::new(),
            standing: standing.to_owned(),
            verdict: None,
            incarnation: 0,
            heard_millis_ago: None,
            addresses: 0,
            reason: None,
        }
    }

    #[test]
    fn exactly_one_of_the_live_speakers_tells_it() {
        let members = [
            member("n3", "live"),
            member("n1", "live"),
            member("n4", "gone"),
            member("n2", "live"),
        ];
        let mut by = std::collections::BTreeSet::new();
        for last in 0..64 {
            let address = IpAddr::from([10, 0, 0, last]);
            let tells = |me: &&str| is_told_by(me, address, &members);
            let tell: Vec<_> = ["n1", "n2", "n3"].into_iter().filter(tells).collect();
            assert_eq!(tell.len(), 1, "{address}: {tell:?}");
            by.extend(tell);
        }
        assert_eq!(by.len(), 3, "all have their share");
        assert!(is_told_by("alone", vip(), &[]));
    }

    #[test]
    fn every_reason_is_told_for_all_nodes_with_a_remedy() {
        for reason in [
            Reason::NoEndpoint,
            Reason::NoLocalEndpoint,
            Reason::NodeNotSelected,
            Reason::StrictlyExcludedNode,
            Reason::NetworkUnavailable,
            Reason::BgpNotAnnounced,
            Reason::NotAdvertised,
            Reason::SharedWithSelectors,
        ] {
            let why = why(reason);
            assert!(!why.contains("this node") && why.contains(": "), "{why}");
        }
    }
}
