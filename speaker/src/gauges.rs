//! Gauges of the state that a speaker sees: which addresses are announced, which are not and why, and how
//! the other speakers are. What happens is counted in [`crate::metrics`].

use std::collections::BTreeMap;

use ferrolb_core::Reason;
use ferrolb_core::report::{MemberStatus, SpeakerStatus, VipStatus, Word};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::unannounced::is_told_by;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AddressState {
    state: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Silent {
    ip: String,
    reason: String,
    /// `true`: nothing is wrong, the address has nothing to lead to.
    wanted: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberState {
    standing: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Down {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Impairment {
    node: String,
    reason: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Gauges {
    addresses: Family<AddressState, Gauge>,
    silent: Family<Silent, Gauge>,
    members: Family<MemberState, Gauge>,
    down: Family<Down, Gauge>,
    impaired: Family<Impairment, Gauge>,
    kube_proxy_unhealthy: Gauge,
    isolated: Gauge,
}

/// How an address stands, as one speaker sees it.
enum State<'a> {
    Announced,
    Elsewhere,
    /// Nobody announces it, and this speaker is the one to say so.
    Silent {
        reason: Option<&'a Word>,
    },
    /// Nobody announces it, and another speaker says so; or it is not known yet.
    NotTold {
        reason: Option<&'a Word>,
    },
}

impl Gauges {
    /// Registers them all.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ferrolb_addresses",
            "Addresses of Services as this node sees them: announced (here), elsewhere, or silent, with the reason",
            self.addresses.clone(),
        );
        registry.register(
            "ferrolb_address_silent",
            "1 for an address of a Service that no node announces, shown by one speaker; wanted: it has nothing \
             to lead to",
            self.silent.clone(),
        );
        registry.register(
            "ferrolb_members",
            "Speakers as this one sees them: live, held (restarting), gone, lost, never_heard",
            self.members.clone(),
        );
        registry.register(
            "ferrolb_member_down",
            "1 for a node whose speaker is held, gone or lost; not for one that is up and cannot be heard",
            self.down.clone(),
        );
        registry.register(
            "ferrolb_member_impaired",
            "1 for a node that cannot be heard, whose death would be noticed late, whose link is silent, or whose kube-proxy is unhealthy",
            self.impaired.clone(),
        );
        registry.register(
            "ferrolb_kube_proxy_unhealthy",
            "1 if kube-proxy on this node has become unhealthy",
            self.kube_proxy_unhealthy.clone(),
        );
        registry.register(
            "ferrolb_isolated",
            "1 if this node receives nothing from any other node or router",
            self.isolated.clone(),
        );
    }

    /// Whether kube-proxy on this node has become unhealthy.
    pub fn set_kube_proxy_unhealthy(&self, is_unhealthy: bool) {
        self.kube_proxy_unhealthy.set(is_unhealthy.into());
    }

    /// Shows a status, and the addresses that belong to it. What is no longer so has no series.
    pub fn show(&self, status: &SpeakerStatus, vips: impl IntoIterator<Item = VipStatus>) {
        self.show_addresses(status, vips);
        let mut standings: BTreeMap<&str, i64> = BTreeMap::new();
        self.down.clear();
        self.impaired.clear();
        for member in &status.members {
            *standings.entry(&member.standing).or_default() += 1;
            if is_down(member) {
                let node = member.node.clone();
                self.down.get_or_create(&Down { node }).set(1);
            }
            if let Some(reason) = &member.reason {
                let label = Impairment {
                    node: member.node.clone(),
                    reason: reason.to_string(),
                };
                self.impaired.get_or_create(&label).set(1);
            }
        }
        self.members.clear();
        for (standing, count) in standings {
            let standing = standing.to_owned();
            self.members
                .get_or_create(&MemberState { standing })
                .set(count);
        }
        self.isolated.set(status.isolated.into());
    }

    fn show_addresses(&self, status: &SpeakerStatus, vips: impl IntoIterator<Item = VipStatus>) {
        let mut counts: BTreeMap<(&str, Option<Word>), i64> = BTreeMap::new();
        self.silent.clear();
        for vip in vips {
            let key = match state_of(&vip, status) {
                State::Announced => ("announced", None),
                State::Elsewhere => ("elsewhere", None),
                State::NotTold { reason } => ("silent", reason.cloned()),
                State::Silent { reason } => {
                    let known = reason.and_then(Word::reason);
                    let wanted = known.is_some_and(Reason::is_wanted_silence);
                    let label = Silent {
                        ip: vip.address.to_string(),
                        reason: reason.map(Word::to_string).unwrap_or_default(),
                        wanted: if wanted { "true" } else { "false" },
                    };
                    self.silent.get_or_create(&label).set(1);
                    ("silent", reason.cloned())
                }
            };
            *counts.entry(key).or_default() += 1;
        }
        self.addresses.clear();
        for ((state, reason), count) in counts {
            let reason = reason.as_ref().map(Word::to_string).unwrap_or_default();
            self.addresses
                .get_or_create(&AddressState { state, reason })
                .set(count);
        }
    }
}

/// Not a speaker that is up and cannot be heard (B1 to B3 of the protocol): it announces its addresses itself.
/// Nor one that nobody ever heard: not every node has to have a speaker.
fn is_down(member: &MemberStatus) -> bool {
    let is_absent = matches!(member.standing.as_str(), "held" | "gone" | "lost");
    is_absent && !member.is_blocked()
}

fn state_of<'a>(vip: &'a VipStatus, status: &SpeakerStatus) -> State<'a> {
    if vip.announced_here {
        return State::Announced;
    }
    let reason = vip.reason.as_ref();
    let is_reason = |one: Reason| reason.is_some_and(|reason| *reason == one);
    match &vip.owner {
        // Who owns it knows best why it is silent: another host has it, or it is asking.
        Some(owner) if *owner == status.node => State::Silent { reason },
        Some(_) => State::Elsewhere,
        // The kernel of a node answers for it, or a node whose speaker cannot be heard announces it.
        None if is_reason(Reason::NodeAddress) || is_reason(Reason::PeerAnnounces) => {
            State::Elsewhere
        }
        None if status.waiting_for.is_some() || is_reason(Reason::Joining) => {
            State::NotTold { reason }
        }
        None if is_told_by(&status.node, vip.address, &status.members) => State::Silent { reason },
        None => State::NotTold { reason },
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use prometheus_client::encoding::text::encode;

    use super::*;

    fn member(node: &str, standing: &str, reason: Option<Reason>) -> MemberStatus {
        MemberStatus {
            node: node.to_owned(),
            address: IpAddr::from([192, 168, 64, 11]),
            mac: String::new(),
            standing: standing.to_owned(),
            verdict: None,
            incarnation: 0,
            heard_millis_ago: None,
            addresses: 0,
            reason: reason.map(Into::into),
        }
    }

    fn vip(last: u8, owner: Option<&str>, reason: Option<Reason>) -> VipStatus {
        serde_json::from_value(serde_json::json!({
            "address": IpAddr::from([192, 168, 64, last]),
            "services": ["shop/web"],
            "owner": owner,
            "epoch": 1,
            "announcedHere": reason.is_none(),
            "reason": reason.map(Reason::as_str),
            "drawback": null,
        }))
        .unwrap()
    }

    fn status(node: &str) -> SpeakerStatus {
        SpeakerStatus {
            node: node.to_owned(),
            version: String::new(),
            waiting_for: None,
            isolated: false,
            members: vec![
                member("n1", "live", None),
                member("n2", "live", Some(Reason::PeerBlocked)),
                member("n3", "gone", None),
            ],
            vips: Vec::new(),
            keeping: None,
        }
    }

    fn lines(gauges: &Gauges) -> Vec<String> {
        let mut registry = Registry::default();
        gauges.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_speaker_shows_how_addresses_and_speakers_are() {
        let gauges = Gauges::default();
        gauges.set_kube_proxy_unhealthy(true);
        let vips = [
            vip(1, Some("n1"), None),
            vip(2, Some("n2"), Some(Reason::NotOwner)),
            vip(3, Some("n1"), Some(Reason::AddressConflict)),
            vip(4, None, Some(Reason::NodeAddress)),
        ];
        gauges.show(&status("n1"), vips);
        assert_eq!(
            lines(&gauges),
            [
                r#"ferrolb_address_silent{ip="192.168.64.3",reason="address_conflict",wanted="false"} 1"#,
                r#"ferrolb_addresses{state="announced",reason=""} 1"#,
                r#"ferrolb_addresses{state="elsewhere",reason=""} 2"#,
                r#"ferrolb_addresses{state="silent",reason="address_conflict"} 1"#,
                "ferrolb_isolated 0",
                "ferrolb_kube_proxy_unhealthy 1",
                r#"ferrolb_member_down{node="n3"} 1"#,
                r#"ferrolb_member_impaired{node="n2",reason="peer_blocked"} 1"#,
                r#"ferrolb_members{standing="gone"} 1"#,
                r#"ferrolb_members{standing="live"} 2"#,
            ]
        );
        gauges.show(&status("n1"), []);
        assert!(!lines(&gauges).join("\n").contains("192.168"));
    }

    #[test]
    fn each_node_whose_speaker_is_away_has_a_series_until_it_is_back() {
        let members = |of_n4: &str| {
            let mut status = status("n1");
            status.members = vec![
                member("n1", "live", None),
                member("n2", "live", Some(Reason::LinkSilent)),
                member("n3", "held", None),
                member("n4", of_n4, Some(Reason::KernelSilent)),
                member("n5", "lost", None),
                member("n6", "never_heard", None),
                // Up, and announcing: a firewall is between it and this node.
                member("n7", "gone", Some(Reason::PeerBlocked)),
                member("n8", "lost", Some(Reason::PeerBlocked)),
                member("n9", "never_heard", Some(Reason::PeerBlocked)),
            ];
            status
        };
        let gauges = Gauges::default();
        for (of_n4, down) in [("gone", &["n3", "n4", "n5"][..]), ("live", &["n3", "n5"])] {
            gauges.show(&members(of_n4), []);
            let mut lines = lines(&gauges);
            lines.retain(|line| line.starts_with("ferrolb_member_down"));
            let expected = down.iter();
            let expected = expected.map(|node| format!("ferrolb_member_down{{node=\"{node}\"}} 1"));
            assert_eq!(lines, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_address_that_nobody_announces_has_one_series_and_says_whether_it_is_wanted() {
        let silent = || {
            vec![
                vip(7, None, Some(Reason::NoEndpoint)),
                vip(8, None, Some(Reason::NodeNotSelected)),
            ]
        };
        let mut all: Vec<String> = Vec::new();
        for node in ["n1", "n2"] {
            let gauges = Gauges::default();
            gauges.show(&status(node), silent());
            let lines = lines(&gauges).into_iter();
            all.extend(lines.filter(|line| line.starts_with("ferrolb_address_silent{")));
        }
        all.sort();
        assert_eq!(
            all,
            [
                r#"ferrolb_address_silent{ip="192.168.64.7",reason="no_endpoint",wanted="true"} 1"#,
                r#"ferrolb_address_silent{ip="192.168.64.8",reason="node_not_selected",wanted="false"} 1"#,
            ]
        );
    }

    #[test]
    fn who_has_not_learned_everything_yet_says_of_no_address_that_it_is_silent() {
        let gauges = Gauges::default();
        let mut starting = status("n1");
        starting.waiting_for = Some("the other speakers".to_owned());
        starting.members.clear();
        gauges.show(&starting, [vip(9, None, Some(Reason::NodeNotSelected))]);
        assert!(
            !lines(&gauges)
                .join("\n")
                .contains("ferrolb_address_silent{")
        );
    }
}
