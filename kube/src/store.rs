//! The views of one kind of API object, kept up to date by a watch.

use std::collections::BTreeMap;

use crate::watch::Event;

/// Views by key. A fresh list replaces the old views only when it is complete, so that nothing is
/// withdrawn while an API server that was away sends its objects again.
#[derive(Debug)]
pub struct Store<K, V> {
    views: BTreeMap<K, V>,
    /// In the API server's order.
    fresh: Option<Vec<(K, V)>>,
    listed: bool,
}

/// One view that is another one now, or gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed<K, V> {
    /// Whose view.
    pub key: K,
    /// What it was before; the store has what it is now.
    pub before: Option<V>,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self {
            views: BTreeMap::new(),
            fresh: None,
            listed: false,
        }
    }
}

impl<K: Ord + Clone, V: PartialEq + Clone> Store<K, V> {
    /// The views.
    #[must_use]
    pub const fn views(&self) -> &BTreeMap<K, V> {
        &self.views
    }

    /// Whether all objects have been seen once.
    #[must_use]
    pub const fn listed(&self) -> bool {
        self.listed
    }

    /// Takes the free places out of the tree that the views are in ([`packed`]).
    pub fn pack(&mut self) {
        packed(&mut self.views);
    }

    /// Takes one event of the watch. `None` in it means an object that has no view.
    pub fn handle(&mut self, event: Event<(K, Option<V>)>) -> Vec<Changed<K, V>> {
        match event {
            Event::Apply((key, view)) => self.set(key, view).into_iter().collect(),
            Event::Delete((key, _)) => self.set(key, None).into_iter().collect(),
            Event::Init => {
                self.fresh = Some(Vec::new());
                Vec::new()
            }
            Event::InitApply((key, view)) => {
                if let (Some(fresh), Some(view)) = (&mut self.fresh, view) {
                    fresh.push((key, view));
                }
                Vec::new()
            }
            Event::InitDone => self.replace(),
            Event::Unreadable((key, _)) => {
                if let (Some(fresh), Some(view)) = (&mut self.fresh, self.views.get(&key)) {
                    let view = view.clone();
                    fresh.push((key, view));
                }
                Vec::new()
            }
        }
    }

    fn set(&mut self, key: K, view: Option<V>) -> Option<Changed<K, V>> {
        if self.views.get(&key) == view.as_ref() {
            return None;
        }
        // The key, too, is another one: its texts are those of the view.
        let before = self.views.remove(&key);
        if let Some(view) = view {
            self.views.insert(key.clone(), view);
        }
        Some(Changed { key, before })
    }

    fn replace(&mut self) -> Vec<Changed<K, V>> {
        self.listed = true;
        let fresh = self.fresh.take().unwrap_or_default();
        let fresh = fresh.into_iter().collect();
        let mut former = std::mem::replace(&mut self.views, fresh);
        let mut others = Vec::new();
        for (key, view) in &self.views {
            let before = former.remove(key);
            if before.as_ref() != Some(view) {
                let key = key.clone();
                others.push(Changed { key, before });
            }
        }
        let gone = former.into_iter().map(|(key, before)| Changed {
            key,
            before: Some(before),
        });
        gone.chain(others).collect()
    }
}

/// Takes the free places out of a tree: one that grows in order has half of them free, one that is made of
/// a whole list none.
pub fn packed<T: Default + IntoIterator + FromIterator<T::Item>>(tree: &mut T) {
    *tree = std::mem::take(tree).into_iter().collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(changed: Vec<Changed<&'static str, u8>>) -> Vec<&'static str> {
        changed.into_iter().map(|changed| changed.key).collect()
    }

    fn filled() -> Store<&'static str, u8> {
        let mut store = Store::default();
        store.handle(Event::Init);
        for (key, view) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(store.handle(Event::InitApply((key, Some(view)))), []);
        }
        assert!(!store.listed());
        assert_eq!(keys(store.handle(Event::InitDone)), ["a", "b", "c"]);
        assert!(store.listed());
        store
    }

    #[test]
    fn only_what_differs_counts_as_changed() {
        let mut store = filled();
        assert_eq!(store.handle(Event::Apply(("a", Some(1)))), []);
        let changed = store.handle(Event::Apply(("a", Some(9))));
        assert_eq!(
            changed,
            [Changed {
                key: "a",
                before: Some(1)
            }]
        );
        assert_eq!(
            keys(store.handle(Event::Apply(("b", None)))),
            ["b"],
            "it has no view any more"
        );
        assert_eq!(keys(store.handle(Event::Delete(("c", Some(3))))), ["c"]);
        assert_eq!(store.handle(Event::Delete(("c", Some(3)))), []);
        assert_eq!(store.views().len(), 1);
    }

    #[test]
    fn of_what_cannot_be_decoded_what_is_known_stays() {
        let mut store = filled();
        assert_eq!(store.handle(Event::Unreadable(("a", None))), []);
        store.handle(Event::Init);
        store.handle(Event::Unreadable(("a", None)));
        store.handle(Event::Unreadable(("new", None)));
        store.handle(Event::InitApply(("b", Some(2))));
        assert_eq!(keys(store.handle(Event::InitDone)), ["c"]);
        let known: Vec<_> = store.views().iter().collect();
        assert_eq!(known, [(&"a", &1), (&"b", &2)]);
    }

    #[test]
    fn a_fresh_list_takes_nothing_away_before_it_is_complete() {
        let mut store = filled();
        store.handle(Event::Init);
        store.handle(Event::InitApply(("a", Some(1))));
        store.handle(Event::InitApply(("b", Some(8))));
        assert_eq!(store.views().len(), 3);
        store.handle(Event::Init);
        store.handle(Event::InitApply(("a", Some(1))));
        store.handle(Event::InitApply(("d", Some(4))));
        assert_eq!(keys(store.handle(Event::InitDone)), ["b", "c", "d"]);
        assert_eq!(
            store.views().keys().copied().collect::<Vec<_>>(),
            ["a", "d"]
        );
    }
}
