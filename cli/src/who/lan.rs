//! Questions on the wire, and everything that is said in return. The kernel's neighbour table is not
//! asked and not changed: it keeps one answer, and this is about whether there are more.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ferrolb_core::wire::{MacAddr, Message, question};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};

/// How often it is asked: one question may be lost.
const QUESTIONS: u32 = 3;
/// How long a read waits at most, so that the next question is in time.
const POLL: Duration = Duration::from_millis(10);

/// A link of this host.
pub(super) struct Lan {
    name: String,
    mac: MacAddr,
    addresses: Vec<IpAddr>,
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

/// What came in return.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) asked: u32,
    /// For the address asked for.
    pub(super) answers: BTreeMap<MacAddr, Answers>,
    /// Where the other addresses are.
    pub(super) others: BTreeMap<IpAddr, MacAddr>,
}

/// Of one station.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) count: u32,
    pub(super) fastest: Duration,
}

impl Lan {
    /// The link of this name, or the one on whose subnet `address` is.
    pub(super) fn open(address: IpAddr, link: Option<&str>) -> anyhow::Result<Self> {
        let links = pnet_datalink::interfaces();
        let is_on = |it: &NetworkInterface| it.ips.iter().any(|net| net.contains(address));
        let found = match link {
            Some(name) => links.into_iter().find(|it| it.name == name),
            None => links.into_iter().find(|it| !it.is_loopback() && is_on(it)),
        };
        let Some(link_found) = found else {
            match link {
                Some(name) => bail!("this host has no link {name}"),
                None => bail!(
                    "this host has no link in the subnet of {address}: choose one with --link, or \
                     ask from a host in that subnet"
                ),
            }
        };
        let NetworkInterface { name, ips, mac, .. } = &link_found;
        if !ips.iter().any(|net| net.is_ipv4() == address.is_ipv4()) {
            bail!("{name} has no address of {address}'s family to ask from")
        }
        // One of the same subnet first: others may not be answered.
        let mut nets: Vec<_> = ips.iter().collect();
        nets.sort_by_key(|net| !net.contains(address));
        let addresses = nets.into_iter().map(|net| net.ip()).collect();
        let config = Config {
            promiscuous: false,
            read_timeout: Some(POLL),
            ..Config::default()
        };
        let channel = pnet_datalink::channel(&link_found, config).with_context(|| {
            format!("cannot open a packet socket on {name} (this needs root or CAP_NET_RAW)")
        })?;
        let Channel::Ethernet(sender, receiver) = channel else {
            bail!("{name} is not an Ethernet link")
        };
        Ok(Self {
            mac: mac.with_context(|| format!("{name} has no hardware address"))?,
            addresses,
            name: name.clone(),
            sender,
            receiver,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// This host's addresses on it.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Asks for `address`, and for `others` to know their stations; listens for the whole of `wait`.
    pub(super) fn ask<'a>(
        &mut self,
        address: IpAddr,
        others: impl Iterator<Item = &'a IpAddr> + Clone,
        wait: Duration,
    ) -> anyhow::Result<Heard> {
        let mut heard = Heard::default();
        let start = Instant::now();
        let mut sent = start;
        while start.elapsed() < wait {
            if heard.asked < QUESTIONS && start.elapsed() >= wait * heard.asked / QUESTIONS {
                sent = Instant::now();
                self.send(address)?;
                let others = others.clone();
                others.copied().try_for_each(|other| self.send(other))?;
                heard.asked += 1;
            }
            let frame = match self.receiver.next() {
                Ok(frame) => frame,
                Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
                Err(error) => return Err(error).context("cannot listen"),
            };
            let Ok(message) = Message::parse(frame) else {
                continue;
            };
            let Some(claimed) = message
                .claimed()
                .filter(|_| message.ethernet.source != self.mac)
            else {
                continue;
            };
            let mac = message.sender_hardware();
            if claimed == address {
                let answers = heard.answers.entry(mac).or_insert(Answers {
                    count: 0,
                    fastest: Duration::MAX,
                });
                answers.count = (answers.count + 1).min(heard.asked);
                answers.fastest = answers.fastest.min(sent.elapsed());
            } else {
                heard.others.insert(claimed, mac);
            }
        }
        Ok(heard)
    }

    fn send(&mut self, address: IpAddr) -> anyhow::Result<()> {
        let own = self.addresses.iter();
        let mut own = own.filter(|own| own.is_ipv4() == address.is_ipv4());
        let frame = own.next().and_then(|own| question(address, self.mac, *own));
        // Without an address of that family nobody can be asked for one.
        let Some(frame) = frame else {
            return Ok(());
        };
        let sent = self.sender.send_to(frame.as_bytes(), None);
        sent.context("the question does not fit")?
            .with_context(|| format!("cannot ask on {}", self.name))
    }
}
