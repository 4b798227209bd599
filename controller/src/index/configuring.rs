//! What a `ConfigMap` does to the index.

use ferrolb_core::Reason;
use ferrolb_core::alloc::Refusal;
use ferrolb_core::config::Config;
use ferrolb_core::names::event;
use ferrolb_kube::events::Object;

use super::Index;
use crate::notice::{Notice, config_map};
use crate::source::{ConfigMapView, Loaded, load};

impl Index {
    /// The `ConfigMap` was read; `None` if there is none.
    pub fn set_config(&mut self, map: Option<&ConfigMapView>) {
        let first = !self.config_listed;
        self.config_listed = true;
        match load(map, &self.source) {
            Loaded::Valid(config) => {
                if let Some(map) = map {
                    self.warn_of_config(map);
                }
                // At the start it is no news.
                let object = map
                    .filter(|_| !first)
                    .map(|map| config_map(&self.source, map));
                self.accept_with_labels(object, config);
            }
            // As with MetalLB, removing all pools is a change like any other.
            Loaded::Empty(_) if self.config.is_some() => {
                self.accept_with_labels(None, Config::default());
            }
            Loaded::Empty(refusal) | Loaded::Unusable(refusal) => {
                let object = map.map(|map| config_map(&self.source, map));
                self.hold_back_none();
                self.refuse_config(object, refusal, first);
            }
        }
    }

    /// What is in force and probably not meant. Said once for the same words, by whichever replica.
    fn warn_of_config(&mut self, map: &ConfigMapView) {
        let warnings = map.warnings.as_ref().map(ToString::to_string);
        let news = warnings
            .clone()
            .filter(|_| warnings != self.said_in_warning);
        self.said_in_warning = warnings;
        if let Some(warnings) = news {
            tracing::warn!(config = self.source, "{warnings}");
            let object = config_map(&self.source, map);
            self.say(Notice::warning(object, event::CONFIG_WARNING, warnings).no_news());
        }
    }

    pub(super) fn accept_config(&mut self, object: Option<Object>, config: Config) {
        let was_refused = self.said_of_config.take().is_some();
        self.config_stale = false;
        let news = self.config.as_ref() != Some(&config);
        if !(news || was_refused) {
            return;
        }
        let pools = config.pools.len();
        tracing::info!(config = self.source, pools, "configuration in force");
        if let Some(object) = object {
            let pools = if pools == 1 { "pool" } else { "pools" };
            let message = format!("in force, with {} address {pools}", config.pools.len());
            self.say(Notice::normal(object, event::CONFIG_ACCEPTED, message));
        }
        if news {
            self.allocator.set_config(config.clone());
            self.settle_all();
            self.config = Some(config);
        }
    }

    /// A configuration that cannot be used changes nothing, and says so.
    fn refuse_config(&mut self, object: Option<Object>, refusal: Refusal, first: bool) {
        self.config_stale = self.config.is_some() || refusal.reason == Reason::ConfigRefused;
        if self.said_of_config.as_ref() == Some(&refusal) {
            return;
        }
        let effect = if self.config.is_some() {
            "the last good configuration stays in force"
        } else {
            "Services wait for addresses, and those that have one keep it"
        };
        let (config, reason) = (&self.source, refusal.reason);
        if reason == Reason::ConfigRefused {
            tracing::error!(config, %reason, effect, "{refusal}");
            if let Some(object) = object {
                let message = format!("{effect}: {refusal}");
                let notice = Notice::warning(object, event::CONFIG_REFUSED, message);
                self.say(if first { notice.no_news() } else { notice });
            }
        } else {
            tracing::warn!(config, %reason, effect, "{refusal}");
        }
        self.allocator.set_unconfigured(refusal.clone());
        self.said_of_config = Some(refusal);
    }
}
