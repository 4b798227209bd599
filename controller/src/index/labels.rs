//! Which labels are known. Only those that selectors name are kept; so when a configuration names
//! another one, Services and Namespaces are listed anew with it before that configuration is put in
//! force. Until then the last good one stays.

use ferrolb_core::labels::LabelNames;

use super::Index;

#[derive(Debug, Default)]
pub(super) struct Labelling {
    /// Names of the labels that objects are read with.
    names: LabelNames,
    /// The watches do not know of `names` yet.
    is_news: bool,
    services_missing: bool,
    namespaces_missing: bool,
}

impl Index {
    /// Names of the labels to read objects with.
    #[must_use]
    pub const fn label_names(&self) -> &LabelNames {
        &self.labelling.names
    }

    /// The names of the labels with which Services and Namespaces have to be listed anew.
    pub fn poll_relist(&mut self) -> Option<LabelNames> {
        let is_news = std::mem::take(&mut self.labelling.is_news);
        is_news.then(|| self.labelling.names.clone())
    }

    /// A configuration may name labels that objects have not been read with.
    pub(super) fn follow_labels(&mut self) {
        if let Some(names) = self.in_force.poll_labels() {
            self.labelling.names = names;
            self.labelling.is_news = true;
            self.labelling.services_missing = true;
            self.labelling.namespaces_missing = self.namespaces.is_awaited();
        }
    }

    pub(super) fn services_have_labels(&mut self) {
        self.labelling.services_missing = self.labelling.is_news;
        self.release_config();
    }

    pub(super) fn namespaces_have_labels(&mut self) {
        self.labelling.namespaces_missing = self.labelling.is_news && self.namespaces.is_awaited();
        self.release_config();
    }

    fn release_config(&mut self) {
        if !(self.labelling.services_missing || self.labelling.namespaces_missing) {
            let names = self.labelling.names.clone();
            let effect = self.in_force.handle_labels(names);
            self.tell_of_config(effect);
        }
    }
}
