use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::address::AddressRange;
use crate::config::{
    BfdProfile, BgpAdvertisement, LabelExpression, LabelOperator, LabelSelector,
    Layer2Advertisement, Neighbour, Password, Peer, PeerAsn, Pool, PreferredNodes, RouteAttributes,
    Scope, ShareWithin,
};

const UID: &str = "0a1b";

fn compiled(config: Config) -> Compiled {
    Compiled {
        memory: Memory {
            source: Source::Objects,
            ignored: Some("uid/hash".to_owned()),
            orphaned: true,
        },
        config,
    }
}

/// What the API server makes of it.
fn written(compiled: &Compiled, before: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut data = before.clone();
    for (key, value) in write(compiled, UID).unwrap() {
        match value {
            Some(value) => data.insert(key, value),
            None => data.remove(&key),
        };
    }
    data
}

fn one() -> BTreeMap<String, String> {
    written(&compiled(Config::new()), &BTreeMap::new())
}

fn name() -> impl Strategy<Value = String> {
    "[a-zäß\"\\\\][a-z0-9.\\-]{0,9}"
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|n| IpAddr::from(n.to_be_bytes())),
        // Not IPv4 in another form, which has two texts.
        any::<u64>().prop_map(|n| IpAddr::from(Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(n)))),
    ]
}

fn range() -> impl Strategy<Value = AddressRange> {
    (address(), address()).prop_map(|(one, other)| {
        let (first, last) = (one.min(other), one.max(other));
        AddressRange::new(first, last)
            .unwrap_or_else(|| AddressRange::new(one, one).expect("one address is a range"))
    })
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let operator = prop_oneof![
        vec(name(), 0..3).prop_map(LabelOperator::In),
        vec(name(), 0..3).prop_map(LabelOperator::NotIn),
        Just(LabelOperator::Exists),
        Just(LabelOperator::DoesNotExist),
    ];
    let expression =
        (name(), operator).prop_map(|(key, operator)| LabelExpression { key, operator });
    let both = (btree_map(name(), name(), 0..3), vec(expression, 0..3));
    both.prop_map(|(match_labels, match_expressions)| LabelSelector {
        match_labels,
        match_expressions,
    })
}

fn selectors() -> impl Strategy<Value = Vec<LabelSelector>> {
    vec(selector(), 0..3)
}

fn pool() -> impl Strategy<Value = Pool> {
    let flags = any::<[bool; 6]>();
    let lists = (vec(range(), 0..4), vec(range(), 0..2), vec(name(), 0..3));
    let labels = btree_map(name(), name(), 0..3);
    let selecting = (selectors(), selectors());
    let all = (
        name(),
        flags,
        lists,
        labels,
        selecting,
        option::of(any::<u32>()),
    );
    all.prop_map(
        |(name, flags, (ranges, exclude, namespaces), labels, selecting, priority)| Pool {
            name,
            labels: labels.into_iter().collect(),
            ranges,
            exclude,
            auto_assign: flags[0],
            avoid_buggy_ips: flags[1],
            pinned: flags[2],
            priority,
            namespaces,
            namespace_selectors: selecting.0,
            service_selectors: selecting.1,
            share_within: match flags[3] {
                true => ShareWithin::Cluster,
                false => ShareWithin::Namespace,
            },
            sharing: flags[4],
            allow_node_ports: flags[5],
        },
    )
}

fn scope() -> impl Strategy<Value = Scope> {
    let all = (
        btree_set(name(), 0..3),
        selectors(),
        selectors(),
        selectors(),
    );
    all.prop_map(
        |(pools, pool_selectors, service_selectors, node_selectors)| Scope {
            pools,
            pool_selectors,
            service_selectors,
            node_selectors,
        },
    )
}

fn layer2() -> impl Strategy<Value = Layer2Advertisement> {
    let preferred = (any::<u8>(), selector());
    let preferred = preferred.prop_map(|(weight, selector)| PreferredNodes { weight, selector });
    let all = (name(), scope(), vec(name(), 0..3), vec(preferred, 0..3));
    all.prop_map(
        |(name, scope, interfaces, preferred_nodes)| Layer2Advertisement {
            name,
            scope,
            interfaces,
            preferred_nodes,
        },
    )
}

fn bgp() -> impl Strategy<Value = BgpAdvertisement> {
    let numbers = (any::<u8>(), any::<u8>(), any::<u32>(), any::<u8>());
    let communities = (vec(any::<u32>(), 0..3), vec(any::<[u32; 3]>(), 0..3));
    let all = (
        name(),
        scope(),
        btree_set(name(), 0..3),
        numbers,
        communities,
    );
    all.prop_map(
        |(name, scope, peers, (v4, v6, localpref, prepend), communities)| BgpAdvertisement {
            name,
            scope,
            route: RouteAttributes {
                aggregation_length: v4,
                aggregation_length_v6: v6,
                localpref,
                as_path_prepend: prepend,
                communities: communities.0,
                large_communities: communities.1,
            },
            peers,
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    let asn = prop_oneof![
        any::<u32>().prop_map(PeerAsn::Number),
        Just(PeerAsn::Internal),
        Just(PeerAsn::External),
    ];
    let neighbour = prop_oneof![
        address().prop_map(Neighbour::Address),
        name().prop_map(Neighbour::Interface),
    ];
    let seconds = || any::<u16>().prop_map(|n| Duration::from_secs(n.into()));
    let numbers = (any::<u32>(), asn, option::of(any::<u32>()), any::<u16>());
    let addresses = (neighbour, option::of(address()), option::of(address()));
    let times = (seconds(), seconds(), option::of(seconds()));
    let names = (name(), option::of(name()), option::of(name()), name());
    let all = (
        numbers,
        addresses,
        times,
        names,
        selectors(),
        any::<[bool; 3]>(),
    );
    all.prop_map(
        |(numbers, addresses, times, names, node_selectors, flags)| Peer {
            name: names.0,
            my_asn: numbers.0,
            peer_asn: numbers.1,
            local_asn: numbers.2,
            neighbour: addresses.0,
            source_address: addresses.1,
            port: numbers.3,
            hold_time: times.0,
            keepalive_time: times.1,
            connect_time: times.2,
            router_id: addresses.2,
            node_selectors,
            password: Password::default(),
            password_secret: names.1,
            bfd_profile: names.2,
            ebgp_multihop: flags[0],
            graceful_restart: flags[1],
            vrf: names.3,
            dual_stack: flags[2],
        },
    )
}

fn bfd_profile() -> impl Strategy<Value = BfdProfile> {
    let time = || option::of(any::<u16>().prop_map(|n| Duration::from_millis(n.into())));
    let numbers = (option::of(any::<u8>()), option::of(any::<u8>()));
    let all = (name(), time(), time(), time(), numbers, any::<[bool; 2]>());
    all.prop_map(
        |(name, receive, transmit, echo, (multiplier, ttl), flags)| BfdProfile {
            name,
            receive_interval: receive,
            transmit_interval: transmit,
            echo_interval: echo,
            detect_multiplier: multiplier,
            minimum_ttl: ttl,
            echo_mode: flags[0],
            passive_mode: flags[1],
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    let all = (
        vec(pool(), 0..4),
        vec(layer2(), 0..4),
        vec(bgp(), 0..3),
        vec(peer(), 0..3),
        vec(bfd_profile(), 0..3),
    );
    all.prop_map(|(pools, layer2, bgp, peers, bfd_profiles)| Config {
        pools,
        layer2,
        bgp,
        peers,
        bfd_profiles,
    })
}

fn memory() -> impl Strategy<Value = Memory> {
    let source = prop_oneof![Just(Source::ConfigMap), Just(Source::Objects)];
    let all = (source, option::of(name()), any::<bool>());
    all.prop_map(|(source, ignored, orphaned)| Memory {
        source,
        ignored,
        orphaned,
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(
        memories in [memory(), memory()],
        configs in [config(), config()],
    ) {
        let [one, other] = memories;
        let [config, before] = configs;
        let before = written(&Compiled { memory: other, config: before }, &BTreeMap::new());
        let compiled = Compiled { memory: one, config };
        let data = written(&compiled, &before);
        prop_assert!(says(&data, &write(&compiled, UID).unwrap()));
        prop_assert_eq!(read(&data, UID), Ok(compiled));
    }
}

#[test]
fn without_the_objects_own_uid_in_it_nothing_counts() {
    let data = one();
    assert!(read(&data, UID).is_ok());
    // The chart's, one that a speaker made, and a copy of a good one.
    assert_eq!(read(&BTreeMap::new(), UID), Err(Unread::Unmarked));
    assert_eq!(read(&data, "another"), Err(Unread::Unmarked));
    let mut without = data;
    without.insert(MARK.to_owned(), String::new());
    assert_eq!(read(&without, ""), Err(Unread::Unmarked));
    assert_eq!(
        Unread::Unmarked.refusal(),
        None,
        "nobody needs to hear of it"
    );
}

#[test]
fn another_schema_is_ignored_and_its_source_still_counts() {
    let mut data = one();
    data.insert(SCHEMA_KEY.to_owned(), "2".to_owned());
    data.insert(CONFIG.to_owned(), "[1]".to_owned());
    let unread = read(&data, UID).unwrap_err();
    assert!(matches!(
        unread,
        Unread::Unusable {
            source: Some(Source::Objects),
            ..
        }
    ));
    let refusal = unread.refusal().unwrap();
    assert_eq!(refusal.reason, Reason::CompiledIgnored);
    assert_eq!(
        refusal.text,
        "the compiled configuration is ignored: its schema is 2, and this version reads 1: \
         run one version of FerroLB"
    );
}

#[test]
fn an_edit_by_hand_does_nothing_and_is_written_over() {
    for (key, value) in [
        (CONFIG, "{}  "),
        (HASH, "0"),
        (SCHEMA_KEY, ""),
        (SOURCE, "both"),
    ] {
        let mut data = one();
        data.insert(key.to_owned(), value.to_owned());
        assert!(
            matches!(read(&data, UID), Err(Unread::Unusable { .. })),
            "{key}"
        );
        let wanted = write(&compiled(Config::new()), UID).unwrap();
        assert!(!says(&data, &wanted), "{key}");
        data.remove(key);
        assert!(read(&data, UID).is_err(), "{key}");
    }
    // A configuration that is not one, with the right hash.
    let mut data = one();
    data.insert(HASH.to_owned(), hash_of("7"));
    data.insert(CONFIG.to_owned(), "7".to_owned());
    assert!(read(&data, UID).is_err());
}

#[test]
fn a_password_is_written_nowhere() {
    let text = "peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1, password: s3cret}]\n\
                address-pools: [{name: a, protocol: layer2, addresses: [10.1.0.0/24]}]";
    let config = crate::config::parse(text).in_force().unwrap();
    assert_eq!(config.peers[0].password.expose(), "s3cret");
    let data = written(&compiled(config), &BTreeMap::new());
    assert!(!format!("{data:?}").contains("s3cret"));
    let back = read(&data, UID).unwrap().config;
    assert!(back.peers[0].password.is_empty());
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let pool = |n: usize| {
        let text = format!(
            "address-pools: [{{name: p{n}, protocol: layer2, addresses: [{}]}}]",
            (0..250)
                .map(|last| format!("10.{}.{}.{last}/32", n / 250, n % 250))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let config = crate::config::parse(&text).in_force().unwrap();
        config.pools.into_iter()
    };
    let config = |pools: usize| Config {
        pools: (0..pools).flat_map(pool).collect(),
        ..Config::new()
    };
    assert_eq!(check_size(&config(200)), Ok(()));
    let refusal = check_size(&config(320)).unwrap_err();
    assert_eq!(refusal.reason, Reason::ConfigTooLarge);
    assert!(refusal.text.contains("write ranges"), "{refusal}");
    assert_eq!(write(&compiled(config(320)), UID), Err(refusal));
}

#[test]
fn what_is_said_of_bgp_keeps_out_nothing_of_layer_2() {
    let text = "address-pools: [{name: a, protocol: layer2, addresses: [10.1.0.0/24]}]";
    let layer2 = crate::config::parse(text).in_force().unwrap();
    let routes = |count: usize| Config {
        bgp: (0..count)
            .map(|n| BgpAdvertisement {
                name: format!("{n:0200}"),
                ..BgpAdvertisement::default()
            })
            .collect(),
        ..layer2.clone()
    };
    let back = |config: Config| {
        let data = written(&compiled(config), &BTreeMap::new());
        read(&data, UID).unwrap().config
    };
    assert_eq!(back(routes(10)), routes(10));
    assert_eq!(back(routes(10_000)), layer2);
}
