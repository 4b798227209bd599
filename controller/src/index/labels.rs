//! Which labels are known. Only those that selectors name are kept; so when a configuration names
//! another one, Services and Namespaces are listed anew with it before that configuration is put in
//! force. Until then the last good one stays.

use ferrolb_core::config::Config;
use ferrolb_core::labels::LabelNames;

use super::Index;
use ferrolb_kube::events::Object;

#[derive(Debug, Default)]
pub(super) struct Labelling {
    /// Names of the labels that objects are read with.
    names: LabelNames,
    /// The watches do not know of `names` yet.
    is_news: bool,
    services_missing: bool,
    namespaces_missing: bool,
    /// What is put in force as soon as nothing is missing, and where to say so.
    held_back: Option<(Option<Object>, Config)>,
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

    /// Puts `config` in force, as soon as the labels that it names are known.
    pub(super) fn accept_with_labels(&mut self, object: Option<Object>, config: Config) {
        let mut names = config.label_names();
        let labelling = &mut self.labelling;
        if !names.is_subset(&labelling.names) {
            // Those that are in force are still needed until then.
            names.extend(self.config.iter().flat_map(Config::label_names));
            labelling.names = names;
            labelling.is_news = true;
            labelling.services_missing = true;
            labelling.namespaces_missing = self.namespaces.is_awaited();
        }
        labelling.held_back = Some((object, config));
        self.release_config();
    }

    /// What the `ConfigMap` said before is not what it says now.
    pub(super) fn hold_back_none(&mut self) {
        self.labelling.held_back = None;
    }

    pub(super) const fn is_config_held_back(&self) -> bool {
        self.labelling.held_back.is_some()
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
        if self.labelling.services_missing || self.labelling.namespaces_missing {
            return;
        }
        if let Some((object, config)) = self.labelling.held_back.take() {
            self.accept_config(object, config);
        }
    }
}
