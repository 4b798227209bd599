//! The UDP socket on which speakers meet.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use ferrolb_core::Instant;
use ferrolb_kube::port::{PATIENCE, RETRY};
use tracing::warn;

/// What to do about a port that another program keeps.
const TAKEN: &str = "; another program on this node has the port (Docker Swarm and MetalLB use 7946): stop \
                     it, or give all speakers another port with --peers-port (in the chart \
                     speaker.peersPort)";

/// A socket, or the next attempt to get one.
#[derive(Debug)]
pub(super) struct PeerSocket {
    port: u16,
    own: Option<IpAddr>,
    socket: Option<UdpSocket>,
    retry_at: Option<Instant>,
    give_up_at: Instant,
}

impl PeerSocket {
    /// None yet, for this port.
    #[must_use]
    pub(super) const fn new(port: u16) -> Self {
        Self {
            port,
            own: None,
            socket: None,
            retry_at: None,
            give_up_at: Instant::START,
        }
    }

    /// The UDP port of all speakers.
    pub(super) const fn port(&self) -> u16 {
        self.port
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
        let port = self.port;
        match bind(own, port) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.retry_at = None;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && now < self.give_up_at => {
                if at + PATIENCE == self.give_up_at {
                    warn!("UDP port {port} is taken, trying again for {PATIENCE:?}");
                }
                self.retry_at = Some(now + RETRY);
            }
            Err(error) => {
                let is_taken = error.kind() == io::ErrorKind::AddrInUse;
                let remedy = if is_taken { TAKEN } else { "" };
                return Err(error)
                    .with_context(|| format!("cannot listen on UDP {own}:{port}{remedy}"));
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
            .send_to(datagram, SocketAddr::new(to, self.port))
            .map(drop)
    }
}

/// Where no interface has this node's address (behind address translation) the kernel chooses one.
fn bind(own: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = match UdpSocket::bind((own, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            warn!(address = %own, "no interface has this node's own address: without a key the \
                   other speakers take no datagram from another one");
            match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
                // A kernel without IPv6.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    UdpSocket::bind(("0.0.0.0", port))
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
    use std::time::Duration;

    use ferrolb_core::ownership::PORT;

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
        let mut socket = PeerSocket::new(PORT);
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
        let mut late = PeerSocket::new(PORT);
        late.set_own(own, start);
        let error = late.handle_timeout(start + PATIENCE).unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("{own}:7946; another program")),
            "{error:#}"
        );
        assert!(format!("{error:#}").contains("--peers-port"), "{error:#}");
    }

    #[test]
    fn another_port_is_used_beside_a_program_that_has_the_usual_one() {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let own = IpAddr::from([127, c, b, a.max(1)]);
        let swarm = UdpSocket::bind((own, PORT)).unwrap();
        let start = Instant::from_millis(1);
        let mut socket = PeerSocket::new(PORT + 1);
        socket.set_own(own, start);
        socket.handle_timeout(start).unwrap();
        let peer = IpAddr::from([127, c, b, a.max(1).wrapping_add(1).max(1)]);
        let other = UdpSocket::bind((peer, PORT + 1)).unwrap();
        other
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        socket.send(peer, b"beat").unwrap();
        let mut buffer = [0; 8];
        let (length, from) = other.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from),
            (&b"beat"[..], SocketAddr::new(own, PORT + 1))
        );
        drop(swarm);
    }
}
