//! Speakers' threads with their real sockets, on loopback, and somebody who means them ill. Needs root.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferrolb_core::announce::{self, Link, LinkId};
use ferrolb_core::own_address::LocalAddress;
use ferrolb_core::ownership::{Candidate, FAST, NodeId, PORT};
use ferrolb_core::report::MemberStatus;
use ferrolb_core::wire::MacAddr;
use tokio::time::timeout;

use super::*;
use crate::port::Kernel;
use crate::wire;

const SOON: Duration = Duration::from_secs(20);
const HEADER: usize = 40;

struct Speaker {
    peers: Peers,
    heard: channel::UnboundedReceiver<wire::Heard>,
    metrics: Arc<Metrics>,
}

/// A network of 127.0.0.0/8 for each test: others may run beside it.
#[derive(Clone, Copy)]
struct Lan(u8);

impl Lan {
    fn address(self, host: u8) -> IpAddr {
        let [.., pid] = std::process::id().to_be_bytes();
        IpAddr::from([127, 0x80 | self.0, pid, host])
    }

    fn vip(self) -> IpAddr {
        self.address(200)
    }

    /// With a key that is a year old. n1 may announce an address.
    fn speaker(self, host: u8) -> Speaker {
        let me = format!("n{host}");
        let (clock, pulse) = (Clock::start(), Pulse::default());
        let metrics = Arc::new(Metrics::new());
        let settings = announce::Settings::default();
        let (wire, heard) = Wire::spawn(
            Kernel::default(),
            settings,
            clock,
            pulse.clone(),
            Arc::clone(&metrics),
        )
        .unwrap();
        let start = Start {
            network: Kernel::default(),
            me: me.clone(),
            port: PORT,
            settings: FAST,
            wire,
            clock,
            pulse,
            metrics: Arc::clone(&metrics),
            keeper: None,
        };
        let (peers, _) = Peers::spawn(start).unwrap();
        let files = [
            ("key-1", "the key of all speakers"),
            (".created", "2025-11-29T17:47:18Z"),
        ];
        let files = files.map(|(name, content)| (name.to_owned(), content.into()));
        peers.set_keys(files.into());
        peers.set_interfaces(self.interfaces(host));
        let node = NodeId::of(&me);
        let wish = Wish {
            may: Ok(()),
            drawback: None,
            candidates: Candidates::of(
                self.vip(),
                [Candidate {
                    node,
                    tier: 0,
                    unpreferred: 0,
                }],
            ),
            interfaces: BTreeSet::new(),
            in_conflict: false,
        };
        let is_its = host == 1;
        peers.set_wishes(
            is_its
                .then_some((self.vip(), Arc::new(wish)))
                .into_iter()
                .collect(),
        );
        let nodes = [1, 2].map(|host| (format!("n{host}"), vec![self.address(host)]));
        peers.set_nodes(nodes.into());
        Speaker {
            peers,
            heard,
            metrics,
        }
    }

    /// A node with this address.
    fn interfaces(self, host: u8) -> Interfaces {
        let prefix = format!("{}/24", self.address(host)).parse().unwrap();
        let loopback = Link {
            name: "lo".into(),
            mac: MacAddr::from([2, 0, 0, 0, 0, host]),
            prefixes: vec![prefix],
            carrier: true,
            routes: Default::default(),
        };
        let address = LocalAddress {
            link: LinkId(1),
            prefix,
            carrier: true,
            lasting: true,
        };
        Interfaces {
            links: [(LinkId(1), loopback)].into(),
            addresses: vec![address],
        }
    }

    /// Somebody on the LAN who is no node.
    fn stranger(self) -> UdpSocket {
        let socket = UdpSocket::bind((self.address(99), PORT)).unwrap();
        socket.connect((self.address(1), PORT)).unwrap();
        socket
    }
}

/// In the name of n2, as the wire has it: signed with `tag`.
fn forged(kind: u8, echo: u64, payload: &[u8], tag: [u8; 16]) -> Vec<u8> {
    let boot = boot_id();
    let mut bytes = [b"FL".as_slice(), &[1, kind]].concat();
    let sender = format!("{:?}", NodeId::of("n2"));
    bytes.extend(u64::from_str_radix(&sender, 16).unwrap().to_be_bytes());
    bytes.extend(boot.to_be_bytes());
    bytes.extend(boot.to_be_bytes());
    bytes.extend(echo.to_be_bytes());
    bytes.extend([0; 4]);
    assert_eq!(bytes.len(), HEADER);
    bytes.extend(payload);
    bytes.extend(tag);
    bytes
}

impl Speaker {
    async fn owns(&mut self, vip: IpAddr) {
        let owned = async {
            while let Some(heard) = self.heard.recv().await {
                if matches!(heard.event, announce::Event::Announced { vip: one, .. } if one == vip)
                {
                    return;
                }
            }
            panic!("the thread has ended");
        };
        timeout(SOON, owned)
            .await
            .expect("it announces its address");
    }

    async fn hears_all(&self) {
        let began = Instant::now();
        loop {
            let status = self.peers.status().await.unwrap();
            let live = |member: &MemberStatus| member.standing == "live";
            if status.members.len() == 2 && status.members.iter().all(live) {
                return;
            }
            assert!(began.elapsed() < SOON, "{:?}", status.members);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn counted(&self, series: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

/// Three datagrams without a signature silenced a node in the first five minutes of its speaker: the
/// first one made it tell its boot, and the others said that its name is another's.
#[tokio::test]
async fn a_stranger_learns_nothing_and_silences_nobody_in_a_speakers_first_minutes() {
    const PING: u8 = 2;
    const STALE: u8 = 6;
    let lan = Lan(1);
    let mut speaker = lan.speaker(1);
    speaker.owns(lan.vip()).await;
    let stranger = lan.stranger();
    stranger
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    for tag in [[0; 16], [7; 16]] {
        stranger.send(&forged(PING, 0, &[0; 13], tag)).unwrap();
        let mut told = [0; 64];
        let answer = stranger.recv(&mut told);
        assert!(answer.is_err(), "it was told {told:02x?}");
        for _ in 0..3 {
            let boot = (boot_id() + 1_000_000).to_be_bytes();
            stranger.send(&forged(STALE, 0, &boot, tag)).unwrap();
        }
    }
    let refused = r#"ferrolb_peer_datagrams_total{outcome="bad_signature"}"#;
    let began = Instant::now();
    while speaker.counted(refused) < 8 {
        assert!(began.elapsed() < SOON, "{}", speaker.metrics.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    while let Ok(heard) = speaker.heard.try_recv() {
        let event = heard.event;
        assert!(
            !matches!(event, announce::Event::Silent { .. }),
            "{event:?}"
        );
    }
}

/// The kernel tells of the other lease; the Node object is what it was.
#[tokio::test]
async fn a_node_with_a_key_is_heard_at_another_address_of_it_at_once() {
    let lan = Lan(3);
    let speakers = [lan.speaker(1), lan.speaker(2)];
    for speaker in &speakers {
        speaker.hears_all().await;
    }
    let verdicts = |speaker: &Speaker| speaker.counted(r#"ferrolb_verdicts_total{verdict="node"}"#);
    for host in [7, 2, 9] {
        speakers[1].peers.set_interfaces(lan.interfaces(host));
        let began = Instant::now();
        loop {
            let status = speakers[0].peers.status().await.unwrap();
            let is_there = |one: &MemberStatus| {
                let is_it = one.node == "n2" && one.address == lan.address(host);
                is_it && one.standing == "live" && one.heard_millis_ago < Some(100)
            };
            if status.members.iter().any(is_there) {
                break;
            }
            assert!(began.elapsed() < SOON, "{host}: {:?}", status.members);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Longer than any verdict takes.
        tokio::time::sleep(Duration::from_millis(700)).await;
        for speaker in &speakers {
            speaker.hears_all().await;
            assert_eq!(verdicts(speaker), 0);
        }
    }
}

/// Whoever sends more than a speaker can read keeps its beats from leaving no more than anything else.
#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "with --nocapture it tells how much it was"
)]
async fn during_a_flood_the_speakers_beat_on_and_pronounce_no_verdict() {
    const BEAT: u8 = 1;
    let lan = Lan(2);
    let speakers = [lan.speaker(1), lan.speaker(2)];
    for speaker in &speakers {
        speaker.hears_all().await;
    }
    let before = speakers.each_ref().map(|one| one.metrics.text());
    let (ends, stranger) = (Arc::new(AtomicBool::new(false)), lan.stranger());
    let ended = Arc::clone(&ends);
    let flood = thread::spawn(move || {
        let datagram = forged(BEAT, 0, &[0; 9], [7; 16]);
        let mut sent = 0_u64;
        while !ended.load(Ordering::Relaxed) {
            sent += u64::from(stranger.send(&datagram).is_ok());
        }
        sent
    });
    tokio::time::sleep(Duration::from_secs(3)).await;
    ends.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap();
    let verdicts = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("ferrolb_verdicts_total{"));
        lines.map(str::to_owned).collect()
    };
    let counted = |outcome: &str| {
        let series = format!("ferrolb_peer_datagrams_total{{outcome=\"{outcome}\"}}");
        speakers[0].counted(&series)
    };
    let (looked_at, passed_over) = (counted("bad_signature"), counted("too_many_strangers"));
    println!(
        "sent {sent}; signatures looked at {looked_at}, passed over {passed_over}; of the flooded \
         one's beats {} came in time, of all {}",
        speakers[1].counted("ferrolb_heartbeat_gap_seconds_bucket{le=\"0.07\"}"),
        speakers[1].counted("ferrolb_heartbeat_gap_seconds_count"),
    );
    let [received, missed] = [&speakers[1], &speakers[0]].map(|one| {
        let all = one.counted("ferrolb_heartbeat_gap_seconds_count");
        let in_time = one.counted("ferrolb_heartbeat_gap_seconds_bucket{le=\"0.15\"}");
        (all, all - in_time)
    });
    println!(
        "beats received by the other one, by the flooded one: {received:?}, {missed:?} (all, late)"
    );
    assert!(sent > 50_000, "it was no flood");
    assert!(received.1 <= 5 && missed.1 <= 5, "beats were late");
    assert!(looked_at <= 10_000, "{looked_at} signatures were looked at");
    for (speaker, before) in speakers.iter().zip(before) {
        let after = speaker.metrics.text();
        assert_eq!(verdicts(&after), verdicts(&before));
        speaker.hears_all().await;
    }
}
