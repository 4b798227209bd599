//! Ports that a predecessor of this process may still have.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

/// How long to try again: a predecessor that is being replaced ends within its grace period.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// A speaker that restarts is missed: it looks often.
pub const RETRY: Duration = Duration::from_millis(20);

/// Repeats `bind` as long as somebody else has the port, at most [`PATIENCE`].
///
/// # Errors
/// The last attempt's.
pub async fn patiently<T, F: Future<Output = io::Result<T>>>(
    what: &str,
    bind: impl Fn() -> F,
) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match bind().await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                if !std::mem::replace(&mut told, true) {
                    warn!(
                        port = what,
                        "the port is in use, trying again for {PATIENCE:?}"
                    );
                }
                // Nothing tells when a port becomes free.
                sleep(RETRY).await;
            }
            bound => return bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_other_error_is_told_at_once() {
        // TEST-NET-1 (RFC 5737): no interface has it.
        let bind = || std::future::ready(std::net::TcpListener::bind("192.0.2.1:7472"));
        let error = patiently("TCP", bind).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[tokio::test]
    async fn the_port_is_had_as_soon_as_its_holder_lets_it_go() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let holder = std::cell::Cell::new(Some(holder));
        let attempts = std::cell::Cell::new(0);
        let had = patiently("TCP", || {
            attempts.set(attempts.get() + 1);
            let bound = std::net::TcpListener::bind(address);
            drop(holder.take());
            std::future::ready(bound)
        });
        had.await.unwrap();
        assert_eq!(attempts.get(), 2);
    }
}
