//! A node whose kube-proxy has stopped forwards by rules that get old: it keeps what it has, since a
//! move resets connections, and takes nothing that another node would.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ferrolb_core::elect::rank;
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::kube_proxy;
use ferrolb_tests::net::lan_address;
use ferrolb_tests::wait::wait_until;

use super::super::{NODES, SOON, VIP, says};

const SAID: &str = "kube-proxy on this node is unhealthy";

/// To be called with an owner of one address, where the other nodes have none.
pub(crate) fn a_node_without_it_keeps_what_it_has_and_takes_nothing(
    cluster: &Cluster,
    owner: &str,
) -> Result<()> {
    let proxy = kube_proxy::process_name(cluster.lab.host(owner)?);
    let speaker = Daemon::speaker(owner).process_name();
    let logged = cluster.lab.log(&speaker)?.len();
    cluster.lab.stop(&proxy)?;
    let is_said = || Ok(cluster.lab.log(&speaker)?[logged..].contains(SAID));
    // It is missed after three questions, 5 s apart.
    wait_until(3 * SOON, is_said, || Ok(())).context("the speaker misses kube-proxy")?;

    let address = first_in_rank(owner).context("no address that the owner is first for")?;
    let created = Instant::now();
    cluster.create_service_named("next", "Cluster", &[address.into()])?;
    let (taker, _) = cluster.announcer(address, created)?;
    println!("{owner} is first for {address}, and {taker} takes it");
    ensure!(taker != owner, "{owner} cannot forward");
    assert_eq!(cluster.owner(VIP)?, owner, "it keeps what it has");
    says(cluster, owner, address, "kube_proxy_unhealthy")?;

    cluster.lab.start(&proxy)?;
    says(cluster, owner, address, "not_owner")
}

/// Of the pool, besides [`VIP`].
fn first_in_rank(node: &str) -> Option<Ipv4Addr> {
    let first = |address: Ipv4Addr| {
        NODES
            .into_iter()
            .min_by_key(|one| rank(one, address.into()))
    };
    (201..=230)
        .map(lan_address)
        .find(|address| first(*address) == Some(node))
}
