use serde_json::{Value, json};

use super::*;

/// As the release before `announcements` has it.
fn older(reason: Option<&str>) -> Value {
    json!({
        "address": "192.168.64.200", "services": ["shop/web"], "owner": "n1", "epoch": 3,
        "announcedHere": reason.is_none(), "reason": reason, "drawback": null,
        "links": ["eth0"], "standbyLinks": [],
    })
}

fn newer() -> VipStatus {
    let announcement = Announcement {
        by: By::Layer2,
        node: "n1".to_owned(),
        links: vec!["eth0".to_owned()],
    };
    let status: VipStatus = serde_json::from_value(older(None)).unwrap();
    VipStatus {
        announcements: vec![announcement],
        ..status
    }
}

#[test]
fn a_report_from_before_announcements_is_read_and_has_none() {
    let status: VipStatus = serde_json::from_value(older(Some("not_owner"))).unwrap();
    assert_eq!(status.announcements, []);
    assert_eq!(status.reason, Some(Reason::NotOwner.into()));
    assert_eq!(status.owner.as_deref(), Some("n1"));
}

#[test]
fn announcements_are_added_and_every_key_of_the_report_before_stays_as_it_was() {
    let mut value = serde_json::to_value(newer()).unwrap();
    let added = value.as_object_mut().unwrap().remove("announcements");
    assert_eq!(
        added,
        Some(json!([{ "by": "layer2", "node": "n1", "links": ["eth0"] }]))
    );
    assert_eq!(value, older(None));
}

#[test]
fn a_protocol_of_a_later_version_and_what_it_says_besides_are_no_error() {
    let mut value = serde_json::to_value(newer()).unwrap();
    value["announcements"] = json!([
        { "by": "bgp", "node": "n2", "routers": ["192.168.64.1"] },
        { "by": "carrier-pigeon", "node": "n3" },
    ]);
    let status: VipStatus = serde_json::from_value(value).unwrap();
    let by: Vec<_> = status.announcements.iter().map(|one| &one.by).collect();
    assert_eq!(by, [&By::Bgp, &By::Other("carrier-pigeon".to_owned())]);
    let text = serde_json::to_string(&status).unwrap();
    assert!(text.contains(r#""by":"carrier-pigeon""#), "{text}");
}

#[test]
fn a_speaker_would_announce_what_it_is_silent_for_only_because_another_one_does() {
    let said = |reason: Option<&str>| {
        let vips = [older(reason)];
        let status = json!({
            "node": "n2", "version": "0.1.0", "waitingFor": null, "isolated": false,
            "members": [], "vips": vips,
        });
        serde_json::from_value::<SpeakerStatus>(status).unwrap()
    };
    let vip: IpAddr = "192.168.64.200".parse().unwrap();
    let leaving = Some(Reason::NodeLeaving);
    for (reason, drawback, expected) in [
        (None, None, true),
        (Some("not_owner"), None, true),
        (Some("not_owner"), leaving, true),
        (Some("node_leaving"), leaving, true),
        (Some("node_leaving"), None, false),
        (Some("no_link"), leaving, false),
        // A later version's word: nobody knows what it means.
        (Some("brand_new"), None, false),
    ] {
        let may = said(reason).may_announce(vip, drawback);
        assert_eq!(may, expected, "{reason:?} {drawback:?}");
    }
    let other = "192.168.64.201".parse().unwrap();
    assert!(said(Some("no_link")).may_announce(other, None));
}
