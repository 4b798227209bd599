//! The thread as it runs on a node, on a LAN in memory.

use std::io::ErrorKind;

use ferrolb_core::ownership::Cause;
use ferrolb_core::wire::{MacAddr, announcement, question};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::port::memory::{Fate, Host, Lan, address, mac};

const SOON: Duration = Duration::from_secs(20);
const QUICKLY: Duration = Duration::from_millis(30);
const CLIENT: u8 = 100;
const STRANGER: u8 = 99;

struct Bench {
    lan: Lan,
    host: Host,
    clock: Clock,
    wire: Wire,
    heard: events::UnboundedReceiver<Heard>,
    metrics: Arc<Metrics>,
}

/// With so long between probes: whoever contends has that time to do so, however busy the machine is. After
/// a conflict four times as long.
fn settings(probe_spacing: Duration) -> Settings {
    let conflict_retry = 4 * probe_spacing;
    Settings {
        spacing: Duration::from_millis(40),
        probe_spacing,
        conflict_retry,
        conflict_retry_at_most: conflict_retry,
        defend_interval: Duration::from_millis(100),
        ..Settings::default()
    }
}

fn vip() -> IpAddr {
    address(200)
}

fn wanted(cause: Cause, probe_first: bool) -> BTreeMap<IpAddr, Assignment> {
    let wanted = Assignment {
        cause,
        probe_first,
        ..Assignment::default()
    };
    [(vip(), wanted)].into()
}

impl Bench {
    /// Of host 1, whose peers' thread is well for a minute.
    fn new() -> Self {
        Self::probing_each(QUICKLY)
    }

    fn probing_each(spacing: Duration) -> Self {
        let pulse = Pulse::default();
        let bench = Self::with(pulse.clone(), spacing);
        for beat in 0..80 {
            pulse.beat(true, Instant::from_millis(beat * 800));
        }
        bench
    }

    fn with(pulse: Pulse, probe_spacing: Duration) -> Self {
        let lan = Lan::default();
        let host = lan.host(1);
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new());
        let (wire, heard) = Wire::spawn(
            host.clone(),
            settings(probe_spacing),
            clock,
            pulse,
            Arc::clone(&metrics),
        )
        .unwrap();
        Self {
            lan,
            host,
            clock,
            wire,
            heard,
            metrics,
        }
    }

    /// The peers' thread, which is well until this is aborted.
    fn beat(&self, pulse: &Pulse) -> JoinHandle<()> {
        let (clock, pulse) = (self.clock, pulse.clone());
        tokio::spawn(async move {
            loop {
                pulse.beat(true, clock.now());
                sleep(QUICKLY).await;
            }
        })
    }

    fn set_links(&self) {
        self.wire.set_links(self.host.interfaces().links);
    }

    async fn next(&mut self) -> Event {
        let heard = timeout(SOON, self.heard.recv()).await;
        heard.expect("it tells something").expect("it lives").event
    }

    async fn is_announced(&mut self, cause: Cause) {
        let event = self.next().await;
        let Event::Announced {
            vip: one,
            cause: why,
            ..
        } = event
        else {
            panic!("{event:?}");
        };
        assert_eq!((one, why), (vip(), cause));
    }

    /// Whether a client's question is answered. `asks` as often as it takes.
    async fn answers(&self) -> bool {
        let before = self.replies();
        let asked = question(vip(), mac(CLIENT), address(CLIENT)).unwrap();
        self.lan.say(asked.as_bytes());
        // Both are commands: the second one comes after a turn of the loop.
        for _ in 0..10 {
            self.wire.progress().await;
            if self.replies() > before {
                return true;
            }
            sleep(Duration::from_millis(5)).await;
        }
        false
    }

    async fn answers_at_last(&self) {
        let answered = async {
            while !self.answers().await {
                sleep(QUICKLY).await;
            }
        };
        timeout(SOON, answered).await.expect("it answers");
    }

    fn replies(&self) -> usize {
        let frames = self.lan.frames_of(1);
        let to_client = |frame: &&Vec<u8>| frame.starts_with(&mac(CLIENT).octets());
        frames.iter().filter(to_client).count()
    }

    async fn progress(&self) -> Option<Progress> {
        self.wire.progress().await.get(&vip()).copied()
    }

    async fn comes_to(&self, progress: Option<Progress>) {
        let there = async {
            while self.progress().await != progress {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let there = timeout(SOON, there).await;
        there.unwrap_or_else(|_| panic!("it never came to {progress:?}"));
    }

    /// The other host says that it has the address.
    fn contend(&self, station: u8) {
        for frame in announcement(vip(), mac(station)) {
            self.lan.say(frame.as_bytes());
        }
    }
}

#[tokio::test]
async fn what_is_announced_is_told_with_its_cause_and_its_silence_comes_after() {
    let mut bench = Bench::new();
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::Handover, false));
    bench.is_announced(Cause::Handover).await;
    assert_eq!(bench.progress().await, Some(Progress::Announced));
    bench.answers_at_last().await;
    bench.wire.set_wanted(BTreeMap::new());
    let event = bench.next().await;
    assert_eq!(event, Event::Silent { vip: vip() });
    assert_eq!(bench.progress().await, None);
    assert!(!bench.answers().await);
}

#[tokio::test]
async fn however_fast_orders_change_what_is_told_alternates_and_ends_with_the_last_one() {
    let mut bench = Bench::new();
    bench.set_links();
    for _ in 0..50 {
        bench.wire.set_wanted(wanted(Cause::Orphan, false));
        bench.wire.set_wanted(BTreeMap::new());
    }
    bench.wire.set_wanted(wanted(Cause::New, false));
    let mut is_announced = false;
    loop {
        match bench.next().await {
            Event::Announced { cause, .. } => {
                assert!(!is_announced, "it was announced already");
                is_announced = true;
                if cause == Cause::New {
                    break;
                }
            }
            Event::Silent { .. } => assert!(std::mem::take(&mut is_announced), "it was silent"),
            other => panic!("{other:?}"),
        }
    }
    bench.answers_at_last().await;
    assert!(bench.heard.try_recv().is_err(), "that was the last one");
}

#[tokio::test]
async fn frames_that_are_refused_or_lost_are_counted_and_announced_again() {
    let mut bench = Bench::new();
    let mut sent = 0;
    bench.lan.set_rule(move |_| {
        sent += 1;
        match sent {
            1..=4 => Fate::IsRefused(ErrorKind::StorageFull),
            5 | 6 => Fate::IsLost,
            _ => Fate::Arrives,
        }
    });
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::Orphan, false));
    bench.is_announced(Cause::Orphan).await;
    let arrived = async {
        while bench.lan.frames_of(1).is_empty() {
            sleep(QUICKLY).await;
        }
    };
    timeout(SOON, arrived).await.expect("a later round arrives");
    let text = bench.metrics.text();
    let refused = r#"ferrolb_frames_total{link="lan0",kind="arp_gratuitous",outcome="not_sent"} 4"#;
    assert!(text.contains(refused), "{text}");
}

#[tokio::test]
async fn a_socket_that_cannot_be_opened_is_tried_again_and_answers_then() {
    let bench = Bench::new();
    // It tries once a second: for so long there is time to look.
    bench.lan.fail_to_open(&[ErrorKind::PermissionDenied; 3]);
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::Orphan, false));
    bench.comes_to(Some(Progress::Announced)).await;
    assert_eq!(bench.lan.sockets_of(1), 0);
    assert!(!bench.answers().await, "it has no ears yet");
    bench.answers_at_last().await;
    assert_eq!(bench.lan.sockets_of(1), 1);
}

#[tokio::test]
async fn a_socket_that_reports_errors_is_read_on() {
    let mut bench = Bench::new();
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::Orphan, false));
    bench.is_announced(Cause::Orphan).await;
    for error in [
        ErrorKind::NetworkDown,
        ErrorKind::Interrupted,
        ErrorKind::NetworkDown,
    ] {
        bench.lan.fail_to_receive(1, error);
        bench.answers_at_last().await;
    }
}

#[tokio::test]
async fn another_host_keeps_an_address_silent_until_it_is_gone_and_none_that_comes_late_does() {
    let mut bench = Bench::probing_each(Duration::from_millis(750));
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::New, true));
    let probed = async {
        while bench.lan.frames_of(1).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, probed).await.unwrap();
    bench.contend(STRANGER);
    let event = bench.next().await;
    let Event::Conflict {
        before_use: true,
        mac: by,
        ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(by, MacAddr(2, 0, 0, 0, 0, STRANGER));
    assert_eq!(bench.progress().await, Some(Progress::Conflict));
    assert!(!bench.answers().await);
    // It is gone: the next probe is answered by nobody.
    let event = bench.next().await;
    assert!(
        matches!(
            event,
            Event::Announced {
                was_in_conflict: true,
                cause: Cause::New,
                ..
            }
        ),
        "{event:?}"
    );
    bench.answers_at_last().await;
    // Of the one before it is told again after minutes only.
    bench.contend(STRANGER + 1);
    let event = bench.next().await;
    assert!(
        matches!(
            event,
            Event::Conflict {
                before_use: false,
                ..
            }
        ),
        "{event:?}"
    );
    assert_eq!(bench.progress().await, Some(Progress::Announced));
    assert!(bench.answers().await);
}

#[tokio::test]
async fn frames_that_wait_while_the_peers_thread_has_stopped_are_not_answered() {
    let pulse = Pulse::default();
    let mut bench = Bench::with(pulse.clone(), QUICKLY);
    let beating = bench.beat(&pulse);
    bench.set_links();
    bench.wire.set_wanted(wanted(Cause::Orphan, false));
    bench.is_announced(Cause::Orphan).await;
    bench.answers_at_last().await;
    beating.abort();
    sleep(Duration::from_millis(1_200)).await;
    assert!(!bench.answers().await, "others may have taken over by now");
    bench.beat(&pulse);
    bench.answers_at_last().await;
}

#[tokio::test]
async fn on_no_link_an_address_is_silent_and_is_announced_once_one_is_there() {
    let mut bench = Bench::new();
    bench.wire.set_wanted(wanted(Cause::Orphan, false));
    bench.comes_to(Some(Progress::NoLink)).await;
    bench.set_links();
    bench.is_announced(Cause::Orphan).await;
    bench.wire.set_links(BTreeMap::new());
    bench.comes_to(Some(Progress::NoLink)).await;
    assert!(!bench.answers().await);
    bench.set_links();
    bench.comes_to(Some(Progress::Announced)).await;
    bench.answers_at_last().await;
}

#[tokio::test]
async fn told_to_stop_it_is_silent_at_once_at_each_stage() {
    for stage in ["nothing", "no link", "probing", "conflict", "announced"] {
        let bench = Bench::probing_each(match stage {
            "probing" | "conflict" => Duration::from_secs(60),
            _ => QUICKLY,
        });
        match stage {
            "no link" => bench.wire.set_wanted(wanted(Cause::New, true)),
            "probing" | "conflict" | "announced" => {
                bench.set_links();
                bench
                    .wire
                    .set_wanted(wanted(Cause::New, stage != "announced"));
                bench
                    .comes_to(Some(match stage {
                        "announced" => Progress::Announced,
                        _ => Progress::Probing,
                    }))
                    .await;
                // The socket may not be open yet.
                while stage == "conflict" && bench.progress().await != Some(Progress::Conflict) {
                    bench.contend(STRANGER);
                    sleep(Duration::from_millis(5)).await;
                }
            }
            _ => {}
        }
        bench.wire.stop();
        let gone = async {
            while bench.lan.sockets_of(1) > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(SOON, gone).await.expect(stage);
        let sent = bench.lan.frames_of(1).len();
        assert!(!bench.answers().await, "{stage}");
        sleep(Duration::from_millis(120)).await;
        assert_eq!(bench.lan.frames_of(1).len(), sent, "{stage}");
        assert!(bench.wire.progress().await.is_empty(), "{stage}");
    }
}

#[test]
fn of_orders_that_nobody_followed_the_last_counts_and_what_was_given_up_between_is_announced_anew()
{
    let wanted = |vips: &[u8]| Wanted {
        all: vips
            .iter()
            .map(|vip| (address(*vip), Assignment::default()))
            .collect(),
        afresh: BTreeSet::new(),
    };
    let steps: [&[u8]; 4] = [&[1, 2, 3], &[2], &[1, 2], &[1, 2, 4]];
    let last = steps
        .into_iter()
        .map(wanted)
        .reduce(|before, now| now.after(before))
        .unwrap();
    let all: Vec<_> = last.all.into_keys().collect();
    assert_eq!(all, [1, 2, 4].map(address));
    // The one that another node may have had, and a new one.
    assert_eq!(last.afresh, [1, 4].map(address).into());
}
