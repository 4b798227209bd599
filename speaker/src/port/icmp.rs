//! Raw ICMP sockets: what other kernels answer.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use ferrolb_core::address::Family;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

// Classic BPF (linux/bpf_common.h): load a byte at an absolute offset or at one relative to X, load
// the length of the IPv4 header into X, jump if equal, return.
const LOAD_BYTE: u16 = 0x30;
const LOAD_BYTE_FROM_X: u16 = 0x50;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Bytes of a message that are read: two IPv6 headers and eight bytes each behind them.
pub const MAX_ICMP: usize = 128;

/// Sends echo requests, receives echo replies and destination unreachable.
///
/// std has no raw sockets; its UDP socket sends and receives on any socket that has IP addresses.
#[derive(Debug)]
pub struct IcmpSocket(UdpSocket);

impl IcmpSocket {
    /// Opens one for a family.
    pub fn open(family: Family) -> io::Result<Self> {
        let (domain, protocol, [reply, unreachable]) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4, [0, 3]),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6, [129, 1]),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        let load = |code| SockFilter::new(code, 0, 0, 0);
        // Other kernels' pings and neighbour discovery never wake the process. IPv4 packets come
        // with their header, ICMPv6 messages without.
        let [skip_header, load_kind] = match family {
            Family::V4 => [load(LOAD_HEADER_LENGTH), load(LOAD_BYTE_FROM_X)],
            Family::V6 => [load(LOAD_BYTE), load(LOAD_BYTE)],
        };
        socket.attach_filter(&[
            skip_header,
            load_kind,
            SockFilter::new(JUMP_IF_EQUAL, 2, 0, reply),
            SockFilter::new(JUMP_IF_EQUAL, 1, 0, unreachable),
            SockFilter::new(RETURN, 0, 0, 0),
            SockFilter::new(RETURN, 0, 0, u32::MAX),
        ])?;
        Ok(Self(socket.into()))
    }

    /// Sends a message.
    pub fn send(&self, to: IpAddr, message: &[u8]) -> io::Result<()> {
        self.0.send_to(message, SocketAddr::new(to, 0)).map(drop)
    }

    /// The next message and its sender; `WouldBlock` if there is none.
    pub fn receive(&self, buffer: &mut [u8; MAX_ICMP]) -> io::Result<(usize, IpAddr)> {
        let (length, from) = self.0.recv_from(buffer)?;
        Ok((length, from.ip()))
    }
}

impl AsFd for IcmpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
