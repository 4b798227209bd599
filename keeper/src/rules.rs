//! The rules. Each line has its reason; each reason was measured on a real cluster or in namespaces, and
//! `tests/namespaces` measures it again.
//!
//! ```nft
//! table ip ferrolb-keeper {
//!   flags owner
//!   set moved  { type ipv4_addr; flags timeout }
//!   set peers  { type ether_addr }
//!   map passed { type ipv4_addr : ipv4_addr; flags timeout; counter }
//!   chain pass { dup to ip daddr map @passed drop }
//!   chain pre  { type filter hook prerouting priority mangle - 1
//!     ip daddr != @moved accept
//!     meta iiftype != ether accept
//!     ether saddr @peers accept
//!     ip ttl < 3 accept
//!     ct state new     meta l4proto tcp tcp flags & (syn | ack) != syn  goto pass
//!     ct state invalid meta l4proto tcp tcp flags & (fin | rst) != 0    goto pass
//!     ct state invalid meta l4proto icmp icmp type destination-unreachable                goto pass
//!     ct state invalid meta l4proto icmp icmp type { time-exceeded, parameter-problem }   goto pass
//!   } }
//! ```

use std::net::IpAddr;

use ferrolb_core::address::Family;

use crate::netlink::Attributes;

/// The table's name, in both families.
pub(crate) const TABLE: &str = "ferrolb-keeper";
/// Where every packet is looked at.
pub(crate) const PRE: &str = "pre";
/// Where it is passed on.
pub(crate) const PASS: &str = "pass";
/// Addresses that have moved.
pub(crate) const MOVED: &str = "moved";
/// Hardware addresses of other nodes.
pub(crate) const PEERS: &str = "peers";
/// Where their packets go.
pub(crate) const PASSED: &str = "passed";

/// `NF_IP_PRI_MANGLE` - 1: after connection tracking (-200), which says what is unknown, and before DNAT
/// (-100), which would give the packet an entry of its own.
pub(crate) const PRIORITY: i32 = -151;

/// `NFT_REG_1`: 16 bytes.
const REGISTER: u32 = 1;
const ETHERNET: u16 = 1;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// `NF_CT_STATE_INVALID_BIT`, and that of `IP_CT_NEW`.
const INVALID: u32 = 1;
const NEW: u32 = 8;

/// A rule: its expressions in their order.
pub(crate) type Rule = Vec<Attributes>;

/// What is looked at before anything is passed on.
pub(crate) fn guards(family: Family) -> Vec<Rule> {
    let ethernet = ETHERNET.to_ne_bytes();
    vec![
        // Nothing else is this table's business: one lookup for every other packet.
        vec![destination(family), lookup(MOVED, false), accept()],
        // Without a hardware address nobody can tell whether it comes from a node: a tunnel.
        vec![meta(IIFTYPE), compare(NOT_EQUAL, &ethernet), accept()],
        // Without this line two nodes that pass to each other sent one stray ACK round 375,000 times in
        // half a second. A node passes on to one other and no further: one hop, and then the usual reset.
        vec![
            meta(IIFTYPE),
            compare(EQUAL, &ethernet),
            load(LINK, 6, 6),
            lookup(PEERS, true),
            accept(),
        ],
        // The kernel lowers the time to live of what `dup` sends and never looks at it: it wraps. So here
        // a loop ends whose hardware addresses nobody knows.
        vec![
            load(NETWORK, time_to_live(family), 1),
            compare(LESS, &[3]),
            accept(),
        ],
    ]
}

/// What is passed on: of unknown connections only, and never what begins one.
pub(crate) fn matches(family: Family) -> Vec<Rule> {
    let tcp_flags = || load(TRANSPORT, 13, 1);
    let kind = || load(TRANSPORT, 0, 1);
    let mut rules = vec![
        // In the middle of a connection that connection tracking does not have
        // (nf_conntrack_tcp_loose = 1). A SYN is the new owner's; a SYN with ACK answers nobody here.
        [
            state(NEW),
            protocol(TCP),
            vec![tcp_flags(), mask(&[SYN | ACK]), compare(NOT_EQUAL, &[SYN])],
        ]
        .concat(),
        // To connection tracking they can begin nothing, so they are invalid, not new. Without this line
        // 100 of 100 connections hung at their end.
        [
            state(INVALID),
            protocol(TCP),
            vec![tcp_flags(), mask(&[FIN | RST]), compare(NOT_EQUAL, &[0])],
        ]
        .concat(),
    ];
    // Errors about packets that the old owner sent. Without these lines 10 of 10 connections hung for good
    // when the path's MTU shrank after the move.
    let errors = |range: Vec<Attributes>, of: u8| {
        [state(INVALID), protocol(of), vec![kind()], range].concat()
    };
    match family {
        Family::V4 => {
            // 3 destination unreachable; 11 time exceeded, 12 parameter problem (RFC 792).
            rules.push(errors(vec![compare(EQUAL, &[3])], ICMP));
            let range = vec![compare(AT_LEAST, &[11]), compare(AT_MOST, &[12])];
            rules.push(errors(range, ICMP));
        }
        Family::V6 => {
            // 1 to 4: destination unreachable, packet too big, time exceeded, parameter problem (RFC 4443).
            let range = vec![compare(AT_LEAST, &[1]), compare(AT_MOST, &[4])];
            rules.push(errors(range, ICMPV6));
        }
    }
    for rule in &mut rules {
        rule.push(verdict(GOTO, Some(PASS)));
    }
    rules
}

/// Sends a copy to where the map says, by LOCAL_OUT and untracked, so that no firewall, NAT or redirect of
/// this node has to do with it. The drop ends the packet before its new entry is confirmed: each packet takes
/// the same way, and nothing has to be cleaned up. What has no place in the map any more goes on as usual.
pub(crate) fn duplicate(family: Family) -> Rule {
    vec![
        destination(family),
        lookup_into(PASSED),
        expression("dup", &Attributes::new().be32(1, REGISTER)),
        drop_packet(),
    ]
}

/// The same by the TEE target, for kernels without `dup` (Talos): a set and a rule of each old owner.
pub(crate) fn tee(set: &str, via: IpAddr) -> Rule {
    let family = Family::of(via);
    // struct xt_tee_tginfo: 16 bytes of address, 16 of a link's name, a pointer that is the kernel's.
    let mut info = [0; 40];
    match via {
        IpAddr::V4(via) => info[..4].copy_from_slice(&via.octets()),
        IpAddr::V6(via) => info[..16].copy_from_slice(&via.octets()),
    }
    let target = Attributes::new().text(1, "TEE").be32(2, 1).bytes(3, &info);
    vec![
        destination(family),
        lookup(set, true),
        expression("target", &target),
        drop_packet(),
    ]
}

/// Counts packets: of each element of a set that has this expression.
pub(crate) fn counter() -> Attributes {
    expression("counter", &Attributes::new())
}

/// Bases of `load` (`NFT_PAYLOAD_…`).
const LINK: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// `NFT_META_…`
const IIFTYPE: u32 = 8;
const L4PROTO: u32 = 16;

/// `NFT_CMP_…`
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const LESS: u32 = 2;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

/// `NF_DROP`, `NF_ACCEPT`, `NFT_GOTO`
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const GOTO: i32 = -4;

/// Bytes of the destination in an IPv4 header (RFC 791) or an IPv6 one (RFC 8200).
fn destination(family: Family) -> Attributes {
    match family {
        Family::V4 => load(NETWORK, 16, 4),
        Family::V6 => load(NETWORK, 24, 16),
    }
}

const fn time_to_live(family: Family) -> u32 {
    match family {
        Family::V4 => 8,
        Family::V6 => 7,
    }
}

/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`
fn expression(name: &str, data: &Attributes) -> Attributes {
    Attributes::new().text(1, name).nest(2, data)
}

/// `NFTA_PAYLOAD_…`: register, base, offset, length.
fn load(base: u32, offset: u32, length: u32) -> Attributes {
    let data = Attributes::new()
        .be32(1, REGISTER)
        .be32(2, base)
        .be32(3, offset)
        .be32(4, length);
    expression("payload", &data)
}

/// `NFTA_META_…`: register, key.
fn meta(key: u32) -> Attributes {
    expression("meta", &Attributes::new().be32(1, REGISTER).be32(2, key))
}

fn protocol(protocol: u8) -> Rule {
    vec![meta(L4PROTO), compare(EQUAL, &[protocol])]
}

/// `NFTA_CT_…`: register, key (`NFT_CT_STATE`). The state is a number of this machine's order.
fn state(state: u32) -> Rule {
    let data = Attributes::new().be32(1, REGISTER).be32(2, 0);
    vec![
        expression("ct", &data),
        mask(&state.to_ne_bytes()),
        compare(NOT_EQUAL, &[0; 4]),
    ]
}

/// `NFTA_BITWISE_…`: source, destination, length, mask, xor.
fn mask(mask: &[u8]) -> Attributes {
    let length = u32::try_from(mask.len()).unwrap_or_default();
    let data = Attributes::new()
        .be32(1, REGISTER)
        .be32(2, REGISTER)
        .be32(3, length)
        .nest(4, &value(mask))
        .nest(5, &value(&vec![0; mask.len()]));
    expression("bitwise", &data)
}

/// `NFTA_CMP_…`: register, operator, data.
fn compare(operator: u32, with: &[u8]) -> Attributes {
    let data = Attributes::new()
        .be32(1, REGISTER)
        .be32(2, operator)
        .nest(3, &value(with));
    expression("cmp", &data)
}

/// `NFTA_LOOKUP_…`: set, register, flags (`NFT_LOOKUP_F_INV`).
fn lookup(set: &str, is_in: bool) -> Attributes {
    let data = Attributes::new()
        .text(1, set)
        .be32(2, REGISTER)
        .be32(5, u32::from(!is_in));
    expression("lookup", &data)
}

/// The same in a map, whose value replaces the key.
fn lookup_into(map: &str) -> Attributes {
    let data = Attributes::new()
        .text(1, map)
        .be32(2, REGISTER)
        .be32(3, REGISTER);
    expression("lookup", &data)
}

/// `NFTA_DATA_VALUE`
pub(crate) fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(1, bytes)
}

fn accept() -> Attributes {
    verdict(ACCEPT, None)
}

fn drop_packet() -> Attributes {
    verdict(DROP, None)
}

/// `NFTA_IMMEDIATE_…`: register (`NFT_REG_VERDICT`), data (`NFTA_DATA_VERDICT`: code, chain).
fn verdict(code: i32, chain: Option<&str>) -> Attributes {
    let verdict = Attributes::new().be32(1, code.cast_unsigned());
    let verdict = match chain {
        Some(chain) => verdict.text(2, chain),
        None => verdict,
    };
    let data = Attributes::new()
        .be32(1, 0)
        .nest(2, &Attributes::new().nest(2, &verdict));
    expression("immediate", &data)
}
