//! Instruments that look at a cluster from the LAN: what was on the wire, who answers, what a user's
//! datagrams and connections suffered.
//!
//! Each instrument opens its sockets in the thread that creates it, hence in that thread's network
//! namespace, and keeps them there: create it inside the client's namespace, use it from anywhere.
//!
//! | instrument | question |
//! | --- | --- |
//! | [`FrameObserver`] | which ARP and neighbour-discovery frames passed, and when |
//! | [`arp_ask`] | which stations claim this address now |
//! | [`stations`] | the same, asked until one does |
//! | [`send_frame`] | what does a station do that hears this |
//! | [`ArpLoad`] | how fast is an address answered for
//! | [`ArpResponder`] | what happens when this station answers for it as well
//! | [`UdpProbe`] | how long did nothing come back |
//! | [`TcpConnects`] | which new connections fail |
//! | [`TcpHold`] | did established connections survive |
//! | [`http_get`] | does the page come, and what does it say |
//!
//! The other ends of the two probes: [`crate::echo`], behind each hollow pod.

mod arp_ask;
mod arp_load;
mod arp_responder;
mod frame;
mod frame_observer;
mod from_new_port;
mod http;
mod packet_socket;
pub mod pcap;
mod send;
mod stop;
mod tcp_connects;
mod tcp_hold;
mod udp_probe;

pub use arp_ask::{ArpAnswer, arp_ask, stations};
pub use arp_load::ArpLoad;
pub use arp_responder::ArpResponder;
pub use frame::{Arp, ArpOperation, Content, Frame, Neighbor};
pub use frame_observer::{FrameObserver, NotSeen};
pub use http::{Page, http_get};
pub use send::send_frame;
pub use tcp_connects::{ConnectReport, TcpConnects};
pub use tcp_hold::{Broken, TcpHold, TcpReport};
pub use udp_probe::{Probe, UdpProbe, UdpReport};
