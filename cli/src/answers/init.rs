//! Which addresses of the nodes' network a first pool should have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, bail, ensure};
use ferrolb_core::address::{AddressRange, canonical, predecessor, successor};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::config::{self, Outcome};
use ferrolb_core::survey::{MOST_ASKED, SurveyStatus, addresses};
use serde::Serialize;

/// As many addresses as are asked for in all: at 50 questions a second that takes two minutes.
pub(crate) const MOST: u128 = 1_024;
/// As many as are looked at if nobody names a range: the last of the subnet. DHCP servers mostly give out
/// from the middle.
const WINDOW: u128 = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitAnswer {
    /// The node whose speaker asked.
    pub(crate) node: String,
    pub(crate) link: Option<String>,
    /// The range that was asked for.
    pub(crate) asked: String,
    /// Its addresses that are not free.
    pub(crate) taken: Vec<Taken>,
    /// What the pool has.
    pub(crate) addresses: Vec<String>,
    pub(crate) form: Form,
    /// The `ConfigMap`, or the objects, in YAML.
    pub(crate) manifest: String,
    /// What nobody but its reader can know.
    pub(crate) warnings: Vec<String>,
    pub(crate) applied: bool,
}

/// In which form a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// An IPAddressPool and an L2Advertisement.
    Objects,
    /// The ConfigMap.
    Configmap,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Taken {
    pub(crate) address: IpAddr,
    /// Who has it.
    pub(crate) by: String,
}

/// The range that the user names: `FIRST-LAST`, a prefix, or one address.
pub(crate) fn range(text: &str) -> anyhow::Result<AddressRange> {
    let how =
        || format!("{text:?}: write a range as 192.168.1.240-192.168.1.250 or 192.168.1.240/28");
    let range = match text.split_once('-') {
        Some((first, last)) => canonical(first.trim())
            .zip(canonical(last.trim()))
            .and_then(|(first, last)| AddressRange::new(first, last)),
        None if text.contains('/') => AddressRange::of_prefix(text),
        None => canonical(text).and_then(|one| AddressRange::new(one, one)),
    };
    let range = range.with_context(how)?;
    ensure!(
        range.size() <= MOST,
        "{text}: {} addresses are too many to ask for: at most {MOST}",
        range.size()
    );
    Ok(range)
}

/// The subnet of a node, by its speaker's links: that with the node's own address, or else the first.
pub(crate) fn subnet(survey: &SurveyStatus, own: &[IpAddr]) -> anyhow::Result<AddressRange> {
    let prefixes = survey.links.iter().flat_map(|link| &link.prefixes);
    let prefixes: Vec<_> = prefixes
        .filter_map(|text| {
            let address = canonical(text.split_once('/')?.0)?;
            let range = AddressRange::of_prefix(text)?;
            (address.is_ipv4() && range.size() > 2).then_some((address, range))
        })
        .collect();
    let nodes = prefixes.iter().find(|(address, _)| own.contains(address));
    let (_, range) = nodes
        .or_else(|| prefixes.first())
        .context("the speaker's node has no link with an IPv4 subnet: name a range with --range")?;
    Ok(*range)
}

/// The last addresses of a subnet, without those of the network itself and of broadcasts.
pub(crate) fn window(subnet: AddressRange) -> Option<AddressRange> {
    let last = predecessor(subnet.last())?;
    let mut first = successor(subnet.first())?;
    let size = AddressRange::new(first, last)?.size();
    if size > WINDOW {
        first = last;
        for _ in 1..WINDOW {
            first = predecessor(first)?;
        }
    }
    AddressRange::new(first, last)
}

/// `range` in parts that can be asked for at once.
pub(crate) fn parts(range: AddressRange) -> Vec<AddressRange> {
    let all: Vec<_> = addresses(range).collect();
    let size = usize::try_from(MOST_ASKED).unwrap_or(1);
    let parts = all.chunks(size).filter_map(|part| {
        let (first, last) = part.first().zip(part.last())?;
        AddressRange::new(*first, *last)
    });
    parts.collect()
}

/// The runs of addresses of `range` that are not in `taken`, ascending.
pub(crate) fn free(range: AddressRange, taken: &BTreeSet<IpAddr>) -> Vec<AddressRange> {
    let mut runs: Vec<AddressRange> = Vec::new();
    for address in addresses(range).filter(|one| !taken.contains(one)) {
        let extends = runs
            .last()
            .filter(|run| successor(run.last()) == Some(address));
        match extends.and_then(|run| AddressRange::new(run.first(), address)) {
            Some(longer) => {
                runs.pop();
                runs.push(longer);
            }
            None => runs.extend(AddressRange::new(address, address)),
        }
    }
    runs
}

/// Of several runs the longest; of equal ones the last; and of it the last `size`.
pub(crate) fn best(runs: &[AddressRange], size: u128) -> Option<AddressRange> {
    let run = runs
        .iter()
        .max_by_key(|run| (run.size().min(size), run.first()))?;
    let mut first = run.last();
    for _ in 1..size.min(run.size()) {
        first = predecessor(first)?;
    }
    AddressRange::new(first, run.last())
}

/// A proposal: what to write, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) form: Form,
    /// In YAML, for `kubectl apply`.
    pub(crate) manifest: String,
    /// The value of the `ConfigMap`'s key; empty for objects.
    pub(crate) config: String,
}

/// One pool of `ranges`, announced by layer 2; `name` is the `ConfigMap`'s.
pub(crate) fn proposal(
    form: Form,
    namespace: &str,
    name: &str,
    ranges: &[AddressRange],
) -> anyhow::Result<Proposal> {
    ensure!(
        !ranges.is_empty(),
        "no address is free there: name another range with --range"
    );
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| match range.first() == range.last() {
            // A single address is written as a prefix.
            true if range.first().is_ipv4() => format!("{range}/32"),
            true => format!("{range}/128"),
            false => range.to_string(),
        })
        .collect();
    match form {
        Form::Objects => objects(namespace, &ranges),
        Form::Configmap => config_map(namespace, name, &ranges),
    }
}

fn config_map(namespace: &str, name: &str, ranges: &[String]) -> anyhow::Result<Proposal> {
    let mut config =
        "address-pools:\n  - name: default\n    protocol: layer2\n    addresses:\n".to_owned();
    for range in ranges {
        config.push_str(&format!("      - {range}\n"));
    }
    match config::parse(&config) {
        Outcome::Valid(_) => {}
        Outcome::Partly(_, problems) | Outcome::Refused(problems) => bail!("{problems}"),
        Outcome::NotConfigured(why) => bail!("{why}"),
    }
    let indented: String = config.lines().map(|line| format!("    {line}\n")).collect();
    let manifest = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: {namespace}\n  name: {name}\ndata:\n  \
         config: |\n{indented}"
    );
    Ok(Proposal {
        form: Form::Configmap,
        manifest,
        config,
    })
}

fn objects(namespace: &str, ranges: &[String]) -> anyhow::Result<Proposal> {
    let object = |kind: Kind, spec: &str| {
        let version = kind.versions()[0];
        let group = Kind::GROUP;
        format!(
            "apiVersion: {group}/{version}\nkind: {kind}\nmetadata:\n  namespace: {namespace}\n  name: \
             default\nspec:\n{spec}"
        )
    };
    let ranges: String = ranges
        .iter()
        .map(|range| format!("    - {range}\n"))
        .collect();
    let pool = object(Kind::IpAddressPool, &format!("  addresses:\n{ranges}"));
    let advertisement = object(Kind::L2Advertisement, "  ipAddressPools:\n    - default\n");
    let manifest = format!("{pool}---\n{advertisement}");
    let checked = config::check_manifests(&manifest, namespace)?.objects;
    let finding = checked.and_then(|compiled| compiled.findings.into_iter().next());
    if let Some(finding) = finding {
        bail!("{finding}");
    }
    Ok(Proposal {
        form: Form::Objects,
        manifest,
        config: String::new(),
    })
}

/// What the wire cannot tell.
pub(crate) fn warnings(outside: &[String], node: &str) -> Vec<String> {
    let mut warnings = vec![
        "if a DHCP server gives out these addresses, take them out of its range: it does not ask who \
         has them"
            .to_owned(),
        "hosts that are switched off do not answer: compare with your list of fixed addresses"
            .to_owned(),
    ];
    if !outside.is_empty() {
        warnings.push(format!(
            "not in the subnet of {node}, so they cannot announce these addresses there: {}",
            outside.join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(text: &str) -> AddressRange {
        range(text).unwrap()
    }

    fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn survey(prefixes: &[&str]) -> SurveyStatus {
        let prefixes: Vec<_> = prefixes.iter().map(|one| (*one).to_owned()).collect();
        SurveyStatus {
            links: vec![ferrolb_core::survey::LinkStatus {
                name: "eth0".to_owned(),
                prefixes,
            }],
            gateways: Vec::new(),
            asked_on: None,
            taken: Vec::new(),
        }
    }

    #[test]
    fn a_range_is_written_as_pools_have_it_and_is_bounded() {
        assert_eq!(
            run("192.168.64.240/28").to_string(),
            "192.168.64.240-192.168.64.255"
        );
        assert_eq!(run("10.0.0.1-10.0.0.9").size(), 9);
        assert_eq!(run("fd00::1").size(), 1);
        for wrong in [
            "10.0.0.9-10.0.0.1",
            "10.0.0.0/33",
            "web",
            "10.0.0.1-fd00::1",
        ] {
            let error = range(wrong).unwrap_err().to_string();
            assert!(error.contains("write a range as"), "{error}");
        }
        let error = range("10.0.0.0/8").unwrap_err().to_string();
        assert!(
            error.contains("too many to ask for: at most 1024"),
            "{error}"
        );
        assert!(range("10.0.0.0/22").is_ok());
    }

    #[test]
    fn the_subnet_is_that_of_the_nodes_address() {
        let own = ["192.168.64.11".parse().unwrap()];
        let of = |prefixes: &[&str], own: &[IpAddr]| {
            subnet(&survey(prefixes), own).map(|one| one.to_string())
        };
        let both = ["10.9.0.11/24", "192.168.64.11/24", "fe80::1/64"];
        assert_eq!(of(&both, &own).unwrap(), "192.168.64.0-192.168.64.255");
        // The node has an address that is not on a link that announces: a tunnel's.
        assert_eq!(
            of(&both, &["172.16.0.1".parse().unwrap()]).unwrap(),
            "10.9.0.0-10.9.0.255"
        );
        assert!(of(&["fe80::1/64", "10.0.0.1/32"], &own).is_err());
    }

    #[test]
    fn the_end_of_the_subnet_is_looked_at_without_network_and_broadcast() {
        let of =
            |text: &str| window(AddressRange::of_prefix(text).unwrap()).map(|one| one.to_string());
        assert_eq!(
            of("192.168.64.0/24").unwrap(),
            "192.168.64.191-192.168.64.254"
        );
        assert_eq!(of("10.0.0.0/29").unwrap(), "10.0.0.1-10.0.0.6");
        assert_eq!(of("10.0.0.0/31"), None);
        assert_eq!(of("10.0.0.0/8").unwrap(), "10.255.255.191-10.255.255.254");
    }

    #[test]
    fn of_what_is_free_the_longest_run_is_taken_and_of_it_the_end() {
        let taken = set(&["10.0.0.3", "10.0.0.7"]);
        let runs = free(run("10.0.0.1-10.0.0.9"), &taken);
        let shown: Vec<_> = runs.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "10.0.0.1-10.0.0.2",
                "10.0.0.4-10.0.0.6",
                "10.0.0.8-10.0.0.9"
            ]
        );
        assert_eq!(best(&runs, 16).unwrap().to_string(), "10.0.0.4-10.0.0.6");
        // All are long enough for two: the last one.
        assert_eq!(best(&runs, 2).unwrap().to_string(), "10.0.0.8-10.0.0.9");
        assert_eq!(best(&[], 2), None);
        assert_eq!(free(run("10.0.0.3"), &taken), []);
    }

    #[test]
    fn what_is_proposed_is_what_the_daemons_take_in_both_forms() {
        let ranges = [run("192.168.64.240-192.168.64.245"), run("192.168.64.250")];
        let of = |form| proposal(form, "lb", "config", &ranges).unwrap();
        let map = of(Form::Configmap);
        insta::assert_snapshot!(
            "the_map_that_is_proposed_is_one_that_the_daemons_take",
            map.manifest
        );
        let checked = config::check_file(&map.manifest).unwrap();
        assert_eq!(checked[0].outcome, config::parse(&map.config));
        let objects = of(Form::Objects);
        insta::assert_snapshot!("the_objects_that_are_proposed", objects.manifest);
        let checked = config::check_manifests(&objects.manifest, "lb").unwrap();
        let compiled = checked.objects.unwrap();
        let of_map = config::parse(&map.config).in_force().unwrap();
        assert_eq!(compiled.config.pools[0].ranges, of_map.pools[0].ranges);
        assert_eq!(compiled.config.layer2, of_map.layer2);
        for form in [Form::Objects, Form::Configmap] {
            let error = proposal(form, "lb", "config", &[]).unwrap_err().to_string();
            assert!(error.starts_with("no address is free there"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn parts_and_free_runs_have_each_address_once(
            first in 0_u32..0x00ff_0000,
            size in 1_u32..1_024,
            taken in prop::collection::btree_set(0_u32..1_024, 0..40),
        ) {
            let at = |offset: u32| IpAddr::from(std::net::Ipv4Addr::from(first + 0x0100_0000 + offset));
            let whole = AddressRange::new(at(0), at(size - 1)).unwrap();
            let asked: Vec<_> = parts(whole).into_iter().flat_map(addresses).collect();
            prop_assert_eq!(&asked, &addresses(whole).collect::<Vec<_>>());
            prop_assert!(parts(whole).iter().all(|part| part.size() <= MOST_ASKED));
            let taken: BTreeSet<_> = taken.into_iter().map(at).collect();
            let left: Vec<_> = free(whole, &taken).into_iter().flat_map(addresses).collect();
            let expected: Vec<_> = asked.into_iter().filter(|one| !taken.contains(one)).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
