//! What a speaker's threads need of a network, as traits: the kernel has it, and in tests a LAN in memory,
//! so that the loops which run on a node run in a test without root, too.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use ferrolb_core::address::Family;
use ferrolb_core::announce::LinkId;
use ferrolb_core::wire::MacAddr;
use socket2::{Domain, Socket, Type};

use super::{IcmpSocket, MAX_FRAME, MAX_ICMP, PacketSocket, sources};

/// Received frames of each interface. `/sys` may be that of another network namespace.
const COUNTERS: &str = "/proc/net/dev";
/// Bytes of it that are read: a line of 130 for each of thousands of interfaces.
const MAX_COUNTERS: u64 = 1024 * 1024;

/// Room for a few dozen interfaces.
const FEW_COUNTERS: usize = 8 * 1024;

/// Where sockets come from.
pub trait Network: Clone + Debug + Send + 'static {
    /// Of one link and family.
    type Frames: Frames;
    /// Of one address.
    type Datagrams: Datagrams;
    /// Of one family.
    type Echo: Echo;

    /// A socket on `link`, whose own address is `own`. It hears nothing yet.
    fn frames(&self, link: LinkId, own: MacAddr, family: Family) -> io::Result<Self::Frames>;

    /// One that receives the ARP replies to this station's own questions, and nothing else.
    fn arp_replies(&self, link: LinkId, own: MacAddr) -> io::Result<Self::Frames>;

    /// A socket bound to an address, or to any, and to a port; with `link` datagrams pass by that one alone.
    fn datagrams(
        &self,
        own: Option<IpAddr>,
        port: u16,
        link: Option<&str>,
    ) -> io::Result<Self::Datagrams>;

    /// A socket for echo requests and what comes back.
    fn echo(&self, family: Family) -> io::Result<Self::Echo>;

    /// How many frames each interface has received: `name: BYTES FRAMES …` (proc_net(5)). Empty if that is
    /// not told.
    fn counters(&self) -> String;
}

/// Sends frames on one link, and receives what concerns certain addresses there.
pub trait Frames: AsFd + Debug + Send {
    /// Hears from now on what concerns these addresses.
    fn listen(&mut self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()>;

    /// The next frame, as far as it fits into `buffer`; `WouldBlock` if there is none.
    fn receive(&self, buffer: &mut [u8; MAX_FRAME]) -> io::Result<usize>;

    /// Sends one frame.
    fn send(&self, frame: &[u8]) -> io::Result<()>;
}

/// Sends and receives datagrams.
pub trait Datagrams: AsFd + Debug + Send {
    /// Where it is bound.
    fn at(&self) -> io::Result<SocketAddr>;

    /// The next datagram and its sender; `WouldBlock` if there is none.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one.
    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// From now on it receives only what comes from these addresses.
    fn admit_only(&self, sources: &BTreeSet<IpAddr>) -> io::Result<()>;

    /// From now on it receives whatever comes.
    fn admit_all(&self) -> io::Result<()>;
}

/// Sends echo requests, receives echo replies and destination unreachable.
pub trait Echo: AsFd + Debug + Send {
    /// The next message and its sender; `WouldBlock` if there is none.
    fn receive(&self, buffer: &mut [u8; MAX_ICMP]) -> io::Result<(usize, IpAddr)>;

    /// Sends a message.
    fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()>;
}

/// The network of this network namespace.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// Opening it takes longer than reading it, and while members are absent it is read all the time.
    counters: Arc<OnceLock<File>>,
}

impl Network for Kernel {
    type Frames = PacketSocket;
    type Datagrams = UdpSocket;
    type Echo = IcmpSocket;

    fn frames(&self, link: LinkId, own: MacAddr, family: Family) -> io::Result<PacketSocket> {
        PacketSocket::open(link, own, family)
    }

    fn arp_replies(&self, link: LinkId, own: MacAddr) -> io::Result<PacketSocket> {
        PacketSocket::for_replies(link, own)
    }

    fn datagrams(
        &self,
        own: Option<IpAddr>,
        port: u16,
        link: Option<&str>,
    ) -> io::Result<UdpSocket> {
        let socket = match own {
            Some(own) => {
                let at = SocketAddr::new(own, port);
                let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
                if let Some(link) = link {
                    socket.bind_device(Some(link.as_bytes()))?;
                }
                socket.bind(&at.into())?;
                socket.into()
            }
            None => match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
                // A kernel without IPv6.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    UdpSocket::bind(("0.0.0.0", port))?
                }
                bound => bound?,
            },
        };
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn echo(&self, family: Family) -> io::Result<IcmpSocket> {
        IcmpSocket::open(family)
    }

    fn counters(&self) -> String {
        let read = || {
            let mut file = match self.counters.get() {
                Some(file) => file,
                None => {
                    let file = File::open(COUNTERS)?;
                    self.counters.get_or_init(|| file)
                }
            };
            file.rewind()?;
            // Each further read begins to list the interfaces anew.
            let mut text = String::with_capacity(FEW_COUNTERS);
            file.take(MAX_COUNTERS).read_to_string(&mut text)?;
            io::Result::Ok(text)
        };
        read().unwrap_or_default()
    }
}

impl Frames for PacketSocket {
    fn listen(&mut self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
        Self::listen(self, addresses)
    }

    fn receive(&self, buffer: &mut [u8; MAX_FRAME]) -> io::Result<usize> {
        Self::receive(self, buffer)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        Self::send(self, frame)
    }
}

impl Datagrams for UdpSocket {
    fn at(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer)
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.send_to(datagram, to).map(drop)
    }

    fn admit_only(&self, sources: &BTreeSet<IpAddr>) -> io::Result<()> {
        sources::admit_only(self, sources)
    }

    fn admit_all(&self) -> io::Result<()> {
        sources::admit_all(self)
    }
}

impl Echo for IcmpSocket {
    fn receive(&self, buffer: &mut [u8; MAX_ICMP]) -> io::Result<(usize, IpAddr)> {
        Self::receive(self, buffer)
    }

    fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()> {
        Self::send(self, to, message)
    }
}
