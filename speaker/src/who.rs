//! `/who`: asks the LAN of this node who has an address, and listens to everybody who says so.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_core::address::Family;
use ferrolb_core::announce::{Link, LinkId, Wanted, carrying};
use ferrolb_core::report::{StationStatus, WhoStatus};
use ferrolb_core::wire::{MacAddr, Message, probe, question};

use crate::links;
use crate::port::{MAX_FRAME, PacketSocket, Poll};

/// How often it is asked: one question may be lost.
const QUESTIONS: u32 = 3;
/// How long answers are waited for after each.
const WAIT: Duration = Duration::from_millis(300);

/// Asks on the link that carries the address.
pub async fn ask(address: IpAddr) -> anyhow::Result<WhoStatus> {
    let links = links::now(&[]).await?;
    let link = carrying(address, &Wanted::default(), &links).next();
    let (id, link) = link
        .and_then(|id| Some((id, links.get(&id)?.clone())))
        .context("this node has no link with carrier that could carry the address")?;
    tokio::task::spawn_blocking(move || ask_on(id, &link, address))
        .await
        .context("the question was given up")?
}

fn ask_on(id: LinkId, link: &Link, address: IpAddr) -> anyhow::Result<WhoStatus> {
    let name = &link.name;
    let mut socket = PacketSocket::open(id, link.mac, Family::of(address))
        .with_context(|| format!("cannot open a packet socket on {name}"))?;
    socket.listen(std::iter::once(address))?;
    // From an address of the same subnet, where there is one: others may not be answered.
    let mut prefixes: Vec<_> = link.prefixes.iter().collect();
    prefixes.sort_by_key(|prefix| !prefix.contains(address));
    let own = prefixes.into_iter().map(|prefix| prefix.ip());
    let asked = own
        .filter_map(|own| question(address, link.mac, own))
        .next();
    let asked = asked.unwrap_or_else(|| probe(address, link.mac));
    let mut stations = BTreeMap::new();
    for _ in 0..QUESTIONS {
        let sent = Instant::now();
        let cannot = || format!("cannot ask on {name}");
        socket.send(asked.as_bytes()).with_context(cannot)?;
        listen(&socket, address, sent, &mut stations).context("cannot listen")?;
    }
    Ok(WhoStatus {
        address,
        link: name.to_string(),
        asked: QUESTIONS,
        stations: stations.into_values().collect(),
    })
}

/// Adds who says to have `address`, until the wait is over.
fn listen(
    socket: &PacketSocket,
    address: IpAddr,
    sent: Instant,
    stations: &mut BTreeMap<MacAddr, StationStatus>,
) -> io::Result<()> {
    let mut poll = Poll::default();
    let mut buffer = [0; MAX_FRAME];
    while let Some(left) = WAIT.checked_sub(sent.elapsed()) {
        poll.wait(std::iter::once(socket.as_fd()), Some(left))?
            .for_each(drop);
        let length = match socket.receive(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let Ok(message) = Message::parse(&buffer[..length]) else {
            continue;
        };
        if message.claimed() != Some(address) {
            continue;
        }
        let mac = message.sender_hardware();
        let milliseconds = sent.elapsed().as_secs_f64() * 1e3;
        let station = stations.entry(mac).or_insert_with(|| StationStatus {
            mac: mac.to_string(),
            answers: 0,
            fastest_milliseconds: milliseconds,
        });
        station.answers += 1;
        station.fastest_milliseconds = station.fastest_milliseconds.min(milliseconds);
    }
    Ok(())
}
