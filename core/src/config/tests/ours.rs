//! What pools have besides `MetalLB`'s fields, as keys of the `ConfigMap` and as annotations.

use serde_json::{Value as Json, json};

use super::*;
use crate::config::objects::{Kind, ObjectView, Objects, Spec};
use crate::labels::Labels;

const ADDRESSES: &str = "192.168.64.0/28";

/// A pool in the `ConfigMap` with this line besides.
fn in_text(line: &str) -> String {
    format!("{}  {line}\n", with_addresses(&[ADDRESSES]))
}

/// The same as objects, with an annotation on one of them.
fn as_objects(kind: Kind, annotation: &str, value: &str) -> Read {
    let view = |kind: Kind, spec: Json| ObjectView {
        kind,
        api_version: "metallb.io/v1beta1".to_owned(),
        namespace: "metallb-system".to_owned(),
        name: "default".to_owned(),
        uid: kind.to_string(),
        resource_version: "1".to_owned(),
        generation: 1,
        created: 0,
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        spec: Spec::of(spec),
    };
    let mut views = [
        view(Kind::IpAddressPool, json!({ "addresses": [ADDRESSES] })),
        view(
            Kind::L2Advertisement,
            json!({ "ipAddressPools": ["default"] }),
        ),
    ];
    for view in views.iter_mut().filter(|view| view.kind == kind) {
        let entry = (format!("ferrolb.io/{annotation}"), value.to_owned());
        view.annotations = [entry].into();
    }
    let compiled = Objects::new("metallb-system".to_owned()).compile(&views);
    let said: Vec<_> = compiled.findings.iter().map(ToString::to_string).collect();
    Read {
        config: compiled.config,
        said: said.join("\n"),
    }
}

struct Read {
    config: Config,
    said: String,
}

/// The one difference that is meant: in a `ConfigMap` an advertisement is called as its pool, here too.
#[test]
fn both_forms_say_the_same() {
    let preferred = r#"[{"weight": 50, "preference": {"matchLabels": {"rack": "a"}}}]"#;
    let rows = [
        (
            "exclude: [192.168.64.1, 192.168.64.4-192.168.64.6]",
            Kind::IpAddressPool,
            "exclude",
            "192.168.64.1, 192.168.64.4-192.168.64.6",
        ),
        (
            "exclude: [192.168.64.8/29]",
            Kind::IpAddressPool,
            "exclude",
            "192.168.64.8/29",
        ),
        ("sharing: true", Kind::IpAddressPool, "sharing", "true"),
        (
            "share-within: namespace",
            Kind::IpAddressPool,
            "share-within",
            "namespace",
        ),
        (
            "allow-node-ports: false",
            Kind::IpAddressPool,
            "allow-node-ports",
            "false",
        ),
        (
            "preferred-nodes: [{weight: 50, preference: {match-labels: {rack: a}}}]",
            Kind::L2Advertisement,
            "preferred-nodes",
            preferred,
        ),
        (
            "preferred-nodes: [{weight: 50, preference: {match-labels: {rack: a}}}]",
            Kind::L2Advertisement,
            "preferred-nodes",
            "- weight: 50\n  preference:\n    matchLabels: {rack: a}\n",
        ),
    ];
    for (line, kind, annotation, value) in rows {
        let objects = as_objects(kind, annotation, value);
        let text = valid(&in_text(line));
        assert_eq!(
            (objects.said.as_str(), &objects.config),
            ("", &text),
            "{line}"
        );
        assert_ne!(
            text,
            valid(&with_addresses(&[ADDRESSES])),
            "{line} says something"
        );
    }
}

#[test]
fn excluded_addresses_are_left_out_of_the_ranges_in_order() {
    let rows = [
        ("192.168.64.0", "192.168.64.1-192.168.64.15", 15),
        ("192.168.64.15", "192.168.64.0-192.168.64.14", 15),
        (
            "192.168.64.4/30",
            "192.168.64.0-192.168.64.3 192.168.64.8-192.168.64.15",
            12,
        ),
        (
            "192.168.63.0-192.168.64.1",
            "192.168.64.2-192.168.64.15",
            14,
        ),
        (
            "192.168.64.2, 192.168.64.3, 192.168.64.2-192.168.64.5",
            "192.168.64.0-192.168.64.1 192.168.64.6-192.168.64.15",
            12,
        ),
    ];
    for (excluded, want, capacity) in rows {
        let config = valid(&in_text(&format!("exclude: [{excluded}]")));
        let pool = &config.pools[0];
        let ranges: Vec<_> = pool.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(
            (ranges.join(" ").as_str(), pool.capacity()),
            (want, capacity),
            "{excluded}"
        );
        let address = excluded
            .split([',', '/', '-'])
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(!pool.contains(address), "{excluded}");
    }
}

#[test]
fn another_pool_may_have_what_one_excludes() {
    let second = |range: &str| {
        let first = in_text("exclude: [192.168.64.4/30]");
        format!("{first}- name: other\n  protocol: layer2\n  addresses: [{range}]\n")
    };
    valid(&second("192.168.64.4-192.168.64.7"));
    let problems = refused(&second("192.168.64.4-192.168.64.8")).to_string();
    assert!(
        problems
            .contains("`192.168.64.4-192.168.64.8` overlaps `192.168.64.0/28` of pool `default`")
            && problems.ends_with("leave out the addresses that they share"),
        "{problems}"
    );
}

#[test]
fn what_is_wrong_with_them_is_said_in_both_forms() {
    let rows = [
        (
            "exclude: [nonsense]",
            Kind::IpAddressPool,
            "exclude",
            "nonsense",
            "`nonsense` is not an IP address",
        ),
        (
            "exclude: [192.168.64.0/24]",
            Kind::IpAddressPool,
            "exclude",
            "192.168.64.0/24",
            "everything is excluded",
        ),
        (
            "exclude: [10.0.0.1]",
            Kind::IpAddressPool,
            "exclude",
            "10.0.0.1",
            "`10.0.0.1` is not in the pool, so it excludes nothing",
        ),
        (
            "sharing: perhaps",
            Kind::IpAddressPool,
            "sharing",
            "perhaps",
            "must be true or false, not `perhaps`",
        ),
        (
            "preferred-nodes: [{weight: 0, preference: {}}]",
            Kind::L2Advertisement,
            "preferred-nodes",
            "[{weight: 0, preference: {}}]",
            "`weight` must be from 1 to 100, not 0",
        ),
        (
            "preferred-nodes: [{preference: {}}]",
            Kind::L2Advertisement,
            "preferred-nodes",
            "[{preference: {}}]",
            "has no `weight`",
        ),
        (
            "preferred-nodes: {}",
            Kind::L2Advertisement,
            "preferred-nodes",
            "{}",
            "must be a list, not a mapping",
        ),
    ];
    for (line, kind, annotation, value, words) in rows {
        let (outcome, warnings) = parse_with_warnings(&in_text(line));
        let text = match outcome {
            Outcome::Refused(problems) => problems.to_string(),
            _ => warnings.map(|one| one.to_string()).unwrap_or_default(),
        };
        assert!(text.contains(words), "{line}: {text}");
        let said = as_objects(kind, annotation, value).said;
        assert!(
            said.contains(words)
                && said.contains(&format!("metadata.annotations[ferrolb.io/{annotation}]")),
            "{said}"
        );
    }
    let broken = as_objects(Kind::L2Advertisement, "preferred-nodes", "[{").said;
    assert!(broken.contains("is not valid YAML"), "{broken}");
    let elsewhere = as_objects(Kind::IpAddressPool, "preferred-nodes", "[]").said;
    assert!(
        elsewhere.ends_with("write it on an object of kind L2Advertisement"),
        "{elsewhere}"
    );
    let (_, warnings) = parse_with_warnings(
        &in_text("preferred-nodes: [{weight: 1, preference: {}}]").replace("layer2", "bgp"),
    );
    assert!(
        warnings
            .unwrap()
            .to_string()
            .contains("with `protocol: bgp`")
    );
}
