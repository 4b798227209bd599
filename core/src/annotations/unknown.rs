//! Annotations under our prefixes that nobody reads: a slip in a name is a wish that is not heard.

use std::collections::BTreeSet;

use super::{OUR_PREFIX, On, names_on};
use crate::names::{ANNOTATION_ADOPT_FROM, ANNOTATION_MOVE_TO, ANNOTATION_PREFIXES, annotation};
use crate::suggest::nearest;

/// More than anybody reads in one sentence; the rest is counted.
const SHOWN: usize = 4;
/// Of a key; the API server takes 63 after the prefix.
const MAX_KEY: usize = 90;

/// What is wrong with the keys of a Service's annotations, in one sentence; `None` if nothing is.
/// The sentence is the same for the same keys, and has a few hundred bytes at most.
#[must_use]
pub(crate) fn unknown<'k>(keys: impl Iterator<Item = &'k str>) -> Option<Box<str>> {
    // Sorted, so that the order in which a client wrote them makes no other sentence.
    let mut slips = BTreeSet::new();
    let mut more = 0_usize;
    for key in keys.filter(|key| is_slip(key)) {
        slips.insert(key);
        if slips.len() > SHOWN {
            slips.pop_last();
            more += 1;
        }
    }
    if slips.is_empty() {
        return None;
    }
    let told: Vec<_> = slips.iter().map(|key| told(key)).collect();
    let more = if more == 0 {
        String::new()
    } else {
        format!("; and {more} more")
    };
    Some(format!("{}{more}", told.join("; ")).into())
}

/// Under one of our prefixes (in whatever case: the API server takes capitals there), and unknown.
fn is_slip(key: &str) -> bool {
    let begins = |prefix: &str| {
        key.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let mut prefixes = ANNOTATION_PREFIXES.iter().chain([&OUR_PREFIX]);
    prefixes.any(|prefix| begins(prefix)) && !is_known(key)
}

fn is_known(key: &str) -> bool {
    let mut prefixes = ANNOTATION_PREFIXES.iter();
    let metallbs = prefixes.find_map(|prefix| key.strip_prefix(prefix));
    // One of ours has its prefix in the table, and one of MetalLB's none.
    names_on(On::Service).any(|known| known == metallbs.unwrap_or(key))
}

fn told(key: &str) -> String {
    let cut = key.floor_char_boundary(MAX_KEY);
    let ellipsis = if cut < key.len() { "…" } else { "" };
    let shown = &key[..cut];
    match meant(key) {
        Some(meant) => {
            format!("nobody reads the annotation {shown}{ellipsis}: did you mean {meant}?")
        }
        None => format!("nobody reads the annotation {shown}{ellipsis}: remove it"),
    }
}

/// The annotation that was probably meant. One of MetalLB's keeps the prefix that it was written with.
fn meant(key: &str) -> Option<String> {
    let (prefix, suffix) = key.split_once('/')?;
    let known = || names_on(On::Service);
    let words = known().map(|name| name.strip_prefix(OUR_PREFIX).unwrap_or(name));
    let word = other_word(suffix).or_else(|| nearest(suffix, words))?;
    let metallbs = known().any(|name| name == word);
    let prefix = prefix.to_ascii_lowercase() + "/";
    Some(match (metallbs, prefix == OUR_PREFIX) {
        (true, false) => format!("{prefix}{word}"),
        // Both have the same: MetalLB's new prefix is the one that lasts.
        (true, true) => format!("metallb.io/{word}"),
        (false, _) => format!("{OUR_PREFIX}{word}"),
    })
}

/// Words of other load balancers, and those that come to mind, which no distance of letters finds.
fn other_word(suffix: &str) -> Option<&'static str> {
    let plain: String = suffix
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    match plain.as_str() {
        "pool" | "ippool" | "addresspoolname" | "ipaddresspool" => Some(annotation::ADDRESS_POOL),
        "sharedip" | "sharingkey" | "sharekey" | "shareip" | "ipsharingkey" | "allowshared"
        | "allowsharing" => Some(annotation::ALLOW_SHARED_IP),
        "ip"
        | "ips"
        | "ipaddress"
        | "address"
        | "addresses"
        | "loadbalancerip"
        | "loadbalanceraddress"
        | "lbips"
        | "lbip"
        | "externalip"
        | "externalips" => Some(annotation::LOAD_BALANCER_IPS),
        "node" | "move" => ANNOTATION_MOVE_TO.strip_prefix(OUR_PREFIX),
        "adopt" => ANNOTATION_ADOPT_FROM.strip_prefix(OUR_PREFIX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(keys: &[&str]) -> Option<String> {
        unknown(keys.iter().copied()).map(Into::into)
    }

    #[test]
    fn what_metallb_or_ferrolb_reads_is_no_slip_and_neither_is_what_others_read() {
        let known = [
            "metallb.universe.tf/address-pool",
            "metallb.universe.tf/allow-shared-ip",
            "metallb.universe.tf/loadBalancerIPs",
            "metallb.universe.tf/ip-allocated-from-pool",
            "metallb.io/address-pool",
            "metallb.io/allow-shared-ip",
            "metallb.io/loadBalancerIPs",
            "metallb.io/ip-allocated-from-pool",
            "ferrolb.io/allow-node-ports",
            "ferrolb.io/move-to",
            "ferrolb.io/adopt-from",
            "kubectl.kubernetes.io/last-applied-configuration",
            "kube-vip.io/loadbalancerIPs",
            "example.com/metallb.io",
            "metallb.io",
            "notmetallb.io/address-pool",
        ];
        assert_eq!(said(&known), None);
    }

    #[test]
    fn a_slip_is_said_with_what_was_meant() {
        let rows = [
            // Other capitals, the singular, a word too few, a hyphen.
            (
                "metallb.universe.tf/loadBalancerIP",
                "metallb.universe.tf/loadBalancerIPs",
            ),
            ("metallb.io/loadbalancerips", "metallb.io/loadBalancerIPs"),
            ("metallb.io/load-balancer-ips", "metallb.io/loadBalancerIPs"),
            (
                "metallb.universe.tf/allow-shared",
                "metallb.universe.tf/allow-shared-ip",
            ),
            (
                "metallb.universe.tf/allow-share-ip",
                "metallb.universe.tf/allow-shared-ip",
            ),
            (
                "metallb.universe.tf/addresspool",
                "metallb.universe.tf/address-pool",
            ),
            (
                "metallb.universe.tf/address-pools",
                "metallb.universe.tf/address-pool",
            ),
            ("metallb.io/ip-address-pool", "metallb.io/address-pool"),
            ("metallb.io/pool", "metallb.io/address-pool"),
            // Under a prefix of the other one, and in capitals.
            ("ferrolb.io/loadBalancerIPs", "metallb.io/loadBalancerIPs"),
            ("metallb.io/move-to", "ferrolb.io/move-to"),
            ("MetalLB.io/address-pool", "metallb.io/address-pool"),
            ("ferrolb.io/moveTo", "ferrolb.io/move-to"),
            ("ferrolb.io/allow-node-port", "ferrolb.io/allow-node-ports"),
            ("ferrolb.io/adopt", "ferrolb.io/adopt-from"),
        ];
        for (key, meant) in rows {
            let want = format!("nobody reads the annotation {key}: did you mean {meant}?");
            assert_eq!(said(&[key]), Some(want));
        }
        assert_eq!(
            said(&["metallb.io/colour"]).as_deref(),
            Some("nobody reads the annotation metallb.io/colour: remove it")
        );
    }

    #[test]
    fn what_is_suggested_is_known() {
        for suffix in [
            "pool",
            "sharing-key",
            "ip",
            "node",
            "adopt",
            "loadBalancerIPS",
        ] {
            for prefix in ["metallb.io/", "metallb.universe.tf/", "ferrolb.io/"] {
                let meant = meant(&format!("{prefix}{suffix}")).unwrap();
                assert!(is_known(&meant), "{meant}");
            }
        }
    }

    #[test]
    fn the_sentence_depends_on_the_set_of_keys_alone_and_is_short() {
        let (a, b) = ("metallb.io/a1", "metallb.io/b2");
        assert_eq!(said(&[a, b]), said(&[b, a]));
        let many: Vec<_> = (0..2_000)
            .map(|n| format!("metallb.io/{}{n}", "x".repeat(200_000 / 2_000)))
            .collect();
        let keys: Vec<_> = many.iter().map(String::as_str).collect();
        let said = said(&keys).unwrap();
        assert!(said.len() < 1_024, "{} bytes", said.len());
        assert!(said.ends_with("; and 1996 more"), "{said}");
        // Where a key is cut there may be a character of several bytes.
        let wide = format!("metallb.io/{}", "ä".repeat(100));
        assert!(unknown([wide.as_str()].into_iter()).is_some());
    }
}
