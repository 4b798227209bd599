//! One packet socket per link and family.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use ferrolb_core::address::Family;
use ferrolb_core::announce::LinkId;
use ferrolb_core::wire::MacAddr;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::{filter, is_out_of_memory};

/// Bytes of a frame that are read: an ARP packet has 42, with padding 60; a solicitation 86, and
/// more with options that we do not read.
pub const MAX_FRAME: usize = 256;

/// Sends frames on one link and receives what concerns certain addresses there.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    link: LinkId,
    family: Family,
    own: MacAddr,
    /// What its filter lets in; see [`filter::word`].
    words: BTreeSet<u32>,
}

impl PacketSocket {
    /// Opens a socket on `link`, whose own address is `own`. It hears nothing yet.
    pub fn open(link: LinkId, own: MacAddr, family: Family) -> io::Result<Self> {
        let words = BTreeSet::new();
        let program = filter::program(family, own, &words, filter::MOST_RANGES);
        Self::filtered(link, own, family, &program)
    }

    /// Opens one that receives the ARP replies to this station's own questions, and nothing else.
    pub fn for_replies(link: LinkId, own: MacAddr) -> io::Result<Self> {
        Self::filtered(link, own, Family::V4, &filter::arp_replies())
    }

    /// Opens one that receives the answers to questions from `asker`, an address that no station has.
    pub fn for_answers_to(asker: MacAddr, link: LinkId, family: Family) -> io::Result<Self> {
        let filter = filter::answers_to(asker, family);
        let opened = Self::filtered(link, asker, family, &filter)?;
        let request = libc::packet_mreq {
            mr_ifindex: link.0.cast_signed(),
            mr_type: libc::PACKET_MR_UNICAST as u16,
            mr_alen: 6,
            mr_address: {
                let [a, b, c, d, e, f] = asker.octets();
                [a, b, c, d, e, f, 0, 0]
            },
        };
        // SAFETY: the option takes a packet_mreq of this length, and reads it only during the call.
        let failed = unsafe {
            libc::setsockopt(
                opened.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                size_of::<libc::packet_mreq>() as libc::socklen_t,
            )
        };
        match failed {
            0 => Ok(opened),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn filtered(
        link: LinkId,
        own: MacAddr,
        family: Family,
        filter: &[SockFilter],
    ) -> io::Result<Self> {
        // Without a protocol the socket receives nothing until it is bound, so no frame slips in
        // before the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(filter)?;
        socket.bind(&link_address(link, family))?;
        Ok(Self {
            socket,
            link,
            family,
            own,
            words: BTreeSet::new(),
        })
    }

    /// Hears from now on what concerns these addresses. The kernel exchanges the filter in one step.
    pub fn listen(&mut self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
        let words = addresses.map(filter::word).collect();
        if words == self.words {
            return Ok(());
        }
        match self.attach(&words) {
            // The old filter takes nearly all that there is: on a new socket there is none.
            Err(error) if is_out_of_memory(&error) => {
                *self = Self::open(self.link, self.own, self.family)?;
                self.attach(&words)?;
            }
            attached => attached?,
        }
        self.words = words;
        Ok(())
    }

    /// Attaches the most exact filter that `net.core.optmem_max` has room for, beside the old one as
    /// long as that is there.
    fn attach(&mut self, words: &BTreeSet<u32>) -> io::Result<()> {
        let mut most = filter::MOST_RANGES;
        loop {
            let program = filter::program(self.family, self.own, words, most);
            match self.socket.attach_filter(&program) {
                Err(error) if is_out_of_memory(&error) && most > 1 => most /= 2,
                attached => return attached,
            }
        }
    }

    /// The next frame, as far as it fits into `buffer`; `WouldBlock` if there is none.
    pub fn receive(&self, buffer: &mut [u8; MAX_FRAME]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// One family's frames on one link (packet(7)).
fn link_address(link: LinkId, family: Family) -> SockAddr {
    let protocol = match family {
        Family::V4 => libc::ETH_P_ARP,
        Family::V6 => libc::ETH_P_IPV6,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage is made to hold, and all
    // zeroes, which it starts from, is a valid value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = link.0.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll of this length.
    unsafe { SockAddr::new(storage, length) }
}
