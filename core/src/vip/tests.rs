use super::*;
use crate::wire::MacAddr;

const FREE: Standing = Standing {
    may: Ok(()),
    drawback: None,
};

fn kept_by(reason: Reason) -> Standing {
    Standing {
        may: Err(reason),
        drawback: None,
    }
}

fn behind(reason: Reason) -> Standing {
    Standing {
        may: Ok(()),
        drawback: Some(reason),
    }
}

fn owner() -> Option<(NodeId, u32)> {
    Some((NodeId::of("n1"), 7))
}

/// This node's.
fn own() -> Option<VipStatus> {
    Some(VipStatus {
        owner: owner(),
        asking: false,
        reason: None,
    })
}

fn not_own(reason: Reason) -> Option<VipStatus> {
    Some(VipStatus {
        owner: owner(),
        asking: false,
        reason: Some(reason),
    })
}

fn here(standing: Standing, ownership: Option<VipStatus>, progress: Option<Progress>) -> Here {
    let known = Knowledge {
        standing,
        ownership,
        progress,
    };
    State::of(Ok(known)).here
}

#[test]
fn what_is_this_nodes_is_announced_only_once_the_wire_says_so_and_else_the_wire_says_why_not() {
    use Progress::{Announced, Conflict, NoLink, Probing};
    let behind = behind(Reason::NodeLeaving);
    let drawback = Some(Reason::NodeLeaving);
    for (progress, expected) in [
        (Some(Announced), Here::Announced { drawback }),
        (Some(Conflict), Here::Silent(Reason::AddressConflict)),
        (Some(NoLink), Here::Silent(Reason::NoLink)),
        (Some(Probing), Here::Silent(Reason::Probing)),
        // The wire thread has not been told yet.
        (None, Here::Silent(Reason::Probing)),
    ] {
        assert_eq!(here(behind, own(), progress), expected, "{progress:?}");
    }
}

#[test]
fn what_is_another_nodes_is_silent_whatever_the_wire_thread_still_does() {
    for progress in [
        None,
        Some(Progress::Announced),
        Some(Progress::Conflict),
        Some(Progress::NoLink),
        Some(Progress::Probing),
    ] {
        let said = here(FREE, not_own(Reason::NotOwner), progress);
        assert_eq!(said, Here::Silent(Reason::NotOwner), "{progress:?}");
    }
}

#[test]
fn a_general_reason_gives_way_to_this_nodes_own_and_a_special_one_stays() {
    let no_endpoint = kept_by(Reason::NoLocalEndpoint);
    let cordoned = behind(Reason::NodeLeaving);
    for (standing, said, expected) in [
        (no_endpoint, Reason::Ineligible, Reason::NoLocalEndpoint),
        (kept_by(Reason::NoLink), Reason::Ineligible, Reason::NoLink),
        // The protocol has not heard yet that it may again.
        (FREE, Reason::Ineligible, Reason::Ineligible),
        (cordoned, Reason::NotOwner, Reason::NodeLeaving),
        (FREE, Reason::NotOwner, Reason::NotOwner),
        (no_endpoint, Reason::NotOwner, Reason::NotOwner),
        // In doubt it takes nothing, wherever it ranks.
        (
            cordoned,
            Reason::KubeProxyUnhealthy,
            Reason::KubeProxyUnhealthy,
        ),
        (cordoned, Reason::Reserved, Reason::Reserved),
        (
            no_endpoint,
            Reason::SubnetElsewhere,
            Reason::SubnetElsewhere,
        ),
        (cordoned, Reason::LinkSilent, Reason::LinkSilent),
    ] {
        let here = here(standing, not_own(said), None);
        assert_eq!(here, Here::Silent(expected), "{standing:?} {said}");
    }
}

#[test]
fn before_it_knows_the_others_a_speaker_says_that_it_joins_and_names_no_owner() {
    let known = |standing| Knowledge {
        standing,
        ownership: None,
        progress: Some(Progress::Announced),
    };
    for standing in [FREE, kept_by(Reason::NoLink), behind(Reason::ExcludedNode)] {
        let state = State::of(Ok(known(standing)));
        assert_eq!((state.owner, state.reason()), (None, Some(Reason::Joining)));
    }
}

#[test]
fn an_address_that_nobody_should_announce_says_why_and_has_no_owner() {
    for reason in [
        Reason::NodeAddress,
        Reason::NoEndpoint,
        Reason::NotAdvertised,
    ] {
        let state = State::of(Err(reason));
        assert_eq!((state.owner, state.here), (None, Here::Silent(reason)));
        assert!(!state.is_announced_here());
    }
}

#[test]
fn the_owner_is_told_whether_or_not_it_is_this_node() {
    for ownership in [own(), not_own(Reason::NotOwner)] {
        let known = Knowledge {
            standing: FREE,
            ownership,
            progress: None,
        };
        assert_eq!(State::of(Ok(known)).owner, owner());
    }
}

#[test]
fn it_is_announced_by_the_owner_but_not_while_that_asks_whether_another_host_has_it() {
    let by = |ownership, progress| {
        let known = Knowledge {
            standing: FREE,
            ownership: Some(ownership),
            progress,
        };
        State::of(Ok(known)).announced_by
    };
    let n1 = Some(NodeId::of("n1"));
    let [own, not_own] = [own(), not_own(Reason::NotOwner)].map(Option::unwrap);
    let asks = |ownership| VipStatus {
        asking: true,
        ..ownership
    };
    assert_eq!(by(not_own, None), n1);
    assert_eq!(by(asks(not_own), None), None);
    // Of itself this node knows exactly, and before the others do.
    assert_eq!(by(asks(own), Some(Progress::Announced)), n1);
    for progress in [Progress::Probing, Progress::Conflict, Progress::NoLink] {
        assert_eq!(by(own, Some(progress)), None, "{progress:?}");
    }
    let nobodys = VipStatus {
        owner: None,
        ..not_own
    };
    assert_eq!(by(nobodys, None), None);
    assert_eq!(State::of(Err(Reason::NoEndpoint)).announced_by, None);
}

#[test]
fn exactly_one_of_announced_and_a_reason_is_said() {
    let announced = State {
        owner: owner(),
        announced_by: Some(NodeId::of("n1")),
        here: Here::Announced {
            drawback: Some(Reason::ExcludedNode),
        },
    };
    assert!(announced.is_announced_here());
    assert_eq!(announced.reason(), None);
    assert_eq!(announced.drawback(), Some(Reason::ExcludedNode));
    let silent = State::silent(owner(), Reason::Probing);
    assert!(!silent.is_announced_here());
    assert_eq!(silent.reason(), Some(Reason::Probing));
    assert_eq!(silent.drawback(), None);
}

#[test]
fn a_node_may_only_what_a_link_of_it_carries_and_the_apis_reason_comes_first() {
    let vip: IpAddr = "192.168.64.200".parse().unwrap();
    let link = |name: &str, carrier, prefix: &str| Link {
        name: name.into(),
        mac: MacAddr(2, 0, 0, 0, 0, 1),
        prefixes: vec![prefix.parse().unwrap()],
        routes: BTreeMap::new(),
        carrier,
    };
    let up = BTreeMap::from([(LinkId(1), link("eth0", true, "192.168.64.11/24"))]);
    let down = BTreeMap::from([(LinkId(1), link("eth0", false, "192.168.64.11/24"))]);
    let any = Assignment::default();
    let other = Assignment {
        interfaces: ["dmz0".to_owned()].into(),
        ..Assignment::default()
    };
    let no_link = Err(Reason::NoLink);
    assert_eq!(FREE.on(Some(&up), vip, &any).may, Ok(()));
    assert_eq!(FREE.on(Some(&down), vip, &any).may, no_link);
    assert_eq!(FREE.on(Some(&up), vip, &other).may, no_link);
    assert_eq!(FREE.on(None, vip, &any).may, no_link);
    for links in [Some(&up), Some(&down), None] {
        let kept = kept_by(Reason::NodeNotSelected).on(links, vip, &any);
        assert_eq!(kept.may, Err(Reason::NodeNotSelected));
    }
    let behind = behind(Reason::NodeLeaving).on(Some(&down), vip, &any);
    assert_eq!(behind.drawback, Some(Reason::NodeLeaving));
}

#[test]
fn only_who_waits_for_its_turn_would_announce_it() {
    let cordoned = Some(Reason::NodeLeaving);
    assert!(would_announce(None, None));
    assert!(would_announce(Some(Reason::NotOwner), None));
    assert!(would_announce(Some(Reason::NotOwner), cordoned));
    assert!(would_announce(cordoned, cordoned));
    for (reason, drawback) in [
        (Reason::NodeLeaving, None),
        (Reason::NoLink, cordoned),
        (Reason::KubeProxyUnhealthy, None),
        (Reason::AddressConflict, None),
    ] {
        assert!(!would_announce(Some(reason), drawback), "{reason}");
    }
}
