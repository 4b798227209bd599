//! What this speaker knows of the others, and of each Vip: `/status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::keep::shown::KeepingStatus;
use ferrolb_core::ownership::{self, Ownership};
use ferrolb_core::report::MemberStatus;
use ferrolb_core::vip::Standing;

use super::Wish;
use super::driver::Driver;
use crate::port::Network;

/// A snapshot, as it is shown.
#[derive(Debug, Default)]
pub struct Status {
    /// Every other speaker and this one.
    pub members: Vec<MemberStatus>,
    /// Each wanted Vip.
    pub vips: BTreeMap<IpAddr, Seen>,
    /// Whether it hears nothing at all.
    pub isolated: bool,
    /// Connections that are kept, if that is asked for.
    pub keeping: Option<KeepingStatus>,
}

/// What this thread knows of a Vip: what it comes to, `core::vip` decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether this node may announce it, its links considered.
    pub standing: Standing,
    /// Whose it is; `None` before this speaker knows the others.
    pub ownership: Option<ownership::VipStatus>,
    /// The owner's name.
    pub owner: Option<String>,
    /// The links that announce it if this node does.
    pub links: Vec<String>,
    /// The links into the same subnet that leave it to them.
    pub standby_links: Vec<String>,
}

impl<N: Network> Driver<N> {
    pub(super) fn status(&self, now: Instant) -> Status {
        let members = self.ownership.iter().flat_map(Ownership::members);
        let vips = self
            .wishes
            .iter()
            .flatten()
            .map(|(vip, wish)| (*vip, self.seen(*vip, wish, now)));
        Status {
            members: members
                .map(|member| self.member_status(&member, now))
                .collect(),
            vips: vips.collect(),
            isolated: self.ownership.as_ref().is_some_and(Ownership::is_isolated),
            keeping: self.keeping(now),
        }
    }

    fn member_status(&self, member: &ownership::MemberStatus, now: Instant) -> MemberStatus {
        let heard = member
            .heard_at
            .map(|at| now.saturating_since(at).as_millis() as u64);
        let (standing, verdict) = words(member.standing);
        MemberStatus {
            node: self.name(member.node),
            address: member.address,
            mac: member.mac.to_string(),
            standing: standing.to_owned(),
            verdict: verdict.map(str::to_owned),
            incarnation: member.incarnation,
            heard_millis_ago: heard,
            addresses: member.addresses,
            reason: member.reason.map(Into::into),
        }
    }

    fn seen(&self, vip: IpAddr, wish: &Wish, now: Instant) -> Seen {
        let ownership = self.ownership.as_ref();
        let ownership = ownership.map(|ownership| ownership.vip_status(vip, now));
        let owner = ownership.and_then(|status| status.owner);
        let [links, standby_links] = self.links_of(vip, wish);
        Seen {
            standing: self.standing(vip, wish),
            ownership,
            owner: owner.map(|(node, _)| self.name(node)),
            links,
            standby_links,
        }
    }
}

fn words(standing: ownership::Standing) -> (&'static str, Option<&'static str>) {
    use ownership::Standing;
    match standing {
        Standing::NeverHeard => ("never_heard", None),
        Standing::Live => ("live", None),
        Standing::Lost { .. } => ("lost", None),
        Standing::Held(hold) => ("held", Some(hold.verdict.as_str())),
        Standing::Gone(verdict) => ("gone", Some(verdict.as_str())),
    }
}
