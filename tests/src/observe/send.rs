//! Puts a frame on the wire, as any station might.

use std::io;
use std::time::Duration;

use super::packet_socket::PacketSocket;

/// Sends one whole frame on `link`.
pub fn send_frame(link: &str, frame: &[u8]) -> io::Result<()> {
    PacketSocket::open(link, Duration::from_millis(1))?.send(frame)
}
