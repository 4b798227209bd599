//! Ethernet II framing.

use pnet_base::MacAddr;
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};

use super::Frame;
use crate::Reason;

/// Destination, source and EtherType: 6 + 6 + 2 bytes.
pub const HEADER_LEN: usize = 14;

/// An Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// The station that it goes to.
    pub destination: MacAddr,
    /// The station that sent it.
    pub source: MacAddr,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl Repr {
    /// The header and the bytes behind it. A frame that still carries a VLAN tag is refused: it
    /// belongs to another network than the link that it came in on.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Reason> {
        let packet = EthernetPacket::new(frame).ok_or(Reason::Truncated)?;
        let ethertype = packet.get_ethertype();
        // IEEE 802.1Q customer tag, 802.1ad service tag.
        if matches!(ethertype, EtherTypes::Vlan | EtherTypes::PBridge) {
            return Err(Reason::VlanTagged);
        }
        let repr = Self {
            destination: packet.get_destination(),
            source: packet.get_source(),
            ethertype,
        };
        Ok((repr, &frame[HEADER_LEN..]))
    }

    /// The frame: this header, then `payload`.
    pub(crate) fn emit(self, payload: &[u8]) -> Frame {
        let mut header = [0; HEADER_LEN];
        if let Some(mut packet) = MutableEthernetPacket::new(&mut header) {
            packet.set_destination(self.destination);
            packet.set_source(self.source);
            packet.set_ethertype(self.ethertype);
        }
        Frame::new(&header, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_still_carries_a_vlan_tag_is_refused() {
        for tag in [[0x81, 0x00], [0x88, 0xa8]] {
            let mut frame = [0; 46];
            frame[12..14].copy_from_slice(&tag);
            assert_eq!(Repr::parse(&frame).unwrap_err(), Reason::VlanTagged);
        }
    }

    #[test]
    fn a_frame_shorter_than_its_header_is_truncated() {
        assert_eq!(
            Repr::parse(&[0; HEADER_LEN - 1]).unwrap_err(),
            Reason::Truncated
        );
        assert!(Repr::parse(&[0; HEADER_LEN]).is_ok());
    }
}
