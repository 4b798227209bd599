//! The UDP sockets on which speakers meet: one for each of the node's addresses.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::Instant;
use ferrolb_core::address::Family;
use ferrolb_core::announce::LinkId;
use ferrolb_core::own_address::{LocalAddress, OwnAddresses};
use ferrolb_kube::port::{PATIENCE, RETRY};
use tracing::warn;

use crate::port::{Datagrams as _, Network};

/// What to do about a port that another program keeps.
const TAKEN: &str = "; another program on this node has the port (Docker Swarm and MetalLB use 7946): stop \
                     it, or give all speakers another port with --peers-port (in the chart \
                     speaker.peersPort)";

/// An address that is not there yet, or a second one whose port another program keeps.
const RETRY_LATER: Duration = Duration::from_millis(500);

/// Where datagrams are received, and sent from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// `None` behind address translation: the kernel chooses.
    address: Option<IpAddr>,
    /// The link by which alone they pass, whatever the routes say.
    link: Option<String>,
}

/// A socket for each of this node's addresses, or the next attempt to get them.
#[derive(Debug)]
pub(super) struct PeerSocket<N: Network> {
    network: N,
    port: u16,
    /// The first is the one that other speakers are told.
    wanted: Vec<Place>,
    open: Vec<(Place, N::Datagrams)>,
    /// Which of them is read next.
    turn: usize,
    retry_at: Option<Instant>,
    give_up_at: Instant,
    is_told: bool,
}

impl<N: Network> PeerSocket<N> {
    /// None yet, for this port.
    #[must_use]
    pub(super) const fn new(network: N, port: u16) -> Self {
        Self {
            network,
            port,
            wanted: Vec::new(),
            open: Vec::new(),
            turn: 0,
            retry_at: None,
            give_up_at: Instant::START,
            is_told: false,
        }
    }

    /// The UDP port of all speakers.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Binds to this node's own addresses, so that datagrams leave with them; one that was this node's
    /// is listened on as long as a link has it, since others may not have heard. The attempt is made
    /// by [`Self::handle_timeout`].
    pub(super) fn set_own(
        &mut self,
        own: &OwnAddresses,
        local: &[LocalAddress],
        name_of: impl Fn(LinkId) -> Option<String>,
        now: Instant,
    ) {
        let is_translated = own.is_behind_translation();
        let places = own.all().iter().map(|one| Place {
            address: one.link.map(|_| one.address),
            link: one.link.filter(|_| one.stands_in).and_then(&name_of),
        });
        let count = if is_translated { 1 } else { usize::MAX };
        let wanted: Vec<Place> = places.take(count).collect();
        let is_there = |address: IpAddr| local.iter().any(|one| one.prefix.ip() == address);
        self.open.retain(|(place, _)| {
            let lingers = !is_translated && place.address.is_some_and(is_there);
            let is_replaced = wanted.iter().any(|one| one.address == place.address);
            wanted.contains(place) || lingers && !is_replaced
        });
        if self.wanted != wanted {
            self.wanted = wanted;
            self.retry_at = Some(now);
            self.give_up_at = now + PATIENCE;
            self.is_told = false;
        }
    }

    /// Tries to bind, if that is due. `Err` if it is hopeless.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.retry_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.retry_at = None;
        for (n, place) in self.wanted.clone().into_iter().enumerate() {
            if self.open.iter().any(|(open, _)| *open == place) {
                continue;
            }
            match self.bind(&place) {
                Ok(socket) => self.open.push((place, socket)),
                Err(error) => {
                    let wait = self.try_again(&place, n == 0, error, now)?;
                    let at = self.retry_at.map_or(now + wait, |at| at.min(now + wait));
                    self.retry_at = Some(at);
                }
            }
        }
        Ok(())
    }

    /// After which time, if that makes sense.
    fn try_again(
        &mut self,
        place: &Place,
        is_first: bool,
        error: io::Error,
        now: Instant,
    ) -> anyhow::Result<Duration> {
        let port = self.port;
        let is_taken = error.kind() == io::ErrorKind::AddrInUse;
        // It has gone again, and the kernel is about to tell.
        let is_gone = error.kind() == io::ErrorKind::AddrNotAvailable;
        let may_be_had = is_first && is_taken && now < self.give_up_at;
        if !std::mem::replace(&mut self.is_told, true) {
            match may_be_had {
                true => warn!("UDP port {port} is in use, trying again for {PATIENCE:?}"),
                false => {
                    warn!(address = ?place.address, port, %error, "cannot listen on this address")
                }
            }
        }
        if may_be_had {
            return Ok(RETRY);
        }
        if is_gone || !is_first {
            return Ok(RETRY_LATER);
        }
        let address = place.address.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let remedy = if is_taken { TAKEN } else { "" };
        Err(error).with_context(|| format!("cannot listen on UDP {address}:{port}{remedy}"))
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Those that are there.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &N::Datagrams> {
        self.open.iter().map(|(_, socket)| socket)
    }

    /// The next datagram, of each socket in turn; `WouldBlock` if there is none.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
        for _ in 0..self.open.len() {
            self.turn = (self.turn + 1) % self.open.len();
            let Some((_, socket)) = self.open.get(self.turn) else {
                continue;
            };
            match socket.receive(buffer) {
                Ok((length, from)) => return Ok((length, from.ip().to_canonical())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends one, from this node's address of the same family.
    pub(super) fn send(&self, to: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let speaks_to = |place: &Place| {
            let family = place.address.map(Family::of);
            family.is_none_or(|family| family == Family::of(to))
        };
        let open = |place: &&Place| self.open.iter().find(|(one, _)| one == *place);
        let place = self.wanted.iter().find(|place| speaks_to(place));
        let socket = place.as_ref().and_then(open).map(|(_, socket)| socket);
        let socket = socket.ok_or(io::ErrorKind::NotConnected)?;
        let to = match (socket.at()?, to) {
            (SocketAddr::V6(_), IpAddr::V4(to)) => IpAddr::V6(to.to_ipv6_mapped()),
            _ => to,
        };
        socket.send(datagram, SocketAddr::new(to, self.port))
    }

    fn bind(&self, place: &Place) -> io::Result<N::Datagrams> {
        if place.address.is_none() {
            warn!(
                "no interface has this node's address: without a key, other speakers reject datagrams \
                 from any other address"
            );
        }
        self.network
            .datagrams(place.address, self.port, place.link.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use ferrolb_core::ownership::PORT;

    use super::*;
    use crate::port::Kernel;

    /// An address of its own within 127.0.0.0/8: another test may run beside this one.
    fn loopback(test: u8, host: u8) -> IpAddr {
        let [.., a, b] = std::process::id().to_be_bytes();
        IpAddr::from([127, a | 0x40, b, (test << 4 | host).max(1)])
    }

    /// A node that lists these addresses, and whose links have those.
    fn follow(
        socket: &mut PeerSocket<Kernel>,
        own: &mut OwnAddresses,
        listed: &[IpAddr],
        links: &[IpAddr],
        now: Instant,
    ) {
        let local = links.iter().map(|address| LocalAddress {
            link: LinkId(1),
            prefix: (*address).into(),
            carrier: true,
            lasting: true,
        });
        let local: Vec<LocalAddress> = local.collect();
        own.follow(listed, &local);
        socket.set_own(own, &local, |_| None, now);
    }

    fn at(own: IpAddr, port: u16, now: Instant) -> PeerSocket<Kernel> {
        let mut socket = PeerSocket::new(Kernel::default(), port);
        follow(
            &mut socket,
            &mut OwnAddresses::default(),
            &[own],
            &[own],
            now,
        );
        socket
    }

    fn places(socket: &PeerSocket<Kernel>) -> Vec<IpAddr> {
        let sockets = socket.sockets();
        sockets.map(|one| one.local_addr().unwrap().ip()).collect()
    }

    #[test]
    fn the_port_is_had_as_soon_as_its_holder_lets_it_go() {
        let own = loopback(1, 1);
        let holder = UdpSocket::bind((own, PORT)).unwrap();
        let start = Instant::from_millis(1);
        let mut socket = at(own, PORT, start);
        socket.handle_timeout(start).unwrap();
        assert!(places(&socket).is_empty());
        let next = socket.poll_timeout().unwrap();
        assert_eq!(next, start + RETRY);
        drop(holder);
        socket.handle_timeout(next).unwrap();
        assert_eq!(places(&socket), [own]);
        assert_eq!(socket.poll_timeout(), None);
        let mut late = at(own, PORT, start);
        let error = late.handle_timeout(start + PATIENCE).unwrap_err();
        assert!(
            format!("{error:#}").contains(&format!("{own}:7946; another program")),
            "{error:#}"
        );
        assert!(format!("{error:#}").contains("--peers-port"), "{error:#}");
    }

    #[test]
    fn another_port_is_used_beside_a_program_that_has_the_usual_one() {
        let (own, peer) = (loopback(2, 1), loopback(2, 2));
        let swarm = UdpSocket::bind((own, PORT)).unwrap();
        let start = Instant::from_millis(1);
        let mut socket = at(own, PORT + 1, start);
        socket.handle_timeout(start).unwrap();
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

    #[test]
    fn sockets_follow_the_nodes_addresses_and_the_former_one_is_heard_while_a_link_has_it() {
        let [first, second] = [1, 2].map(|host| loopback(3, host));
        let (start, mut own) = (Instant::from_millis(1), OwnAddresses::default());
        let mut socket = PeerSocket::new(Kernel::default(), PORT);
        let both: IpAddr = Ipv6Addr::LOCALHOST.into();
        let steps: [(&[IpAddr], &[IpAddr], &[IpAddr]); 6] = [
            (&[first], &[first], &[first]),
            (&[second], &[first, second], &[first, second]),
            (&[second], &[second], &[second]),
            // The lease is lost: nobody is spoken to from anywhere else.
            (&[second], &[], &[]),
            (&[both, second], &[second, both], &[both, second]),
            (&[second, both], &[second], &[second]),
        ];
        for (listed, links, expected) in steps {
            follow(&mut socket, &mut own, listed, links, start);
            socket.handle_timeout(start).unwrap();
            let mut open = places(&socket);
            open.sort_unstable();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(open, expected, "{listed:?} {links:?}");
        }
        // From its own address, not from the one that lingers.
        follow(&mut socket, &mut own, &[first], &[first, second], start);
        socket.handle_timeout(start).unwrap();
        let peer = UdpSocket::bind((loopback(3, 3), PORT)).unwrap();
        socket.send(loopback(3, 3), b"beat").unwrap();
        let (_, from) = peer.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip(), first);
        // What comes to either is received.
        for to in [first, second] {
            peer.send_to(b"ping", (to, PORT)).unwrap();
        }
        let end = std::time::Instant::now() + Duration::from_secs(5);
        let mut received = 0;
        while received < 2 && std::time::Instant::now() < end {
            received += usize::from(socket.receive(&mut [0; 8]).is_ok());
        }
        assert_eq!(received, 2);
    }

    #[test]
    fn a_second_address_whose_port_is_taken_keeps_nobody_from_the_first() {
        let own = loopback(4, 1);
        let Ok(swarm) = UdpSocket::bind((Ipv6Addr::LOCALHOST, PORT + 2)) else {
            return;
        };
        let start = Instant::from_millis(1);
        let mut socket = PeerSocket::new(Kernel::default(), PORT + 2);
        let both = [own, Ipv6Addr::LOCALHOST.into()];
        follow(
            &mut socket,
            &mut OwnAddresses::default(),
            &both,
            &both,
            start,
        );
        socket.handle_timeout(start + PATIENCE).unwrap();
        assert_eq!(places(&socket), [own]);
        drop(swarm);
        let later = socket.poll_timeout().unwrap();
        socket.handle_timeout(later).unwrap();
        assert_eq!(places(&socket), both);
    }
}
