//! How an address is announced: what the advertisements of a configuration come to, for the Services that
//! have it and for each node. It says nothing of who is well, who is preferred, and who does announce:
//! that is [`crate::elect`]'s and [`crate::ownership`]'s.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::Reason;
use crate::address::Family;
use crate::address::host::can_be_a_hosts;
use crate::config::{
    BgpAdvertisement, Config, Layer2Advertisement, Pool, PreferredNodes, RouteAttributes, Scope,
};
use crate::names::ADOPTED_MANAGERS;
use crate::view::{NodeView, ServiceView};

/// How one node announces an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// By ARP and neighbour discovery on these links, once it owns the address; `None` if it may not.
    pub layer2: Option<Interfaces>,
    /// By BGP, whoever owns the address; ascending, each once.
    pub bgp: Vec<Route>,
}

/// Names of links; none means any.
pub type Interfaces = BTreeSet<String>;

/// What is told to routers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The address, or the network that stands for it.
    pub prefix: IpNetwork,
    /// `LOCAL_PREF` (RFC 4271 §5.1.5).
    pub localpref: u32,
    /// How often the own AS number stands in `AS_PATH` once more (RFC 4271 §5.1.2).
    pub as_path_prepend: u8,
    /// `COMMUNITIES` (RFC 1997), ascending.
    pub communities: Vec<u32>,
    /// `LARGE_COMMUNITY` (RFC 8092), ascending.
    pub large_communities: Vec<[u32; 3]>,
}

/// What announces an address, on whichever node.
#[derive(Debug, Clone)]
pub struct Advertised<'a> {
    address: IpAddr,
    layer2: Layer2<'a>,
    bgp: Vec<&'a BgpAdvertisement>,
    /// The Services that layer 2 announces it for.
    services: Vec<&'a ServiceView>,
    /// Why there are none.
    why_not: Reason,
}

/// How ARP and neighbour discovery announce an address, on whichever node.
#[derive(Debug, Clone)]
pub enum Layer2<'a> {
    /// On any node and link: the address lies in no pool any more, and is kept.
    Anywhere,
    /// As these say.
    By(Vec<&'a Layer2Advertisement>),
}

impl<'a> Advertised<'a> {
    /// What announces `address`, which these Services of our class have; `config` is what is in force. A
    /// Service that no advertisement covers has no say in who announces the address for the others.
    #[must_use]
    pub fn of(address: IpAddr, services: &[&'a ServiceView], config: Option<&'a Config>) -> Self {
        let pool = config.and_then(|config| Some((config, config.pool_of(address)?)));
        match pool {
            _ if !can_be_a_hosts(address) => Self::nobody(address, Reason::AddressOutsidePools),
            _ if services.is_empty() => Self::nobody(address, Reason::OtherClass),
            Some((config, pool)) => Self::of_pool(address, services, config, pool),
            None => Self::kept(address, services, config.is_some()),
        }
    }

    fn nobody(address: IpAddr, why_not: Reason) -> Self {
        Self {
            address,
            layer2: Layer2::By(Vec::new()),
            bgp: Vec::new(),
            services: Vec::new(),
            why_not,
        }
    }

    fn of_pool(
        address: IpAddr,
        services: &[&'a ServiceView],
        config: &'a Config,
        pool: &'a Pool,
    ) -> Self {
        let of_pool = config.layer2.iter();
        let of_pool: Vec<_> = of_pool.filter(|one| one.scope.covers_pool(pool)).collect();
        // As with MetalLB: whoever may come to share an address has no say, where advertisements choose
        // among Services. (Also with an empty key.)
        let is_shared = |service: &ServiceView| {
            let mut selecting = of_pool.iter().map(|one| &one.scope);
            service.sharing_key.is_some()
                && selecting.any(|scope| scope.chooses_services() && scope.selects_service(service))
        };
        let is_covered = |service: &ServiceView| {
            let mut scopes = of_pool.iter().map(|one| &one.scope);
            scopes.any(|scope| scope.selects_service(service))
        };
        let covered = services.iter().filter(|service| is_covered(service));
        let (shared, covered): (Vec<_>, Vec<&ServiceView>) =
            covered.partition(|service| is_shared(service));
        let of_covered = |one: &&Layer2Advertisement| {
            let mut covered = covered.iter();
            covered.any(|service| one.scope.selects_service(service))
        };
        let layer2: Vec<_> = of_pool.iter().copied().filter(of_covered).collect();
        let of_any = |scope: &Scope| services.iter().any(|service| scope.covers(pool, service));
        let bgp = config.bgp.iter().filter(|one| of_any(&one.scope));
        let bgp: Vec<_> = bgp.collect();
        Self {
            address,
            services: covered,
            why_not: match bgp.is_empty() {
                _ if !shared.is_empty() => Reason::SharedWithSelectors,
                true => Reason::NotAdvertised,
                false => Reason::BgpNotAnnounced,
            },
            layer2: Layer2::By(layer2),
            bgp,
        }
    }

    /// An address in no pool: its pool was removed and the Service keeps it, or this is a restart while
    /// the configuration is broken. It has to be written by our controller, or by `MetalLB`'s: another
    /// provider's addresses are none of our business.
    fn kept(address: IpAddr, services: &[&'a ServiceView], is_configured: bool) -> Self {
        let is_ours = |service: &&ServiceView| {
            let manager = service.status_manager.as_deref();
            manager.is_some_and(|manager| ADOPTED_MANAGERS.contains(&manager))
        };
        let services: Vec<_> = services.iter().copied().filter(is_ours).collect();
        let why_not = if is_configured {
            Reason::AddressOutsidePools
        } else {
            Reason::NotConfigured
        };
        if services.is_empty() {
            return Self::nobody(address, why_not);
        }
        Self {
            layer2: Layer2::Anywhere,
            services,
            ..Self::nobody(address, why_not)
        }
    }

    /// The Services that layer 2 announces it for.
    ///
    /// # Errors
    ///
    /// Why there are none: the address is in no pool and not ours ([`Reason::AddressOutsidePools`],
    /// [`Reason::NotConfigured`]), nothing but BGP covers it ([`Reason::BgpNotAnnounced`]), nothing does
    /// ([`Reason::NotAdvertised`]), they share it where advertisements choose among Services
    /// ([`Reason::SharedWithSelectors`]), or no Service of our class has it ([`Reason::OtherClass`]).
    pub fn layer2_services(&self) -> Result<&[&'a ServiceView], Reason> {
        if self.services.is_empty() {
            return Err(self.why_not);
        }
        Ok(&self.services)
    }

    /// How ARP and neighbour discovery announce it.
    #[must_use]
    pub const fn layer2(&self) -> &Layer2<'a> {
        &self.layer2
    }

    /// How `node` announces it.
    #[must_use]
    pub fn plan(&self, node: &NodeView) -> Plan {
        let selecting = self.bgp.iter().filter(|one| one.scope.selects(node));
        let routes: BTreeSet<_> = selecting
            .filter_map(|one| Route::of(self.address, &one.route))
            .collect();
        Plan {
            layer2: self.layer2.on(node),
            bgp: routes.into_iter().collect(),
        }
    }
}

impl Layer2<'_> {
    /// The links that `node` announces on; `None` if it may not announce.
    #[must_use]
    pub fn on(&self, node: &NodeView) -> Option<Interfaces> {
        let Self::By(all) = self else {
            return Some(Interfaces::new());
        };
        let selecting = all.iter().copied().filter(|one| one.scope.selects(node));
        let selecting: Vec<_> = selecting.collect();
        (!selecting.is_empty()).then(|| links_of(&selecting))
    }

    /// Whether `node` may announce.
    #[must_use]
    pub fn selects(&self, node: &NodeView) -> bool {
        match self {
            Self::Anywhere => true,
            Self::By(all) => all.iter().any(|one| one.scope.selects(node)),
        }
    }

    /// Of the weights of all preferred nodes those that `node` does not get. An advertisement that does not
    /// select the node gives it none (as with `MetalLB`, whose weights add up over advertisements).
    #[must_use]
    pub fn unpreferred(&self, node: &NodeView) -> u32 {
        let Self::By(all) = self else { return 0 };
        let lost = all.iter().flat_map(|one| {
            let is_selected = one.scope.selects(node);
            let lost = move |preferred: &&PreferredNodes| {
                !(is_selected && preferred.selector.matches(&node.labels))
            };
            one.preferred_nodes.iter().filter(lost)
        });
        lost.fold(0, |sum, one| sum.saturating_add(u32::from(one.weight)))
    }

    /// The links that some node or other announces on.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        match self {
            Self::Anywhere => Interfaces::new(),
            Self::By(all) => links_of(all),
        }
    }
}

/// Those that any of the advertisements names: any link, if one of them names none.
fn links_of(advertisements: &[&Layer2Advertisement]) -> Interfaces {
    if advertisements.iter().any(|one| one.interfaces.is_empty()) {
        return Interfaces::new();
    }
    let names = advertisements.iter().flat_map(|one| &one.interfaces);
    names.cloned().collect()
}

impl Route {
    /// `None` if there is no prefix of that length, which no reader of a configuration lets through.
    fn of(address: IpAddr, attributes: &RouteAttributes) -> Option<Self> {
        let length = match Family::of(address) {
            Family::V4 => attributes.aggregation_length,
            Family::V6 => attributes.aggregation_length_v6,
        };
        let within = IpNetwork::new(address, length).ok()?;
        Some(Self {
            prefix: IpNetwork::new(within.network(), length).ok()?,
            localpref: attributes.localpref,
            as_path_prepend: attributes.as_path_prepend,
            communities: attributes.communities.clone(),
            large_communities: attributes.large_communities.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
