//! UDP 7946 dropped on every node: no speaker hears another, and nothing but the wire tells who
//! announces what.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::observe::Frame;
use ferrolb_tests::wait::wait_until;

use super::super::{SOON, VIP, announcer_but, serving};

/// A speaker is held stalled for 3 s, and its addresses for 2.5 s more; whoever then claims what is
/// announced already falls silent within a round, and a busy machine takes longer.
const SETTLED: Duration = Duration::from_secs(90);
/// Two rounds of announcements: one that fights would be heard.
const ROUNDS: Duration = Duration::from_secs(11);

#[test]
fn where_no_speaker_hears_another_one_node_announces_and_its_death_is_noticed() -> Result<()> {
    let (cluster, before) = serving("blocked")?;
    let nodes: Vec<String> = cluster
        .lab
        .nodes()
        .iter()
        .map(|node| node.name.clone())
        .collect();
    for node in &nodes {
        cluster.lab.host(node)?.block_peers()?;
    }
    let is_said = || {
        let status = cluster.status(&before)?;
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let blocked = members.iter().filter(|one| one["reason"] == "peer_blocked");
        Ok(blocked.count() == nodes.len() - 1)
    };
    wait_until(2 * SOON, is_said, || Ok(())).context("each speaker says whom it cannot hear")?;
    let first = one_announcer(&cluster)?;
    println!("blocked: {before} announced before, {first} does alone");

    let cut = Instant::now();
    cluster.lab.cut(&first, false)?;
    let (second, at) = announcer_but(&cluster, &first, cut)?;
    println!("silent cut: {second} announces after {:?}", at - cut);
    let second = one_announcer(&cluster)?;
    assert_ne!(second, first);

    // It knows nothing of what has happened, and hears it in time.
    cluster.lab.heal(&first)?;
    one_announcer(&cluster)?;
    for node in &nodes {
        cluster.lab.host(node)?.unblock_peers()?;
    }
    for node in &nodes {
        cluster.wait_until_ready(node)?;
    }
    let last = cluster.owner(VIP)?;
    println!("heard again: {last} announces");
    Ok(())
}

/// The node that alone announces the address for two rounds, waited for, and answers for it.
fn one_announcer(cluster: &Cluster) -> Result<String> {
    let deadline = Instant::now() + SETTLED;
    loop {
        let owner = cluster.owner(VIP)?;
        let mac = cluster.lab.host(&owner)?.mac;
        let since = Instant::now();
        let by_another = |frame: &Frame| {
            frame.at >= since && frame.is_gratuitous_for(VIP) && frame.source != mac
        };
        let another = cluster.frames.wait_for(by_another, since + ROUNDS);
        if another.is_err() {
            let heard = cluster.announcers(VIP, since)?;
            ensure!(
                heard == [owner.as_str()],
                "{heard:?} announce, {owner} answers"
            );
            return Ok(owner);
        }
        ensure!(Instant::now() < deadline, "they fight: {another:?}");
    }
}
