//! What speakers say to each other.

use std::net::IpAddr;

use super::{MAX_PAYLOAD, Reader, address_octets};
use crate::ownership::model::{
    BUCKETS, Claim, Death, Entry, Life, LinkAddress, MAX_LINKS, Offer, PARTS_OF, Stage, Verdict,
};
use crate::ownership::node::NodeId;
use crate::wire::MacAddr;

/// One datagram's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Message {
    /// "I am well": each 50 ms to every watcher, and in answer to a PING.
    Beat {
        digest: u64,
        deaf: bool,
        joined: bool,
        answer: bool,
    },
    /// "Are you well?" `gone` tells a member that its incarnation of this number is held gone.
    Ping {
        digest: u64,
        subscribe: bool,
        joined: bool,
        gone: Option<u32>,
    },
    /// "Probe this member, now, and tell me."
    Ask { target: NodeId, nonce: u32 },
    /// What the witness's own probes brought: a datagram, an answer of the kernel, or neither.
    Tell {
        target: NodeId,
        nonce: u32,
        udp: bool,
        kernel: bool,
    },
    /// A verdict; also a member's own good-bye.
    Dead(Death),
    /// "I know a later boot of your name than the one you speak with."
    Stale { boot: u64 },
    /// What is known of members: a sender's own record, or, in answer to a SYNC, anybody's.
    Records(Vec<Entry>),
    /// The digest of each bucket of the table: whatever differs is sent.
    Sync {
        answer: bool,
        joined: bool,
        buckets: Box<[u64; BUCKETS]>,
    },
    /// "Take these over", with the epoch that the claim must exceed.
    Give(Vec<(IpAddr, u32)>),
    /// "Take these over if you, too, know that they belong to you" (H3).
    Offer(Vec<Offer>),
    /// "I cannot take these."
    Refuse(Vec<IpAddr>),
    /// "As far as I know these do not belong to me" (H3).
    Decline(Vec<IpAddr>),
    /// "Your claim is better: I have fallen silent."
    Yield(Vec<IpAddr>),
}

const ENTRY: usize = 57;
const LINK: usize = 17;
const CLAIM: usize = 25;
const _: () = assert!(2 + ENTRY + MAX_LINKS * LINK + PARTS_OF * CLAIM <= MAX_PAYLOAD);
const _: () = assert!(2 + ENTRY + MAX_LINKS * LINK + (PARTS_OF + 1) * CLAIM > MAX_PAYLOAD);

/// Bytes in a datagram.
const fn len_of(entry: &Entry) -> usize {
    ENTRY + LINK * entry.links.len() + CLAIM * entry.claims.len()
}

const BEAT: u8 = 1;
const PING: u8 = 2;
const ASK: u8 = 3;
const TELL: u8 = 4;
const DEAD: u8 = 5;
const STALE: u8 = 6;
const RECORDS: u8 = 7;
const SYNC: u8 = 8;
const GIVE: u8 = 9;
const REFUSE: u8 = 10;
const YIELD: u8 = 11;
const OFFER: u8 = 12;
const DECLINE: u8 = 13;

/// The bits of the byte of flags, of each kind of message its own.
mod bit {
    pub(super) const BEAT_DEAF: u8 = 1;
    pub(super) const BEAT_JOINED: u8 = 1 << 1;
    pub(super) const BEAT_ANSWER: u8 = 1 << 2;
    pub(super) const PING_SUBSCRIBE: u8 = 1;
    pub(super) const PING_JOINED: u8 = 1 << 1;
    pub(super) const PING_GONE: u8 = 1 << 2;
    pub(super) const TELL_UDP: u8 = 1;
    pub(super) const TELL_KERNEL: u8 = 1 << 1;
    pub(super) const SYNC_ANSWER: u8 = 1;
    pub(super) const SYNC_JOINED: u8 = 1 << 1;
    pub(super) const OFFER_OTHERS_CANNOT: u8 = 1;
    pub(super) const ENTRY_FORMER: u8 = 1;
    pub(super) const ENTRY_CONSENTS: u8 = 1 << 1;
    pub(super) const ENTRY_TELLS_SUBNETS: u8 = 1 << 2;
    pub(super) const CLAIM_STRONG: u8 = 1;
    pub(super) const CLAIM_ASKING: u8 = 1 << 1;
}

impl Message {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Beat { .. } => BEAT,
            Self::Ping { .. } => PING,
            Self::Ask { .. } => ASK,
            Self::Tell { .. } => TELL,
            Self::Dead(_) => DEAD,
            Self::Stale { .. } => STALE,
            Self::Records(_) => RECORDS,
            Self::Sync { .. } => SYNC,
            Self::Give(_) => GIVE,
            Self::Refuse(_) => REFUSE,
            Self::Yield(_) => YIELD,
            Self::Offer(_) => OFFER,
            Self::Decline(_) => DECLINE,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Beat {
                digest,
                deaf,
                joined,
                answer,
            } => {
                out.extend(digest.to_be_bytes());
                out.push(flags([
                    (bit::BEAT_DEAF, *deaf),
                    (bit::BEAT_JOINED, *joined),
                    (bit::BEAT_ANSWER, *answer),
                ]));
            }
            Self::Ping {
                digest,
                subscribe,
                joined,
                gone,
            } => {
                out.extend(digest.to_be_bytes());
                out.push(flags([
                    (bit::PING_SUBSCRIBE, *subscribe),
                    (bit::PING_JOINED, *joined),
                    (bit::PING_GONE, gone.is_some()),
                ]));
                out.extend(gone.unwrap_or(0).to_be_bytes());
            }
            Self::Ask { target, nonce } => {
                out.extend(target.0.to_be_bytes());
                out.extend(nonce.to_be_bytes());
            }
            Self::Tell {
                target,
                nonce,
                udp,
                kernel,
            } => {
                out.extend(target.0.to_be_bytes());
                out.extend(nonce.to_be_bytes());
                out.push(flags([(bit::TELL_UDP, *udp), (bit::TELL_KERNEL, *kernel)]));
            }
            Self::Dead(Death {
                member,
                boot,
                inc,
                verdict,
            }) => {
                out.extend(member.0.to_be_bytes());
                out.extend(boot.to_be_bytes());
                out.extend(inc.to_be_bytes());
                out.push(*verdict as u8);
            }
            Self::Stale { boot } => out.extend(boot.to_be_bytes()),
            Self::Records(entries) => {
                out.extend(count(entries));
                entries.iter().for_each(|entry| encode_entry(entry, out));
            }
            Self::Sync {
                answer,
                joined,
                buckets,
            } => {
                out.push(flags([
                    (bit::SYNC_ANSWER, *answer),
                    (bit::SYNC_JOINED, *joined),
                ]));
                buckets
                    .iter()
                    .for_each(|bucket| out.extend(bucket.to_be_bytes()));
            }
            Self::Give(offers) => {
                out.extend(count(offers));
                for (vip, epoch) in offers {
                    out.extend(address_octets(*vip));
                    out.extend(epoch.to_be_bytes());
                }
            }
            Self::Offer(offers) => {
                out.extend(count(offers));
                for offer in offers {
                    out.extend(address_octets(offer.vip));
                    out.extend(offer.epoch.to_be_bytes());
                    out.push(flags([(bit::OFFER_OTHERS_CANNOT, offer.others_cannot)]));
                }
            }
            Self::Refuse(vips) | Self::Yield(vips) | Self::Decline(vips) => {
                out.extend(count(vips));
                vips.iter().for_each(|vip| out.extend(address_octets(*vip)));
            }
        }
    }

    /// `None` if the payload is not exactly one message of this kind.
    pub(super) fn decode(kind: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let message = match kind {
            BEAT => {
                let digest = reader.u64()?;
                let is_set = read_flags(reader)?;
                Self::Beat {
                    digest,
                    deaf: is_set(bit::BEAT_DEAF),
                    joined: is_set(bit::BEAT_JOINED),
                    answer: is_set(bit::BEAT_ANSWER),
                }
            }
            PING => {
                let digest = reader.u64()?;
                let is_set = read_flags(reader)?;
                let inc = reader.u32()?;
                Self::Ping {
                    digest,
                    subscribe: is_set(bit::PING_SUBSCRIBE),
                    joined: is_set(bit::PING_JOINED),
                    gone: is_set(bit::PING_GONE).then_some(inc),
                }
            }
            ASK => Self::Ask {
                target: reader.node()?,
                nonce: reader.u32()?,
            },
            TELL => {
                let (target, nonce) = (reader.node()?, reader.u32()?);
                let is_set = read_flags(reader)?;
                Self::Tell {
                    target,
                    nonce,
                    udp: is_set(bit::TELL_UDP),
                    kernel: is_set(bit::TELL_KERNEL),
                }
            }
            DEAD => Self::Dead(Death {
                member: reader.node()?,
                boot: reader.u64()?,
                inc: reader.u32()?,
                verdict: Verdict::from_code(reader.byte()?)?,
            }),
            STALE => Self::Stale {
                boot: reader.u64()?,
            },
            RECORDS => Self::Records(read_many(reader, decode_entry)?),
            SYNC => {
                let is_set = read_flags(reader)?;
                let mut buckets = Box::new([0; BUCKETS]);
                for bucket in buckets.iter_mut() {
                    *bucket = reader.u64()?;
                }
                Self::Sync {
                    answer: is_set(bit::SYNC_ANSWER),
                    joined: is_set(bit::SYNC_JOINED),
                    buckets,
                }
            }
            GIVE => Self::Give(read_many(reader, |reader| {
                Some((reader.address()?, reader.u32()?))
            })?),
            REFUSE => Self::Refuse(read_many(reader, |reader| reader.address())?),
            OFFER => Self::Offer(read_many(reader, |reader| {
                let (vip, epoch) = (reader.address()?, reader.u32()?);
                let is_set = read_flags(reader)?;
                Some(Offer {
                    vip,
                    epoch,
                    others_cannot: is_set(bit::OFFER_OTHERS_CANNOT),
                })
            })?),
            DECLINE => Self::Decline(read_many(reader, |reader| reader.address())?),
            YIELD => Self::Yield(read_many(reader, |reader| reader.address())?),
            _ => return None,
        };
        reader.0.is_empty().then_some(message)
    }
}

fn encode_entry(entry: &Entry, out: &mut Vec<u8>) {
    out.extend(entry.member.0.to_be_bytes());
    out.extend(entry.boot.to_be_bytes());
    out.extend(entry.inc.to_be_bytes());
    out.extend(entry.seq.to_be_bytes());
    out.extend(entry.part.to_be_bytes());
    out.extend(entry.parts.to_be_bytes());
    out.push(entry.life as u8);
    out.push(entry.stage as u8);
    out.push(flags([
        (bit::ENTRY_FORMER, entry.former),
        (bit::ENTRY_CONSENTS, entry.consents),
        (bit::ENTRY_TELLS_SUBNETS, entry.tells_subnets),
    ]));
    out.extend(entry.mac.octets());
    out.extend(address_octets(entry.address));
    out.extend(count(&entry.links));
    for link in &entry.links {
        out.extend(address_octets(link.address));
        // A version before reads the first bit alone.
        out.push(u8::from(link.silent) | prefix_bits(link.prefix));
    }
    out.extend(count(&entry.claims));
    for (vip, claim) in &entry.claims {
        out.extend(address_octets(*vip));
        out.extend(claim.epoch.to_be_bytes());
        out.extend(claim.rank.to_be_bytes());
        out.push(flags([
            (bit::CLAIM_STRONG, claim.strong),
            (bit::CLAIM_ASKING, claim.asking),
        ]));
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Option<Entry> {
    let (member, boot) = (reader.node()?, reader.u64()?);
    let (inc, seq) = (reader.u32()?, reader.u32()?);
    let (part, parts) = (reader.u16()?, reader.u16()?);
    let life = Life::from_code(reader.byte()?)?;
    let stage = Stage::from_code(reader.byte()?)?;
    let is_set = read_flags(reader)?;
    let (former, consents) = (is_set(bit::ENTRY_FORMER), is_set(bit::ENTRY_CONSENTS));
    let tells_subnets = is_set(bit::ENTRY_TELLS_SUBNETS);
    let mac = MacAddr::from(reader.array()?);
    let address = reader.address()?;
    let links = read_many(reader, |reader| {
        let address = reader.address()?;
        let bits = reader.byte()?;
        Some(LinkAddress {
            address,
            prefix: Some(bits >> 1).filter(|prefix| *prefix > 0),
            silent: bits & 1 == 1,
        })
    })?;
    let claims = read_many(reader, |reader| {
        let vip = reader.address()?;
        let (epoch, rank) = (reader.u32()?, reader.u32()?);
        let is_set = read_flags(reader)?;
        Some((
            vip,
            Claim {
                strong: is_set(bit::CLAIM_STRONG),
                epoch,
                rank,
                asking: is_set(bit::CLAIM_ASKING),
            },
        ))
    })?;
    let entry = Entry {
        member,
        boot,
        inc,
        life,
        address,
        mac,
        stage,
        former,
        consents,
        seq,
        part,
        parts,
        links,
        tells_subnets,
        claims,
    };
    (part < parts && entry.links.len() <= MAX_LINKS).then_some(entry)
}
/// Entries in as few datagrams as they fit into.
pub(in super::super) fn pack(entries: impl IntoIterator<Item = Entry>) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut batch, mut len) = (Vec::new(), 2);
    for entry in entries {
        if len + len_of(&entry) > MAX_PAYLOAD {
            messages.push(Message::Records(std::mem::take(&mut batch)));
            len = 2;
        }
        len += len_of(&entry);
        batch.push(entry);
    }
    if !batch.is_empty() {
        messages.push(Message::Records(batch));
    }
    messages
}

fn count<T>(list: &[T]) -> [u8; 2] {
    u16::try_from(list.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// A counted list. The count does not size anything before its elements were read.
fn read_many<T>(
    reader: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = reader.u16()?;
    (0..count).map(|_| read(reader)).collect()
}

/// Above the first bit; a prefix of all 128 bits, or of none, is no subnet.
fn prefix_bits(prefix: Option<u8>) -> u8 {
    prefix.filter(|prefix| *prefix < 128).unwrap_or(0) << 1
}

fn flags<const N: usize>(bits: [(u8, bool); N]) -> u8 {
    let set = bits.into_iter().filter(|(_, is_set)| *is_set);
    set.fold(0, |byte, (bit, _)| byte | bit)
}

/// Whether a bit is set; those that this version does not know are passed over.
fn read_flags(reader: &mut Reader<'_>) -> Option<impl Fn(u8) -> bool + use<>> {
    let byte = reader.byte()?;
    Some(move |bit| byte & bit != 0)
}
