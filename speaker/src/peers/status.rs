//! What this speaker knows of the others, and of each Vip: `/status`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::Instant;
use ferrolb_core::keep::shown::KeepingStatus;
use ferrolb_core::ownership::{self, NodeId, Ownership};
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
    pub owner: Option<Arc<str>>,
    /// Where it is announced, if this node does so.
    pub links: Arc<OnLinks>,
}

/// Names of links. Thousands of Vips have the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnLinks {
    /// Those that announce a Vip.
    pub announcing: Vec<String>,
    /// Those into the same subnet that leave it to them.
    pub standing_by: Vec<String>,
}

/// What several Vips have in common is there once.
#[derive(Default)]
struct Shared {
    names: BTreeMap<NodeId, Arc<str>>,
    links: Arc<OnLinks>,
}

impl Shared {
    /// Mostly those of the Vip before.
    fn links(&mut self, links: OnLinks) -> Arc<OnLinks> {
        if *self.links != links {
            self.links = Arc::new(links);
        }
        Arc::clone(&self.links)
    }
}

impl<N: Network> Driver<N> {
    pub(super) fn status(&self, now: Instant) -> Status {
        let members = self.ownership.iter().flat_map(Ownership::members);
        let mut shared = Shared::default();
        let vips = self.wishes.iter().flatten();
        let vips = vips.map(|(vip, wish)| (*vip, self.seen(*vip, wish, &mut shared, now)));
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

    fn seen(&self, vip: IpAddr, wish: &Wish, shared: &mut Shared, now: Instant) -> Seen {
        let ownership = self.ownership.as_ref();
        let ownership = ownership.map(|ownership| ownership.vip_status(vip, now));
        let owner = ownership.and_then(|status| status.owner);
        let name_of = |node| self.name(node).into();
        let names = &mut shared.names;
        let owner = owner.map(|(node, _)| {
            let name = names.entry(node).or_insert_with(|| name_of(node));
            Arc::clone(name)
        });
        Seen {
            standing: self.standing(vip, wish),
            ownership,
            owner,
            links: shared.links(self.links_of(vip, wish)),
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
