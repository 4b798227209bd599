//! What `/status` says of an address.

use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_core::Reason;
use ferrolb_core::announce::Progress;
use ferrolb_core::report::{Announcement, By, VipStatus};
use ferrolb_core::vip::{Knowledge, State};

use crate::peers::{OnLinks, Seen, Wish};

/// The line of `address`, which these `services` have: from who may announce it, or why nobody should;
/// from what the peers' thread knows of it, if that knows it; and from what has become of it on the wire.
#[must_use]
pub(crate) fn of_vip(
    address: IpAddr,
    services: Vec<String>,
    wish: Result<&Wish, Reason>,
    seen: Option<Seen>,
    progress: Option<Progress>,
) -> VipStatus {
    let seen = wish.ok().and(seen);
    let known = wish.map(|wish| Knowledge {
        standing: seen
            .as_ref()
            .map_or_else(|| wish.standing(), |seen| seen.standing),
        ownership: seen.as_ref().and_then(|seen| seen.ownership),
        progress,
    });
    let state = State::of(known);
    let (owner, links) = seen.map_or_else(Default::default, |seen| (seen.owner, seen.links));
    let owner = owner.as_deref().map(str::to_owned);
    let OnLinks {
        announcing: links,
        standing_by: standby_links,
    } = Arc::unwrap_or_clone(links);
    let announced_here = state.is_announced_here();
    let by_owner = owner.clone().filter(|_| state.announced_by.is_some());
    let announcement = by_owner.map(|node| Announcement {
        by: By::Layer2,
        node,
        // Those of other nodes they know themselves.
        links: links.iter().filter(|_| announced_here).cloned().collect(),
    });
    VipStatus {
        address,
        services,
        owner,
        epoch: state.owner.map(|(_, epoch)| epoch),
        announced_here,
        reason: state.reason().map(Into::into),
        drawback: state.drawback().map(Into::into),
        links,
        standby_links,
        announcements: announcement.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_core::ownership::{NodeId, VipStatus as Ownership};
    use ferrolb_core::vip::Standing;

    use super::*;

    fn wish() -> Wish {
        Wish {
            may: Ok(()),
            drawback: Some(Reason::NodeLeaving),
            candidates: Default::default(),
            interfaces: Default::default(),
            in_conflict: false,
        }
    }

    fn seen(reason: Option<Reason>) -> Seen {
        let owner = Some((NodeId::of("n2"), 7));
        Seen {
            standing: Standing {
                may: Ok(()),
                drawback: Some(Reason::NodeLeaving),
            },
            ownership: Some(Ownership {
                owner,
                asking: false,
                reason,
            }),
            owner: Some("n2".into()),
            links: Arc::new(OnLinks {
                announcing: vec!["eth0".to_owned()],
                standing_by: vec!["wlan0".to_owned()],
            }),
        }
    }

    fn said(wish: Result<Wish, Reason>, seen: Option<Seen>, progress: Option<Progress>) -> String {
        let address = IpAddr::from([192, 168, 64, 200]);
        let status = of_vip(
            address,
            vec!["shop/web".to_owned()],
            wish.as_ref().map_err(|reason| *reason),
            seen,
            progress,
        );
        serde_json::to_string(&status).unwrap()
    }

    const ANNOUNCED: Option<Progress> = Some(Progress::Announced);

    #[test]
    fn a_line_says_whose_it_is_on_which_links_and_either_that_it_is_announced_or_why_not() {
        let owned = said(Ok(wish()), Some(seen(None)), ANNOUNCED);
        for part in [
            r#""owner":"n2","epoch":7,"announcedHere":true,"reason":null,"drawback":"node_leaving""#,
            r#""links":["eth0"],"standbyLinks":["wlan0"]"#,
            r#""announcements":[{"by":"layer2","node":"n2","links":["eth0"]}]"#,
            r#""address":"192.168.64.200","services":["shop/web"]"#,
        ] {
            assert!(owned.contains(part), "{owned}");
        }
        let not_own = seen(Some(Reason::NotOwner));
        let silent = said(Ok(wish()), Some(not_own), None);
        let why = r#""announcedHere":false,"reason":"node_leaving","drawback":null"#;
        assert!(silent.contains(why), "{silent}");
        let elsewhere = r#""announcements":[{"by":"layer2","node":"n2","links":[]}]"#;
        assert!(silent.contains(elsewhere), "{silent}");
        let probing = said(Ok(wish()), Some(seen(None)), Some(Progress::Probing));
        assert!(probing.contains(r#""announcements":[]"#), "{probing}");
    }

    #[test]
    fn what_the_peers_thread_has_not_heard_of_yet_is_joining_and_what_nobody_should_announce_says_so()
     {
        let nobodys = r#""owner":null,"epoch":null,"announcedHere":false,"#;
        let unheard = said(Ok(wish()), None, ANNOUNCED);
        assert!(unheard.contains(&format!(r#"{nobodys}"reason":"joining""#)));
        // Whatever the other threads still know of it.
        let unwanted = said(Err(Reason::NoEndpoint), Some(seen(None)), ANNOUNCED);
        assert!(unwanted.contains(&format!(r#"{nobodys}"reason":"no_endpoint""#)));
        assert!(unwanted.contains(r#""links":[],"standbyLinks":[]"#));
    }
}
