//! What holds for any objects.

use proptest::prelude::*;

use super::*;
use crate::config::Place;

/// Words that the readers have opinions about, as values and as keys.
const WORDS: [&str; 24] = [
    "addresses",
    "autoAssign",
    "serviceAllocation",
    "priority",
    "namespaces",
    "namespaceSelectors",
    "matchLabels",
    "matchExpressions",
    "key",
    "operator",
    "values",
    "ipAddressPools",
    "nodeSelectors",
    "interfaces",
    "preferredNodeSelectors",
    "weight",
    "preference",
    "communities",
    "aggregationLength",
    "myASN",
    "peerASN",
    "peerAddress",
    "holdTime",
    "passwordSecret",
];
const TEXTS: [&str; 12] = [
    "10.0.0.0/24",
    "10.0.0.1-10.0.0.9",
    "fd00::/64",
    "::/0",
    "255.255.255.255",
    "",
    "In",
    "large:1:2:3",
    "1:2",
    "90s",
    "\u{0}",
    "true",
];

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        proptest::sample::select(&TEXTS[..]).prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let key = prop_oneof![
            proptest::sample::select(&WORDS[..]).prop_map(str::to_owned),
            ".{0,6}"
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map(key, inner, 0..5)
                .prop_map(|all| Json::Object(all.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = ObjectView> {
    let kind = proptest::sample::select(&Kind::ALL[..]);
    let annotation = prop_oneof![
        Just("ferrolb.io/share-within"),
        Just("ferrolb.io/x"),
        Just("other/x")
    ];
    (kind, 0_u8..4, json(), 0_i64..3, annotation, ".{0,6}").prop_map(
        |(kind, name, spec, created, annotation, text)| {
            let mut view = view(kind, &format!("o{name}"), spec, created);
            view.annotations = [(annotation.to_owned(), text)].into();
            view
        },
    )
}

/// A pool somewhere in forty addresses, or one with errors.
fn small_pool() -> impl Strategy<Value = (u8, Json)> {
    (0_u8..4, 0_u8..40, 0_u8..12, any::<bool>()).prop_map(|(name, first, more, is_good)| {
        let range = format!("10.0.0.{first}-10.0.0.{}", first + more);
        (
            name,
            json!({ "addresses": if is_good { json!([range]) } else { json!(range) } }),
        )
    })
}

/// Of each pool its ranges, and whether any two overlap.
fn are_disjoint(config: &Config) -> bool {
    let ranges = config.pools.iter().flat_map(|pool| &pool.ranges);
    let ranges: Vec<_> = ranges.collect();
    (0..ranges.len()).all(|one| (0..one).all(|other| !ranges[one].overlaps(ranges[other])))
}

proptest! {
    #[test]
    fn any_objects_are_compiled_without_a_panic_and_alike_in_any_order(
        mut steps in proptest::collection::vec(proptest::collection::vec(object(), 0..8), 1..4),
    ) {
        let mut objects = Objects::new(NAMESPACE.to_owned());
        for views in &mut steps {
            // An object is there once.
            let mut seen = std::collections::BTreeSet::new();
            views.retain(|view| seen.insert((view.kind, view.uid.clone())));
            let before = objects.clone();
            let compiled = objects.compile(views);
            prop_assert!(are_disjoint(&compiled.config));
            for finding in &compiled.findings {
                prop_assert!(!finding.text().is_empty() && finding.text().len() <= 1024);
                for problem in finding.problems.iter() {
                    prop_assert!(!problem.message.is_empty() && !problem.help.is_empty());
                    let Place::Object { path, .. } = &problem.place else {
                        return Err(TestCaseError::fail("no object"));
                    };
                    prop_assert!(path.starts_with("spec") || path.starts_with("metadata.annotations"), "{}", path);
                }
            }
            views.reverse();
            prop_assert_eq!(before.clone().compile(views), compiled.clone());
            // What was put in force is what a restart begins with.
            let mut restored = Objects::restored(NAMESPACE.to_owned(), &compiled.config);
            let again = restored.compile(views).config;
            prop_assert_eq!(again.pools, compiled.config.pools);
            prop_assert_eq!(again.layer2, compiled.config.layer2);
        }
    }

    /// The three promises of overlaps, whatever is edited together.
    #[test]
    fn edits_of_pools_keep_what_is_in_force(
        steps in proptest::collection::vec(proptest::collection::vec(small_pool(), 1..4), 1..6),
    ) {
        let mut world = World::new();
        for edits in steps {
            let before = world.compiled.config.clone();
            for (name, spec) in edits {
                world.set(Kind::IpAddressPool, &format!("p{name}"), spec);
            }
            world.compile();
            let now = &world.compiled.config;
            prop_assert!(are_disjoint(now));
            for pool in &before.pools {
                // Nothing is deleted here: what was in force is, in this version or in a newer one.
                prop_assert!(now.pool(&pool.name).is_some(), "{} is gone", pool.name);
            }
            let settled = now.clone();
            world.compile();
            prop_assert_eq!(&world.compiled.config, &settled, "and nothing moves by itself");
        }
    }
}
