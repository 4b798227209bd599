//! MetalLB's objects on a real API server: with the chart's definitions, and with its policies that warn of
//! what is wrong. No daemon runs, and the nodes run no pods.

use std::fs;

use anyhow::{Context, Result, ensure};
use ferrolb_core::config::{self, Outcome};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::lab::{Lab, NodeKind};
use ferrolb_tests::manifests;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::{PATIENCE, in_workspace};

const NAMESPACE: &str = "metallb-system";
/// Objects in every form that MetalLB's documentation shows.
const OBJECTS: &str = include_str!("crds/objects.yaml");
/// That the definitions define.
const KINDS: usize = 9;
/// The one warning that MetalLB's users know.
const DEPRECATED: &str = "v1beta1 BGPPeer is deprecated";

#[test]
fn the_charts_definitions_take_metallbs_objects_and_policies_say_what_is_wrong_with_them()
-> Result<()> {
    Lab::builder("crds")
        .nodes(1)
        .kind(NodeKind::Hollow)
        .run(|lab| {
            helm(lab, &["install", "ferrolb", "charts/ferrolb"])?;
            lab.wait_for_kinds()?;

            every_object_is_accepted(lab)?;
            columns_are_metallbs(lab)?;
            a_peer_is_read_in_both_versions(lab)?;
            statuses_are_kept_apart_from_what_people_apply(lab)?;
            what_no_schema_allows_is_refused_with_the_field(lab)?;

            entries_are_judged_as_the_daemons_judge_them(lab)?;
            overlaps_are_seen_between_all_forms(lab)?;
            other_namespaces_are_named(lab)?;
            what_is_refused_is_refused_only_if_asked_for(lab)?;

            helm(lab, &["uninstall", "ferrolb", "--wait"])?;
            let left = lab.kubectl(&["get", "crd", "-o", "name"])?;
            assert_eq!(left.matches(".metallb.io").count(), KINDS, "{left}");
            let pools = lab.kubectl(&["-n", NAMESPACE, "get", "ipaddresspools", "-o", "name"])?;
            ensure!(pools.contains("/lan"), "no pool is deleted: {pools}");
            // Newer definitions go over those that are there.
            let mut kubectl = lab.kubectl_command()?;
            kubectl.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
            let applied = stdout_of(&mut kubectl, &manifests::definitions()?)?;
            assert_eq!(
                applied.matches("serverside-applied").count(),
                KINDS,
                "{applied}"
            );
            Ok(())
        })
}

fn helm(lab: &Lab, args: &[&str]) -> Result<String> {
    let mut helm = lab.helm_command()?;
    in_workspace(&mut helm).args(args);
    helm.args(["--namespace", NAMESPACE]);
    if args[0] == "install" {
        helm.arg("--create-namespace");
    }
    stdout_of(&mut helm, "")
}

/// What kubectl printed and what it complained of, and whether it succeeded.
struct Said {
    out: String,
    complaints: String,
    succeeded: bool,
}

fn apply(lab: &Lab, yaml: &str, more: &[&str]) -> Result<Said> {
    let file = lab.state().dir().join("applied.yaml");
    fs::write(&file, yaml)?;
    let mut kubectl = lab.kubectl_command()?;
    kubectl.arg("apply").arg("-f").arg(&file).args(more);
    let output = kubectl.output().context("cannot run kubectl")?;
    Ok(Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaints: String::from_utf8_lossy(&output.stderr).into_owned(),
        succeeded: output.status.success(),
    })
}

const DRY: &[&str] = &["--dry-run=server"];

fn every_object_is_accepted(lab: &Lab) -> Result<()> {
    let said = apply(lab, OBJECTS, &[])?;
    ensure!(said.succeeded, "{}", said.complaints);
    let other: Vec<_> = said
        .complaints
        .lines()
        .filter(|line| !line.contains(DEPRECATED))
        .collect();
    ensure!(other.is_empty(), "{other:#?}");
    ensure!(said.complaints.contains(DEPRECATED), "{}", said.complaints);
    let count = OBJECTS.matches("\nkind: ").count();
    assert_eq!(said.out.matches(" created").count(), count, "{}", said.out);
    Ok(())
}

/// The heads of the columns of a kind, each two blanks apart.
fn columns(lab: &Lab, kind: &str, more: &[&str]) -> Result<Vec<String>> {
    let get = ["-n", NAMESPACE, "get", kind];
    let table = lab.kubectl(&[&get[..], more].concat())?;
    let head = table.lines().next().context("no table")?;
    let heads = head
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty());
    Ok(heads.map(str::to_owned).collect())
}

fn columns_are_metallbs(lab: &Lab) -> Result<()> {
    for (kind, heads) in [
        (
            "ipaddresspools",
            &["NAME", "AUTO ASSIGN", "AVOID BUGGY IPS", "ADDRESSES"][..],
        ),
        (
            "l2advertisements",
            &[
                "NAME",
                "IPADDRESSPOOLS",
                "IPADDRESSPOOL SELECTORS",
                "INTERFACES",
            ],
        ),
        (
            "bgpadvertisements",
            &["NAME", "IPADDRESSPOOLS", "IPADDRESSPOOL SELECTORS", "PEERS"],
        ),
        (
            "bgppeers",
            &["NAME", "ADDRESS", "ASN", "BFD PROFILE", "MULTI HOPS"],
        ),
        (
            "bfdprofiles",
            &[
                "NAME",
                "PASSIVE MODE",
                "TRANSMIT INTERVAL",
                "RECEIVE INTERVAL",
                "MULTIPLIER",
            ],
        ),
    ] {
        assert_eq!(columns(lab, kind, &[])?, heads, "{kind}");
        let wide = columns(lab, kind, &["-o", "wide"])?;
        assert_eq!(wide[..heads.len()], *heads, "{kind}: ours follow");
    }
    let explained = lab.kubectl(&["explain", "ipaddresspools.spec.addresses"])?;
    ensure!(
        explained.contains("192.168.64.10-192.168.64.20"),
        "{explained}"
    );
    Ok(())
}

/// Without a webhook that converts.
fn a_peer_is_read_in_both_versions(lab: &Lab) -> Result<()> {
    for peer in ["tor", "of-2022"] {
        for version in ["v1beta1", "v1beta2"] {
            let kind = format!("bgppeers.{version}.metallb.io");
            let path = "jsonpath={.apiVersion} {.spec.myASN} {.spec.peerAddress}";
            let read = lab.kubectl(&["-n", NAMESPACE, "get", &kind, peer, "-o", path])?;
            assert_eq!(
                read,
                format!("metallb.io/{version} 64500 10.0.0.1"),
                "{peer}"
            );
        }
    }
    Ok(())
}

fn statuses_are_kept_apart_from_what_people_apply(lab: &Lab) -> Result<()> {
    let status =
        r#"{"status":{"assignedIPv4":3,"assignedIPv6":0,"availableIPv4":11,"availableIPv6":0}}"#;
    let patch = [
        "-n",
        NAMESPACE,
        "patch",
        "ipaddresspool",
        "lan",
        "--type=merge",
        "-p",
        status,
    ];
    lab.kubectl(&[&patch[..], &["--subresource=status"]].concat())?;
    // By the other way a status is ignored.
    let ignored = [&patch[..7], &[r#"{"status":{"assignedIPv4":9}}"#]].concat();
    lab.kubectl(&ignored)?;
    let wide = lab.kubectl(&["-n", NAMESPACE, "get", "ipaddresspool", "lan", "-o", "wide"])?;
    let row: Vec<_> = wide
        .lines()
        .last()
        .context("no row")?
        .split_whitespace()
        .collect();
    ensure!(row.ends_with(&["3", "11", "0", "0"]), "{wide}");
    Ok(())
}

fn object(kind: &str, version: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: judged, namespace: \
         {namespace}}}\nspec: {spec}\n"
    )
}

fn what_no_schema_allows_is_refused_with_the_field(lab: &Lab) -> Result<()> {
    for (kind, version, spec, complaint) in [
        (
            "IPAddressPool",
            "v1beta1",
            "{}",
            "spec.addresses: Required value",
        ),
        (
            "IPAddressPool",
            "v1beta1",
            "{addresses: 10.0.0.0/24}",
            "spec.addresses: Invalid value: \"string\"",
        ),
        (
            "IPAddressPool",
            "v1beta1",
            "{addresses: [10.0.0.0/24], autoAsign: false}",
            "unknown field \"spec.autoAsign\"",
        ),
        (
            "L2Advertisement",
            "v1beta1",
            "{preferredNodeSelectors: [{weight: 0, preference: {}}]}",
            "spec.preferredNodeSelectors[0].weight",
        ),
        (
            "BFDProfile",
            "v1beta1",
            "{receiveInterval: 1}",
            "spec.receiveInterval",
        ),
        (
            "BGPPeer",
            "v1beta2",
            "{peerASN: 1}",
            "spec.myASN: Required value",
        ),
        (
            "BGPPeer",
            "v1beta2",
            "{myASN: 1, dynamicASN: either}",
            "supported values: \"internal\", \"external\"",
        ),
    ] {
        let said = apply(lab, &object(kind, version, NAMESPACE, spec), DRY)?;
        let refused = !said.succeeded && said.complaints.contains(complaint);
        ensure!(refused, "{kind} {spec}: {}", said.complaints);
    }
    Ok(())
}

/// An IPAddressPool with these entries, in YAML.
fn pool(name: &str, addresses: &str) -> String {
    object(
        "IPAddressPool",
        "v1beta1",
        NAMESPACE,
        &format!("{{addresses: {addresses}}}"),
    )
    .replace("name: judged", &format!("name: {name}"))
}

const GOOD: [&str; 17] = [
    "10.1.0.0/24",
    "10.1.0.77/24",
    " 10.1.0.0 / 024 ",
    "10.1.0.9",
    "10.1.0.9-10.1.0.9",
    "10.1.0.9 - 10.1.0.10",
    "9.255.255.255-10.0.0.0",
    "10.1.0.200-10.1.1.9",
    "fd00:1::/64",
    "FD00:1::5",
    "fd00:1::9-fd00:1::a",
    "fd00:1::ff-fd00:1::100",
    "fd00:1::-fd00:1:0:1::",
    "fd00:1:2:3:4:5:6:7-fd00:1:2:3:4:5:6:8",
    "::ffff:10.1.0.0/120",
    "::ffff:10.1.0.1-::ffff:10.1.0.4",
    "fd00:1:0:0:0:0:0:1-fd00:1::2",
];
const BAD: [&str; 16] = [
    "10.1.0.0/33",
    "10.1.0/24",
    "10.1.0.300",
    "10.1.0.10-10.1.0.9",
    "10.1.10.0-10.1.9.255",
    "fd00:1::a-fd00:1::9",
    "fd00:1::100-fd00:1::ff",
    "fd00:1:0:1::-fd00:1::",
    "10.1.0.1-fd00:1::1",
    "10.1.0.1-",
    "10.1.0.10-20",
    "10.1.0.1–10.1.0.9",
    "10.1.0.1,10.1.0.2",
    "10.1.0.0/255.255.255.0",
    "fd00:1::/129",
    "addresses",
];

fn entries_are_judged_as_the_daemons_judge_them(lab: &Lab) -> Result<()> {
    let of_both = GOOD.iter().map(|entry| (entry, true));
    let of_both = of_both.chain(BAD.iter().map(|entry| (entry, false)));
    for (entry, good) in of_both.clone() {
        let text =
            format!("address-pools: [{{name: a, protocol: layer2, addresses: ['{entry}']}}]");
        let accepted = !matches!(config::parse(&text), Outcome::Refused(_));
        assert_eq!(accepted, good, "the daemons and {entry}");
    }
    until_complained(lab, &pool("seen", "[nonsense]"), "nonsense")?;
    let pools = of_both
        .clone()
        .enumerate()
        .map(|(index, (entry, _))| pool(&format!("p{index}"), &format!("['{entry}']")));
    let said = complaints(lab, &pools.collect::<String>())?;
    for (entry, good) in of_both {
        let named = said
            .lines()
            .any(|line| line.contains(&format!("spec.addresses: {} ", entry.trim())));
        assert_eq!(!named, good, "{entry}:\n{said}");
    }
    assert_eq!(said.lines().count(), BAD.len(), "{said}");
    ensure!(
        said.contains("ends before it starts: write 10.1.0.9-10.1.0.10"),
        "{said}"
    );
    let none = complaints(lab, &pool("none", "[]"))?;
    ensure!(none.contains("spec.addresses is empty"), "{none}");
    Ok(())
}

/// What the API server warns of, and accepts.
fn complaints(lab: &Lab, yaml: &str) -> Result<String> {
    let said = apply(lab, yaml, DRY)?;
    ensure!(said.succeeded, "{}", said.complaints);
    Ok(said.complaints)
}

/// A policy counts a moment after it was created.
fn until_complained(lab: &Lab, yaml: &str, complaint: &str) -> Result<()> {
    let is_heard = || Ok(complaints(lab, yaml)?.contains(complaint));
    wait_until(PATIENCE, is_heard, || Ok(())).with_context(|| format!("waiting for {complaint:?}"))
}

fn overlaps_are_seen_between_all_forms(lab: &Lab) -> Result<()> {
    let of_lan = pool("new", "['192.168.64.5']");
    until_complained(lab, &of_lan, "overlaps with IPAddressPool lan (")?;
    // With pools of OBJECTS: 192.168.64.0/28, and 192.168.65.10-192.168.65.30 with fd00:65::10-fd00:65::ff.
    for (entry, other) in [
        ("192.168.0.0/16", Some("lan")),
        ("192.168.64.8/30", Some("lan")),
        ("192.168.64.5", Some("lan")),
        ("192.168.63.0-192.168.64.0", Some("lan")),
        ("192.168.64.3-192.168.64.4", Some("lan")),
        ("192.168.63.0-192.168.66.0", Some("both-families")),
        ("192.168.65.30-192.168.65.40", Some("both-families")),
        ("192.168.65.16/30", Some("both-families")),
        ("192.168.65.0/24", Some("both-families")),
        ("fd00:65::/64", Some("both-families")),
        ("fd00:65::ff-fd00:65::100", Some("both-families")),
        ("fd00:65::1f", Some("both-families")),
        ("192.168.64.16/28", None),
        ("192.168.63.0-192.168.63.255", None),
        ("192.168.65.31-192.168.65.255", None),
        ("192.168.65.0/29", None),
        ("fd00:65::100-fd00:65::1ff", None),
        ("fd00:65::8/125", None),
    ] {
        let said = complaints(lab, &pool("new", &format!("['{entry}']")))?;
        match other {
            Some(other) => ensure!(
                said.contains(&format!("overlaps with IPAddressPool {other} (")),
                "{entry}: {said}"
            ),
            None => ensure!(said.is_empty(), "{entry}: {said}"),
        }
    }
    // What one pool leaves out another one may have.
    let excluding = pool("new", "['192.168.0.0/16']").replace(
        "name: new,",
        "name: new, annotations: {ferrolb.io/exclude: 192.168.64.0/22},",
    );
    let said = complaints(lab, &excluding)?;
    ensure!(said.is_empty(), "{said}");
    // A pool does not overlap with itself.
    let itself = complaints(lab, &pool("lan", "['192.168.64.0/27']"))?;
    ensure!(itself.is_empty(), "{itself}");
    Ok(())
}

fn other_namespaces_are_named(lab: &Lab) -> Result<()> {
    const SENTENCE: &str = "in its own namespace only, which is metallb-system";
    let elsewhere = object("Community", "v1beta1", "default", "{}");
    until_complained(lab, &elsewhere, SENTENCE)?;
    for (kind, version, spec) in [
        ("IPAddressPool", "v1beta1", "{addresses: [192.168.64.0/28]}"),
        ("L2Advertisement", "v1beta1", "{}"),
        ("BGPAdvertisement", "v1beta1", "{}"),
        (
            "BGPPeer",
            "v1beta2",
            "{myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}",
        ),
        ("BFDProfile", "v1beta1", "{}"),
        ("Community", "v1beta1", "{}"),
    ] {
        let said = complaints(lab, &object(kind, version, "default", spec))?;
        ensure!(said.contains(SENTENCE), "{kind}: {said}");
        // Two pools may have the same addresses if one of them is not ours.
        ensure!(!said.contains("overlaps"), "{said}");
    }
    Ok(())
}

/// A binding counts a moment after it was changed.
fn until_refused(lab: &Lab, yaml: &str) -> Result<()> {
    let is_refused = || Ok(!apply(lab, yaml, DRY)?.succeeded);
    wait_until(PATIENCE, is_refused, || Ok(()))
}

fn what_is_refused_is_refused_only_if_asked_for(lab: &Lab) -> Result<()> {
    let reversed = pool("lan", "[192.168.64.9-192.168.64.1]");
    apply(lab, &reversed, &[])?;
    helm(
        lab,
        &[
            "upgrade",
            "ferrolb",
            "charts/ferrolb",
            "--set",
            "validate=deny",
        ],
    )?;
    let another = pool("another", "[10.9.0.9-10.9.0.1]");
    until_refused(lab, &another).context("what is wrong")?;
    let said = apply(lab, &another, DRY)?.complaints;
    ensure!(said.contains("ends before it starts"), "{said}");
    let elsewhere = object("L2Advertisement", "v1beta1", "default", "{}");
    until_refused(lab, &elsewhere).context("another namespace")?;
    // What is there already can still be labelled, and deleted.
    let pool = [
        "-n",
        NAMESPACE,
        "label",
        "ipaddresspool/lan",
        "site=office",
        "--overwrite",
    ];
    lab.kubectl(&pool)?;
    helm(
        lab,
        &[
            "upgrade",
            "ferrolb",
            "charts/ferrolb",
            "--set",
            "validate=none",
        ],
    )?;
    let left = lab.kubectl(&["get", "validatingadmissionpolicies", "-o", "name"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
