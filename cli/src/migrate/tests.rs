use ferrolb_core::config::check_file;

use super::*;

const OBJECTS: &str = include_str!("fixtures/objects.yaml");
const EVERYTHING: &str = include_str!("../../../core/src/config/fixtures/everything.yaml");

fn migrated(text: &str) -> anyhow::Result<Migrated> {
    migrated_from(text, None)
}

fn migrated_from(text: &str, from: Option<&str>) -> anyhow::Result<Migrated> {
    let mut files = Files::default();
    files.take(text)?;
    let (found, lost) = files.of(from)?;
    let mut migrated = migrate(found)?;
    migrated.lost.splice(0..0, lost);
    Ok(migrated)
}

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {spec}\n"
    )
}

#[test]
fn pools_with_a_service_allocation_go_first_as_with_metallb() {
    let pool = |name: &str, rest: &str| {
        let spec = format!("{{addresses: [10.0.{}.0/24]{rest}}}", name.len());
        object("IPAddressPool", "metallb-system", name, &spec)
    };
    let text = [
        pool("general", ""),
        pool("team", ", serviceAllocation: {namespaces: [shop]}"),
        pool("a", ""),
        pool(
            "other-team",
            ", serviceAllocation: {priority: 7, namespaces: [b]}",
        ),
        object("L2Advertisement", "metallb-system", "all", "{}"),
    ];
    let Migrated { config, lost } = migrated(&text.concat()).unwrap();
    assert_eq!(lost, Vec::<String>::new());
    let names = config
        .lines()
        .filter_map(|line| line.strip_prefix("- name: "));
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["team", "other-team", "general", "a"]
    );
}

#[test]
fn what_lies_in_another_namespace_than_metallbs_is_left_out_and_said() {
    let pool = object(
        "IPAddressPool",
        "metallb-system",
        "p",
        "{addresses: [10.0.0.0/24]}",
    );
    let limited = object(
        "L2Advertisement",
        "metallb-system",
        "l",
        "{interfaces: [eth1]}",
    );
    let elsewhere = object("L2Advertisement", "default", "everywhere", "{}");
    let Migrated { config, lost } = migrated(&[&*pool, &limited, &elsewhere].concat()).unwrap();
    assert!(config.contains("- eth1"), "{config}");
    assert_eq!(
        lost,
        [
            "L2Advertisement everywhere is skipped: it is in namespace default, and MetalLB reads only \
             metallb-system (use --from NAMESPACE to choose another)"
        ]
    );
    let moved = [&*pool, &limited].concat().replace("metallb-system", "lb");
    assert_eq!(
        migrated(&moved).unwrap().lost,
        [""; 0],
        "the only namespace is MetalLB's"
    );
    let two = format!("{moved}{elsewhere}");
    let error = migrated(&two).unwrap_err().to_string();
    assert!(
        error.contains("namespaces default, lb: use --from"),
        "{error}"
    );
    let chosen = migrated_from(&two, Some("lb")).unwrap();
    assert!(chosen.config.contains("- eth1"));
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
    let there = manifest(EVERYTHING).replace("namespace: lb", "namespace: metallb-system");
    let both = format!("{there}---\n{OBJECTS}");
    let twice = format!("{0}---\n{0}", manifest(EVERYTHING));
    let unreadable = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\n";
    let refused = [both.as_str(), &twice, "kind: Secret", unreadable, "a: [b"]
        .map(|text| format!("{:#}", migrated(text).unwrap_err()));
    insta::assert_snapshot!(refused.join("\n"));
}
