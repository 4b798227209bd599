use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ownership::FAST;
use crate::ownership::model::{Entry, Life, Stage};

const NOW: Instant = Instant::from_millis(1_000);

fn table() -> Members {
    let me = NodeId::of("me");
    let mut own = Member::new("10.0.0.1".parse().unwrap(), NOW);
    (own.standing, own.listed) = (Standing::Live, true);
    Members::new(me, own, &FAST)
}

fn vip(n: u8) -> IpAddr {
    [192, 168, 0, n].into()
}

fn claim(epoch: u32) -> Claim {
    Claim {
        strong: true,
        epoch,
        rank: 7,
        asking: false,
    }
}

/// A record of `node` with a claim on the address `seq`.
fn entry(node: &str, boot: u64, inc: u32, life: Life, seq: u32) -> Entry {
    Entry {
        member: NodeId::of(node),
        boot,
        inc,
        life,
        address: "10.0.0.2".parse().unwrap(),
        mac: MacAddr::from([2, 0, 0, 0, 0, 2]),
        stage: Stage::Serving,
        former: false,
        consents: false,
        seq,
        part: 0,
        parts: 1,
        links: Vec::new(),
        tells_subnets: false,
        claims: vec![(vip(seq as u8), claim(seq))],
    }
}

fn live(node: &str, boot: u64, seq: u32) -> Entry {
    entry(node, boot, 0, Life::Live, seq)
}

fn owner(members: &Members, n: u8) -> Option<NodeId> {
    members.owner(vip(n)).map(|(id, _)| id)
}

#[test]
fn a_newer_record_replaces_an_older_one_and_never_the_reverse() {
    let mut members = table();
    assert_eq!(members.merge(&live("a", 1, 2), NOW), Merged::Changed);
    assert_eq!(members.merge(&live("a", 1, 1), NOW), Merged::Known);
    assert_eq!(
        (owner(&members, 2), owner(&members, 1)),
        (Some(NodeId::of("a")), None)
    );
    assert_eq!(members.merge(&live("a", 1, 3), NOW), Merged::Changed);
    assert_eq!(
        (owner(&members, 2), owner(&members, 3)),
        (None, Some(NodeId::of("a")))
    );
}

/// L7
#[test]
fn the_death_of_a_member_that_is_live_here_is_doubted() {
    let mut members = table();
    members.merge(&live("a", 1, 1), NOW);
    for life in [Life::Held, Life::Dead] {
        assert_eq!(
            members.merge(&entry("a", 1, 0, life, 1), NOW),
            Merged::Doubt
        );
        assert!(members.is_live(NodeId::of("a")));
    }
    let left = entry("a", 1, 0, Life::Left, 1);
    assert_eq!(
        members.merge(&left, NOW),
        Merged::Changed,
        "only it itself says that it left"
    );
}

#[test]
fn a_member_that_refuted_outlives_the_verdict() {
    let mut members = table();
    members.merge(&live("a", 1, 1), NOW);
    let death = Death {
        member: NodeId::of("a"),
        boot: 1,
        inc: 0,
        verdict: Verdict::Node,
    };
    assert!(members.bury(&death, NOW));
    assert_eq!(owner(&members, 1), None);
    members.merge(&entry("a", 1, 1, Life::Live, 1), NOW);
    assert_eq!(owner(&members, 1), Some(NodeId::of("a")));
    assert!(!members.bury(&death, NOW), "an old verdict is nobody's");
}

/// L11, R2
#[test]
fn a_restart_voids_claims_and_reserves_their_addresses() {
    let mut members = table();
    members.merge(&live("a", 1, 1), NOW);
    members.heard_of(NodeId::of("a"), 2, 0, NOW);
    assert_eq!(owner(&members, 1), None);
    assert_eq!(members.reserved_to(vip(1)), Some(NodeId::of("a")));
    assert_eq!(
        members.index().floor(vip(1)),
        1,
        "its epoch is not used again"
    );
    members.end_reservations(NOW + FAST.hold);
    assert_eq!(members.reserved_to(vip(1)), None);
}

#[test]
fn a_reservation_ends_when_its_holder_serves_again() {
    let mut members = table();
    members.merge(&live("a", 1, 1), NOW);
    members.merge(&live("a", 2, 2), NOW);
    assert_eq!(members.reserved_to(vip(1)), None);
    assert_eq!(owner(&members, 2), Some(NodeId::of("a")));
}

/// R1
#[test]
fn a_held_member_keeps_its_addresses_until_the_hold_ends() {
    for (verdict, hold) in [
        (Verdict::Process, FAST.hold),
        (Verdict::Restarting, FAST.hold_restart),
    ] {
        let mut members = table();
        members.merge(&live("a", 1, 1), NOW);
        let away = Death {
            member: NodeId::of("a"),
            boot: 1,
            inc: 0,
            verdict,
        };
        members.bury(&away, NOW);
        assert!(!members.is_live(NodeId::of("a")));
        members.end_reservations(NOW + (hold - Duration::from_millis(1)));
        assert_eq!(owner(&members, 1), Some(NodeId::of("a")), "{verdict:?}");
        members.end_reservations(NOW + hold);
        assert_eq!(owner(&members, 1), None, "{verdict:?}");
    }
}

/// C2, C3
#[test]
fn a_strong_claim_beats_a_higher_epoch_and_that_beats_rank() {
    let claim = |strong, epoch, rank| Claim {
        strong,
        epoch,
        rank,
        asking: false,
    };
    let (a, b) = (NodeId::of("a"), NodeId::of("b"));
    let beats = |x: Claim, y: Claim| x.strength(2, a) > y.strength(2, b);
    assert!(beats(claim(true, 1, 9), claim(false, 2, 1)));
    assert!(beats(claim(true, 2, 9), claim(true, 1, 1)));
    assert!(beats(claim(true, 1, 1), claim(true, 1, 9)));
}

#[test]
fn a_record_in_parts_counts_once_all_are_here() {
    let mut members = table();
    let mut parts = [live("a", 1, 5), live("a", 1, 5), live("a", 1, 5)];
    for (part, entry) in (0..).zip(&mut parts) {
        (entry.part, entry.parts) = (part, 3);
        entry.claims = vec![(vip(part as u8), claim(1))];
    }
    for part in [2, 0, 2] {
        members.merge(&parts[part], NOW);
        assert_eq!(owner(&members, 0), None);
    }
    members.merge(&parts[1], NOW);
    assert!((0..3).all(|n| owner(&members, n) == Some(NodeId::of("a"))));
}

#[test]
fn whoever_is_neither_listed_nor_live_is_forgotten() {
    let mut members = table();
    members.merge(&live("a", 1, 1), NOW);
    assert_eq!(members.index().known, 2);
    let death = Death {
        member: NodeId::of("a"),
        boot: 1,
        inc: 0,
        verdict: Verdict::Node,
    };
    members.bury(&death, NOW);
    assert_eq!(members.index().known, 1);
    members.set_listed(&BTreeMap::new(), NOW);
    assert!(members.get(NodeId::of("a")).is_none());
}

#[test]
fn neighbours_are_the_next_live_members_on_the_ring() {
    let mut members = table();
    let mut ring: Vec<NodeId> = ["me", "a", "b", "c", "d"].map(NodeId::of).to_vec();
    ring.sort_unstable();
    for node in ["a", "b", "c", "d"] {
        members.merge(&live(node, 1, 1), NOW);
    }
    assert_eq!(
        members.neighbours(ring[1], Way::Before, 2),
        [ring[0], ring[4]]
    );
    assert_eq!(
        members.neighbours(ring[4], Way::After, 3),
        [ring[0], ring[1], ring[2]]
    );
    assert_eq!(
        members.neighbours(ring[0], Way::After, 9).len(),
        4,
        "never itself"
    );
}

#[test]
fn an_address_that_nobody_claims_nor_wants_is_forgotten_at_the_second_look() {
    let mut members = table();
    for (seq, addresses) in [(1, 0..100), (2, 100..101)] {
        let claims = addresses.map(|n| (vip(n), claim(7))).collect();
        members.merge(
            &Entry {
                claims,
                ..live("a", 1, seq)
            },
            NOW,
        );
    }
    let floors = |members: &Members| {
        (0..101)
            .filter(|&n| members.index().floor(vip(n)) > 0)
            .count()
    };
    assert_eq!(floors(&members), 101);
    let is_wanted = |address| address == vip(5);
    members.forget_idle(is_wanted);
    assert_eq!(floors(&members), 101, "it may come back at once");
    members.set_own_claim(vip(6), Some(claim(8)));
    members.set_own_claim(vip(6), None);
    members.forget_idle(is_wanted);
    // What is wanted, what was claimed meanwhile, and what is.
    assert_eq!(floors(&members), 3);
    members.forget_idle(is_wanted);
    assert_eq!(floors(&members), 2);
}

/// Everything that members may say of themselves. Deaths are left to verdicts (L7).
fn any_entry() -> impl Strategy<Value = Entry> {
    (0_usize..3, 1_u64..3, 0_u32..3, 0_u32..5)
        .prop_map(|(node, boot, inc, seq)| entry(["a", "b", "c"][node], boot, inc, Life::Live, seq))
}

proptest! {
    /// Property 3: in any order, some of it twice, knowledge comes to the same table.
    #[test]
    fn knowledge_merges_in_any_order_to_the_same_table(
        entries in proptest::collection::vec(any_entry(), 1..12),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let (mut straight, mut shuffled) = (table(), table());
        for entry in &entries {
            straight.merge(entry, NOW);
        }
        for index in order {
            shuffled.merge(index.get(&entries), NOW);
        }
        for entry in entries.iter().rev() {
            shuffled.merge(entry, NOW);
        }
        for node in ["a", "b", "c"].map(NodeId::of) {
            let known = |members: &Members| {
                members.get(node).map(|m| (m.boot, m.inc, m.standing, Arc::clone(&m.record)))
            };
            prop_assert_eq!(known(&straight), known(&shuffled));
        }
        let owners = |members: &Members| (0..6).map(|n| owner(members, n)).collect::<Vec<_>>();
        prop_assert_eq!(owners(&straight), owners(&shuffled));
    }

    /// The index is what one would compute from the members.
    #[test]
    fn the_index_agrees_with_the_members(
        entries in proptest::collection::vec(any_entry(), 1..12),
        dead in 0_usize..3,
    ) {
        let mut members = table();
        for entry in &entries {
            members.merge(entry, NOW);
        }
        let id = NodeId::of(["a", "b", "c"][dead]);
        if let Some(member) = members.get(id) {
            let (boot, inc) = (member.boot, member.inc);
            members.bury(&Death { member: id, boot, inc, verdict: Verdict::Process }, NOW);
        }
        let index = members.index();
        let live: Vec<NodeId> = members.iter().filter(|(_, m)| m.is_live()).map(|(id, _)| id).collect();
        prop_assert_eq!(index.live.iter().copied().collect::<Vec<_>>(), live);
        let digest = members.iter().fold(0, |digest, (id, member)| digest ^ member.hash(id));
        prop_assert_eq!(index.digest(), digest);
        for n in 0..6 {
            let claimed = members.iter().filter(|(_, m)| (m.is_live() || m.is_held()) && m.record.claims.contains_key(&vip(n)));
            prop_assert_eq!(members.claims(vip(n)).count(), claimed.count());
        }
    }
}
