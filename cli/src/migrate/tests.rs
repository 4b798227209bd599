use ferrolb_core::config::check_file;

use super::*;

const OBJECTS: &str = include_str!("fixtures/objects.yaml");
const EVERYTHING: &str = include_str!("../../../core/src/config/fixtures/everything.yaml");

fn migrated(text: &str) -> anyhow::Result<Migrated> {
    let mut found = Found::default();
    found.take(text)?;
    migrate(found)
}

fn manifest(config: &str) -> String {
    let mut out = Vec::new();
    print(&mut out, "lb", config).unwrap();
    String::from_utf8(out).unwrap()
}

fn is_valid(manifest: &str) -> bool {
    let checked = check_file(manifest).unwrap();
    checked.len() == 1 && matches!(checked[0].outcome, Outcome::Valid(_))
}

#[test]
fn objects_become_a_config_map_that_takes_effect_and_what_is_lost_is_told() {
    let Migrated { config, lost } = migrated(OBJECTS).unwrap();
    let manifest = manifest(&config);
    assert!(is_valid(&manifest), "{manifest}");
    insta::assert_snapshot!(format!("{manifest}--- lost\n{}", lost.join("\n")));
}

#[test]
fn a_config_map_of_0_12_keeps_every_byte_of_its_configuration() {
    let theirs = manifest(EVERYTHING);
    let Migrated { config, lost } = migrated(&theirs).unwrap();
    assert_eq!(config.trim_end(), EVERYTHING.trim_end());
    assert_eq!(lost, [not_announced("public")]);
}

#[test]
fn an_advertisement_without_pools_is_for_all_and_one_without_nodes_for_every_node() {
    let text = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: a}
spec: {addresses: [10.0.0.0/30]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: some}
spec: {nodeSelectors: [{matchLabels: {a: b}}]}
";
    let Migrated { config, lost } = migrated(text).unwrap();
    assert_eq!(lost, Vec::<String>::new());
    assert_eq!(
        config,
        "address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n  - 10.0.0.0/30\n"
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let both = format!("{}---\n{OBJECTS}", manifest(EVERYTHING));
    let twice = format!("{0}---\n{0}", manifest(EVERYTHING));
    let unreadable = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n";
    let refused = [both.as_str(), &twice, "kind: Secret", unreadable, "a: [b"]
        .map(|text| format!("{:#}", migrated(text).unwrap_err()));
    insta::assert_snapshot!(refused.join("\n"));
}
