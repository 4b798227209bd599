//! Addresses that no host can have, and those that are seldom meant.

use super::*;

fn partly(text: &str) -> (Config, Vec<String>) {
    match parse(text) {
        Outcome::Partly(config, left_out) => {
            let left_out = left_out.iter().map(ToString::to_string);
            (config, left_out.collect())
        }
        other => panic!("must be in force in part: {other:?}\n{text}"),
    }
}

#[test]
fn a_range_that_no_host_can_have_is_left_out_with_its_line_and_the_rest_is_in_force() {
    let rows = [
        ("127.0.0.2-127.0.0.10", "loopback"),
        ("127.0.0.1", "loopback"),
        ("0.0.0.0/32", "unspecified"),
        ("224.0.0.10/31", "multicast"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("'::'", "unspecified"),
        ("'::1'", "loopback"),
        (
            "'::/127'",
            "unspecified address (RFC 4291) and the loopback",
        ),
        ("ff02::/16", "multicast"),
        ("::ffff:127.0.0.0/120", "loopback"),
    ];
    for (entry, what) in rows {
        let (config, left_out) = partly(&with_addresses(&[entry, "10.0.0.7"]));
        assert_eq!(left_out.len(), 1, "{entry}: {left_out:?}");
        let said = &left_out[0];
        assert!(said.starts_with("line 5, column 5: "), "{said}");
        assert!(said.contains("holds only what no host can have"), "{said}");
        assert!(said.contains(what), "{said}");
        assert!(said.contains("write addresses of your network"), "{said}");
        let ranges = &config.pools[0].ranges;
        assert_eq!(ranges.len(), 1, "{entry}");
        assert_eq!(ranges[0].to_string(), "10.0.0.7", "{entry}");
    }
}

#[test]
fn of_a_range_that_holds_such_addresses_the_others_are_in_force_and_said() {
    let rows = [
        (
            "223.255.255.0-224.0.0.5",
            "write `223.255.255.0-223.255.255.255`",
        ),
        (
            "126.255.255.255-128.0.0.1",
            "write `126.255.255.255` and `128.0.0.0-128.0.0.1`, each",
        ),
        ("240.0.0.0/4", "write `240.0.0.0-255.255.255.254`"),
        ("'::/126'", "write `::2-::3`"),
        (
            "0.0.0.0/0",
            "write `0.0.0.1-126.255.255.255` and `128.0.0.0-223.255.255.255` and \
             `240.0.0.0-255.255.255.254`",
        ),
        (
            "'::/0'",
            "write `::2-::fffe:ffff:ffff` and \
             `::1:0:0:0-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff`",
        ),
    ];
    for (entry, help) in rows {
        let (config, left_out) = partly(&with_addresses(&[entry]));
        assert_eq!(left_out.len(), 1, "{entry}: {left_out:?}");
        assert!(
            left_out[0].starts_with("line 5, column 5: "),
            "{left_out:?}"
        );
        assert!(left_out[0].contains(help), "{left_out:?}");
        // What the message says to write is what is in force.
        let written: Vec<_> = config.pools[0]
            .ranges
            .iter()
            .map(|one| format!("'{one}'"))
            .collect();
        let mended: Vec<_> = written.iter().map(String::as_str).collect();
        assert_eq!(valid(&with_addresses(&mended)), config, "{entry}");
    }
}

#[test]
fn a_pool_of_which_nothing_is_left_stays() {
    let text = with_addresses(&["127.0.0.2-127.0.0.10"])
        + "- name: other\n  protocol: layer2\n  addresses: [10.0.0.1]\n";
    let (config, _) = partly(&text);
    assert_eq!(config.pools.len(), 2);
    let pool = config.pool("default").unwrap();
    assert_eq!((pool.ranges.len(), pool.capacity()), (0, 0));
}

#[test]
fn what_was_in_force_with_aggregation_stays_so_without_what_is_left_out() {
    let text = "address-pools:\n- name: a\n  protocol: bgp\n  addresses: [0.0.0.0/0]\n  \
                bgp-advertisements: [{aggregation-length: 0}]\n";
    partly(text);
}

#[test]
fn beside_another_mistake_all_is_refused_and_all_is_told() {
    let problems = refused(&with_addresses(&["127.0.0.1", "nonsense", "10.0.0.1"]));
    assert_eq!(lines(&problems), [Some(5), Some(6)]);
}

#[test]
fn link_local_addresses_and_this_network_are_accepted_with_a_warning_and_240_without() {
    let warned = |entry: &str| {
        let (outcome, warnings) = parse_with_warnings(&with_addresses(&[entry]));
        assert!(matches!(outcome, Outcome::Valid(_)), "{outcome:?}");
        warnings.map_or_else(String::new, |warnings| warnings.to_string())
    };
    for (entry, words) in [
        (
            "169.254.7.0/24",
            "169.254.7.0-169.254.7.255: link-local addresses (RFC 3927)",
        ),
        (
            "169.253.0.0-169.254.0.1",
            "169.254.0.0-169.254.0.1: link-local",
        ),
        ("'fe80::/64'", "link-local addresses (RFC 4291)"),
        ("0.1.2.3", "`this network` (RFC 1122)"),
    ] {
        let said = warned(entry);
        assert!(
            said.starts_with("line 5, column 5: ") && said.contains(words),
            "{said}"
        );
    }
    for entry in [
        "240.0.0.0/24",
        "223.255.255.255",
        "fec0::/64",
        "169.253.0.0/16",
    ] {
        assert_eq!(warned(entry), "", "{entry}");
    }
}
