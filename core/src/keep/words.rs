//! What speaker and keeper say to each other, over one Unix socket of their pod: frames of a length (four
//! bytes, big endian), a kind and a body. The keeper speaks first and says how it can pass packets on.
//!
//! Neither trusts the other's lengths: a frame is bounded before it is kept, no count makes anybody reserve
//! memory, and whatever does not parse to its last byte ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Entry, MAX_ENTRIES, MAX_STATIONS, Station};
use crate::wire::MacAddr;

/// Raised whenever the bytes of a word change: the two are always of one release, and a rolling update may
/// mix them for a moment.
pub const VERSION: u16 = 1;
/// The longest frame: all stations with IPv6 addresses fit.
pub const MAX_FRAME: usize = 256 << 10;
const _: () = assert!(MAX_STATIONS * (17 + 6) < MAX_FRAME);
const _: () = assert!(MAX_ENTRIES * (17 + 17 + 4) < MAX_FRAME);

const LENGTH: usize = 4;

/// How the keeper passes packets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The `dup` expression of nf_tables.
    Dup,
    /// The `TEE` target of iptables, in nf_tables.
    Tee,
}

impl Way {
    /// The word for it, in logs and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dup => "dup",
            Self::Tee => "tee",
        }
    }
}

/// Why the keeper of this node can pass nothing on: then addresses move as without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unable {
    /// The kernel refuses the table: no nf_tables, or older than Linux 5.12 (`flags owner`).
    NoTable,
    /// The kernel has neither `dup` nor `TEE`.
    NoDuplicate,
    /// `net.netfilter.nf_conntrack_tcp_loose` is 0: packets of unknown connections are invalid, not new.
    Strict,
    /// `CAP_NET_ADMIN` is missing.
    NoRight,
}

impl Unable {
    const ALL: [Self; 4] = [
        Self::NoTable,
        Self::NoDuplicate,
        Self::Strict,
        Self::NoRight,
    ];

    /// The word for it, in logs and status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTable => "no_nf_tables",
            Self::NoDuplicate => "no_dup",
            Self::Strict => "conntrack_strict",
            Self::NoRight => "no_net_admin",
        }
    }

    /// What it means, and what to do.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NoTable => {
                "the kernel of this node has no nf_tables with 'flags owner' (Linux 5.12 or newer)"
            }
            Self::NoDuplicate => {
                "the kernel of this node has neither nft 'dup' (CONFIG_NFT_DUP_IPV4, CONFIG_NFT_DUP_IPV6) \
                 nor the TEE target (CONFIG_NETFILTER_XT_TARGET_TEE with CONFIG_NFT_COMPAT)"
            }
            Self::Strict => {
                "net.netfilter.nf_conntrack_tcp_loose is 0 on this node: set it to 1, the default"
            }
            Self::NoRight => {
                "CAP_NET_ADMIN is missing: run the container as uid 0 with \
                 securityContext.capabilities.add [NET_ADMIN]"
            }
        }
    }
}

/// What the speaker says. `number` comes back with the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The other nodes, all of them: what was told before is forgotten.
    Stations(Vec<Station>),
    /// Pass on from now on.
    Keep {
        /// Comes back in [`Answer::Done`].
        number: u32,
        /// At most [`MAX_ENTRIES`].
        entries: Vec<Entry>,
    },
    /// No more.
    Drop(Vec<IpAddr>),
    /// Asks for [`Answer::Passed`].
    Count,
}

/// What the keeper says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The first word, unasked.
    Welcome {
        /// [`VERSION`]
        version: u16,
        /// How packets are passed on, or why none can be.
        way: Result<Way, Unable>,
        /// What it still does from before the speaker started.
        found: Vec<Entry>,
    },
    /// The entries of this number are in force, but for these.
    Done {
        /// That of [`Question::Keep`].
        number: u32,
        /// What it does not do, for whatever reason: it is in its log.
        refused: Vec<IpAddr>,
    },
    /// How many packets each entry has passed on since it began.
    Passed(Vec<(IpAddr, u64)>),
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// A frame longer than [`MAX_FRAME`], or empty.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// No word begins like this.
    #[error("an unknown word {0}")]
    Kind(u8),
    /// The frame ends within its word, or does not end with it.
    #[error("a word that does not fit its frame")]
    Body,
}

/// Collects what arrives, and gives out whole frames.
#[derive(Debug, Default)]
pub struct Frames {
    waiting: Vec<u8>,
}

impl Frames {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next whole frame without its length, if it is there.
    ///
    /// # Errors
    /// Its length is impossible: nothing after it can be understood.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, BadWords> {
        let Some(length) = self.waiting.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(BadWords::Length(length));
        }
        if self.waiting.len() < LENGTH + length {
            return Ok(None);
        }
        let rest = self.waiting.split_off(LENGTH + length);
        let mut frame = std::mem::replace(&mut self.waiting, rest);
        frame.drain(..LENGTH);
        Ok(Some(frame))
    }
}

impl Question {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(match self {
            Self::Stations(_) => 1,
            Self::Keep { .. } => 2,
            Self::Drop(_) => 3,
            Self::Count => 4,
        });
        match self {
            Self::Stations(stations) => {
                for station in stations {
                    out.address(station.address);
                    out.bytes(&station.mac.octets());
                }
            }
            Self::Keep { number, entries } => {
                out.bytes(&number.to_be_bytes());
                entries.iter().for_each(|entry| out.entry(entry));
            }
            Self::Drop(vips) => vips.iter().for_each(|vip| out.address(*vip)),
            Self::Count => {}
        }
        out.frame()
    }

    /// Reads a frame of [`Frames::next_frame`].
    ///
    /// # Errors
    /// It is none of these words.
    pub fn decode(frame: &[u8]) -> Result<Self, BadWords> {
        let (kind, mut body) = Reader::new(frame)?;
        Ok(match kind {
            1 => Self::Stations(body.all(MAX_STATIONS, |body| {
                let address = body.address()?;
                let [a, b, c, d, e, f] = body.array()?;
                Some(Station {
                    address,
                    mac: MacAddr(a, b, c, d, e, f),
                })
            })?),
            2 => Self::Keep {
                number: body.array().map(u32::from_be_bytes).ok_or(BadWords::Body)?,
                entries: body.all(MAX_ENTRIES, Reader::entry)?,
            },
            3 => Self::Drop(body.all(MAX_ENTRIES, Reader::address)?),
            4 => {
                body.end()?;
                Self::Count
            }
            other => return Err(BadWords::Kind(other)),
        })
    }
}

impl Answer {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(match self {
            Self::Welcome { .. } => 1,
            Self::Done { .. } => 2,
            Self::Passed(_) => 3,
        });
        match self {
            Self::Welcome {
                version,
                way,
                found,
            } => {
                out.bytes(&version.to_be_bytes());
                out.bytes(&[match way {
                    Ok(Way::Dup) => 0,
                    Ok(Way::Tee) => 1,
                    Err(unable) => 16 + *unable as u8,
                }]);
                found.iter().for_each(|entry| out.entry(entry));
            }
            Self::Done { number, refused } => {
                out.bytes(&number.to_be_bytes());
                refused.iter().for_each(|vip| out.address(*vip));
            }
            Self::Passed(counts) => {
                for (vip, packets) in counts {
                    out.address(*vip);
                    out.bytes(&packets.to_be_bytes());
                }
            }
        }
        out.frame()
    }

    /// Reads a frame of [`Frames::next_frame`].
    ///
    /// # Errors
    /// It is none of these words.
    pub fn decode(frame: &[u8]) -> Result<Self, BadWords> {
        let (kind, mut body) = Reader::new(frame)?;
        Ok(match kind {
            1 => Self::Welcome {
                version: body.array().map(u16::from_be_bytes).ok_or(BadWords::Body)?,
                way: match body.array() {
                    Some([0]) => Ok(Way::Dup),
                    Some([1]) => Ok(Way::Tee),
                    Some([code]) => {
                        let mut all = Unable::ALL.into_iter();
                        let unable = all.find(|unable| 16 + *unable as u8 == code);
                        Err(unable.ok_or(BadWords::Body)?)
                    }
                    None => return Err(BadWords::Body),
                },
                found: body.all(MAX_ENTRIES, Reader::entry)?,
            },
            2 => Self::Done {
                number: body.array().map(u32::from_be_bytes).ok_or(BadWords::Body)?,
                refused: body.all(MAX_ENTRIES, Reader::address)?,
            },
            3 => Self::Passed(body.all(MAX_ENTRIES, |body| {
                let vip = body.address()?;
                Some((vip, body.array().map(u64::from_be_bytes)?))
            })?),
            other => return Err(BadWords::Kind(other)),
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.0.push(4);
                self.bytes(&address.octets());
            }
            IpAddr::V6(address) => {
                self.0.push(6);
                self.bytes(&address.octets());
            }
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.address(entry.vip);
        self.address(entry.via);
        let seconds = entry.time.as_millis().div_ceil(1_000);
        self.bytes(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn frame(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - LENGTH).unwrap_or(u32::MAX);
        self.0[..LENGTH].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(frame: &'a [u8]) -> Result<(u8, Self), BadWords> {
        let (kind, body) = frame.split_first().ok_or(BadWords::Length(0))?;
        Ok((*kind, Self(body)))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.array()? {
            [4] => self.array().map(|octets| Ipv4Addr::from(octets).into()),
            [6] => self.array().map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }

    fn entry(&mut self) -> Option<Entry> {
        Some(Entry {
            vip: self.address()?,
            via: self.address()?,
            time: Duration::from_secs(self.array().map(u32::from_be_bytes)?.into()),
        })
    }

    /// Everything up to the end of the frame; more than `most` is none of our words.
    fn all<T>(
        &mut self,
        most: usize,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Vec<T>, BadWords> {
        let mut found = Vec::new();
        while !self.0.is_empty() {
            if found.len() == most {
                return Err(BadWords::Body);
            }
            found.push(one(self).ok_or(BadWords::Body)?);
        }
        Ok(found)
    }

    fn end(&self) -> Result<(), BadWords> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(BadWords::Body),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entry(vip: &str, via: &str, seconds: u64) -> Entry {
        Entry {
            vip: ip(vip),
            via: ip(via),
            time: Duration::from_secs(seconds),
        }
    }

    fn questions() -> Vec<Question> {
        let mac = MacAddr(2, 0, 0, 0, 0, 9);
        let station = |text| Station {
            address: ip(text),
            mac,
        };
        vec![
            Question::Stations(vec![station("10.0.0.1"), station("fd00::1")]),
            Question::Stations(Vec::new()),
            Question::Keep {
                number: 7,
                entries: vec![
                    entry("10.0.0.9", "10.0.0.1", 600),
                    entry("fd00::9", "fd00::1", 1),
                ],
            },
            Question::Drop(vec![ip("10.0.0.9"), ip("fd00::9")]),
            Question::Count,
        ]
    }

    fn answers() -> Vec<Answer> {
        let welcome = |way| Answer::Welcome {
            version: VERSION,
            way,
            found: vec![entry("10.0.0.9", "10.0.0.1", 3)],
        };
        let mut all: Vec<Answer> = Unable::ALL.map(|unable| welcome(Err(unable))).into();
        all.extend([
            welcome(Ok(Way::Dup)),
            welcome(Ok(Way::Tee)),
            Answer::Done {
                number: u32::MAX,
                refused: vec![ip("fd00::9")],
            },
            Answer::Passed(vec![(ip("10.0.0.9"), u64::MAX)]),
        ]);
        all
    }

    fn only_frame(bytes: &[u8]) -> Vec<u8> {
        let mut frames = Frames::default();
        frames.push(bytes);
        let frame = frames.next_frame().unwrap().unwrap();
        assert_eq!(frames.next_frame(), Ok(None));
        frame
    }

    #[test]
    fn every_word_is_read_as_it_was_written() {
        for question in questions() {
            let frame = only_frame(&question.encode());
            assert_eq!(Question::decode(&frame), Ok(question));
        }
        for answer in answers() {
            let frame = only_frame(&answer.encode());
            assert_eq!(Answer::decode(&frame), Ok(answer));
        }
    }

    #[test]
    fn the_bytes_of_a_word_are_these() {
        let keep = Question::Keep {
            number: 1,
            entries: vec![entry("10.0.0.9", "10.0.0.1", 600)],
        };
        let bytes = [
            0, 0, 0, 19, 2, 0, 0, 0, 1, 4, 10, 0, 0, 9, 4, 10, 0, 0, 1, 0, 0, 2, 88,
        ];
        assert_eq!(keep.encode(), bytes);
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let all: Vec<u8> = questions().iter().flat_map(Question::encode).collect();
        let mut frames = Frames::default();
        let mut read = Vec::new();
        for byte in all {
            frames.push(&[byte]);
            while let Some(frame) = frames.next_frame().unwrap() {
                read.push(Question::decode(&frame).unwrap());
            }
        }
        assert_eq!(read, questions());
    }

    #[test]
    fn an_impossible_length_a_rest_and_too_many_of_anything_are_refused() {
        for length in [0, MAX_FRAME as u32 + 1, u32::MAX] {
            let mut frames = Frames::default();
            frames.push(&length.to_be_bytes());
            let refused = Err(BadWords::Length(length as usize));
            assert_eq!(frames.next_frame(), refused, "before its body is kept");
        }
        assert_eq!(Question::decode(&[4, 0]), Err(BadWords::Body));
        assert_eq!(Question::decode(&[9]), Err(BadWords::Kind(9)));
        assert_eq!(Question::decode(&[]), Err(BadWords::Length(0)));
        assert_eq!(Answer::decode(&[1, 0, 1, 15]), Err(BadWords::Body));
        let one_more = vec![ip("10.0.0.1"); MAX_ENTRIES + 1];
        let frame = only_frame(&Question::Drop(one_more).encode());
        assert_eq!(Question::decode(&frame), Err(BadWords::Body));
    }

    #[test]
    fn a_word_cut_short_anywhere_is_refused() {
        for question in questions() {
            let frame = only_frame(&question.encode());
            for length in 1..frame.len() {
                // Lists have no count: cut between two of them it is a shorter list.
                let read = Question::decode(&frame[..length]);
                assert_ne!(read, Ok(question.clone()), "{length} of {}", frame.len());
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_read_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(frame)) = frames.next_frame() {
                let _ = Question::decode(&frame);
                let _ = Answer::decode(&frame);
            }
            if let Ok(question) = Question::decode(&bytes) {
                // What is understood is written as it was read.
                prop_assert_eq!(only_frame(&question.encode()), bytes);
            }
        }
    }
}
