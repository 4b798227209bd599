//! The bytes of what is said to the kernel, and what may be asked for.

use std::net::IpAddr;
use std::time::Duration;

use ferrolb_core::address::Family;
use ferrolb_core::keep::words::Way;
use ferrolb_core::keep::{Entry, LONGEST, MAX_ENTRIES, Station};
use ferrolb_core::wire::MacAddr;
use ipnetwork::IpNetwork;

use crate::admission::{Admission, Refusal};
use crate::netlink::Batch;
use crate::table::skeleton;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One message in a line: kind, flags, family, attributes in hexadecimal.
fn lines(batch: &Batch) -> String {
    let lines = batch.0.iter().map(|message| {
        let hex: String = message
            .attributes
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{:2} {:#05x} {:2} {hex}",
            message.kind, message.flags, message.family
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_bytes_of_the_tables_are_these() {
    for (name, family, way) in [
        ("ip_dup", Family::V4, Way::Dup),
        ("ip6_dup", Family::V6, Way::Dup),
        ("ip_tee", Family::V4, Way::Tee),
        ("ip6_tee", Family::V6, Way::Tee),
    ] {
        insta::assert_snapshot!(name, lines(&skeleton(family, way)));
    }
}

#[test]
fn a_batch_begins_and_ends_and_its_messages_are_numbered() {
    let bytes = Batch(Vec::new()).encode(7);
    let begin = [
        20, 0, 0, 0, 0x10, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
    ];
    let end = [
        20, 0, 0, 0, 0x11, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
    ];
    assert_eq!(bytes, [begin, end].concat());
}

fn admission() -> Admission {
    let station = |address, n| Station {
        address: ip(address),
        mac: MacAddr(2, 0, 0, 0, 0, n),
    };
    let mut admission = Admission::default();
    admission.set_stations(&[
        station("10.0.0.1", 1),
        station("fd00::1", 1),
        station("172.16.0.1", 3),
        // What no host can have.
        station("10.0.0.3", 0).without_mac(),
        Station {
            address: ip("10.0.0.4"),
            mac: MacAddr::broadcast(),
        },
        station("224.0.0.5", 5),
        station("10.0.0.5", 5),
    ]);
    admission
}

trait WithoutMac {
    fn without_mac(self) -> Self;
}

impl WithoutMac for Station {
    fn without_mac(self) -> Self {
        Self {
            mac: MacAddr::zero(),
            ..self
        }
    }
}

fn own() -> Vec<IpNetwork> {
    ["10.0.0.5/24", "fd00::5/64", "127.0.0.1/8", "10.9.9.9/32"]
        .map(|text| text.parse().unwrap())
        .into()
}

#[test]
fn only_other_nodes_on_a_link_are_passed_on_to() {
    let admission = admission();
    let admit = |vip: &str, via: &str, seconds| {
        let entry = Entry {
            vip: ip(vip),
            via: ip(via),
            time: Duration::from_secs(seconds),
        };
        admission.admit(&entry, &own(), 0)
    };
    assert_eq!(admit("10.0.0.200", "10.0.0.1", 600), Ok(()));
    assert_eq!(admit("fd00::200", "fd00::1", 1), Ok(()));
    // An address on no subnet of this node may be announced, too.
    assert_eq!(admit("192.0.2.1", "10.0.0.1", 600), Ok(()));
    for (vip, via, seconds, refusal) in [
        ("10.0.0.200", "10.0.0.2", 600, Refusal::NoNode),
        ("10.0.0.200", "10.0.0.3", 600, Refusal::NoNode),
        ("10.0.0.200", "10.0.0.4", 600, Refusal::NoNode),
        ("10.0.0.200", "8.8.8.8", 600, Refusal::NoNode),
        ("10.0.0.200", "172.16.0.1", 600, Refusal::NotOnLink),
        ("10.0.0.200", "10.0.0.5", 600, Refusal::Own),
        ("10.0.0.5", "10.0.0.1", 600, Refusal::Own),
        ("10.9.9.9", "10.0.0.1", 600, Refusal::Own),
        ("172.16.0.1", "10.0.0.1", 600, Refusal::Node),
        ("10.0.0.1", "10.0.0.1", 600, Refusal::Mismatch),
        ("10.0.0.200", "fd00::1", 600, Refusal::Mismatch),
        ("10.0.0.200", "10.0.0.1", 0, Refusal::Time),
        (
            "10.0.0.200",
            "10.0.0.1",
            LONGEST.as_secs() + 1,
            Refusal::Time,
        ),
    ] {
        assert_eq!(admit(vip, via, seconds), Err(refusal), "{vip} via {via}");
    }
    for no_host in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "169.254.1.1",
        "224.0.0.5",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ] {
        assert_eq!(
            admit(no_host, "10.0.0.1", 9),
            Err(Refusal::NoHost),
            "{no_host}"
        );
        assert_eq!(
            admit("10.0.0.200", no_host, 9),
            Err(Refusal::NoHost),
            "{no_host}"
        );
    }
}

#[test]
fn no_more_are_taken_than_there_is_room_for() {
    let entry = Entry {
        vip: ip("10.0.0.200"),
        via: ip("10.0.0.1"),
        time: Duration::from_secs(600),
    };
    assert_eq!(admission().admit(&entry, &own(), MAX_ENTRIES - 1), Ok(()));
    assert_eq!(
        admission().admit(&entry, &own(), MAX_ENTRIES),
        Err(Refusal::Full)
    );
}
