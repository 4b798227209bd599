//! Answers for an address, as a process does that knows nothing else.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::frame::ArpOperation;
use super::packet_socket::PacketSocket;
use super::stop::Stop;
use crate::net::MacAddress;

/// How often it looks whether it is over.
const POLL: Duration = Duration::from_millis(50);

/// Answers every ARP request for one address, until it is dropped.
pub struct ArpResponder {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl ArpResponder {
    /// Answers on a link of the calling thread's network namespace, but not these stations.
    pub fn start(link: &str, address: Ipv4Addr, never: BTreeSet<MacAddress>) -> io::Result<Self> {
        let socket = PacketSocket::open_for(link, ArpOperation::Request, address, POLL)?;
        let mac = socket.mac()?;
        let stop = Arc::<Stop>::default();
        let thread = thread::Builder::new()
            .name(format!("answers for {address}"))
            .spawn({
                let stop = Arc::clone(&stop);
                move || answer(&socket, mac, &never, &stop)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for ArpResponder {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(socket: &PacketSocket, mac: MacAddress, never: &BTreeSet<MacAddress>, stop: &Stop) {
    let mut frame = [0; 42];
    while !stop.is_stopped() {
        match socket.fill(&mut frame) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => return,
        }
        let mut asker = [0; 6];
        asker.copy_from_slice(&frame[22..28]);
        if asker == mac.0 || never.contains(&MacAddress(asker)) {
            continue;
        }
        // RFC 826: swap sender and target, put the local hardware address in.
        let mut reply = frame;
        reply[..6].copy_from_slice(&asker);
        reply[6..12].copy_from_slice(&mac.0);
        reply[21] = 2;
        reply[22..28].copy_from_slice(&mac.0);
        reply[28..32].copy_from_slice(&frame[38..42]);
        reply[32..38].copy_from_slice(&asker);
        reply[38..42].copy_from_slice(&frame[28..32]);
        // One that is lost is asked for again.
        let _ = socket.send(&reply);
    }
}
