//! What the kernel tells of this node's network, on a thread of its own: a link without carrier must
//! not wait for a long list of API objects.

use std::convert::Infallible;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{oneshot, watch as latest};
use tracing::{debug, info, warn};

use crate::peers::Peers;
use crate::{gateway, links};

/// After a failure: doubled each time, since what fails again at once fails for a while.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Starts the thread; what it finds, of the links that are `named` or of all, goes to the peers'
/// thread, and gateways by `tell` to the main one too. The answer is that it has ended.
pub fn spawn(
    peers: Peers,
    tell: latest::Sender<Vec<IpAddr>>,
    named: Vec<String>,
) -> anyhow::Result<oneshot::Receiver<Infallible>> {
    let (lives, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime for link events")?;
    let run = move || {
        // Dropped when the thread ends, and that is the answer.
        let _lives = lives;
        let to_peers = peers.clone();
        let links = keep(
            "links",
            async |found| links::watch(&named, found).await,
            move |interfaces| to_peers.set_interfaces(interfaces),
        );
        let gateways = keep(
            "gateways",
            async |found| gateway::watch(found).await,
            move |gateways: Vec<IpAddr>| {
                tell.send_replace(gateways.clone());
                peers.set_gateways(gateways);
            },
        );
        runtime.block_on(async { tokio::join!(links, gateways) });
    };
    thread::Builder::new()
        .name("netlink".to_owned())
        .spawn(run)
        .context("cannot start the thread for link events")?;
    Ok(ended)
}

/// Hands on what `watch` finds, when it is something else than before. When `watch` fails what was
/// found last stays: the network is still there, and a process that ends would take its addresses away.
async fn keep<T: PartialEq + Clone>(
    what: &str,
    mut watch: impl AsyncFnMut(&mut dyn FnMut(T)) -> anyhow::Error,
    mut changed: impl FnMut(T),
) -> Infallible {
    let mut last = None;
    let mut is_told = false;
    let mut delay = FIRST_RETRY;
    loop {
        let start = Instant::now();
        let mut found = |now: T| {
            if std::mem::take(&mut is_told) {
                info!("the kernel reports this node's {what} again");
            }
            if last.as_ref() != Some(&now) {
                last = Some(now.clone());
                changed(now);
            }
        };
        let error = watch(&mut found).await;
        if start.elapsed() > LONGEST_RETRY {
            delay = FIRST_RETRY;
        }
        if std::mem::replace(&mut is_told, true) {
            debug!("still cannot watch this node's {what}: {error:#}");
        } else {
            warn!(
                "cannot watch this node's {what}: {error:#}; keeping what is known, trying again"
            );
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_known_stays_while_the_kernel_fails_and_what_changed_meanwhile_is_told() {
        // What each attempt finds before it fails.
        let mut attempts = [vec![1, 1, 2], vec![], vec![], vec![2], vec![3]].into_iter();
        let told = std::cell::RefCell::new(Vec::new());
        let watch = async |found: &mut dyn FnMut(i32)| {
            let Some(finds) = attempts.next() else {
                return std::future::pending().await;
            };
            finds.into_iter().for_each(found);
            anyhow::anyhow!("no buffer space available")
        };
        let start = Instant::now();
        let kept = keep("links", watch, |now| told.borrow_mut().push(now));
        let all_told = async {
            while told.borrow().last() != Some(&3) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            never = kept => match never {},
            () = all_told => {}
        }
        assert_eq!(*told.borrow(), [1, 2, 3]);
        // 50, 100, 200 and 400 ms: no attempt follows at once.
        assert!(start.elapsed() >= FIRST_RETRY * 15);
    }
}
