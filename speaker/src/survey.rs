//! `/survey`: what this node's links are, and which addresses of a range are taken on its LAN. It needs no
//! pool, and asks no more than 50 questions a second, however often it is called.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ferrolb_core::address::AddressRange;
use ferrolb_core::announce::Link;
use ferrolb_core::survey::{LinkStatus, SurveyStatus, TakenStatus, addresses};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::question::{self, Asking};
use crate::{gateway, links};

/// Between two questions: 50 a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Tells of the links, and asks for each address of `range`; `turn`: who asks the LAN, asks alone.
pub async fn survey(
    range: Option<AddressRange>,
    interfaces: &[String],
    turn: &Arc<Semaphore>,
) -> anyhow::Result<SurveyStatus> {
    let links = links::now(interfaces).await?;
    let mut status = SurveyStatus {
        links: links
            .values()
            .filter(|link| link.carrier)
            .map(link_status)
            .collect(),
        gateways: gateway::now().await?,
        asked_on: None,
        taken: Vec::new(),
    };
    let Some(range) = range else {
        return Ok(status);
    };
    let is_on_its_subnet = |link: &Link| {
        let mut prefixes = link.prefixes.iter();
        link.carrier
            && prefixes.any(|one| one.contains(range.first()) && one.contains(range.last()))
    };
    let mut of_subnet = links.iter().filter(|(_, link)| is_on_its_subnet(link));
    let (id, link) = of_subnet
        .next()
        .with_context(|| format!("no subnet of this node has all of {range}"))?;
    let (id, name) = (*id, link.name.to_string());
    let turn = Arc::clone(turn).acquire_owned().await?;
    let questions = addresses(range)
        .map(|address| (address, vec![id]))
        .collect();
    let asked = move || {
        // Whoever asked may have gone away: the next one waits all the same.
        let _turn: OwnedSemaphorePermit = turn;
        question::ask(&questions, Asking::Slowly(PAUSE))
    };
    let heard = tokio::task::spawn_blocking(asked)
        .await
        .context("the questions were given up")??;
    ensure!(
        heard.len() as u128 == range.size(),
        "not every address was asked for"
    );
    status.asked_on = Some(name);
    let taken = heard.into_iter().filter_map(|(address, stations)| {
        let (mac, _) = stations.into_iter().next()?;
        let mac = mac.to_string();
        Some(TakenStatus { address, mac })
    });
    status.taken = taken.collect();
    Ok(status)
}

fn link_status(link: &Link) -> LinkStatus {
    LinkStatus {
        name: link.name.to_string(),
        prefixes: link.prefixes.iter().map(ToString::to_string).collect(),
    }
}
