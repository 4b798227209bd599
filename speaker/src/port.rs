//! What the kernel offers only through raw calls: packet sockets, waiting for several of them, and
//! capabilities. Everything that needs `unsafe` stands in here.
#![allow(
    unsafe_code,
    reason = "AF_PACKET addresses, ppoll, capset and prctl have no safe form in std"
)]

mod filter;
mod groups;
mod icmp;
#[cfg(test)]
pub(crate) mod memory;
mod network;
mod packet;
pub mod privileges;
mod slice;
pub mod sources;
mod wait;

pub use groups::Groups;
pub use icmp::{IcmpSocket, MAX_ICMP};
pub use network::{Datagrams, Echo, Frames, Kernel, Network};
pub use packet::{MAX_FRAME, PacketSocket};
pub use slice::prefer_soon_to_long;
pub use wait::{Poll, Waker};

/// Whether a socket has used up what `net.core.optmem_max` gives it.
fn is_out_of_memory(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS))
}
