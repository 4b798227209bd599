//! The UDP socket on which speakers meet.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::Instant;
use ferrolb_core::ownership::PORT;
use tracing::warn;

/// How long to try again for a port that is taken, e.g. by the predecessor of this process.
const PORT_PATIENCE: Duration = Duration::from_secs(10);
/// A speaker that restarts is missed: it looks often.
const PORT_RETRY: Duration = Duration::from_millis(20);

/// A socket, or the next attempt to get one.
#[derive(Debug)]
pub(super) struct PeerSocket {
    own: Option<IpAddr>,
    socket: Option<UdpSocket>,
    retry_at: Option<Instant>,
    give_up_at: Instant,
}

impl PeerSocket {
    /// None yet.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self {
            own: None,
            socket: None,
            retry_at: None,
            give_up_at: Instant::START,
        }
    }

    /// Binds to this node's own address, so that datagrams leave with it. The attempt is made by
    /// [`Self::handle_timeout`].
    pub(super) fn set_own(&mut self, own: IpAddr, now: Instant) {
        if self.own != Some(own) {
            self.own = Some(own);
            self.socket = None;
            self.retry_at = Some(now);
            self.give_up_at = now + PORT_PATIENCE;
        }
    }

    /// Tries to bind, if that is due. `Err` if it is hopeless.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        let (Some(own), Some(at)) = (self.own, self.retry_at) else {
            return Ok(());
        };
        if now < at {
            return Ok(());
        }
        match bind(own) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.retry_at = None;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && now < self.give_up_at => {
                if at + PORT_PATIENCE == self.give_up_at {
                    warn!("UDP port {PORT} is taken, trying again for {PORT_PATIENCE:?}");
                }
                self.retry_at = Some(now + PORT_RETRY);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot listen on UDP {own}:{PORT}"));
            }
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The socket, once it is there.
    pub(super) const fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref()
    }

    /// The next datagram; `WouldBlock` if there is none.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        let (length, from) = socket.recv_from(buffer)?;
        Ok((length, from.ip().to_canonical()))
    }

    /// Sends one.
    pub(super) fn send(&self, to: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let to = match (socket.local_addr()?, to) {
            (SocketAddr::V6(_), IpAddr::V4(to)) => IpAddr::V6(to.to_ipv6_mapped()),
            _ => to,
        };
        socket
            .send_to(datagram, SocketAddr::new(to, PORT))
            .map(drop)
    }
}

/// Where no interface has this node's address (behind address translation) the kernel chooses one.
fn bind(own: IpAddr) -> io::Result<UdpSocket> {
    let socket = match UdpSocket::bind((own, PORT)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            warn!(address = %own, "no interface has this node's own address: without a key the \
                   other speakers take no datagram from another one");
            match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)) {
                // A kernel without IPv6.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    UdpSocket::bind(("0.0.0.0", PORT))
                }
                bound => bound,
            }
        }
        bound => bound,
    }?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Repeats `bind` as long as somebody else has the port, at most [`PORT_PATIENCE`].
pub async fn patiently<T, F: Future<Output = io::Result<T>>>(
    what: &str,
    bind: impl Fn() -> F,
) -> io::Result<T> {
    let end = tokio::time::Instant::now() + PORT_PATIENCE;
    let mut told = false;
    loop {
        match bind().await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tokio::time::Instant::now() < end =>
            {
                if !told {
                    warn!(
                        port = what,
                        "the port is taken, trying again for {PORT_PATIENCE:?}"
                    );
                    told = true;
                }
                tokio::time::sleep(PORT_RETRY).await;
            }
            bound => return bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address of its own within 127.0.0.0/8: another test may run beside this one.
    fn loopback() -> IpAddr {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        IpAddr::from([127, a, b, c.max(1)])
    }

    #[test]
    fn the_port_is_had_as_soon_as_its_holder_lets_it_go() {
        let own = loopback();
        let holder = UdpSocket::bind((own, PORT)).unwrap();
        let mut socket = PeerSocket::new();
        let start = Instant::from_millis(1);
        socket.set_own(own, start);
        socket.handle_timeout(start).unwrap();
        assert!(socket.socket().is_none());
        let next = socket.poll_timeout().unwrap();
        assert_eq!(next, start + PORT_RETRY);
        drop(holder);
        socket.handle_timeout(next).unwrap();
        assert!(socket.socket().is_some());
        assert_eq!(socket.poll_timeout(), None);
        let mut late = PeerSocket::new();
        late.set_own(own, start);
        let error = late.handle_timeout(start + PORT_PATIENCE).unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("{own}:7946")),
            "{error:#}"
        );
    }

    #[tokio::test]
    async fn any_other_error_is_told_at_once() {
        // TEST-NET-1 (RFC 5737): no interface has it.
        let bind = || std::future::ready(std::net::TcpListener::bind("192.0.2.1:7472"));
        let error = patiently("TCP", bind).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
