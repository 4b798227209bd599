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
