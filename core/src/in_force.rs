//! Which configuration is in force: the one rule of "the last good one stays", for both daemons.
//!
//! | the ConfigMap | nothing is in force | one is in force |
//! | --- | --- | --- |
//! | is valid | it is in force | it replaces that one |
//! | names no pools | nothing yet | it replaces that one: all pools are removed |
//! | is refused | nothing yet, *stale* | that one stays, *stale* |
//! | is missing, has no key `config`, or is minikube's template | nothing yet | that one stays, *stale* |
//!
//! What `MetalLB`'s objects come to is put in force as a whole: which version of each object counts is
//! judged before. Whoever starts beside a `ConfigMap` that says nothing good starts from what was in force
//! before, if that is known.
//!
//! A configuration whose selectors name labels that objects have not been read with is held back until
//! they have been: see [`InForce::poll_labels`].

use crate::Reason;
use crate::alloc::Refusal;
use crate::config::{Config, NotConfigured, Outcome};
use crate::labels::{LabelNames, Labelled, NamedLabels};

/// See the module's documentation.
#[derive(Debug)]
pub struct InForce {
    /// The `ConfigMap`, as `namespace/name`.
    source: String,
    current: Option<Config>,
    /// It is in force as soon as its labels are known.
    held_back: Option<HeldBack>,
    /// Why the newest state of the `ConfigMap` changes nothing.
    why_not: Option<Refusal>,
    reader: Reader,
    /// Labels that objects have been read with, and that they should be.
    known: NamedLabels,
    needed: NamedLabels,
    needed_is_news: bool,
}

#[derive(Debug)]
struct HeldBack {
    config: Config,
    /// It is what the source says now, so nothing hinders it any more.
    is_newest: bool,
}

/// Who reads the configuration: each reads the labels that it decides by, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It gives addresses.
    Controller,
    /// It announces them.
    Speaker,
}

impl Reader {
    fn labels_of(self, config: &Config) -> NamedLabels {
        match self {
            Self::Controller => config.labels_for_giving(),
            Self::Speaker => config.labels_for_announcing(),
        }
    }
}

/// What has come of a new state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing new.
    None,
    /// Another configuration is in force.
    Replaced,
    /// The `ConfigMap` says again what is in force.
    Mended,
    /// The `ConfigMap` changes nothing, for a new reason: [`InForce::why_not`].
    Kept,
}

impl InForce {
    /// Nothing is in force. `source` names the `ConfigMap` for people, as `namespace/name`.
    #[must_use]
    pub fn new(source: String, reader: Reader) -> Self {
        Self {
            source,
            reader,
            current: None,
            held_back: None,
            why_not: None,
            known: NamedLabels::default(),
            needed: NamedLabels::default(),
            needed_is_news: false,
        }
    }

    /// Takes the newest state of the `ConfigMap`; `None` if there is none.
    pub fn handle(&mut self, read: Option<Outcome>) -> Effect {
        self.held_back = None;
        let source = &self.source;
        match read {
            Some(Outcome::Valid(config) | Outcome::Partly(config, _)) => self.accept(config),
            // As with MetalLB, removing all pools is a change like any other.
            Some(Outcome::NotConfigured(NotConfigured::Empty)) if self.current.is_some() => {
                self.accept(Config::default())
            }
            Some(Outcome::NotConfigured(what)) => {
                let text = format!("{what} (ConfigMap {source})");
                self.keep(Refusal::new(Reason::NotConfigured, text))
            }
            Some(Outcome::Refused(problems)) => {
                let text = format!("ConfigMap {source} is refused: {problems}");
                self.keep(Refusal::new(Reason::ConfigRefused, text))
            }
            None => {
                let text =
                    format!("no addresses yet: create ConfigMap {source} with address pools");
                self.keep(Refusal::new(Reason::NotConfigured, text))
            }
        }
    }

    /// Puts what objects come to in force.
    pub fn put(&mut self, config: Config) -> Effect {
        self.held_back = None;
        self.accept(config)
    }

    /// The newest state of what counts changes nothing.
    pub fn refuse(&mut self, why_not: Refusal) -> Effect {
        self.held_back = None;
        self.keep(why_not)
    }

    /// This was in force before this process began. It stays, if nothing is in force or about to be.
    pub fn start_from(&mut self, config: Config) -> Effect {
        if self.current.is_some() || self.held_back.is_some() {
            return Effect::None;
        }
        self.need(&config);
        self.held_back = Some(HeldBack {
            config,
            is_newest: false,
        });
        self.release()
    }

    /// Whether objects have been read with the labels that `config` names. If not, they have to be.
    pub fn need(&mut self, config: &Config) -> bool {
        let mut names = self.reader.labels_of(config);
        let is_known = names.is_subset(&self.known);
        if !names.is_subset(&self.needed) {
            // Those of what is in force are needed until then.
            if let Some(current) = &self.current {
                names.extend(self.reader.labels_of(current));
            }
            self.needed = names;
            self.needed_is_news = true;
        }
        is_known
    }

    /// All objects of this kind have been read with the labels of these names.
    pub fn handle_labels(&mut self, kind: Labelled, names: LabelNames) -> Effect {
        *self.known.of_mut(kind) = names;
        self.release()
    }

    /// The names of the labels with which all objects have to be read anew, if others are needed than
    /// before.
    pub fn poll_labels(&mut self) -> Option<NamedLabels> {
        let is_news = std::mem::take(&mut self.needed_is_news);
        is_news.then(|| self.needed.clone())
    }

    /// What is in force.
    #[must_use]
    pub const fn current(&self) -> Option<&Config> {
        self.current.as_ref()
    }

    /// Whether the first configuration waits for its labels.
    #[must_use]
    pub const fn awaits_labels(&self) -> bool {
        self.current.is_none() && self.held_back.is_some()
    }

    /// Why the newest state of the `ConfigMap` changes nothing.
    #[must_use]
    pub const fn why_not(&self) -> Option<&Refusal> {
        self.why_not.as_ref()
    }

    /// Whether something else is in force than what the `ConfigMap` says.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let is_refused = |why: &Refusal| why.reason == Reason::ConfigRefused;
        self.why_not
            .as_ref()
            .is_some_and(|why| self.current.is_some() || is_refused(why))
    }

    fn accept(&mut self, config: Config) -> Effect {
        self.need(&config);
        self.held_back = Some(HeldBack {
            config,
            is_newest: true,
        });
        self.release()
    }

    fn release(&mut self) -> Effect {
        let is_ready = |held_back: &mut HeldBack| {
            let names = self.reader.labels_of(&held_back.config);
            names.is_subset(&self.known)
        };
        let Some(HeldBack { config, is_newest }) = self.held_back.take_if(is_ready) else {
            return Effect::None;
        };
        let was_mended = is_newest && self.why_not.take().is_some();
        let is_another = self.current.as_ref() != Some(&config);
        self.current = Some(config);
        match (is_another, was_mended) {
            (true, _) => Effect::Replaced,
            (false, true) => Effect::Mended,
            (false, false) => Effect::None,
        }
    }

    fn keep(&mut self, why_not: Refusal) -> Effect {
        if self.why_not.as_ref() == Some(&why_not) {
            return Effect::None;
        }
        self.why_not = Some(why_not);
        Effect::Kept
    }
}

#[cfg(test)]
mod states;

#[cfg(test)]
mod tests {
    use super::states::{GOOD, State};
    use super::*;
    use crate::config::{of_data, parse};

    const SOURCE: &str = "metallb-system/config";
    const BROKEN: &str = "address-pools:\n- name: [\n";
    const BY_LABEL: &str = "address-pools: [{name: a, protocol: layer2, addresses: [192.168.64.4/32], \
                            node-selectors: [{match-labels: {rack: b}}]}]";

    fn in_force(texts: &[&str]) -> InForce {
        let mut in_force = InForce::new(SOURCE.to_owned(), Reader::Speaker);
        for text in texts {
            in_force.handle(Some(parse(text)));
        }
        in_force
    }

    /// The rows that the tests of both daemons go through as well.
    #[test]
    fn whatever_the_configmap_is_the_marks_are_those_of_the_table() {
        for state in states::all() {
            let good = state.after_a_good_one.then_some(GOOD);
            let mut in_force = in_force(good.as_slice());
            in_force.handle(state.data.as_ref().map(|data| of_data(Some(data))));
            let marks = (in_force.current().is_some(), in_force.is_stale());
            let State { name, .. } = state;
            assert_eq!(marks, state.marks, "{name}, after {good:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_configmap_is_said_once_and_what_it_mends_is_noticed() {
        let mut in_force = in_force(&[GOOD]);
        let broken = || Some(parse(BROKEN));
        assert_eq!(in_force.handle(broken()), Effect::Kept);
        assert_eq!(in_force.handle(broken()), Effect::None);
        assert_eq!(in_force.handle(None), Effect::Kept, "another reason");
        assert_eq!(in_force.handle(Some(parse(GOOD))), Effect::Mended);
        assert_eq!(in_force.handle(Some(parse(GOOD))), Effect::None);
        assert_eq!(in_force.handle(Some(parse(""))), Effect::Replaced);
        assert_eq!(in_force.current(), Some(&Config::default()));
    }

    #[test]
    fn those_who_wait_are_told_what_for() {
        let mut absent = InForce::new(SOURCE.to_owned(), Reader::Speaker);
        absent.handle(None);
        let why = absent.why_not().unwrap();
        assert_eq!(
            why.text,
            "no addresses yet: create ConfigMap metallb-system/config with address pools"
        );
        let broken = in_force(&[BROKEN]);
        let why = broken.why_not().unwrap();
        assert_eq!(why.reason, Reason::ConfigRefused);
        assert!(
            why.text.contains("line ") && why.text.contains("column "),
            "{why}"
        );
    }

    #[test]
    fn one_that_names_labels_waits_until_objects_have_been_read_with_them() {
        let mut in_force = in_force(&[GOOD, BY_LABEL]);
        assert!(!in_force.awaits_labels(), "one is in force");
        assert_eq!(in_force.current(), Some(&parse(GOOD).in_force().unwrap()));
        let names = in_force.poll_labels().unwrap();
        assert_eq!(in_force.poll_labels(), None, "asked for once");
        let mut labels = |kind, names: &LabelNames| in_force.handle_labels(kind, names.clone());
        assert_eq!(labels(Labelled::Nodes, &LabelNames::new()), Effect::None);
        assert_eq!(labels(Labelled::Services, &names.nodes), Effect::None);
        assert_eq!(labels(Labelled::Nodes, &names.nodes), Effect::Replaced);
    }

    #[test]
    fn whoever_starts_beside_a_broken_configmap_starts_from_what_was_in_force() {
        let before = || parse(BY_LABEL).in_force().unwrap();
        let mut in_force = in_force(&[BROKEN]);
        assert_eq!(in_force.start_from(before()), Effect::None);
        assert!(in_force.awaits_labels());
        let names = in_force.poll_labels().unwrap();
        let effect = in_force.handle_labels(Labelled::Nodes, names.nodes);
        assert_eq!(effect, Effect::Replaced);
        assert_eq!(in_force.current(), Some(&before()));
        assert!(
            in_force.is_stale(),
            "and says that it is not what is written"
        );
        // Not beside a good one, nor one that waits for its labels.
        for good in [GOOD, BY_LABEL] {
            let mut in_force = self::in_force(&[good]);
            assert_eq!(in_force.start_from(Config::default()), Effect::None);
            let names = in_force.poll_labels().unwrap_or_default();
            in_force.handle_labels(Labelled::Nodes, names.nodes);
            assert_eq!(in_force.current(), parse(good).in_force().as_ref());
            assert!(!in_force.is_stale());
        }
        // And a good one that comes later counts.
        assert_eq!(in_force.handle(Some(parse(GOOD))), Effect::Replaced);
        assert!(!in_force.is_stale());
    }

    #[test]
    fn labels_of_what_may_come_into_force_are_asked_for_before() {
        let mut in_force = in_force(&[GOOD]);
        let next = parse(BY_LABEL).in_force().unwrap();
        assert!(!in_force.need(&next));
        let names = in_force.poll_labels().unwrap();
        assert!(!in_force.need(&next));
        assert_eq!(in_force.poll_labels(), None, "asked for once");
        in_force.handle_labels(Labelled::Nodes, names.nodes);
        assert!(in_force.need(&next));
        assert_eq!(in_force.put(next.clone()), Effect::Replaced);
        assert_eq!(in_force.current(), Some(&next));
    }

    #[test]
    fn one_that_was_withdrawn_while_it_waited_is_not_put_in_force() {
        let mut in_force = in_force(&[BY_LABEL]);
        assert!(in_force.awaits_labels());
        let names = in_force.poll_labels().unwrap();
        in_force.handle(None);
        assert_eq!(
            in_force.handle_labels(Labelled::Nodes, names.nodes),
            Effect::None
        );
        assert_eq!(in_force.current(), None);
    }
}
