//! What this speaker knows of the others, and of each Vip: `/status`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_core::Instant;
use ferrolb_core::Reason;
use ferrolb_core::ownership::{self, Ownership, Standing};
use ferrolb_core::report::{MemberStatus, VipStatus};

use super::driver::Driver;

/// A snapshot, as it is shown.
#[derive(Debug, Default)]
pub struct Status {
    /// Every other speaker and this one.
    pub members: Vec<MemberStatus>,
    /// Each wanted Vip, without its Services.
    pub vips: BTreeMap<IpAddr, VipStatus>,
    /// Whether it hears nothing at all.
    pub isolated: bool,
}

impl Driver {
    pub(super) fn status(&self, now: Instant) -> Status {
        let members = self.ownership.iter().flat_map(Ownership::members);
        let vips = self
            .wishes
            .iter()
            .flatten()
            .map(|(vip, _)| (*vip, self.vip_status(*vip, now)));
        Status {
            members: members
                .map(|member| self.member_status(&member, now))
                .collect(),
            vips: vips.collect(),
            isolated: self.ownership.as_ref().is_some_and(Ownership::is_isolated),
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
            reason: member.reason.map(Reason::as_str).map(str::to_owned),
        }
    }

    fn vip_status(&self, vip: IpAddr, now: Instant) -> VipStatus {
        let status = self
            .ownership
            .as_ref()
            .map(|ownership| ownership.vip_status(vip, now));
        let owner = status.and_then(|status| status.owner);
        let reason = match status {
            None => Some(Reason::Joining),
            Some(status) => status.reason.map(|reason| self.refine(vip, reason)),
        };
        let wish = self.wishes.as_ref().and_then(|wishes| wishes.get(&vip));
        let [links, standby_links] = wish
            .map(|wish| self.links_of(vip, wish))
            .unwrap_or_default();
        VipStatus {
            address: vip,
            links,
            standby_links,
            services: Vec::new(),
            owner: owner.map(|(node, _)| self.name(node)),
            epoch: owner.map(|(_, epoch)| epoch),
            announced_here: reason.is_none(),
            reason: reason.map(|reason| reason.as_str().to_owned()),
            drawback: None,
        }
    }

    /// The first reason that is this node's own, in place of a general one.
    fn refine(&self, vip: IpAddr, reason: Reason) -> Reason {
        let wish = self.wishes.as_ref().and_then(|wishes| wishes.get(&vip));
        let Some(wish) = wish else { return reason };
        match reason {
            Reason::Ineligible => self.may(vip, wish).err().unwrap_or(reason),
            Reason::NotOwner if self.doubtful => Reason::KubeProxyUnhealthy,
            Reason::NotOwner => wish.drawback.unwrap_or(reason),
            other => other,
        }
    }
}

fn words(standing: Standing) -> (&'static str, Option<&'static str>) {
    match standing {
        Standing::NeverHeard => ("never_heard", None),
        Standing::Live => ("live", None),
        Standing::Lost { .. } => ("lost", None),
        Standing::Held(hold) => ("held", Some(hold.verdict.as_str())),
        Standing::Gone(verdict) => ("gone", Some(verdict.as_str())),
    }
}
