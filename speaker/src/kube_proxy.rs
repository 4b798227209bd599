//! kube-proxy's own word on its health. A node whose kube-proxy has stopped still answers ARP, and
//! forwards by rules that get old: a hint to take no more addresses, and no proof.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use ferrolb_core::Reason;

use crate::metrics::Metrics;
use crate::peers::Peers;

/// `healthzBindAddress` of kube-proxy, as it is by default.
const HEALTHZ: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);
const LOOK: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(2);
/// It restarts now and then.
const MISSES: u32 = 3;

/// What was heard of it so far.
#[derive(Debug, Default)]
struct Health {
    /// It was well once: elsewhere something else does its work, or it listens on another port.
    was_well: bool,
    misses: u32,
}

impl Health {
    /// Whether this node's forwarding is in doubt after this answer.
    fn note(&mut self, is_well: bool) -> bool {
        self.was_well |= is_well;
        self.misses = if is_well { 0 } else { self.misses + 1 };
        self.was_well && self.misses >= MISSES
    }
}

/// Asks again and again, and tells what changes.
pub async fn watch(peers: Peers, metrics: &Metrics) -> anyhow::Result<()> {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut health = Health::default();
    let mut told = false;
    loop {
        look.tick().await;
        let is_well = timeout(ANSWER, is_well(HEALTHZ)).await.unwrap_or(false);
        let is_in_doubt = health.note(is_well);
        if std::mem::replace(&mut told, is_in_doubt) == is_in_doubt {
            continue;
        }
        if is_in_doubt {
            warn!(
                reason = %Reason::KubeProxyUnhealthy,
                "kube-proxy on this node is unhealthy: other nodes are preferred for new addresses"
            );
        } else {
            info!("kube-proxy on this node is healthy again");
        }
        metrics.gauges().set_kube_proxy_unhealthy(is_in_doubt);
        peers.set_doubtful(is_in_doubt);
    }
}

/// Whether it answers with status 200.
async fn is_well(at: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(at).await?;
        stream
            .write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await?;
        std::io::Result::Ok(line)
    };
    // "HTTP/1.1 200"
    ask.await.is_ok_and(|line| line.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_who_was_well_once_and_is_not_for_a_while_is_in_doubt() {
        let mut never = Health::default();
        assert!((0..10).all(|_| !never.note(false)));
        let mut health = Health::default();
        let answers = [true, false, false, false, true, false];
        let doubts = answers.map(|is_well| health.note(is_well));
        assert_eq!(doubts, [false, false, false, true, false, false]);
    }

    #[tokio::test]
    async fn the_status_line_tells() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let answers = async {
            for status in ["200 OK", "503 Service Unavailable"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /healthz "));
                let answer = format!("HTTP/1.0 {status}\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let asks = async { (is_well(at).await, is_well(at).await) };
        let ((), said) = tokio::join!(answers, asks);
        assert_eq!(said, (true, false));
        drop(listener);
        assert!(!is_well(at).await, "nobody listens");
    }
}
