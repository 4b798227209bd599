use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant as Now;

use ferrolb_core::keep::End;
use ferrolb_core::keep::words::{Frames, Unable, Way};
use ferrolb_core::ownership::Verdict;

use super::*;

const LONG: Duration = Duration::from_secs(600);
const T: Instant = Instant::from_millis(1_000);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vip() -> IpAddr {
    ip("10.0.0.200")
}

fn mac(n: u8) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, n)
}

fn n1() -> NodeId {
    NodeId::of("n1")
}

/// n1 gave the address; it is on both LANs, and so is this node.
struct Others {
    standing: Standing,
}

const LIVE: Others = Others {
    standing: Standing::Live,
};

impl Table for Others {
    fn giver_of(&self, _: IpAddr) -> Option<NodeId> {
        Some(n1())
    }

    fn standing_of(&self, _: NodeId) -> Option<Standing> {
        Some(self.standing)
    }

    fn addresses_of(&self, _: NodeId) -> Vec<(IpAddr, MacAddr)> {
        let all = ["10.0.0.1", "fd00::1", "10.9.0.1", "172.16.0.1"];
        all.map(|address| (ip(address), mac(1))).into()
    }

    fn others(&self) -> Vec<NodeId> {
        vec![n1()]
    }

    fn has(&self, of: IpAddr) -> bool {
        of == vip()
    }

    fn is_joined(&self) -> bool {
        true
    }
}

fn links() -> BTreeMap<LinkId, NetworkLink> {
    let link = |name: &str, prefixes: &[&str]| NetworkLink {
        name: name.into(),
        mac: mac(5),
        prefixes: prefixes.iter().map(|text| text.parse().unwrap()).collect(),
        routes: BTreeMap::new(),
        carrier: true,
    };
    let links = [
        link("eth0", &["10.0.0.5/24", "fd00::5/64"]),
        link("dmz0", &["10.9.0.5/24"]),
    ];
    (1..).map(LinkId).zip(links).collect()
}

/// A keeper that a test speaks for.
struct Scripted {
    stream: UnixStream,
    frames: Frames,
}

impl Scripted {
    fn say(&mut self, answer: &Answer) {
        self.stream.write_all(&answer.encode()).unwrap();
    }

    fn welcome(&mut self, way: Result<Way, Unable>, found: Vec<Entry>) {
        let version = VERSION;
        self.say(&Answer::Welcome {
            version,
            way,
            found,
        });
    }

    /// What has been asked by now.
    fn heard(&mut self) -> Vec<Question> {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = vec![0; 1 << 20];
        if let Ok(length) = self.stream.read(&mut buffer) {
            self.frames.push(&buffer[..length]);
        }
        let mut heard = Vec::new();
        while let Some(frame) = self.frames.next_frame().unwrap() {
            heard.push(Question::decode(&frame).unwrap());
        }
        heard
    }
}

struct Pod {
    _folder: tempfile::TempDir,
    listener: UnixListener,
    metrics: KeepMetrics,
    keeper: Keeper,
}

impl Pod {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("keeper.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let metrics = KeepMetrics::default();
        let options = Options {
            socket,
            longest: LONG,
        };
        let keeper = Keeper::new(options, metrics.clone(), T);
        Self {
            _folder: folder,
            listener,
            metrics,
            keeper,
        }
    }

    fn turn(&mut self, now: Instant) -> Vec<IpAddr> {
        self.keeper.turn(&LIVE, &links(), now)
    }

    fn accept(&mut self) -> Scripted {
        let (stream, _) = self.listener.accept().unwrap();
        Scripted {
            stream,
            frames: Frames::default(),
        }
    }

    /// With a keeper that can.
    fn ready() -> (Self, Scripted) {
        let mut pod = Self::new();
        pod.turn(T);
        let mut keeper = pod.accept();
        keeper.welcome(Ok(Way::Dup), Vec::new());
        pod.turn(T);
        let stations = keeper.heard();
        let known = ["10.0.0.1", "fd00::1"];
        let known = known.map(|address| Station {
            address: ip(address),
            mac: mac(1),
        });
        assert_eq!(stations, [Question::Stations(known.into())]);
        (pod, keeper)
    }

    fn take(&mut self) -> Vec<(IpAddr, NodeId)> {
        self.keeper.take(&[vip()], &LIVE, &links(), T)
    }
}

fn keep(time: Duration) -> Question {
    let (vip, via) = (vip(), ip("10.0.0.1"));
    let entries = vec![Entry { vip, via, time }];
    Question::Keep { number: 1, entries }
}

#[test]
fn an_address_is_announced_once_the_keeper_has_begun_and_given_up_with_a_word() {
    let (mut pod, mut keeper) = Pod::ready();
    let answers = std::thread::spawn(move || {
        let deadline = Now::now() + Duration::from_secs(5);
        loop {
            let heard = keeper.heard();
            if !heard.is_empty() {
                let refused = Vec::new();
                keeper.say(&Answer::Done { number: 1, refused });
                break (heard, keeper);
            }
            assert!(Now::now() < deadline);
        }
    });
    assert_eq!(pod.take(), [(vip(), n1())]);
    let (heard, mut keeper) = answers.join().unwrap();
    assert_eq!(heard, [keep(LONG)]);
    assert_eq!(pod.keeper.kept(T).count(), 1);
    assert_eq!(pod.keeper.take_ended(), []);
    pod.keeper.give(vip());
    pod.turn(T);
    assert_eq!(keeper.heard(), [Question::Drop(vec![vip()])]);
    let (vip, from, end) = (vip(), n1(), End::Moved);
    assert_eq!(pod.keeper.take_ended(), [Ended { vip, from, end }]);
    assert_eq!(pod.keeper.take_ended(), [], "it is said once");
}

#[test]
fn a_keeper_that_does_not_answer_holds_nobody_up_for_longer_than_a_beat_and_once_only() {
    let (mut pod, mut keeper) = Pod::ready();
    let began = Now::now();
    assert_eq!(pod.take().len(), 1, "it may yet do it");
    let waited = began.elapsed();
    assert!(waited >= PATIENCE, "{waited:?}");
    let mut is_quick = || {
        let began = Now::now();
        for _ in 0..20 {
            pod.take();
        }
        began.elapsed() < PATIENCE
    };
    // Meanwhile somebody else may have the cores, but not each time.
    assert!((0..5).any(|_| is_quick()), "it is not waited for again");
    // It catches up.
    let numbers = keeper.heard().len() as u32;
    for number in 1..=numbers {
        let refused = Vec::new();
        keeper.say(&Answer::Done { number, refused });
    }
    pod.turn(T);
    assert_eq!(pod.keeper.asked, pod.keeper.answered);
}

#[test]
fn without_a_keeper_or_with_one_that_cannot_nothing_is_kept_and_nobody_waits() {
    let mut alone = Pod::new();
    let mut unable = Pod::new();
    unable.turn(T);
    let mut keeper = unable.accept();
    keeper.welcome(Err(Unable::Strict), Vec::new());
    unable.turn(T);
    let mut newer = Pod::new();
    newer.turn(T);
    let mut other = newer.accept();
    other.say(&Answer::Welcome {
        version: VERSION + 1,
        way: Ok(Way::Dup),
        found: Vec::new(),
    });
    newer.turn(T);
    for pod in [&mut alone, &mut unable, &mut newer] {
        let mut is_quick = || {
            let began = Now::now();
            assert_eq!(pod.take(), []);
            assert_eq!(pod.keeper.kept(T).count(), 0);
            began.elapsed() < PATIENCE
        };
        assert!((0..5).any(|_| is_quick()));
    }
}

#[test]
fn a_keeper_that_talks_nonsense_or_dies_is_called_again_and_told_everything() {
    let (mut pod, mut keeper) = Pod::ready();
    pod.take();
    keeper.stream.write_all(&[0xff; 64]).unwrap();
    pod.turn(T);
    assert!(pod.keeper.link.is_none());
    assert_eq!(pod.keeper.kept(T).count(), 0, "nothing is said to be kept");
    assert_eq!(pod.keeper.take_ended(), [], "it may yet go on");
    let later = T + RETRY;
    pod.turn(later);
    let mut keeper = pod.accept();
    keeper.welcome(Ok(Way::Tee), Vec::new());
    pod.turn(later);
    let heard = keeper.heard();
    assert!(matches!(heard[0], Question::Stations(_)), "{heard:?}");
    assert_eq!(heard[1], keep(LONG - RETRY));
    assert_eq!(pod.keeper.kept(later).count(), 1);
}

#[test]
fn what_goes_on_from_before_a_restart_stays_for_addresses_that_this_node_has_and_ends_for_others() {
    let mut pod = Pod::new();
    pod.turn(T);
    let mut keeper = pod.accept();
    let found = [vip(), ip("10.0.0.201"), ip("10.0.0.202")].map(|vip| Entry {
        vip,
        via: ip("10.0.0.1"),
        time: Duration::from_secs(100),
    });
    keeper.welcome(Ok(Way::Dup), found.into());
    pod.turn(T);
    let kept: Vec<IpAddr> = pod.keeper.kept(T).map(|kept| kept.vip).collect();
    assert_eq!(kept, [vip()]);
    keeper.heard();
    pod.turn(T + RECLAIM);
    let dropped = Question::Drop(vec![ip("10.0.0.201"), ip("10.0.0.202")]);
    assert!(keeper.heard().contains(&dropped));
}

#[test]
fn the_old_owners_death_is_told_at_once() {
    let (mut pod, mut keeper) = Pod::ready();
    pod.take();
    keeper.heard();
    let dead = Others {
        standing: Standing::Gone(Verdict::Node),
    };
    pod.keeper.turn(&dead, &links(), T);
    assert_eq!(keeper.heard(), [Question::Drop(vec![vip()])]);
    let mut registry = prometheus_client::registry::Registry::default();
    pod.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = "ferrolb_kept_addresses_ended_total{end=\"old_owner_gone\"} 1";
    assert!(text.lines().any(|got| got == line), "{text}");
}

/// A member tells the hardware address of one link alone.
#[test]
fn hardware_addresses_on_a_second_lan_are_asked_for() {
    let (mut pod, mut keeper) = Pod::ready();
    assert_eq!(pod.turn(T + ASK), [ip("10.9.0.1")]);
    // A stranger's answer counts for nothing.
    for (from, n) in [("10.0.0.77", 7), ("10.9.0.1", 9)] {
        pod.keeper.hear(ip(from), KernelAnswer::Neighbour(mac(n)));
    }
    pod.turn(T + ASK);
    let stations = keeper.heard().pop();
    let Some(Question::Stations(stations)) = stations else {
        panic!("{stations:?}");
    };
    let there = stations.iter().find(|one| one.address == ip("10.9.0.1"));
    assert_eq!(there.map(|one| one.mac), Some(mac(9)));
    assert_eq!(stations.len(), 3);
    assert_eq!(pod.turn(T + ASK + ASK), [] as [IpAddr; 0], "it is known");
}

#[test]
fn packets_are_counted_by_address_also_over_two_entries() {
    let (mut pod, mut keeper) = Pod::ready();
    pod.take();
    for packets in [5, 7] {
        keeper.say(&Answer::Passed(vec![(vip(), packets)]));
        pod.turn(T);
    }
    pod.keeper.give(vip());
    pod.turn(T);
    pod.take();
    keeper.say(&Answer::Passed(vec![(vip(), 2)]));
    pod.turn(T);
    let mut registry = prometheus_client::registry::Registry::default();
    pod.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = "ferrolb_kept_packets_total{ip=\"10.0.0.200\"} 9";
    assert!(text.lines().any(|got| got == line), "{text}");
}
