//! The dashboard: a page on this host alone, which draws the [picture](crate::picture) while somebody looks.
//!
//! ```text
//! door.rs      who is let in: the token, Host, method, path
//! serve.rs     connections and answers, with their bounds
//! feed.rs      pictures as server-sent events; without a viewer nothing is asked
//! view.rs      what is sent: what `status` and `services` tell programs
//! page.rs      the page itself, its policy, and a snapshot of it in one file
//! ```
//!
//! It has the rights of whoever runs it and changes nothing. Other users of the host, and pages of other
//! sites in the same browser, may reach the port: the token, which is new each time, keeps them out.

mod door;
mod feed;
mod page;
mod serve;
#[cfg(test)]
mod tests;
mod view;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use self::door::Door;
use self::feed::Feed;
pub(crate) use self::page::snapshot;
use self::serve::serve;
pub(crate) use self::view::View;
use crate::cluster::Cluster;

/// Between two pictures, while somebody looks.
const LOOK_EACH: Duration = Duration::from_millis(500);

/// Listens, on this host alone.
pub(crate) struct Dashboard {
    listener: TcpListener,
    door: Door,
}

impl Dashboard {
    /// On this port; 0: on one that is free.
    pub(crate) async fn listen(port: u16) -> anyhow::Result<Self> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(at).await;
        let listener = listener.with_context(|| format!("cannot listen on {at}"))?;
        let door = Door::new(listener.local_addr()?.port())?;
        Ok(Self { listener, door })
    }

    /// Where it is, with the token.
    pub(crate) fn url(&self) -> String {
        self.door.url()
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(&self, cluster: &Cluster) {
        let feed = Feed::default();
        tokio::select! {
            () = feed.run(LOOK_EACH, async || cluster.picture().await) => {}
            () = serve(&self.listener, &self.door, &feed, cluster) => {}
        }
    }
}
