//! What a `ConfigMap` does to the index.

use ferrolb_core::Reason;
use ferrolb_core::alloc::Refusal;
use ferrolb_core::config::{NotConfigured, Outcome};
use ferrolb_core::in_force::Effect;
use ferrolb_core::names::event;

use super::Index;
use crate::notice::Notice;
use crate::source::ConfigMapView;

impl Index {
    /// The `ConfigMap` was read; `None` if there is none.
    pub fn set_config(&mut self, map: Option<&ConfigMapView>) {
        // At the start it is no news.
        let first = !std::mem::replace(&mut self.config_listed, true);
        if !self.keep_text(map) {
            self.put_text(map, first);
        }
    }

    /// What the `ConfigMap` says counts. At the start it is no news.
    pub(super) fn put_text(&mut self, map: Option<&ConfigMapView>, first: bool) {
        self.config_object = map.map(|map| map.object(&self.source));
        let outcome = map.map(|map| map.outcome.clone());
        if let Some((map, Outcome::Valid(_) | Outcome::Partly(..))) = map.zip(outcome.as_ref()) {
            self.warn_of_config(map);
            self.tell_left_out(map);
        } else if let Some(Outcome::NotConfigured(NotConfigured::Empty)) = outcome {
            self.left_out = None;
        }
        let effect = self.in_force.handle(outcome);
        self.config_is_no_news = first;
        self.follow_labels();
        self.tell_of_config(effect);
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
            let object = map.object(&self.source);
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
        let text = format!(
            "configuration in force, except for addresses that no host can have: {problems}"
        );
        let refusal = Refusal::new(Reason::AddressesLeftOut, text);
        let left_out = (problems.count(), refusal);
        if self.left_out.as_ref() == Some(&left_out) {
            return;
        }
        let (config, (_, refusal)) = (&self.source, &left_out);
        tracing::warn!(config, reason = %refusal.reason, "{refusal}");
        let object = map.object(&self.source);
        let notice = Notice::warning(object, event::ADDRESSES_LEFT_OUT, refusal.text.clone());
        self.say(notice.no_news());
        self.left_out = Some(left_out);
    }

    /// Of how many entries of the configuration something is left out.
    #[must_use]
    pub fn entries_left_out(&self) -> usize {
        self.left_out.as_ref().map_or(0, |(count, _)| *count)
    }

    pub(super) fn tell_of_config(&mut self, effect: Effect) {
        if effect != Effect::None {
            self.sources_follow();
        }
        match effect {
            Effect::None => {}
            Effect::Mended => self.tell_in_force(),
            Effect::Replaced => {
                self.tell_in_force();
                if let Some(config) = self.in_force.current() {
                    self.allocator.set_config(config.clone());
                    self.forget_loops();
                    self.settle_all();
                }
            }
            Effect::Kept => self.tell_kept(),
        }
    }

    fn tell_in_force(&mut self) {
        let pools = self
            .in_force
            .current()
            .map_or(0, |config| config.pools.len());
        tracing::info!(config = self.source, pools, "configuration in force");
        if let Some(object) = self
            .config_object
            .clone()
            .filter(|_| !self.config_is_no_news)
        {
            let s = if pools == 1 { "" } else { "s" };
            let message = format!("configuration in force: {pools} address pool{s}");
            self.say(Notice::normal(object, event::CONFIG_ACCEPTED, message));
        }
    }

    /// A configuration that cannot be used changes nothing, and says so.
    fn tell_kept(&mut self) {
        let Some(refusal) = self.in_force.why_not().cloned() else {
            return;
        };
        let effect = match self.in_force.current() {
            Some(_) => "the last good configuration stays in force",
            None => "Services that have an address keep it, others wait",
        };
        let (config, reason) = (&self.source, refusal.reason);
        if reason == Reason::ConfigRefused {
            tracing::error!(config, %reason, effect, "{refusal}");
            if let Some(object) = self.config_object.clone() {
                let message = format!("{effect}: {refusal}");
                let notice = Notice::warning(object, event::CONFIG_REFUSED, message);
                let is_no_news = self.config_is_no_news;
                self.say(if is_no_news { notice.no_news() } else { notice });
            }
        } else {
            tracing::warn!(config, %reason, effect, "{refusal}");
        }
        self.allocator.set_unconfigured(refusal);
    }
}
