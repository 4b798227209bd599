//! The UDP socket on which speakers meet.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use ferrolb_core::Instant;
use ferrolb_core::ownership::PORT;
use ferrolb_kube::port::{PATIENCE, RETRY};
use tracing::warn;

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
            self.give_up_at = now + PATIENCE;
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
                if at + PATIENCE == self.give_up_at {
                    warn!("UDP port {PORT} is taken, trying again for {PATIENCE:?}");
                }
                self.retry_at = Some(now + RETRY);
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
        assert_eq!(next, start + RETRY);
        drop(holder);
        socket.handle_timeout(next).unwrap();
        assert!(socket.socket().is_some());
        assert_eq!(socket.poll_timeout(), None);
        let mut late = PeerSocket::new();
        late.set_own(own, start);
        let error = late.handle_timeout(start + PATIENCE).unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("{own}:7946")),
            "{error:#}"
        );
    }
}
