//! Whose endpoints are needed.

use ferrolb_core::cover::Wanted;
use ferrolb_core::view::{NodeView, ServiceKey, ServiceView};
use ferrolb_kube::store::Store;

/// The Services whose endpoints are needed: those of our class.
pub(super) struct Ours<'a> {
    services: &'a Store<ServiceKey, Box<ServiceView>>,
    class: Option<&'a str>,
    nodes: usize,
}

impl<'a> Ours<'a> {
    pub(super) fn of(
        services: &'a Store<ServiceKey, Box<ServiceView>>,
        class: Option<&'a str>,
        nodes: &Store<String, NodeView>,
    ) -> Self {
        Self {
            services,
            class,
            nodes: nodes.views().len(),
        }
    }
}

impl Wanted for Ours<'_> {
    fn wants(&self, service: &ServiceKey) -> bool {
        let view = self.services.views().get(service);
        view.is_some_and(|view| view.is_for(self.class))
    }

    fn all(&self) -> impl Iterator<Item = &ServiceKey> {
        let views = self.services.views().iter();
        let ours = views.filter(|(_, view)| view.is_for(self.class));
        ours.map(|(key, _)| key)
    }

    fn members(&self) -> usize {
        self.nodes
    }
}
