//! Everything that the speaker knows of the cluster, and what follows from it.

mod cordon;
mod ours;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_core::address::Family;
use ferrolb_core::advertise::Advertised;
use ferrolb_core::compiled::Unread;
use ferrolb_core::config;
use ferrolb_core::conflict::{self, MOST_REPORTS, Report};
use ferrolb_core::cordon::Cordon;
use ferrolb_core::cover::Order;
use ferrolb_core::elect::{Backend, ExcludeLabel, Standings, Tier, standings};
use ferrolb_core::in_force::{Effect, InForce, Reader};
use ferrolb_core::labels::{Labelled, NamedLabels};
use ferrolb_core::ownership::{Candidates, Leaving, NodeId};
use ferrolb_core::source::Source;
use ferrolb_core::spread::Spread;
use ferrolb_core::view::{NodeView, ServiceKey, ServiceView};
use ferrolb_core::{Instant, Reason};
use tracing::{debug, info, warn};

use ferrolb_kube::watch::Event;

use self::ours::Ours;
use crate::peers::Wish;
use crate::slices::Slices;
use crate::watch::{Input, Read};
use ferrolb_kube::store::{Changed, Store, packed};

/// What has to be looked at anew.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Every address.
    pub all: bool,
    /// These.
    pub addresses: BTreeSet<IpAddr>,
    /// The Nodes have changed.
    pub nodes: bool,
    /// The reports of addresses that cannot serve have changed.
    pub reports: bool,
}

/// The view of the cluster. What the API server said last stays, also while it is away.
#[derive(Debug)]
pub struct View {
    me: String,
    class: Option<String>,
    exclude_label: ExcludeLabel,
    /// Apart from the keys: a tree of them keeps half its places free.
    services: Store<ServiceKey, Box<ServiceView>>,
    /// The Services of each address.
    services_of: BTreeSet<(IpAddr, ServiceKey)>,
    slices: Slices,
    /// The slices of all Services of ours have been listed.
    slices_listed: bool,
    nodes: Store<String, NodeView>,
    /// Of the Nodes: each is a hash, and every address has a list of them.
    ids: BTreeMap<String, NodeId>,
    config_map: Store<(), BTreeMap<String, String>>,
    compiled: Store<(), Read>,
    /// Where the configuration comes from, as far as the controller has said.
    source: Source,
    reports: Store<(), BTreeMap<String, String>>,
    /// Addresses that other hosts have, so that nobody announces them.
    in_conflict: BTreeSet<IpAddr>,
    in_force: InForce,
    /// Names of the labels that Services and Nodes are being listed with.
    labels_coming: NamedLabels,
    cordon: Cordon,
    /// This node is cordoned, and the election does not see it.
    cordoned_here: bool,
}

impl View {
    /// Of the node `me`, for Services of `class`, with the configuration of the `ConfigMap` called
    /// `source` (`namespace/name`) and what the exclude label of Nodes means.
    #[must_use]
    pub fn new(
        me: String,
        class: Option<String>,
        source: String,
        exclude_label: ExcludeLabel,
    ) -> Self {
        let slices = Slices::new(Spread::of_name(&me));
        Self {
            me,
            class,
            exclude_label,
            services: Store::default(),
            services_of: BTreeSet::new(),
            slices,
            slices_listed: false,
            nodes: Store::default(),
            ids: BTreeMap::new(),
            config_map: Store::default(),
            compiled: Store::default(),
            source: Source::ConfigMap,
            reports: Store::default(),
            in_conflict: BTreeSet::new(),
            in_force: InForce::new(source, Reader::Speaker),
            labels_coming: NamedLabels::default(),
            cordon: Cordon::default(),
            cordoned_here: false,
        }
    }

    /// Takes one event; adds to `dirty` what has to be decided anew.
    pub fn handle(&mut self, input: Input, dirty: &mut Dirty) {
        let complete_before = self.missing().is_none();
        match input {
            Input::Service(event) => {
                let is_listed = matches!(event, Event::InitDone);
                let event = event.map(|(key, view)| (key, view.map(Box::new)));
                for changed in self.services.handle(event) {
                    self.service_changed(&changed, dirty);
                }
                if is_listed {
                    // Thousands came in order.
                    packed(&mut self.services_of);
                    self.slices.handle_listed();
                    dirty.all |= self.labels_are_known(Labelled::Services);
                }
                self.look_for_slices();
            }
            Input::Slice(told) => {
                for service in self.slices.handle(told) {
                    dirty.addresses.extend(self.addresses_of(&service));
                }
                self.look_for_slices();
            }
            Input::Labels(kind, names) => {
                *self.labels_coming.of_mut(kind) = names.as_ref().clone();
            }
            Input::Node(event) => {
                let is_listed = matches!(event, Event::InitDone);
                let event = self.note_cordon(event);
                let changes = self.nodes.handle(event);
                let changed = !changes.is_empty();
                for Changed { key, .. } in changes {
                    match self.nodes.views().contains_key(&key) {
                        true => self.ids.insert(key.clone(), NodeId::of(&key)),
                        false => self.ids.remove(&key),
                    };
                }
                dirty.nodes |= changed;
                dirty.all |= changed;
                if is_listed {
                    dirty.all |= self.labels_are_known(Labelled::Nodes);
                }
            }
            Input::Config(event) => {
                let was_listed = self.config_map.listed();
                if !self.config_map.handle(event).is_empty()
                    || self.config_map.listed() != was_listed
                {
                    dirty.all |= self.config_changed();
                }
            }
            Input::Compiled(event) => {
                let was_listed = self.compiled.listed();
                if !self.compiled.handle(event).is_empty() || self.compiled.listed() != was_listed {
                    dirty.all |= self.config_changed();
                }
            }
            Input::Reports(event) => {
                if !self.reports.handle(event).is_empty() {
                    dirty.reports = true;
                    self.reports_changed(dirty);
                }
            }
        }
        dirty.all |= !complete_before && self.missing().is_none();
    }

    /// Gives back what trees have free that grew in order: half of them, where addresses came one after the
    /// other.
    pub fn pack(&mut self) {
        self.services.pack();
        packed(&mut self.services_of);
        self.slices.pack();
    }

    fn service_changed(
        &mut self,
        Changed { key, before }: &Changed<ServiceKey, Box<ServiceView>>,
        dirty: &mut Dirty,
    ) {
        for address in before.iter().flat_map(|before| &before.assigned) {
            self.services_of.remove(&(*address, key.clone()));
            dirty.addresses.insert(*address);
        }
        let now = self.services.views().get(key);
        let [was_ours, is_ours] = [before.as_ref(), now]
            .map(|view| view.is_some_and(|view| view.is_for(self.class.as_deref())));
        if was_ours != is_ours {
            self.slices.handle_service(is_ours);
        }
        for address in now.iter().flat_map(|now| &now.assigned) {
            self.services_of.insert((*address, key.clone()));
            dirty.addresses.insert(*address);
        }
    }

    fn look_for_slices(&mut self) {
        if !self.slices_listed {
            let wanted = Ours::of(&self.services, self.class.as_deref(), &self.nodes);
            self.slices_listed = self.slices.is_complete(&wanted);
        }
    }

    /// What has to be done next with the watches of `EndpointSlices`; adds to `dirty` what changes by it.
    pub fn poll_order(&mut self, dirty: &mut Dirty, now: Instant) -> Option<Order> {
        let wanted = Ours::of(&self.services, self.class.as_deref(), &self.nodes);
        let mut changed = Vec::new();
        let order = self.slices.poll_order(&wanted, &mut changed, now);
        for service in changed {
            dirty.addresses.extend(self.addresses_of(&service));
        }
        order
    }

    /// When to ask for the next order, if nothing happens until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slices.poll_timeout()
    }

    fn addresses_of(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> {
        let view = self.services.views().get(service);
        view.into_iter()
            .flat_map(|view| view.assigned.iter().copied())
    }

    /// Whether another configuration is in force. What the controller has put in force of objects counts;
    /// the text of a `ConfigMap` is read here, so that an edit needs no controller.
    fn config_changed(&mut self) -> bool {
        if !(self.config_map.listed() && self.compiled.listed()) {
            return false;
        }
        let compiled = match self.compiled.views().get(&()) {
            Some(Ok(compiled)) => {
                self.source = compiled.memory.source;
                Some(compiled.config.clone())
            }
            Some(Err(unread)) => {
                // One without a readable source changes nothing about that.
                if let Unread::Unusable {
                    source: Some(source),
                    ..
                } = unread
                {
                    self.source = *source;
                }
                if let Some(refusal) = unread.refusal() {
                    warn!(reason = %refusal.reason, "{refusal}");
                }
                None
            }
            // Deleted: what it said last counts, and a ConfigMap that was forgotten does not.
            None => None,
        };
        let effect = match (self.source, compiled) {
            (Source::Objects, Some(config)) => self.in_force.put(config),
            (Source::Objects, None) => Effect::None,
            (Source::ConfigMap, compiled) => {
                let mut is_another = self.text_changed();
                if let Some(config) = compiled {
                    let effect = self.in_force.start_from(config);
                    is_another |= self.tell_of_config(effect);
                }
                return is_another;
            }
        };
        self.tell_of_config(effect)
    }

    fn text_changed(&mut self) -> bool {
        let data = self.config_map.views().get(&());
        let read = data.map(|data| config::of_data(Some(data)));
        if let Some(config::Outcome::Partly(_, left_out)) = &read {
            warn!("ignoring addresses that no host can have: {left_out}");
        }
        let effect = self.in_force.handle(read);
        self.tell_of_config(effect)
    }

    fn tell_of_config(&self, effect: Effect) -> bool {
        let pools = self.in_force.current().map(|config| config.pools.len());
        match effect {
            Effect::None => {}
            Effect::Replaced => info!(pools, "configuration in force"),
            Effect::Mended => info!(pools, "the configuration is valid again"),
            Effect::Kept => {
                let stays = match pools {
                    Some(_) => "the last good configuration stays in force",
                    None => "no configuration is in force",
                };
                if let Some(why) = self.in_force.why_not() {
                    warn!(reason = %why.reason, "{stays}: {why}");
                }
            }
        }
        effect == Effect::Replaced
    }

    fn labels_are_known(&mut self, kind: Labelled) -> bool {
        let names = self.labels_coming.of(kind).clone();
        let effect = self.in_force.handle_labels(kind, names);
        self.tell_of_config(effect)
    }

    /// The names of the labels with which Services and Nodes have to be listed, if one of the two has to be
    /// listed anew.
    pub fn poll_labels(&mut self) -> Option<NamedLabels> {
        self.in_force.poll_labels()
    }

    fn reports_changed(&mut self, dirty: &mut Dirty) {
        let entries = self.reports.views().get(&()).into_iter().flatten();
        let reports = entries.filter_map(|(key, value)| match Report::decode(key, value) {
            Ok(report) => Some(report),
            // The controller warns.
            Err(error) => {
                debug!(key, %error, "cannot read a conflict report");
                None
            }
        });
        let silent = reports.filter(|report| !report.announced);
        let now = silent.map(|report| report.address).collect();
        dirty
            .addresses
            .extend(self.in_conflict.symmetric_difference(&now));
        self.in_conflict = now;
    }

    /// Whether the `ConfigMap` of reports may take one of `address`: it has one already, or few others.
    #[must_use]
    pub fn has_room_for_a_report(&self, address: IpAddr) -> bool {
        let reports = self.reports.views().get(&());
        reports.is_none_or(|reports| {
            reports.len() < MOST_REPORTS || reports.contains_key(&conflict::key(address))
        })
    }

    /// What has been reported of `address`.
    #[must_use]
    pub fn report_of(&self, address: IpAddr) -> Option<Report> {
        let key = conflict::key(address);
        let value = self.reports.views().get(&())?.get(&key)?;
        Report::decode(&key, value).ok()
    }

    /// Whether a pool gives `address` out.
    #[must_use]
    pub fn is_in_a_pool(&self, address: IpAddr) -> bool {
        let config = self.in_force.current();
        config.is_some_and(|config| config.pool_of(address).is_some())
    }

    /// What has not been listed yet; `None` if nothing is missing.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        [
            (self.services.listed(), "the list of Services"),
            (self.slices_listed, "the list of EndpointSlices"),
            (self.nodes.listed(), "the list of Nodes"),
            (self.config_map.listed(), "the ConfigMap"),
            (self.compiled.listed(), "the compiled configuration"),
            (
                !self.in_force.awaits_labels(),
                "the labels of Services and Nodes that the configuration names",
            ),
            (self.reports.listed(), "the reports of conflicts"),
        ]
        .into_iter()
        .find_map(|(listed, what)| (!listed).then_some(what))
    }

    /// Whether a configuration is in force, and whether the `ConfigMap` says something else.
    #[must_use]
    pub fn config_state(&self) -> (bool, bool) {
        (self.in_force.current().is_some(), self.in_force.is_stale())
    }

    /// Every address that is in the status of a Service.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let all = self.services_of.iter().map(|(address, _)| *address);
        // In order.
        let mut last = None;
        all.filter(move |address| last.replace(*address) != Some(*address))
    }

    /// The Services of an address that are ours.
    pub fn services_at(&self, address: IpAddr) -> impl Iterator<Item = &ServiceView> {
        let first = (address, ServiceKey::default());
        let of_it = self.services_of.range(first..);
        let of_it = of_it.take_while(move |(of, _)| *of == address);
        of_it
            .filter_map(|(_, key)| Some(&**self.services.views().get(key)?))
            .filter(|service| service.class.as_deref() == self.class.as_deref())
    }

    /// The Nodes with their addresses.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let nodes = self.nodes.views().iter();
        nodes
            .map(|(name, node)| (name.clone(), node.addresses.clone()))
            .collect()
    }

    /// What it means when this speaker is told to stop: only a node that is about to go hands its
    /// addresses over, since each move resets their connections. Without a list of Nodes nothing is
    /// known, and nothing is announced.
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        let stays = match self.nodes.views().get(&self.me) {
            Some(node) => !node.unschedulable && !self.cordoned_here && !node.leaving,
            None => !self.nodes.listed(),
        };
        if stays {
            Leaving::Restarting
        } else {
            Leaving::Draining
        }
    }

    /// Who may announce `address`; `Err` if nobody should. Where the candidates are those `before`, their
    /// order is not worked out anew.
    pub fn wish(&self, address: IpAddr, before: Option<&Candidates>) -> Result<Wish, Reason> {
        let (standings, advertised) = self.standings(address)?;
        let candidate = |(name, tier): (&str, Tier)| tier.candidate(self.id_of(name));
        let candidates = match before {
            Some(before) if before.are(standings.able().map(candidate)) => before.clone(),
            _ => Candidates::of(address, standings.ranked(address).map(candidate)),
        };
        let own = standings.of(&self.me);
        let me = self.nodes.views().get(&self.me);
        let planned = me.and_then(|me| advertised.plan(me).layer2);
        Ok(Wish {
            may: own.map(drop),
            drawback: own.ok().and_then(|tier| tier.drawback()),
            candidates,
            // One that may not announce tells the others what it sees on the links of those who may.
            interfaces: planned.unwrap_or_else(|| advertised.layer2().interfaces()),
            in_conflict: self.in_conflict.contains(&address),
        })
    }

    /// Why no node announces an address that a Service of ours has; `None` if one does, or if that is
    /// as it should be.
    #[must_use]
    pub fn why_nobody(&self, address: IpAddr) -> Option<Reason> {
        match self.standings(address) {
            Ok((standings, _)) => standings.why_nobody(),
            Err(
                reason @ (Reason::NoEndpoint
                | Reason::BgpNotAnnounced
                | Reason::NotAdvertised
                | Reason::SharedWithSelectors),
            ) => Some(reason),
            // A node's own address, or another load balancer's.
            Err(_) => None,
        }
    }

    fn id_of(&self, node: &str) -> NodeId {
        self.ids
            .get(node)
            .copied()
            .unwrap_or_else(|| NodeId::of(node))
    }

    fn standings(&self, address: IpAddr) -> Result<(Standings<'_>, Advertised<'_>), Reason> {
        let services: Vec<_> = self.services_at(address).collect();
        let advertised = Advertised::of(address, &services, self.in_force.current());
        let announced = advertised.layer2_services()?.iter();
        let backends: Vec<_> = announced
            .map(|service| self.backend(service, address))
            .collect();
        let nodes = self.nodes.views();
        let layer2 = advertised.layer2();
        let standings = standings(address, &backends, layer2, nodes, self.exclude_label)?;
        Ok((standings, advertised))
    }

    fn backend<'a>(&'a self, service: &'a ServiceView, address: IpAddr) -> Backend<'a> {
        let slices = self.slices.of(&service.key);
        Backend::of(service, slices, Family::of(address))
    }
}

#[cfg(test)]
mod tests;
