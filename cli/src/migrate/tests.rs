use ferrolb_core::config::{Config, check_file};

use super::*;

const OBJECTS: &str = include_str!("fixtures/objects.yaml");
const EVERYTHING: &str = include_str!("../../../core/src/config/fixtures/everything.yaml");

fn migrated(text: &str) -> anyhow::Result<Migrated> {
    migrated_from(text, None)
}

fn migrated_from(text: &str, from: Option<&str>) -> anyhow::Result<Migrated> {
    let mut files = Files::default();
    files.take(text)?;
    let (source, lost) = files.source(from)?;
    let mut migrated = migrate(source)?;
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
    print(&mut out, "lb", config, &[]).unwrap();
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

/// The objects that a file is converted to, and what is lost.
fn objects_of(text: &str) -> (Objects, Vec<String>) {
    let mut files = Files::default();
    files.take(text).unwrap();
    let (source, mut lost) = files.source(None).unwrap();
    let mut objects = to_objects(source, &mut lost).unwrap();
    manifests::clean(&mut objects, "lb");
    (objects, lost)
}

/// As they are printed.
fn printed(text: &str) -> String {
    let (objects, lost) = objects_of(text);
    let mut out = Vec::new();
    manifests::print(&mut out, &manifests::list(&objects).unwrap(), &lost).unwrap();
    String::from_utf8(out).unwrap()
}

/// What the daemons make of the objects, by way of a ConfigMap.
fn in_force(objects: &Objects) -> Config {
    let config = convert::convert(objects).unwrap().config;
    match config::parse(&config) {
        Outcome::Valid(config) => config,
        other => panic!("{other:?} of\n{config}"),
    }
}

fn pools(text: &str) -> String {
    manifest(&format!("address-pools:\n{text}"))
}

#[test]
fn a_config_map_becomes_objects_and_what_they_cannot_say_becomes_an_annotation() {
    insta::assert_snapshot!(printed(&manifest(EVERYTHING)));
}

#[test]
fn a_config_map_that_becomes_objects_and_a_config_map_again_says_the_same() {
    let before = config::parse(EVERYTHING).in_force().unwrap();
    let (objects, _) = objects_of(&manifest(EVERYTHING));
    let after = in_force(&objects);
    assert_eq!(after.pools, before.pools);
    assert_eq!(after.layer2, before.layer2);
    assert_eq!(after.bfd_profiles, before.bfd_profiles);
    assert_eq!(after.peers.len(), before.peers.len());
}

#[test]
fn pools_are_tried_in_the_order_of_the_file_also_as_objects() {
    let order = |text: &str| {
        let (objects, lost) = objects_of(&pools(text));
        let priority = |pool: &metallb::Object<metallb::PoolSpec>| {
            let allocation = pool.spec.service_allocation.clone();
            allocation.and_then(|one| one.priority)
        };
        let all = objects.pools.iter();
        let all = all.map(|pool| (pool.metadata.name.clone(), priority(pool)));
        (all.collect::<Vec<_>>(), !lost.is_empty())
    };
    let pool = |name: &str, rest: &str| {
        let number = name.bytes().map(u32::from).sum::<u32>() % 256;
        format!("- {{name: {name}, protocol: layer2, addresses: [10.0.{number}.0/24]{rest}}}\n")
    };
    // Objects are tried by their names, which is the same here.
    let (names, told) = order(&(pool("a", "") + &pool("b", "")));
    assert_eq!(names, [("a".into(), None), ("b".into(), None)]);
    assert!(!told);
    // Pools that nobody gets unasked are in no order.
    let (names, told) = order(&(pool("z", ", auto-assign: false") + &pool("b", "")));
    assert_eq!(names, [("z".into(), None), ("b".into(), None)]);
    assert!(!told);
    for text in [
        pool("b", "") + &pool("a", ""),
        // As objects a pool that is tied to somebody goes first.
        pool("b", "") + &pool("c", ", namespaces: [shop]"),
        // 0 is first in a ConfigMap, and none on an object.
        pool("b", ", priority: 0") + &pool("c", ", priority: 5"),
    ] {
        let (names, told) = order(&text);
        let numbers: Vec<_> = names.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [Some(10), Some(20)], "{text}");
        assert!(told, "{text}");
    }
}

#[test]
fn pools_that_are_announced_alike_share_an_advertisement() {
    let (objects, lost) = objects_of(&pools(
        "- {name: a, protocol: layer2, addresses: [10.0.0.0/24]}
- {name: b, protocol: layer2, addresses: [10.0.1.0/24], interfaces: [eth1]}
- {name: c, protocol: layer2, addresses: [10.0.2.7]}
",
    ));
    let advertised: Vec<_> = objects
        .l2
        .iter()
        .map(|one| one.spec.of.ip_address_pools.join(" "))
        .collect();
    assert_eq!(advertised, ["a c", "b"]);
    // MetalLB refuses an address without a length.
    assert_eq!(objects.pools[2].spec.addresses, ["10.0.2.7/32"]);
    assert_eq!(lost, [""; 0]);
}

#[test]
fn a_name_that_no_object_can_have_is_changed_and_said() {
    let (objects, lost) = objects_of(&pools(
        "- {name: My Pool, protocol: layer2, addresses: [10.0.0.0/24]}
- {name: my-pool, protocol: layer2, addresses: [10.0.1.0/24]}
- {name: 7, protocol: layer2, addresses: [10.0.2.0/24]}
",
    ));
    let names: Vec<_> = objects.pools.iter().map(|one| &one.metadata.name).collect();
    assert_eq!(names, ["my-pool", "my-pool-2", "7"]);
    assert!(
        lost[0].contains("pool `My Pool` becomes IPAddressPool my-pool"),
        "{lost:?}"
    );
    assert!(lost[1].contains("pool `my-pool` becomes IPAddressPool my-pool-2"));
}

#[test]
fn objects_stay_the_objects_that_they_are_without_what_the_cluster_and_tools_wrote() {
    let text = OBJECTS.replace(
        "labels: {site: office}",
        "labels: {site: office}\n    uid: 1\n    annotations: {ferrolb.io/sharing: \"true\", \
         kubectl.kubernetes.io/last-applied-configuration: x}",
    );
    let printed = printed(&text);
    for gone in ["status", "resourceVersion", "uid:", "last-applied", "# "] {
        assert!(!printed.contains(gone), "{gone} in\n{printed}");
    }
    let read = |text: &str| {
        let documents = serde_yaml::Deserializer::from_str(text);
        let mut all = Vec::new();
        for document in documents {
            let value = <serde_yaml::Value as serde::Deserialize>::deserialize(document).unwrap();
            match value.get("items") {
                Some(items) => all.extend(items.as_sequence().unwrap().clone()),
                None => all.push(value),
            }
        }
        all.retain(|one| {
            one["apiVersion"]
                .as_str()
                .unwrap()
                .starts_with("metallb.io")
        });
        let key = |one: &serde_yaml::Value| {
            let name = one["metadata"]["name"].as_str().unwrap();
            (one["kind"].as_str().unwrap().to_owned(), name.to_owned())
        };
        let spec = |one: &serde_yaml::Value| (key(one), one["spec"].clone());
        all.iter()
            .map(spec)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (before, after) = (read(&text), read(&printed));
    assert_eq!(before.len(), 11);
    for (key, spec) in &before {
        assert_eq!(after.get(key), Some(spec), "{key:?}");
    }
    assert!(printed.contains("ferrolb.io/sharing: 'true'"), "{printed}");
    assert!(printed.contains("namespace: lb"));
}

#[test]
fn a_peer_of_the_deprecated_version_is_written_in_the_one_that_is_stored() {
    let peer = object(
        "BGPPeer",
        "metallb-system",
        "tor",
        "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}",
    );
    assert!(printed(&peer).contains("apiVersion: metallb.io/v1beta2\nkind: BGPPeer"));
}

/// Every address is in some pool, and in force.
fn is_in_force(text: &str) {
    let (objects, _) = objects_of(text);
    let config = in_force(&objects);
    assert_eq!(config.pools.len(), objects.pools.len());
}

#[test]
fn the_config_map_of_kube_vip_becomes_pools_of_namespaces_and_one_for_all() {
    let text = include_str!("fixtures/kube-vip.yaml");
    is_in_force(text);
    insta::assert_snapshot!(printed(text));
}

#[test]
fn ranges_of_kube_vip_are_used_where_there_are_no_global_cidrs() {
    let text = "apiVersion: v1
kind: ConfigMap
metadata: {name: kubevip}
data:
  range-blog: 192.168.66.10-192.168.66.20,192.168.66.30-192.168.66.40
  range-global: 10.0.0.1-10.0.0.9
";
    let (objects, lost) = objects_of(text);
    let blog = &objects.pools[0];
    assert_eq!(blog.metadata.name, "blog");
    assert_eq!(
        blog.spec.addresses,
        ["192.168.66.10-192.168.66.20", "192.168.66.30-192.168.66.40"]
    );
    assert_eq!(objects.pools[1].spec.addresses, ["10.0.0.1-10.0.0.9"]);
    assert_eq!(lost.len(), 2, "{lost:?}");
}

#[test]
fn ciliums_pools_and_policies_become_pools_and_advertisements() {
    let text = include_str!("fixtures/cilium.yaml");
    is_in_force(text);
    insta::assert_snapshot!(printed(text));
}

fn annotated(kind: &str, name: &str, annotation: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata:\n  name: {name}\n  annotations:\n    \
         {annotation}\nspec: {spec}\n"
    )
}

#[test]
fn nodes_that_an_annotation_prefers_are_preferred_in_the_config_map() {
    let pool = object("IPAddressPool", "lb", "p", "{addresses: [10.0.0.0/24]}");
    let pool = pool.replace(", namespace: lb", "");
    let with = |annotation: &str| {
        let spec =
            "{preferredNodeSelectors: [{weight: 10, preference: {matchLabels: {fast: \"yes\"}}}]}";
        let l2 = annotated("L2Advertisement", "l", annotation, spec);
        migrated(&format!("{pool}{l2}")).unwrap()
    };
    let Migrated { config, lost } = with(
        "ferrolb.io/preferred-nodes: '[{\"weight\": 90, \"preference\": {\"matchLabels\": {\"rack\": \"1\"}}}]'",
    );
    assert_eq!(lost, [""; 0]);
    let manifest = manifest(&config);
    let checked = check_file(&manifest).unwrap();
    let Outcome::Valid(config) = &checked[0].outcome else {
        panic!("{manifest}");
    };
    let weights: Vec<_> = config.layer2[0]
        .preferred_nodes
        .iter()
        .map(|one| (one.weight, one.selector.match_labels.clone()))
        .collect();
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    assert_eq!(
        weights,
        [(10, label("fast", "yes")), (90, label("rack", "1"))]
    );
    let lost = with("ferrolb.io/preferred-nodes: 'rack-1'").lost;
    assert_eq!(lost.len(), 1);
    assert!(
        lost[0].starts_with(
            "L2Advertisement l: the annotation ferrolb.io/preferred-nodes cannot be read, and is left out: "
        ),
        "{lost:?}"
    );
}

#[test]
fn annotations_that_no_key_stands_for_are_said_to_be_left_out() {
    let spec = "{addresses: [10.0.0.0/24]}";
    let of = |kind, annotation, spec| annotated(kind, "x", annotation, spec);
    let text = [
        of(
            "IPAddressPool",
            "ferrolb.io/sharing: \"true\"",
            "{addresses: [10.0.1.0/24]}",
        ),
        of("IPAddressPool", "ferrolb.io/interfaces: eth9", spec).replace("name: x", "name: y"),
        of("L2Advertisement", "ferrolb.io/sharing: \"true\"", "{}"),
        of(
            "BGPAdvertisement",
            "ferrolb.io/exclude: 10.0.0.1",
            "{ipAddressPools: [x]}",
        ),
        of(
            "Community",
            "example.com/sharing: \"true\"",
            "{communities: []}",
        ),
    ];
    let text = text.concat();
    let Migrated { config, lost } = migrated(&text).unwrap();
    assert!(config.contains("sharing: true"), "{config}");
    assert!(!config.contains("eth9"), "{config}");
    for (kind, name, annotation) in [
        ("IPAddressPool", "y", "interfaces"),
        ("L2Advertisement", "x", "sharing"),
        ("BGPAdvertisement", "x", "exclude"),
    ] {
        let said = format!(
            "{kind} {name}: nobody reads the annotation ferrolb.io/{annotation} of this kind, and it is left out"
        );
        assert!(lost.contains(&said), "{lost:?}");
    }
    let left_out = lost.iter().filter(|one| one.contains("is left out"));
    assert_eq!(left_out.count(), 3, "{lost:?}");
}

#[test]
fn fields_of_others_that_we_do_not_know_are_told_by_name() {
    let pool = "apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: p}\nspec: \
                {blocks: [{cidr: 10.0.0.0/24, weight: 3}], cleared: false, colour: red}\n---\n";
    let policy = "apiVersion: cilium.io/v2alpha1\nkind: CiliumL2AnnouncementPolicy\nmetadata: {name: l}\nspec: \
                  {loadBalancerIPs: true, leaseSeconds: 3}\n";
    let said = printed(&format!("{pool}{policy}"));
    for line in [
        "# - pool p: colour has no equivalent\n",
        "# - pool p: weight has no equivalent\n",
        "# - policy l: leaseSeconds has no equivalent\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("cleared"), "{said}");
}

#[test]
fn purelbs_groups_become_pools_and_what_is_routed_is_left_out() {
    let text = include_str!("fixtures/purelb.yaml");
    is_in_force(text);
    insta::assert_snapshot!(printed(text));
}

#[test]
fn the_files_are_those_of_one_load_balancer() {
    let both = format!(
        "{}\n---\n{}",
        include_str!("fixtures/kube-vip.yaml"),
        include_str!("fixtures/purelb.yaml")
    );
    let error = migrated(&both).unwrap_err().to_string();
    assert!(
        error.contains("(kube-vip, PureLB): give those of one"),
        "{error}"
    );
}

#[test]
fn what_is_lost_stands_above_the_manifest_as_comments_that_no_name_can_leave() {
    let mut out = Vec::new();
    let lost = ["a\nkind: Secret".to_owned(), "b".to_owned()];
    print(&mut out, "lb", "address-pools: []", &lost).unwrap();
    let text = String::from_utf8(out).unwrap();
    let head = "# Not the same as before:\n# - a kind: Secret\n# - b\napiVersion: v1\n";
    assert!(text.starts_with(head), "{text}");
}
