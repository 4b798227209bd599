//! What a user has open while something is done to an installation.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use crate::echo_service;
use crate::lab::Lab;
use crate::net::{Host, MacAddress};
use crate::observe::{Frame, FrameObserver, TcpHold, TcpReport, UdpProbe, UdpReport};
use crate::walk::PATIENCE;
use anyhow::{Context, Result, ensure};

const CONNECTIONS: usize = 100;

/// Connections that are held, datagrams that are counted, and an ear for who announces the address.
pub(super) struct Load {
    address: Ipv4Addr,
    tcp: TcpHold,
    udp: UdpProbe,
    frames: FrameObserver,
}

/// What became of them.
#[derive(Clone)]
pub(super) struct Losses {
    pub(super) tcp: TcpReport,
    udp: UdpReport,
    /// Who announced the address meanwhile.
    pub(super) announced_by: Vec<MacAddress>,
}

impl Load {
    /// From the client to the echo at this address, which `owner` announces, as soon as it answers.
    pub(super) fn start(lab: &Lab, owner: &Host, address: Ipv4Addr) -> Result<Self> {
        echo_service::move_from(lab, owner)?;
        let client = lab.client()?;
        let target = SocketAddr::V4(SocketAddrV4::new(address, echo_service::PORT));
        let deadline = Instant::now() + PATIENCE;
        let tcp = loop {
            match client.enter(|| TcpHold::open(target, CONNECTIONS))? {
                Ok(held) => break held,
                Err(error) => ensure!(Instant::now() < deadline, "no echo from {target}: {error}"),
            }
        };
        Ok(Self {
            address,
            tcp,
            udp: client.enter(|| UdpProbe::start(target))??,
            frames: client.enter(|| FrameObserver::start("eth0"))??,
        })
    }

    /// The first announcement of the address by another station than this one.
    pub(super) fn announced_by_another(&self, than: MacAddress) -> Result<Frame> {
        let by_another = |frame: &Frame| self.announces(frame) && frame.source != than;
        let seen = self.frames.wait_for(by_another, Instant::now() + PATIENCE);
        seen.with_context(|| format!("nobody but {than} announces {}", self.address))
    }

    fn announces(&self, frame: &Frame) -> bool {
        frame.is_gratuitous_for(self.address)
    }

    pub(super) fn stop(self) -> Losses {
        let frames = self.frames.seen().into_iter();
        let announced = frames.filter(|frame| self.announces(frame));
        let announced_by = announced.map(|frame| frame.source).collect();
        Losses {
            udp: self.udp.stop(),
            tcp: self.tcp.stop(),
            announced_by,
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tcp, udp, .. } = self;
        write!(
            f,
            "{} datagrams: {} lost, longest silence {} ms; {} connections: {} reset, {} timed out",
            udp.sent(),
            udp.lost(),
            udp.longest_gap().as_millis(),
            tcp.opened,
            tcp.resets(),
            tcp.timeouts(),
        )
    }
}
