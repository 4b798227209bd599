//! What the kernel tells of this node's network, on a thread of its own: a link without carrier must
//! not wait for a long list of API objects.

use std::thread;

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::peers::Peers;
use crate::{gateway, links};

/// Starts the thread; what it finds, of the links that are `named` or of all, goes to the peers'
/// thread. Tells why it ended, if it does.
pub fn spawn(peers: Peers, named: Vec<String>) -> anyhow::Result<oneshot::Receiver<anyhow::Error>> {
    let (fail, failed) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime for link events")?;
    let run = async move {
        let to_peers = peers.clone();
        let links = links::watch(&named, move |links| to_peers.set_links(links));
        let gateways = gateway::watch(move |gateways| peers.set_gateways(gateways));
        tokio::try_join!(links, gateways)
    };
    thread::Builder::new()
        .name("netlink".to_owned())
        .spawn(move || {
            if let Err(error) = runtime.block_on(run) {
                let _ = fail.send(error);
            }
        })
        .context("cannot start the thread for link events")?;
    Ok(failed)
}
