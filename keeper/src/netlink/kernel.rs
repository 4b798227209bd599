//! One netlink socket. The tables that it makes are its own: the kernel removes them when it is closed,
//! however this process ends.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use socket2::SockRef;

use super::Attributes;

/// `NFNL_SUBSYS_NFTABLES`: the high byte of a message's type.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NLMSG_HDRLEN` and `struct nfgenmsg`.
const HEADER: usize = 16;
const GENERIC: usize = 4;
/// The kernel answers at once; a longer wait means that an answer was lost.
const PATIENCE: Duration = Duration::from_secs(2);
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;

/// One message of nf_tables.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// `NFT_MSG_…`
    pub(crate) kind: u16,
    /// `NLM_F_…`, without request and acknowledgement.
    pub(crate) flags: u16,
    /// `NFPROTO_…`
    pub(crate) family: u8,
    pub(crate) attributes: Attributes,
}

/// Messages that take effect together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch(pub(crate) Vec<Message>);

/// What the kernel did not do.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The place in the batch of the first message that failed.
    pub(crate) message: usize,
    pub(crate) error: io::Error,
}

impl Refused {
    pub(crate) fn is(&self, errno: rustix::io::Errno) -> bool {
        self.error.raw_os_error() == Some(errno.raw_os_error())
    }
}

/// An element of a set, as a dump shows it: its attributes' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) key: IpAddr,
    pub(crate) packets: u64,
}

#[derive(Debug)]
pub(crate) struct Kernel {
    socket: Socket,
    sequence: u32,
}

impl Kernel {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors come back without the messages that they are about.
        socket.set_cap_ack(true)?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Carries out a batch.
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<(), Refused> {
        let first = self.sequence.wrapping_add(1);
        let bytes = batch.encode(first);
        let count = batch.0.len();
        self.sequence = first.wrapping_add(count as u32 + 1);
        let place = |sequence: u32| (sequence.wrapping_sub(first) as usize).saturating_sub(1);
        let failed = |message, error| Refused { message, error };
        self.socket
            .send(&bytes, 0)
            .map_err(|error| failed(0, error))?;
        let mut answered = 0;
        let mut refused: Option<Refused> = None;
        while answered < count {
            let (answer, _) = self
                .socket
                .recv_from_full()
                .map_err(|error| failed(0, error))?;
            for (kind, sequence, body) in messages(&answer) {
                let distance = sequence.wrapping_sub(first);
                if kind != NLMSG_ERROR || distance > count as u32 + 1 {
                    continue;
                }
                let code = body
                    .first_chunk()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                answered += 1;
                if code != 0 {
                    let error = io::Error::from_raw_os_error(code.saturating_neg());
                    refused.get_or_insert(failed(place(sequence), error));
                    if distance == 0 {
                        // The batch as a whole: no message is answered.
                        answered = count;
                    }
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// All elements of a set whose keys are addresses.
    pub(crate) fn elements(&mut self, of: &Message) -> io::Result<Vec<Element>> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let bytes = encode(
            SUBSYSTEM << 8 | of.kind,
            flags,
            self.sequence,
            of.family,
            0,
            of.attributes.as_bytes(),
        );
        self.socket.send(&bytes, 0)?;
        let mut elements = Vec::new();
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            for (kind, sequence, body) in messages(&answer) {
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(elements),
                    NLMSG_ERROR => {
                        let code = body
                            .first_chunk()
                            .map_or(0, |code| i32::from_ne_bytes(*code));
                        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                    }
                    _ => elements.extend(list(body).filter_map(|element| read_element(&element))),
                }
            }
        }
    }
}

impl Batch {
    /// With the numbers of its messages from `first` on; the first is the batch's own.
    pub(crate) fn encode(&self, first: u32) -> Vec<u8> {
        let generic = |kind, sequence| encode(kind, NLM_F_REQUEST, sequence, 0, SUBSYSTEM, &[]);
        let mut bytes = generic(BEGIN, first);
        let mut sequence = first;
        for message in &self.0 {
            sequence = sequence.wrapping_add(1);
            let kind = SUBSYSTEM << 8 | message.kind;
            let flags = NLM_F_REQUEST | NLM_F_ACK | message.flags;
            let attributes = message.attributes.as_bytes();
            bytes.extend(encode(kind, flags, sequence, message.family, 0, attributes));
        }
        bytes.extend(generic(END, sequence.wrapping_add(1)));
        bytes
    }
}

/// `struct nlmsghdr`, `struct nfgenmsg`, attributes.
fn encode(kind: u16, flags: u16, sequence: u32, family: u8, id: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + GENERIC + attributes.len();
    let length = u32::try_from(length).expect("a message is shorter than 4 GiB");
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(attributes);
    bytes
}

/// Kind, number and body of each message in what was received at once.
fn messages(received: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    let mut rest = received;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = (buffer.length() as usize).max(HEADER);
        let body = rest.get(HEADER..length)?;
        let found = (buffer.message_type(), buffer.sequence_number(), body);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(found)
    })
}

/// The elements in the body of a `NFT_MSG_NEWSETELEM`, each as its attributes.
fn list(body: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let attributes = body.get(GENERIC..).unwrap_or_default();
    let lists = find(attributes, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    let elements: Vec<Vec<u8>> = NlasIterator::new(&lists)
        .map_while(Result::ok)
        .map(|element| element.value().to_vec())
        .collect();
    elements.into_iter()
}

/// `NFTA_SET_ELEM_KEY` and `NFTA_SET_ELEM_EXPR` with a counter.
fn read_element(element: &[u8]) -> Option<Element> {
    const KEY: u16 = 1;
    const EXPRESSION: u16 = 7;
    const VALUE: u16 = 1;
    const DATA: u16 = 2;
    const PACKETS: u16 = 2;
    let key = find(&find(element, KEY)?, VALUE)?;
    let key = match key.len() {
        4 => IpAddr::from(*key.first_chunk::<4>()?),
        16 => IpAddr::from(*key.first_chunk::<16>()?),
        _ => return None,
    };
    let counter = find(element, EXPRESSION).and_then(|expression| find(&expression, DATA));
    let packets = counter.and_then(|counter| find(&counter, PACKETS));
    let packets = packets.and_then(|packets| packets.first_chunk().copied());
    Some(Element {
        key,
        packets: packets.map_or(0, u64::from_be_bytes),
    })
}

fn find(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == kind)
        .map(|attribute| attribute.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_of_any_bytes_makes_it_panic() {
        let message = encode(1, 2, 3, 4, 5, &[8, 0, 1, 0, 1, 2, 3, 4]);
        assert_eq!(messages(&message).count(), 1);
        for length in 0..message.len() {
            let _ = messages(&message[..length]).count();
            let _ = list(&message[..length]).count();
            let _ = read_element(&message[..length]);
        }
        for byte in 0..=255 {
            let broken = [byte; 64];
            let _ = messages(&broken).count();
            let _ = list(&broken).filter_map(|one| read_element(&one)).count();
        }
    }
}
