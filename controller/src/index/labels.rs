//! Which labels are known. Only those that selectors name are kept; so when a configuration names
//! another one, Services and Namespaces are listed anew with it before that configuration is put in
//! force. Until then the last good one stays.

use ferrolb_core::labels::{Labelled, NamedLabels};

use super::Index;

#[derive(Debug, Default)]
pub(super) struct Labelling {
    /// Names of the labels that objects are read with.
    names: NamedLabels,
    /// The watches do not know of `names` yet.
    is_news: bool,
    services_missing: bool,
    namespaces_missing: bool,
}

impl Index {
    /// Names of the labels to read objects with.
    #[must_use]
    pub const fn label_names(&self) -> &NamedLabels {
        &self.labelling.names
    }

    /// Names of the labels with which Services and Namespaces have to be listed, if one of the two has to
    /// be listed anew.
    pub fn poll_relist(&mut self) -> Option<NamedLabels> {
        let is_news = std::mem::take(&mut self.labelling.is_news);
        is_news.then(|| self.labelling.names.clone())
    }

    /// A configuration may name labels that objects have not been read with.
    pub(super) fn follow_labels(&mut self) {
        let Some(names) = self.in_force.poll_labels() else {
            return;
        };
        let has_namespaces = self.awaits_namespaces();
        let labelling = &mut self.labelling;
        let former = std::mem::replace(&mut labelling.names, names);
        labelling.is_news = true;
        labelling.services_missing |= former.services != labelling.names.services;
        labelling.namespaces_missing |=
            has_namespaces && former.namespaces != labelling.names.namespaces;
        // What is not read needs no list, and selects nothing.
        self.release_config();
    }

    pub(super) fn services_have_labels(&mut self) {
        self.labelling.services_missing &= self.labelling.is_news;
        self.release_config();
    }

    pub(super) fn namespaces_have_labels(&mut self) {
        self.labelling.namespaces_missing &= self.labelling.is_news;
        self.release_config();
    }

    fn release_config(&mut self) {
        let labelling = &self.labelling;
        let kinds = [
            (Labelled::Services, labelling.services_missing),
            (Labelled::Namespaces, labelling.namespaces_missing),
        ];
        let known = kinds.into_iter().filter(|(_, is_missing)| !is_missing);
        let known: Vec<_> = known
            .map(|(kind, _)| (kind, labelling.names.of(kind).clone()))
            .collect();
        for (kind, names) in known {
            let effect = self.in_force.handle_labels(kind, names);
            self.tell_of_config(effect);
        }
        self.sources_follow();
    }
}
