//! What a `ConfigMap` does to the index.

use ferrolb_core::Reason;
use ferrolb_core::alloc::Refusal;
use ferrolb_core::config::{Config, Outcome};
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
                    self.tell_left_out(map);
                }
                // At the start it is no news.
                let object = map
                    .filter(|_| !first)
                    .map(|map| config_map(&self.source, map));
                self.accept_with_labels(object, config);
            }
            // As with MetalLB, removing all pools is a change like any other.
            Loaded::Empty(_) if self.config.is_some() => {
                self.left_out = None;
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

    /// What is in force without some of its addresses says so until it is mended. Said once for the same
    /// words, by whichever replica.
    fn tell_left_out(&mut self, map: &ConfigMapView) {
        let Outcome::Partly(_, problems) = &map.outcome else {
            self.left_out = None;
            return;
        };
        let text = format!("in force without what no host can have: {problems}");
        let refusal = Refusal::new(Reason::AddressesLeftOut, text);
        let left_out = (problems.count(), refusal);
        if self.left_out.as_ref() == Some(&left_out) {
            return;
        }
        let (config, (_, refusal)) = (&self.source, &left_out);
        tracing::warn!(config, reason = %refusal.reason, "{refusal}");
        let object = config_map(&self.source, map);
        let notice = Notice::warning(object, event::ADDRESSES_LEFT_OUT, refusal.text.clone());
        self.say(notice.no_news());
        self.left_out = Some(left_out);
    }

    /// Of how many entries of the configuration something is left out.
    #[must_use]
    pub fn entries_left_out(&self) -> usize {
        self.left_out.as_ref().map_or(0, |(count, _)| *count)
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
            self.forget_loops();
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
