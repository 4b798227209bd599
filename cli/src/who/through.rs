//! A speaker asks, and tells what it knows besides.

use std::net::IpAddr;

use anyhow::Context;
use ferrolb_core::report::{SpeakerStatus, VipStatus, WhoStatus};

use super::{Answer, Station, chance};
use crate::cluster::Cluster;
use crate::speaker::speaker_of;

/// Has the speaker of `node` ask its LAN.
pub(super) async fn ask(cluster: &Cluster, node: &str, address: IpAddr) -> anyhow::Result<Answer> {
    let daemons = cluster.daemons().await?;
    let speaker = speaker_of(node, &daemons)
        .with_context(|| format!("no FerroLB speaker runs on a node called {node}"))?;
    let status: SpeakerStatus = cluster.status_of(speaker).await?;
    let who: WhoStatus = cluster
        .ask(speaker, &format!("/who?address={address}"))
        .await?;
    Ok(answer(&status, who))
}

fn answer(status: &SpeakerStatus, who: WhoStatus) -> Answer {
    let vip = status.vip(who.address);
    let announces = |vip: &&VipStatus| vip.announced_here;
    let announced_by_asker = vip.filter(announces).map(|_| status.node.clone());
    let stations = who.stations.into_iter().map(|station| {
        let mut members = status.members.iter();
        let member = members.find(|member| member.mac == station.mac);
        Station {
            node: member.map(|member| member.node.clone()),
            mac: station.mac,
            answers: station.answers.min(who.asked),
            fastest_milliseconds: station.fastest_milliseconds,
        }
    });
    let stations: Vec<_> = stations.collect();
    let mut notes: Vec<_> = match vip {
        None => vec!["no Service has this address".to_owned()],
        Some(vip) => word(vip, status, &stations).into_iter().collect(),
    };
    notes.extend(chance(
        stations.len() + usize::from(announced_by_asker.is_some()),
    ));
    Answer {
        address: who.address,
        link: who.link,
        asked: who.asked,
        stations,
        announced_by_asker,
        notes,
    }
}

/// What the speaker knows of the address that the answers alone do not tell.
fn word(vip: &VipStatus, status: &SpeakerStatus, stations: &[Station]) -> Option<String> {
    let asker = &status.node;
    let Some(owner) = &vip.owner else {
        let reason = vip.reason.as_deref().unwrap_or("unknown");
        return Some(format!(
            "the speaker on {asker} says that no node announces it: {reason}"
        ));
    };
    let answers = |station: &Station| station.node.as_ref() == Some(owner);
    match &vip.reason {
        None => Some(format!(
            "{asker} announces it itself, and cannot hear its own answers"
        )),
        Some(reason) if owner == asker => Some(format!(
            "{owner} should announce it, and does not yet: {reason}"
        )),
        Some(_) if !stations.iter().any(answers) => {
            Some(format!("{owner} should announce it, and does not answer"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::printed;
    use crate::who::text;

    fn said(owner: Option<&str>, reason: Option<&str>, stations: &[&str]) -> String {
        let vip = json!({
            "address": "192.168.64.200", "services": ["shop/web"], "owner": owner, "epoch": 1,
            "announcedHere": reason.is_none(), "reason": reason,
        });
        let member = json!({
            "node": "n2", "address": "192.168.64.12", "mac": "02:00:00:00:00:0c",
            "standing": "live", "verdict": null, "incarnation": 1, "heardMillisAgo": 20,
            "addresses": 1,
        });
        let status = json!({
            "node": "n1", "version": "0.1.0", "waitingFor": null, "isolated": false,
            "members": [member], "vips": [vip],
        });
        let stations = stations.iter();
        let stations =
            stations.map(|mac| json!({ "mac": mac, "answers": 3, "fastestMilliseconds": 0.25 }));
        let who = json!({
            "address": "192.168.64.200", "link": "eth0", "asked": 3,
            "stations": stations.collect::<Vec<_>>(),
        });
        let status = serde_json::from_value(status).unwrap();
        let answer = answer(&status, serde_json::from_value(who).unwrap());
        printed(|out| text(out, &answer))
    }

    #[test]
    fn the_owner_is_named_and_what_else_answers() {
        let (owner, foreign) = ("02:00:00:00:00:0c", "02:00:00:00:00:64");
        insta::assert_snapshot!(said(Some("n2"), Some("not_owner"), &[owner]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:0c   n2     eth0   3 of 3     0.25 ms
        ");
        insta::assert_snapshot!(said(Some("n2"), Some("not_owner"), &[]), @r"
        nobody answers for 192.168.64.200 on eth0, asked 3 times
        n2 should announce it, and does not answer
        ");
        insta::assert_snapshot!(said(Some("n1"), None, &[]), @r"
        nobody answers for 192.168.64.200 on eth0, asked 3 times
        n1 announces it itself, and cannot hear its own answers
        ");
        insta::assert_snapshot!(said(Some("n1"), None, &[foreign]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:64   -      eth0   3 of 3     0.25 ms
        n1 announces it itself, and cannot hear its own answers
        2 stations answer: each neighbour reaches one of them at random
        ");
        insta::assert_snapshot!(said(Some("n1"), Some("address_conflict"), &[foreign]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:64   -      eth0   3 of 3     0.25 ms
        n1 should announce it, and does not yet: address_conflict
        ");
        insta::assert_snapshot!(said(None, Some("no_endpoint"), &["02:00:00:00:00:0c"]), @r"
        STATION             NODE   LINK   ANSWERED   FASTEST
        02:00:00:00:00:0c   n2     eth0   3 of 3     0.25 ms
        the speaker on n1 says that no node announces it: no_endpoint
        ");
    }
}
