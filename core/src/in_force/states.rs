//! Every state of a `ConfigMap`, and what both daemons have to show then. Read by their tests, too.

use std::collections::BTreeMap;

/// What is in force before, where something is.
pub(super) const GOOD: &str =
    "address-pools: [{name: a, protocol: layer2, addresses: [192.168.64.4/32]}]";

pub(super) struct State {
    pub(super) name: &'static str,
    /// Whether [`GOOD`] was in force before.
    pub(super) after_a_good_one: bool,
    /// `None` where there is no `ConfigMap`, or none any longer.
    pub(super) data: Option<BTreeMap<String, String>>,
    /// `metallb_k8s_client_config_loaded_bool` and `…_stale_bool`.
    pub(super) marks: (bool, bool),
}

/// The table in the documentation of `core::in_force`.
pub(super) fn all() -> Vec<State> {
    const BROKEN: &str = "address-pools: [{name: a, protocol: layer2, addresses: [x]}]";
    const TEMPLATE: &str =
        "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - -\n";
    // The state, the marks where nothing is in force, and after a good one.
    let rows = [
        ("absent, or deleted", None, (false, false), (true, true)),
        (
            "its key renamed",
            Some(("Config", GOOD)),
            (false, false),
            (true, true),
        ),
        ("without data", Some(("", "")), (false, false), (true, true)),
        (
            "minikube's template",
            Some(("config", TEMPLATE)),
            (false, false),
            (true, true),
        ),
        ("empty", Some(("config", "")), (false, false), (true, false)),
        (
            "without pools",
            Some(("config", "address-pools: []")),
            (false, false),
            (true, false),
        ),
        (
            "broken",
            Some(("config", BROKEN)),
            (false, true),
            (true, true),
        ),
        (
            "not YAML",
            Some(("config", "address-pools: [")),
            (false, true),
            (true, true),
        ),
        ("good", Some(("config", GOOD)), (true, false), (true, false)),
    ];
    let mut states = Vec::new();
    for (name, data, before, after) in rows {
        let data: Option<BTreeMap<_, _>> = data.map(|(key, text)| {
            let entry = (key.to_owned(), text.to_owned());
            std::iter::once(entry)
                .filter(|(key, _)| !key.is_empty())
                .collect()
        });
        for (after_a_good_one, marks) in [(false, before), (true, after)] {
            states.push(State {
                name,
                after_a_good_one,
                data: data.clone(),
                marks,
            });
        }
    }
    states
}
