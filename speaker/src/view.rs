//! Everything that the speaker knows of the cluster, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::Reason;
use ferrolb_core::address::Family;
use ferrolb_core::announce::Wanted;
use ferrolb_core::config::{self, Announcement, Config, NotConfigured, Pool};
use ferrolb_core::elect::{Decision, Electorate, elect, endpoints_of};
use ferrolb_core::names::FIELD_MANAGER;
use ferrolb_core::view::{EndpointSliceView, NodeView, ServiceKey, ServiceView};
use tracing::{info, warn};

use crate::store::{Changed, Store};
use crate::watch::Input;

/// `MetalLB`'s controller, as it appears in `metadata.managedFields`.
const METALLB_FIELD_MANAGER: &str = "controller";

/// What has to be decided anew.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Everything.
    pub all: bool,
    /// These Services.
    pub services: BTreeSet<ServiceKey>,
    /// The Nodes have changed.
    pub nodes: bool,
}

/// What this node does about each address of one Service.
pub type Plan = BTreeMap<IpAddr, Planned>;

/// What this node does about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Whether it announces it.
    pub decision: Decision,
    /// On which links.
    pub wanted: Wanted,
}

/// The view of the cluster. What the API server said last stays, also while it is away.
#[derive(Debug)]
pub struct View {
    me: String,
    class: Option<String>,
    services: Store<ServiceKey, ServiceView>,
    slices: Store<ServiceKey, EndpointSliceView>,
    /// The slices of each Service.
    slices_of: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    nodes: Store<String, NodeView>,
    config_map: Store<(), BTreeMap<String, String>>,
    /// The last good configuration.
    config: Option<Config>,
    /// The newest one is refused.
    stale: bool,
}

impl View {
    /// Of the node `me`, for Services of `class`.
    #[must_use]
    pub fn new(me: String, class: Option<String>) -> Self {
        Self {
            me,
            class,
            services: Store::default(),
            slices: Store::default(),
            slices_of: BTreeMap::new(),
            nodes: Store::default(),
            config_map: Store::default(),
            config: None,
            stale: false,
        }
    }

    /// Takes one event; adds to `dirty` what has to be decided anew.
    pub fn handle(&mut self, input: Input, dirty: &mut Dirty) {
        let complete_before = self.missing().is_none();
        match input {
            Input::Service(event) => {
                let changed = self.services.handle(event);
                dirty
                    .services
                    .extend(changed.into_iter().map(|changed| changed.key));
            }
            Input::Slice(event) => {
                for changed in self.slices.handle(event) {
                    self.slice_changed(changed, dirty);
                }
            }
            Input::Node(event) => {
                let changed = !self.nodes.handle(event).is_empty();
                dirty.nodes |= changed;
                dirty.all |= changed;
            }
            Input::Config(event) => {
                if !self.config_map.handle(event).is_empty() {
                    self.config_changed();
                    dirty.all = true;
                }
            }
        }
        dirty.all |= !complete_before && self.missing().is_none();
    }

    fn slice_changed(
        &mut self,
        Changed { key, before }: Changed<ServiceKey, EndpointSliceView>,
        dirty: &mut Dirty,
    ) {
        if let Some(before) = before {
            if let Some(slices) = self.slices_of.get_mut(&before.service) {
                slices.remove(&key);
                if slices.is_empty() {
                    self.slices_of.remove(&before.service);
                }
            }
            dirty.services.insert(before.service);
        }
        if let Some(slice) = self.slices.views().get(&key) {
            self.slices_of
                .entry(slice.service.clone())
                .or_default()
                .insert(key);
            dirty.services.insert(slice.service.clone());
        }
    }

    fn config_changed(&mut self) {
        let Some(data) = self.config_map.views().get(&()) else {
            warn!("the ConfigMap is gone; the last good configuration stays in force");
            return;
        };
        self.stale = false;
        match config::of_data(Some(data)) {
            config::Outcome::Valid(config) => {
                info!(pools = config.pools.len(), "configuration in force");
                self.config = Some(config);
            }
            config::Outcome::NotConfigured(NotConfigured::Empty) => {
                info!("configuration without pools in force");
                self.config = Some(Config::default());
            }
            config::Outcome::NotConfigured(what) => info!("{what}"),
            config::Outcome::Refused(problems) => {
                self.stale = true;
                warn!("configuration refused, the last good one stays in force: {problems}");
            }
        }
    }

    /// What has not been listed yet; `None` if nothing is missing.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        [
            (self.services.listed(), "the list of Services"),
            (self.slices.listed(), "the list of EndpointSlices"),
            (self.nodes.listed(), "the list of Nodes"),
            (self.config_map.listed(), "the ConfigMap"),
        ]
        .into_iter()
        .find_map(|(listed, what)| (!listed).then_some(what))
    }

    /// Whether a configuration is in force, and whether a newer one was refused.
    #[must_use]
    pub const fn config_state(&self) -> (bool, bool) {
        (self.config.is_some(), self.stale)
    }

    /// Every Service of type `LoadBalancer`.
    pub fn service_keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.views().keys()
    }

    /// The Service.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceView> {
        self.services.views().get(key)
    }

    /// The Nodes with their addresses.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let nodes = self.nodes.views().iter();
        nodes
            .map(|(name, node)| (name.clone(), node.addresses.clone()))
            .collect()
    }

    /// What this node does about each address of a Service, while the speakers of `alive` answer
    /// (`None`: it does not know yet).
    #[must_use]
    pub fn plan(&self, key: &ServiceKey, alive: Option<&BTreeSet<String>>) -> Plan {
        let Some(service) = self.services.views().get(key) else {
            return Plan::new();
        };
        let plan = |address: &IpAddr| {
            let pool = self
                .config
                .as_ref()
                .and_then(|config| config.pool_of(*address));
            let decision = self
                .decide(service, *address, pool, alive)
                .unwrap_or_else(Decision::Decline);
            let interfaces = pool.map(|pool| pool.interfaces.iter().cloned().collect());
            let wanted = Wanted {
                interfaces: interfaces.unwrap_or_default(),
                probe_first: false,
            };
            (*address, Planned { decision, wanted })
        };
        service.assigned.iter().map(plan).collect()
    }

    fn decide(
        &self,
        service: &ServiceView,
        address: IpAddr,
        pool: Option<&Pool>,
        alive: Option<&BTreeSet<String>>,
    ) -> Result<Decision, Reason> {
        if service.class != self.class {
            return Err(Reason::OtherClass);
        }
        self.may_announce(service, pool)?;
        if Family::of(address) == Family::V6 {
            return Err(Reason::Ipv6NotAnnounced);
        }
        let alive = alive.ok_or(Reason::Listening)?;
        let slices = self.slices_of.get(&service.key).into_iter().flatten();
        let slices = slices.filter_map(|slice| self.slices.views().get(slice));
        let endpoints = endpoints_of(slices, Family::of(address));
        let electorate = Electorate {
            nodes: self.nodes.views(),
            alive,
        };
        Ok(elect(address, service, pool, &endpoints, electorate).decision(&self.me))
    }

    /// Whether the address is ours to announce: it lies in a `layer2` pool. One that lies in no pool
    /// (its pool was removed and the Service keeps it; or a restart while the configuration is
    /// broken) has to be written by our controller, or by `MetalLB`'s: another provider's addresses
    /// are none of our business.
    fn may_announce(&self, service: &ServiceView, pool: Option<&Pool>) -> Result<(), Reason> {
        if let Some(pool) = pool {
            return match pool.protocol {
                Announcement::Layer2 => Ok(()),
                Announcement::Bgp => Err(Reason::BgpNotAnnounced),
            };
        }
        match service.status_manager.as_deref() {
            Some(FIELD_MANAGER | METALLB_FIELD_MANAGER) => Ok(()),
            _ if self.config.is_some() => Err(Reason::AddressOutsidePools),
            _ => Err(Reason::NotConfigured),
        }
    }
}

#[cfg(test)]
mod tests;
