//! One packet socket per link.

use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd};

use ferrolb_core::announce::LinkId;
use ferrolb_core::wire::MacAddr;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::filter;

/// Bytes of a frame that are read: an ARP packet has 42, with padding 60.
pub const MAX_FRAME: usize = 128;

/// Sends frames on one link and receives the ARP requests of other stations there.
#[derive(Debug)]
pub struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens a socket on `link`, whose own address is `own`.
    pub fn open(link: LinkId, own: MacAddr) -> io::Result<Self> {
        Self::filtered(link, &filter::arp_requests(own))
    }

    /// Opens one that receives the replies to this station's own questions instead.
    pub fn for_replies(link: LinkId) -> io::Result<Self> {
        Self::filtered(link, &filter::arp_replies())
    }

    fn filtered(link: LinkId, filter: &[SockFilter]) -> io::Result<Self> {
        // Without a protocol the socket receives nothing until it is bound, so no frame slips in
        // before the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(filter)?;
        socket.bind(&link_address(link))?;
        Ok(Self(socket))
    }

    /// The next frame, as far as it fits into `buffer`; `WouldBlock` if there is none.
    pub fn receive(&self, buffer: &mut [u8; MAX_FRAME]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// ARP on one link (packet(7)).
fn link_address(link: LinkId) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage is made to hold, and all
    // zeroes, which it starts from, is a valid value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
    address.sll_ifindex = link.0.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll of this length.
    unsafe { SockAddr::new(storage, length) }
}
