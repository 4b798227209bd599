//! `/who`: asks the LAN of this node who has an address.

use std::net::IpAddr;

use anyhow::Context as _;
use ferrolb_core::announce::{Assignment, carrying};
use ferrolb_core::report::{StationStatus, WhoStatus};

use crate::{links, question};

/// Asks on the link that carries the address; if any are named, on one of them.
pub async fn ask(address: IpAddr, interfaces: &[String]) -> anyhow::Result<WhoStatus> {
    let links = links::now(interfaces).await?;
    let link = carrying(address, &Assignment::default(), &links).next();
    let (id, link) = link
        .and_then(|id| Some((id, links.get(&id)?)))
        .context("this node has no link with carrier that could carry the address")?;
    let asked = move || question::stations(&[(address, vec![id])].into());
    let mut heard = tokio::task::spawn_blocking(asked)
        .await
        .context("the question was given up")??;
    let stations = heard.remove(&address).unwrap_or_default().into_iter();
    let stations = stations.map(|(mac, answers)| StationStatus {
        mac: mac.to_string(),
        answers: answers.count,
        fastest_milliseconds: answers.fastest.as_secs_f64() * 1e3,
    });
    Ok(WhoStatus {
        address,
        link: link.name.to_string(),
        asked: question::ROUNDS,
        stations: stations.collect(),
    })
}
