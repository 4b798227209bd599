//! Files that hold both forms.

use super::*;
use crate::config::objects::Severity;

const OURS: &str = "metallb-system";

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n---\n"
    )
}

/// Each finding as `kind/name line:column refused|warning`, with its text.
fn told(file: &CheckedFile) -> Vec<(String, String)> {
    let findings = file.objects.iter().flat_map(|one| &one.findings);
    let told = findings.flat_map(|one| {
        one.problems.iter().map(move |problem| {
            let place = &problem.place;
            let what = match one.severity {
                Severity::Refused => "refused",
                Severity::Warning => "warning",
            };
            let (line, column) = (place.line().unwrap(), place.column().unwrap());
            let title = format!(
                "{}/{} {line}:{column} {what}",
                one.object.kind, one.object.name
            );
            (title, problem.message.clone())
        })
    });
    told.collect()
}

#[test]
fn objects_of_a_file_are_read_with_the_places_of_the_file() {
    let text = object(
        "IPAddressPool",
        "lan",
        "\n  addresses:\n  - 192.168.64.1-192.168.64.9\n  - 192.168.65.0/33",
    ) + &object(
        "IPAddressPool",
        "dmz",
        "{addresses: [10.0.0.0/24], autoAsign: true}",
    ) + &object("L2Advertisement", "l", "{ipAddressPools: [dmz, gone]}");
    let file = check_manifests(&text, OURS).unwrap();
    assert_eq!(file.configurations, []);
    let titles: Vec<_> = told(&file).into_iter().map(|(title, _)| title).collect();
    assert_eq!(
        titles,
        [
            "IPAddressPool/dmz 14:34 warning",
            "IPAddressPool/lan 8:5 refused",
            "L2Advertisement/l 20:30 warning",
        ]
    );
    let config = file.objects.unwrap().config;
    assert_eq!((config.pools.len(), config.layer2.len()), (1, 1));
}

#[test]
fn a_file_may_hold_both_forms_and_lists() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: metallb.io/v1beta2\n  kind: BGPPeer\n  metadata: {name: r}\n  spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}\n";
    let text = object("IPAddressPool", "lan", "{addresses: [192.168.64.0/24]}")
        + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: |\n    address-pools: []\n---\n"
        + list;
    let file = check_manifests(&text, OURS).unwrap();
    assert_eq!(file.configurations.len(), 1);
    let config = file.objects.unwrap().config;
    assert_eq!((config.pools.len(), config.peers.len()), (1, 1));
}

#[test]
fn a_file_without_objects_is_read_as_before() {
    assert_eq!(check_manifests(EVERYTHING, OURS).unwrap().objects, None);
    let other = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
    assert!(check_manifests(other, OURS).is_err());
    let old = object("AddressPool", "a", "{}");
    let error = check_manifests(&old, OURS).unwrap_err().to_string();
    assert!(error.contains("(AddressPool)"), "{error}");
    let broken = check_manifests("apiVersion: [", OURS).unwrap();
    assert!(broken.objects.is_none() && broken.configurations.len() == 1);
}

#[test]
fn slips_around_the_spec_are_found_too() {
    let good = "{addresses: [192.168.64.0/24]}";
    let all = object("L2Advertisement", "all", "{}");
    let rows = [
        (
            object("IPAddressPool", "''", good) + &all,
            "IPAddressPool/ 4:9 refused",
            "the IPAddressPool has no name",
        ),
        (
            object("IPAddressPool", "a", good) + &object("IPAddressPool", "a", good) + &all,
            "IPAddressPool/a 10:9 warning",
            "the same object is already there on line 4",
        ),
        (
            object("IPAddressPool", "a\n  namespace: default", good) + &all,
            "IPAddressPool/a 4:9 warning",
            "FerroLB reads the objects of namespace metallb-system alone",
        ),
        (
            object("IPAddressPool", "a", good).replace("v1beta1", "v1beta7") + &all,
            "IPAddressPool/a 4:9 refused",
            "no IPAddressPool has apiVersion `metallb.io/v1beta7`",
        ),
        (
            object(
                "IPAddressPool",
                "a\n  annotations: {ferrolb.io/exclude: 192.168.64.300}",
                good,
            ) + &all,
            "IPAddressPool/a 5:37 refused",
            "`192.168.64.300` is not an IP address",
        ),
    ];
    for (text, title, words) in rows {
        let told = told(&check_manifests(&text, OURS).unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].0 == title && told[0].1.contains(words), "{told:?}");
    }
}

/// What is said of each of these files together.
fn told_of_all(files: &[(&str, &str)]) -> Vec<Vec<(String, String)>> {
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| ManifestFile {
            name,
            text,
            namespace: OURS,
        })
        .collect();
    let checked = check_all_manifests(&files).into_iter();
    checked.map(|one| told(&one.unwrap())).collect()
}

#[test]
fn files_are_one_configuration_and_each_has_what_is_to_be_said_of_its_objects() {
    let pool = object("IPAddressPool", "a", "{addresses: [192.168.64.0/24]}");
    let other = "# another line\n".to_owned()
        + &object("IPAddressPool", "b", "{addresses: [192.168.64.128/25]}");
    let l2 = object("L2Advertisement", "l", "{ipAddressPools: [a, b]}");
    let files = [("a.yaml", &*pool), ("l2.yaml", &l2)];
    assert_eq!(told_of_all(&files[..1])[0].len(), 1, "nobody announces it");
    assert_eq!(
        told_of_all(&files),
        [
            vec![],
            vec![(
                "L2Advertisement/l 5:28 warning".to_owned(),
                "no pool is called `b`".to_owned()
            )]
        ]
    );
    let all = [("a.yaml", &*pool), ("b.yaml", &other), ("l2.yaml", &l2)];
    let said = told_of_all(&all);
    assert_eq!((said[0].len(), said[1].len(), said[2].len()), (0, 1, 1));
    let (title, message) = &said[1][0];
    assert_eq!(title, "IPAddressPool/b 6:20 refused");
    assert!(
        message.contains("of IPAddressPool `a` (a.yaml), which stays in force"),
        "{message}"
    );
    // In one file there is no other one to name.
    let one = format!("{pool}{other}{l2}");
    let said = told_of_all(&[("all.yaml", &one)]);
    assert!(said[0][0].1.contains("of IPAddressPool `a`, which"));
}

#[test]
fn what_else_two_files_say_of_one_thing_names_the_other_file() {
    let community = |name: &str, value: &str| {
        object(
            "Community",
            name,
            &format!("{{communities: [{{name: up, value: {value}}}]}}"),
        )
    };
    let (a, b) = (community("a", "\"1:1\""), community("b", "\"1:2\""));
    let said = told_of_all(&[("a.yaml", &a), ("b.yaml", &b)]);
    assert!(said[1][0].1.contains("in Community `a` (a.yaml) as well"));
    let pool = object("IPAddressPool", "p", "{addresses: [10.0.0.0/24]}");
    let route = |name: &str, preference: u32| {
        let spec = format!("{{ipAddressPools: [p], localPref: {preference}}}");
        object("BGPAdvertisement", name, &spec)
    };
    let first = format!("{pool}{}", route("a", 1));
    for (second, words) in [
        (route("b", 2), "in BGPAdvertisement `a` (a.yaml), which"),
        (
            route("b", 1),
            "it says the same as BGPAdvertisement `a` (a.yaml)",
        ),
        (
            route("a", 1),
            "the same object is already there on line 10 of a.yaml",
        ),
    ] {
        let said = told_of_all(&[("a.yaml", &first), ("b.yaml", &second)]);
        let said: Vec<_> = said.concat();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].1.contains(words), "{said:?}");
    }
}

#[test]
fn pools_are_selected_by_the_labels_of_the_file() {
    let text = object(
        "IPAddressPool",
        "a\n  labels: {zone: x, n: 1}",
        "{addresses: [192.168.64.0/24]}",
    ) + &object(
        "L2Advertisement",
        "l",
        "{ipAddressPoolSelectors: [{matchLabels: {zone: x}}]}",
    );
    let objects = check_manifests(&text, OURS).unwrap().objects.unwrap();
    assert_eq!(objects.findings, []);
    assert!(objects.config.protocols_of("a").layer2);
}
