//! An `AF_PACKET` socket that sees ARP and neighbour discovery on one link, in both directions.

#![expect(unsafe_code, reason = "no safe crate reads and writes a sockaddr_ll")]

use std::io::{self, IoSliceMut, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::frame::Frame;
use crate::net::MacAddress;

/// Frames wait here while the reader has no processor. In bytes; a waiting frame takes about 800.
const RECEIVE_BUFFER: usize = 4 << 20;

/// ARP, or IPv6 whose next header is ICMPv6 with type 135 or 136 (solicitation, advertisement).
/// Jumps count from the next instruction.
const FILTER: [SockFilter; 10] = {
    const LOAD_16: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const LOAD_8: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_16, 0, 0, 12),
        SockFilter::new(IF_EQUAL, 6, 0, libc::ETH_P_ARP as u32),
        SockFilter::new(IF_EQUAL, 0, 6, libc::ETH_P_IPV6 as u32),
        SockFilter::new(LOAD_8, 0, 0, 20),
        SockFilter::new(IF_EQUAL, 0, 4, libc::IPPROTO_ICMPV6 as u32),
        SockFilter::new(LOAD_8, 0, 0, 54),
        SockFilter::new(IF_EQUAL, 1, 0, 135),
        SockFilter::new(IF_EQUAL, 0, 1, 136),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

/// ARP replies whose sender is `address`.
fn replies_about(address: Ipv4Addr) -> [SockFilter; 6] {
    const LOAD_32: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const LOAD_16: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    [
        SockFilter::new(LOAD_16, 0, 0, 20),
        SockFilter::new(IF_EQUAL, 0, 3, 2),
        SockFilter::new(LOAD_32, 0, 0, 28),
        SockFilter::new(IF_EQUAL, 0, 1, address.to_bits()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The socket, bound to one link of the namespace in which it was opened.
pub(super) struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Opens the socket; [`receive`](Self::receive) gives up after `patience`.
    pub(super) fn open(link: &str, patience: Duration) -> io::Result<Self> {
        let index = if_nametoindex(link).map_err(|error| {
            io::Error::new(
                io::Error::from(error).kind(),
                format!("link {link}: {error}"),
            )
        })?;
        // Protocol 0 receives nothing: no frame gets in before the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&FILTER)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_read_timeout(Some(patience))?;
        socket.bind(&link_address(index, libc::ETH_P_ALL))?;
        Ok(Self { socket })
    }

    /// Opens a socket that receives ARP replies about `address` and nothing else, not even what is sent
    /// here: nothing of the kind is in the way of who measures how fast they come.
    pub(super) fn open_for_replies(
        link: &str,
        address: Ipv4Addr,
        patience: Duration,
    ) -> io::Result<Self> {
        let index = if_nametoindex(link)?;
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&replies_about(address))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_read_timeout(Some(patience))?;
        socket.bind(&link_address(index, libc::ETH_P_ARP))?;
        Ok(Self { socket })
    }

    /// Waits for the next frame, whatever is in it; `false` when none came in time.
    pub(super) fn comes(&self) -> io::Result<bool> {
        match (&self.socket).read(&mut [0; 64]) {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The link's own hardware address.
    pub(super) fn mac(&self) -> io::Result<MacAddress> {
        let address = self.socket.local_addr()?;
        // SAFETY: the kernel names an AF_PACKET socket by a sockaddr_ll, and the storage that holds
        // it is larger and at least as strictly aligned, zeroed where the kernel wrote nothing.
        let address = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
        let [a, b, c, d, e, f, ..] = address.sll_addr;
        Ok(MacAddress([a, b, c, d, e, f]))
    }

    /// Sends a whole frame.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// The next frame; `None` when none came in time.
    pub(super) fn receive(&self) -> io::Result<Option<Frame>> {
        let mut buffer = [0; 2048];
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received =
            match recvmsg::<LinkAddr>(self.fd(), &mut parts, Some(&mut control), MsgFlags::empty())
            {
                Ok(received) => received,
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        let stamp = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(stamp) => {
                Some(SystemTime::UNIX_EPOCH + Duration::from(stamp))
            }
            _ => None,
        });
        let wall = stamp.unwrap_or_else(SystemTime::now);
        let outgoing = received
            .address
            .is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
        let length = received.bytes;
        Ok(Some(Frame::new(
            buffer[..length].to_vec(),
            monotonic(wall),
            wall,
            outgoing,
        )))
    }

    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The kernel stamps frames with the wall clock. The age of a stamp, taken at once, leads to the
/// monotonic time: a step of the wall clock spoils at most the frames that wait at that moment.
fn monotonic(wall: SystemTime) -> Instant {
    let now = Instant::now();
    let age = SystemTime::now().duration_since(wall).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

fn link_address(index: u32, protocol: libc::c_int) -> SockAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        // In network order. A socket for ARP alone does not see what is sent here.
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain old data, smaller than the storage and no more strictly aligned;
    // its first field is the family, as in every socket address.
    unsafe {
        *storage.view_as::<libc::sockaddr_ll>() = address;
        SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t)
    }
}
