//! What is known of the endpoints of Services, from several watches at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ferrolb_core::Instant;
use ferrolb_core::cover::{Cover, Order, Wanted, WatchId};
use ferrolb_core::spread::Spread;
use ferrolb_core::view::{EndpointSliceView, ServiceKey};
use ferrolb_kube::store::{Changed, Store, packed};
use ferrolb_kube::watch::Event;

/// What one of the watches tells. The key is namespace and name of the object.
#[derive(Debug)]
pub struct Told {
    /// Which one.
    pub watch: WatchId,
    /// It reads Endpoints, and so those of all Services.
    pub is_of_all: bool,
    /// What.
    pub event: Event<(ServiceKey, Option<EndpointSliceView>)>,
}

/// The slices of the Services that are wanted.
#[derive(Debug)]
pub struct Slices {
    cover: Cover,
    known: BTreeMap<WatchId, Known>,
}

/// What one watch has told.
#[derive(Debug, Default)]
struct Known {
    slices: Store<ServiceKey, EndpointSliceView>,
    /// The names of the slices of each Service, in order, so that two watches can be compared.
    of: BTreeSet<(ServiceKey, Arc<str>)>,
}

impl Slices {
    /// Nothing is known. `spread` has the times at which watches are renewed.
    #[must_use]
    pub const fn new(spread: Spread) -> Self {
        Self {
            cover: Cover::new(spread),
            known: BTreeMap::new(),
        }
    }

    /// The slices of a Service.
    pub fn of(&self, service: &ServiceKey) -> impl Iterator<Item = &EndpointSliceView> {
        let watch = self.cover.speaks_for(service);
        let known = watch.and_then(|watch| self.known.get(&watch));
        known.into_iter().flat_map(|known| known.of(service))
    }

    /// All Services have been listed.
    pub const fn handle_listed(&mut self) {
        self.cover.handle_listed();
    }

    /// A Service has come, `is_new`, or gone.
    pub const fn handle_service(&mut self, is_new: bool) {
        self.cover.handle_service(is_new);
    }

    /// Whether the slices of all Services that were there at the start have been listed.
    pub fn is_complete(&mut self, wanted: &impl Wanted) -> bool {
        self.cover.is_complete(wanted)
    }

    /// Takes what a watch tells; the Services whose slices are others now.
    pub fn handle(&mut self, told: Told) -> Vec<ServiceKey> {
        let Told {
            watch,
            is_of_all,
            event,
        } = told;
        if is_of_all {
            self.cover.handle_unselectable(watch);
        }
        let Some(scope) = self.cover.scope(watch) else {
            return Vec::new();
        };
        // Names repeat across namespaces.
        let is_ours = |view: &EndpointSliceView| scope.has(&view.service);
        let event = event.map(|(key, view)| (key, view.filter(is_ours)));
        let is_complete = matches!(event, Event::InitDone);
        let known = self.known.entry(watch).or_default();
        let mut services = known.handle(event);
        if is_complete {
            // Thousands came in order.
            packed(&mut known.of);
            self.cover.handle_synced(watch);
        }
        services.retain(|service| self.cover.speaks_for(service) == Some(watch));
        services
    }

    /// Gives back what trees have free that grew in order.
    pub fn pack(&mut self) {
        for known in self.known.values_mut() {
            known.slices.pack();
            packed(&mut known.of);
        }
    }

    /// What has to be done with the watches next; the Services whose slices may be others because of it go
    /// into `changed`.
    pub fn poll_order(
        &mut self,
        wanted: &impl Wanted,
        changed: &mut Vec<ServiceKey>,
        now: Instant,
    ) -> Option<Order> {
        let Self { cover, known } = self;
        let of = |watch: WatchId| known.get(&watch);
        let says_the_same = |one: WatchId, other: WatchId, service: &ServiceKey| {
            let one = of(one).into_iter().flat_map(|known| known.of(service));
            one.eq(of(other).into_iter().flat_map(|known| known.of(service)))
        };
        let order = cover.poll_order(wanted, says_the_same, now)?;
        if let Order::Close(watch) = order
            && let Some(former) = self.known.remove(&watch)
        {
            let services = wanted.all().filter(|service| {
                let is_other = !former.of(service).eq(self.of(service));
                is_other && self.cover.speaks_for(service) > Some(watch)
            });
            changed.extend(services.cloned());
        }
        Some(order)
    }

    /// When to ask for the next order, if nothing happens until then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.cover.poll_timeout()
    }

    /// Of how many Services slices are kept, over all watches.
    #[cfg(test)]
    pub(crate) fn services(&self) -> usize {
        let known = self.known.values();
        let services = known.map(|known| {
            let services: BTreeSet<_> = known.of.iter().map(|(service, _)| service).collect();
            services.len()
        });
        services.sum()
    }
}

impl Known {
    fn of(&self, service: &ServiceKey) -> impl Iterator<Item = &EndpointSliceView> {
        let of_it = self.of.range((service.clone(), Arc::default())..);
        let of_it = of_it.take_while(move |(of, _)| of == service);
        of_it.filter_map(|(_, name)| self.slices.views().get(&slice_of(service, name)))
    }

    fn handle(&mut self, event: Event<(ServiceKey, Option<EndpointSliceView>)>) -> Vec<ServiceKey> {
        let mut services = Vec::new();
        for Changed { key, before } in self.slices.handle(event) {
            let before = before.map(|before| before.service);
            let now = self.slices.views().get(&key).map(|now| now.service.clone());
            if before != now {
                if let Some(before) = &before {
                    self.of.remove(&(before.clone(), key.name.clone()));
                }
                if let Some(now) = &now {
                    self.of.insert((now.clone(), key.name));
                }
                services.extend(before);
            }
            services.extend(now);
        }
        services
    }
}

/// A slice is in the namespace of its Service.
fn slice_of(service: &ServiceKey, name: &Arc<str>) -> ServiceKey {
    ServiceKey::new(service.namespace.clone(), name.clone())
}
