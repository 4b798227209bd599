//! Questions of a station that does not exist, and who answers them: owners answer no node of the
//! cluster, whose kernel would route by the answer. Not probes (RFC 5227 §2.1.1): a speaker that is just
//! making sure that nobody has an address would give way to one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_core::address::Family;
use ferrolb_core::announce::LinkId;
use ferrolb_core::wire::{self, MacAddr, Message};

use crate::port::{MAX_FRAME, PacketSocket, Poll};

/// How often each address is asked for: one question may be lost.
pub const ROUNDS: u32 = 3;
/// A station on the segment answers within milliseconds.
const ROUND: Duration = Duration::from_millis(500);
/// Stations that are kept for one address: anybody on the LAN can pretend to be many.
const MOST_STATIONS: usize = 32;

/// How quickly the questions of a round follow one another.
#[derive(Debug, Clone, Copy)]
pub enum Asking {
    /// All at once.
    AtOnce,
    /// With this pause after each.
    Slowly(Duration),
}

/// What a station says for an address.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Where it was heard last.
    pub link: LinkId,
    /// How often.
    pub count: u32,
    /// After a question.
    pub fastest: Duration,
}

/// The stations that answer for each address, on the links that it is asked for on. Answers of this very
/// host are not heard.
pub fn stations(
    questions: &BTreeMap<IpAddr, Vec<LinkId>>,
) -> anyhow::Result<BTreeMap<IpAddr, BTreeMap<MacAddr, Answers>>> {
    ask(questions, Asking::AtOnce)
}

/// The same, asked as quickly as `asking` says.
pub fn ask(
    questions: &BTreeMap<IpAddr, Vec<LinkId>>,
    asking: Asking,
) -> anyhow::Result<BTreeMap<IpAddr, BTreeMap<MacAddr, Answers>>> {
    let asker = made_up();
    let places = questions
        .iter()
        .flat_map(|(address, links)| links.iter().map(|link| (*link, Family::of(*address))));
    let places: BTreeSet<_> = places.collect();
    let mut sockets = Vec::new();
    for (link, family) in places {
        let socket = PacketSocket::for_answers_to(asker, link, family);
        let socket = socket.context("cannot open a packet socket")?;
        sockets.push((link, family, socket));
    }
    let mut heard: BTreeMap<_, _> = questions
        .keys()
        .map(|one| (*one, BTreeMap::new()))
        .collect();
    let mut asked: BTreeMap<IpAddr, Instant> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (address, links) in questions {
            let Some(frame) = wire::question(*address, asker, address_of(asker, *address)) else {
                continue;
            };
            for (link, family, socket) in &sockets {
                if *family == Family::of(*address) && links.contains(link) {
                    socket.send(frame.as_bytes()).context("cannot ask")?;
                }
            }
            asked.insert(*address, Instant::now());
            if let Asking::Slowly(pause) = asking {
                let until = Instant::now() + pause;
                listen(&sockets, until, |link, message| {
                    note(&mut heard, &asked, link, message);
                })?;
            }
        }
        listen(&sockets, Instant::now() + ROUND, |link, message| {
            note(&mut heard, &asked, link, message);
        })?;
    }
    Ok(heard)
}

/// Keeps an answer.
fn note(
    heard: &mut BTreeMap<IpAddr, BTreeMap<MacAddr, Answers>>,
    asked: &BTreeMap<IpAddr, Instant>,
    link: LinkId,
    message: &Message,
) {
    let Some(address) = message.claimed() else {
        return;
    };
    let (Some(stations), Some(asked)) = (heard.get_mut(&address), asked.get(&address)) else {
        return;
    };
    let sender = message.sender_hardware();
    if stations.len() >= MOST_STATIONS && !stations.contains_key(&sender) {
        return;
    }
    let after = asked.elapsed();
    let answers = stations.entry(sender).or_insert(Answers {
        link,
        count: 0,
        fastest: after,
    });
    answers.link = link;
    answers.count += 1;
    answers.fastest = answers.fastest.min(after);
}

fn listen(
    sockets: &[(LinkId, Family, PacketSocket)],
    until: Instant,
    mut hear: impl FnMut(LinkId, &Message),
) -> anyhow::Result<()> {
    let mut poll = Poll::default();
    let mut buffer = [0; MAX_FRAME];
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let files = sockets.iter().map(|(_, _, socket)| socket.as_fd());
        drop(poll.wait(files, Some(left)).context("cannot listen")?);
        for (link, _, socket) in sockets {
            while let Ok(length) = socket.receive(&mut buffer) {
                if let Ok(message) = Message::parse(buffer.get(..length).unwrap_or_default()) {
                    hear(*link, &message);
                }
            }
        }
    }
    Ok(())
}

/// What the asker of `address` says to be: TEST-NET-1 (RFC 5737) is nobody's; in IPv6 the link-local
/// address that a station with this hardware address would have (RFC 4291 appendix A).
fn address_of(asker: MacAddr, address: IpAddr) -> IpAddr {
    let [a, b, c, d, e, f] = asker.octets();
    let pair = |high, low| u16::from_be_bytes([high, low]);
    match address {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            pair(a ^ 2, b),
            pair(c, 0xff),
            pair(0xfe, d),
            pair(e, f),
        )
        .into(),
    }
}

/// A locally administered address that no station has.
fn made_up() -> MacAddr {
    let [a, b, c, d, e, f, ..] = RandomState::new().hash_one(()).to_be_bytes();
    MacAddr(a & 0xfc | 2, b, c, d, e, f)
}
