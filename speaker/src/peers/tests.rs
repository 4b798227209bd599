//! Speakers' threads with their real sockets, on loopback, and somebody who means them ill. Needs root.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
/// Longer than any verdict takes.
const VERDICT: Duration = Duration::from_millis(700);

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
        counted(&self.metrics.text(), series)
    }
}

fn counted(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

/// The longest time without a turn: if somebody else had the cores, the speakers did not hear each other
/// either, and what they found says nothing.
#[derive(Default)]
struct Pauses(Arc<AtomicU64>);

impl Pauses {
    const TICK: Duration = Duration::from_millis(10);
    const LONG: u64 = 150;

    fn watched() -> Self {
        let pauses = Self::default();
        let longest = Arc::clone(&pauses.0);
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(Self::TICK).await;
                let pause = u64::try_from(began.elapsed().as_millis()).unwrap();
                longest.fetch_max(pause, Ordering::Relaxed);
            }
        });
        pauses
    }

    /// Whether there was a long one since the last call.
    async fn were_long(&self) -> bool {
        // One that has just ended is noted by then.
        tokio::time::sleep(2 * Self::TICK).await;
        let were_long = self.0.load(Ordering::Relaxed) > Self::LONG;
        if were_long {
            // What follows from it belongs to it.
            tokio::time::sleep(VERDICT).await;
        }
        self.0.store(0, Ordering::Relaxed);
        were_long
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
    let pauses = Pauses::watched();
    for _ in 0..3 {
        let before = speakers.each_ref().map(verdicts);
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
            tokio::time::sleep(VERDICT).await;
            for speaker in &speakers {
                speaker.hears_all().await;
            }
        }
        let after = speakers.each_ref().map(verdicts);
        if !pauses.were_long().await {
            assert_eq!(after, before);
            return;
        }
    }
    panic!("it was interrupted each time");
}

/// A stranger's datagrams, for three seconds at least and until they are many.
struct Flood {
    sent: u64,
    lasted: Duration,
}

impl Flood {
    const LASTS: Duration = Duration::from_secs(3);
    const MANY: u64 = 50_000;

    async fn from(stranger: &UdpSocket) -> Self {
        const BEAT: u8 = 1;
        let ends = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (ended, counter) = (Arc::clone(&ends), Arc::clone(&sent));
        let stranger = stranger.try_clone().unwrap();
        let began = Instant::now();
        let flood = thread::spawn(move || {
            let datagram = forged(BEAT, 0, &[0; 9], [7; 16]);
            while !ended.load(Ordering::Relaxed) {
                let is_sent = stranger.send(&datagram).is_ok();
                counter.fetch_add(u64::from(is_sent), Ordering::Relaxed);
            }
        });
        tokio::time::sleep(Self::LASTS).await;
        while sent.load(Ordering::Relaxed) <= Self::MANY && began.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ends.store(true, Ordering::Relaxed);
        flood.join().unwrap();
        let (sent, lasted) = (sent.load(Ordering::Relaxed), began.elapsed());
        assert!(sent > Self::MANY, "it was no flood");
        Self { sent, lasted }
    }
}

/// Whoever sends more than a speaker can read keeps its beats from leaving no more than anything else.
#[tokio::test]
#[expect(
    clippy::print_stdout,
    reason = "with --nocapture it tells how much it was"
)]
async fn during_a_flood_the_speakers_beat_on_and_pronounce_no_verdict() {
    let lan = Lan(2);
    let speakers = [lan.speaker(1), lan.speaker(2)];
    for speaker in &speakers {
        speaker.hears_all().await;
    }
    let verdicts = |text: &String| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("ferrolb_verdicts_total{"));
        lines.map(str::to_owned).collect()
    };
    let (pauses, stranger) = (Pauses::watched(), lan.stranger());
    // The best of three rounds: in another one somebody else may have had the cores.
    for _ in 0..3 {
        let before = speakers.each_ref().map(|one| one.metrics.text());
        let flood = Flood::from(&stranger).await;
        let after = speakers.each_ref().map(|one| one.metrics.text());
        let grown = |of: usize, series: &str| {
            let [before, after] = [&before, &after].map(|texts| counted(&texts[of], series));
            after - before
        };
        let outcome = |outcome: &str| {
            let series = format!("ferrolb_peer_datagrams_total{{outcome=\"{outcome}\"}}");
            grown(0, &series)
        };
        let (looked_at, passed_over) = (outcome("bad_signature"), outcome("too_many_strangers"));
        println!(
            "sent {} in {:?}; signatures looked at {looked_at}, passed over {passed_over}; of the \
             flooded one's beats {} came in time, of all {}",
            flood.sent,
            flood.lasted,
            grown(1, "ferrolb_heartbeat_gap_seconds_bucket{le=\"0.07\"}"),
            grown(1, "ferrolb_heartbeat_gap_seconds_count"),
        );
        let [received, missed] = [1, 0].map(|of| {
            let all = grown(of, "ferrolb_heartbeat_gap_seconds_count");
            let in_time = grown(of, "ferrolb_heartbeat_gap_seconds_bucket{le=\"0.15\"}");
            (all, all - in_time)
        });
        println!(
            "beats received by the other one, by the flooded one: {received:?}, {missed:?} (all, late)"
        );
        let allowed = 10_000.0 * flood.lasted.div_duration_f64(Flood::LASTS);
        assert!(
            looked_at as f64 <= allowed,
            "{looked_at} signatures were looked at"
        );
        let is_judged = !pauses.were_long().await;
        if is_judged {
            let all = [&before, &after].map(|texts| texts.each_ref().map(verdicts));
            assert_eq!(all[1], all[0]);
        }
        for speaker in &speakers {
            speaker.hears_all().await;
        }
        if is_judged && received.1 <= 5 && missed.1 <= 5 {
            return;
        }
    }
    panic!("beats were late, or it was interrupted each time");
}
