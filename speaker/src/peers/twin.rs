//! Whole speakers but for the API server, as they run on nodes, on a LAN in memory: it loses, doubles,
//! delays and refuses what they send.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ferrolb_core::announce::{Event, Progress, Settings as Pace};
use ferrolb_core::ownership::{Candidate, Cause, FAST, NodeId, PORT};
use tokio::time::{sleep, timeout};

use super::*;
use crate::port::memory::{Fate, Lan, address};
use crate::wire::Heard;

const SOON: Duration = Duration::from_secs(30);

struct Speaker {
    number: u8,
    peers: Peers,
    notices: channel::UnboundedReceiver<FromPeers>,
    wire: Wire,
    heard: channel::UnboundedReceiver<Heard>,
    metrics: Arc<Metrics>,
}

fn vip() -> IpAddr {
    address(200)
}

fn name(number: u8) -> String {
    format!("n{number}")
}

/// All of these nodes may, and the first is the best.
fn wishes(nodes: &[u8]) -> Wishes {
    let candidates = nodes.iter().map(|number| Candidate {
        node: NodeId::of(&name(*number)),
        tier: 0,
        unpreferred: 0,
    });
    let wish = Wish {
        may: Ok(()),
        drawback: None,
        candidates: Candidates::of(vip(), candidates),
        interfaces: BTreeSet::new(),
        in_conflict: false,
    };
    [(vip(), Arc::new(wish))].into()
}

fn nodes(numbers: &[u8]) -> BTreeMap<String, Vec<IpAddr>> {
    let nodes = numbers.iter();
    nodes
        .map(|number| (name(*number), vec![address(*number)]))
        .collect()
}

impl Speaker {
    /// On a node of a cluster of `all`; without a list of Nodes.
    fn unlisted(lan: &Lan, number: u8) -> Self {
        let host = lan.host(number);
        let (clock, pulse) = (Clock::start(), Pulse::default());
        let metrics = Arc::new(Metrics::new());
        let (wire, heard) = Wire::spawn(
            host.clone(),
            Pace::default(),
            clock,
            pulse.clone(),
            Arc::clone(&metrics),
        )
        .unwrap();
        let start = Start {
            network: host.clone(),
            me: name(number),
            port: PORT,
            settings: FAST,
            wire: wire.clone(),
            clock,
            pulse,
            metrics: Arc::clone(&metrics),
            keeper: None,
        };
        let (peers, notices) = Peers::spawn(start).unwrap();
        peers.set_keys(BTreeMap::new());
        peers.set_interfaces(host.interfaces());
        Self {
            number,
            peers,
            notices,
            wire,
            heard,
            metrics,
        }
    }

    fn new(lan: &Lan, number: u8, all: &[u8]) -> Self {
        let speaker = Self::unlisted(lan, number);
        speaker.peers.set_wishes(wishes(all));
        speaker.peers.set_nodes(nodes(all));
        speaker
    }

    async fn announces(&self) -> bool {
        let progress = self.wire.progress().await;
        progress.get(&vip()) == Some(&Progress::Announced)
    }

    /// Whether it hears this many others, and has heard from the owner itself that it announces. Who has
    /// not rightly takes the address of a dead owner as a new one.
    async fn knows(&self, others: usize, owner: u8) -> bool {
        let status = self.peers.status().await.unwrap();
        let live = status.members.iter().filter(|one| one.is_live());
        let seen = status.vips.get(&vip());
        live.count() == others + 1
            && seen.is_some_and(|seen| {
                seen.owner == Some(name(owner).into())
                    && seen.ownership.is_some_and(|one| !one.asking)
            })
    }

    /// What a main thread does with it.
    fn relay(&mut self) -> Vec<Event> {
        let heard = std::iter::from_fn(|| self.heard.try_recv().ok());
        let heard: Vec<_> = heard.map(|heard| heard.event).collect();
        for event in &heard {
            if let Event::Announced { vip, .. } = event {
                self.peers.set_announced(*vip);
            }
        }
        heard
    }

    async fn may_exit(&mut self) {
        let told =
            async { while !matches!(self.notices.recv().await, Some(FromPeers::MayExit)) {} };
        timeout(SOON, told).await.expect("it may exit");
    }

    fn verdicts(&self, verdict: &str) -> bool {
        let series = format!("ferrolb_verdicts_total{{verdict=\"{verdict}\"}}");
        self.metrics.text().contains(&series)
    }
}

/// Waits until exactly one of them announces, all hear each other, and all know it; tells which one.
async fn settle(speakers: &mut [Speaker]) -> u8 {
    let began = Instant::now();
    loop {
        let mut owners = Vec::new();
        for speaker in &mut *speakers {
            speaker.relay();
            if speaker.announces().await {
                owners.push(speaker.number);
            }
        }
        if let [owner] = owners[..] {
            let mut all_know = true;
            for speaker in &*speakers {
                all_know &= speaker.knows(speakers.len() - 1, owner).await;
            }
            if all_know {
                return owner;
            }
        }
        assert!(
            began.elapsed() < SOON,
            "announced by {owners:?}, not known to all"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn while_datagrams_are_lost_doubled_and_overtaken_an_address_has_one_owner() {
    let lan = Lan::default();
    let mut sent = 0_u32;
    lan.set_rule(move |sent_now| {
        sent += 1;
        match sent {
            _ if sent_now.is_frame => Fate::Arrives,
            n if n % 11 == 0 => Fate::IsLost,
            n if n % 5 == 0 => Fate::ArrivesTwice,
            n if n % 7 == 0 => Fate::IsOvertaken,
            _ => Fate::Arrives,
        }
    });
    let all = [1, 2, 3];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    let owner = settle(&mut speakers).await;
    sleep(Duration::from_secs(1)).await;
    lan.heal();
    assert_eq!(settle(&mut speakers).await, owner);
    assert!(
        speakers.iter().all(|one| !one.verdicts("node")),
        "every kernel answered"
    );
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_made_up_for() {
    let lan = Lan::default();
    lan.set_rule(|sent| match sent.by {
        1 => Fate::IsRefused(ErrorKind::NetworkUnreachable),
        _ => Fate::Arrives,
    });
    let all = [1, 2];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    sleep(Duration::from_millis(700)).await;
    lan.heal();
    settle(&mut speakers).await;
}

#[tokio::test]
async fn sockets_that_report_errors_or_cannot_be_bound_at_first_are_used_in_the_end() {
    let lan = Lan::default();
    lan.fail_to_bind(&[ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable]);
    let all = [1, 2];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    settle(&mut speakers).await;
    for error in [ErrorKind::ConnectionRefused, ErrorKind::NetworkDown] {
        for number in all {
            lan.fail_to_receive(number, error);
        }
        sleep(Duration::from_millis(100)).await;
    }
    settle(&mut speakers).await;
    for speaker in &mut speakers {
        let failed = std::iter::from_fn(|| speaker.notices.try_recv().ok());
        let failed: Vec<_> = failed
            .filter(|notice| matches!(notice, FromPeers::Failed(_)))
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[tokio::test]
async fn a_node_whose_power_is_gone_is_replaced_by_one_that_says_that_it_was_an_orphan() {
    let lan = Lan::default();
    let all = [1, 2, 3];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    let owner = settle(&mut speakers).await;
    for speaker in &mut speakers {
        speaker.relay();
    }
    lan.cut(owner);
    let began = Instant::now();
    let took = 'taken: loop {
        for speaker in speakers.iter_mut().filter(|one| one.number != owner) {
            for event in speaker.relay() {
                if let Event::Announced { cause, .. } = event {
                    break 'taken (speaker.number, cause);
                }
            }
        }
        assert!(began.elapsed() < SOON, "nobody took over");
        sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(took.1, Cause::Orphan);
    sleep(Duration::from_millis(300)).await;
    for speaker in speakers.iter().filter(|one| one.number != owner) {
        assert_eq!(speaker.announces().await, speaker.number == took.0);
    }
}

#[tokio::test]
async fn who_is_told_to_go_before_it_knows_the_others_may_exit_at_once() {
    for why in [Leaving::Restarting, Leaving::Draining] {
        let lan = Lan::default();
        // Not listed; then listed, and without wishes.
        let mut unlisted = Speaker::unlisted(&lan, 1);
        unlisted.peers.leave(why);
        unlisted.may_exit().await;
        let mut gathering = Speaker::unlisted(&lan, 2);
        gathering.peers.set_nodes(nodes(&[1, 2]));
        gathering.peers.leave(why);
        gathering.may_exit().await;
        // What comes late changes nothing any more.
        gathering.peers.set_wishes(wishes(&[2]));
        sleep(Duration::from_millis(300)).await;
        assert!(!gathering.announces().await);
        assert!(lan.frames_of(2).is_empty());
    }
}

#[tokio::test]
async fn who_restarts_while_it_holds_an_address_leaves_it_to_its_kernel_and_nobody_takes_it() {
    let lan = Lan::default();
    let all = [1, 2, 3];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    let owner = settle(&mut speakers).await;
    let index = usize::from(owner - 1);
    speakers[index].peers.leave(Leaving::Restarting);
    speakers[index].may_exit().await;
    speakers[index].wire.stop();
    sleep(Duration::from_secs(1)).await;
    for speaker in speakers.iter().filter(|one| one.number != owner) {
        assert!(!speaker.announces().await, "n{} took it", speaker.number);
        assert!(!speaker.verdicts("node"));
    }
}

#[tokio::test]
async fn who_goes_for_good_hands_over_first_also_if_it_is_told_again_or_the_hand_over_gets_lost() {
    let lan = Lan::default();
    let all = [1, 2, 3];
    let mut speakers = all.map(|number| Speaker::new(&lan, number, &all));
    let owner = settle(&mut speakers).await;
    let index = usize::from(owner - 1);
    let mut lost = 0;
    lan.set_rule(move |sent| {
        if sent.is_frame || sent.by != owner || lost == 3 {
            return Fate::Arrives;
        }
        lost += 1;
        Fate::IsLost
    });
    speakers[index].peers.leave(Leaving::Draining);
    sleep(Duration::from_millis(5)).await;
    speakers[index].peers.leave(Leaving::Draining);
    speakers[index].may_exit().await;
    speakers[index].wire.stop();
    let began = Instant::now();
    loop {
        let mut owners = Vec::new();
        for speaker in speakers.iter_mut().filter(|one| one.number != owner) {
            speaker.relay();
            if speaker.announces().await {
                owners.push(speaker.number);
            }
        }
        if owners.len() == 1 {
            break;
        }
        assert!(began.elapsed() < SOON, "announced by {owners:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
