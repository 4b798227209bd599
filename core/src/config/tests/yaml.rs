//! YAML as people write it.

use super::{UNCONFIGURED, lines, parse, refused, valid, with_addresses};
use crate::Reason;
use crate::config::{Config, NotConfigured, Outcome, of_data};

fn not_configured(text: &str) -> NotConfigured {
    match parse(text) {
        Outcome::NotConfigured(waits_for) => waits_for,
        other => panic!("must not be configured: {other:?}\n{text}"),
    }
}

#[test]
fn nothing_at_all_is_a_configuration_without_pools() {
    let texts = [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "--- ~\n...\n",
        "{}",
        "address-pools:\n",
        "address-pools: []\npeers: null\n",
        "---\n---\n",
    ];
    for text in texts {
        assert_eq!(not_configured(text), NotConfigured::Empty, "{text:?}");
    }
}

#[test]
fn minikubes_blank_template_waits_for_its_addresses() {
    assert_eq!(
        UNCONFIGURED,
        "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - -\n"
    );
    assert_eq!(not_configured(UNCONFIGURED), NotConfigured::Unfilled);
    let outcome = parse(UNCONFIGURED);
    assert_eq!(outcome.reason(), Some(Reason::NotConfigured));
    assert_eq!(
        NotConfigured::Unfilled.to_string(),
        "no addresses yet: run minikube addons configure metallb"
    );
}

#[test]
fn a_blank_template_beside_a_mistake_is_reported_with_it() {
    let problems = refused(&(UNCONFIGURED.to_owned() + "  auto-asign: true\n"));
    assert_eq!(lines(&problems), [Some(5), Some(6)]);
}

#[test]
fn the_key_is_looked_up_in_the_data() {
    let data = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let text = with_addresses(&["10.0.0.1"]);
    assert!(matches!(
        of_data(Some(&data("config", &text))),
        Outcome::Valid(_)
    ));
    let Outcome::NotConfigured(waits_for) = of_data(Some(&data("config.yaml", &text))) else {
        panic!("another key is not ours");
    };
    assert_eq!(
        waits_for.to_string(),
        "no addresses yet: the ConfigMap has no key `config`; rename `config.yaml` if it holds the pools"
    );
    assert_eq!(
        of_data(None),
        Outcome::NotConfigured(NotConfigured::NoKey(vec![]))
    );
}

#[test]
fn notation_makes_no_difference() {
    let want = valid(&with_addresses(&["10.0.0.1-10.0.0.9"]));
    let same = [
        "address-pools: [{name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}]",
        "{\"address-pools\": [{\"name\": \"default\", \"protocol\": \"layer2\", \"addresses\": [\"10.0.0.1-10.0.0.9\"]}]}",
        "address-pools:\r\n- name: default\r\n  protocol: layer2\r\n  addresses:\r\n  - 10.0.0.1-10.0.0.9\r\n",
        "---\n# pools\naddress-pools:\n    - addresses:\n        - 10.0.0.1-10.0.0.9 # ten\n      protocol: 'layer2'\n      name: !!str default\n...\n",
        "\u{feff}address-pools:\n- &p {name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}\n",
        "address-pools:\n- {name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}\n---\n",
    ];
    for text in same {
        assert_eq!(valid(text), want, "{text}");
    }
}

#[test]
fn anchors_aliases_and_merge_keys_are_followed() {
    let config = valid(
        "address-pools:\n\
         - &base\n  name: a\n  protocol: layer2\n  addresses: [10.0.0.1]\n  namespaces: &teams [x, y]\n  auto-assign: false\n\
         - <<: *base\n  name: b\n  addresses: [10.0.0.2]\n\
         - <<: [*base]\n  name: c\n  addresses: [10.0.0.3]\n  namespaces: *teams\n  auto-assign: true\n",
    );
    let summary: Vec<_> = config
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.namespaces.len(), pool.auto_assign))
        .collect();
    assert_eq!(summary, [("a", 2, false), ("b", 2, false), ("c", 2, true)]);
}

#[test]
fn an_alias_may_neither_contain_itself_nor_explode() {
    let text = "address-pools: &a\n- *a\n";
    assert!(
        refused(text)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("stands for something that contains it")
    );
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 10].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(
        refused(&bomb)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("aliases expanded")
    );
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "[".repeat(10_000);
    assert!(
        refused(&deep)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("nested too deeply")
    );
    let mut chain = "a0: &a0 []\n".to_owned();
    for level in 1..100 {
        chain += &format!("a{level}: &a{level} [[[[*a{}]]]]\n", level - 1);
    }
    assert!(
        refused(&chain)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("nested too deeply")
    );
    let large = "#".repeat(1024 * 1024 + 1);
    assert!(
        refused(&large)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("larger than 1048576 bytes")
    );
}

#[test]
fn a_second_document_is_refused_instead_of_ignored() {
    let text = with_addresses(&["10.0.0.1"]) + "---\n" + &with_addresses(&["10.0.0.2"]);
    let problems = refused(&text);
    let problem = problems.iter().next().unwrap();
    let place = &problem.place;
    assert_eq!((place.line(), place.column()), (Some(7), Some(1)));
    assert!(problem.message.contains("a second YAML document"));
}

#[test]
fn a_manifest_as_value_is_told_apart_from_a_configuration() {
    let text = include_str!("../fixtures/minikube-unconfigured-manifest.yaml");
    assert!(
        refused(text)
            .iter()
            .next()
            .unwrap()
            .message
            .contains("a whole manifest")
    );
    assert!(
        refused("just words")
            .iter()
            .next()
            .unwrap()
            .message
            .contains("must be a mapping")
    );
}

#[test]
fn a_valid_configuration_has_no_reason() {
    let outcome = parse(&with_addresses(&["10.0.0.1"]));
    assert_eq!(outcome.reason(), None);
    assert_ne!(outcome, Outcome::Valid(Config::default()));
    assert_eq!(parse("nonsense").reason(), Some(Reason::ConfigRefused));
}
