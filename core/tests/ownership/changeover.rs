//! The first key comes, and others after it: the files of a Secret reach the nodes minutes apart.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::{FAST, KeyRing, Keys, Leaving, Standing};
use jiff::Timestamp;

use crate::faults::Fault;
use crate::network::Station;
use crate::seeds;
use crate::world::{World, ms};

const HOSTS: usize = 3;
/// Speakers look for keys this often.
const LOOK: Duration = Duration::from_secs(10);

/// What a Secret holds.
type Files = BTreeMap<String, Vec<u8>>;

/// Each host with what its kubelet has mounted, and since when.
struct Cluster {
    world: World,
    mounts: Vec<Vec<(Duration, Files)>>,
    rings: Vec<KeyRing>,
    began: Instant,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let world = World::settled(HOSTS, 6, seed, &FAST);
        let began = world.now;
        Self {
            world,
            mounts: vec![Vec::new(); HOSTS],
            rings: vec![KeyRing::default(); HOSTS],
            began,
        }
    }

    /// The Secret has these keys and this content from `after` on, and each kubelet brings it later.
    fn change_secret(&mut self, after: Duration, keys: &[&str], delays: [u64; HOSTS]) {
        let key = |name: &&str| {
            (
                (*name).to_owned(),
                format!("{name}: 16 bytes or more").into(),
            )
        };
        let mut files: Files = keys.iter().map(key).collect();
        files.insert(".created".into(), today(Duration::ZERO).to_string().into());
        for (mounts, delay) in self.mounts.iter_mut().zip(delays) {
            mounts.push((after + Duration::from_secs(delay), files.clone()));
        }
    }

    fn since(&self) -> Duration {
        self.world.now.saturating_since(self.began)
    }

    fn keys(&mut self, host: Station) -> Keys {
        let (since, now) = (self.since(), self.world.now);
        let mounted = self.mounts[host].iter().rfind(|(at, _)| *at <= since);
        let files = mounted.map(|(_, files)| files.clone()).unwrap_or_default();
        self.rings[host]
            .set(files, today(since), now)
            .expect("the Secret is as it should be");
        self.rings[host].keys(now)
    }

    fn run_until(&mut self, end: Duration) {
        while self.since() < end {
            for host in 0..HOSTS {
                let keys = self.keys(host);
                if let Some(speaker) = &mut self.world.hosts[host].speaker {
                    speaker.set_keys(keys, self.world.now);
                }
            }
            self.world.run(LOOK);
        }
    }

    /// Another process, which knows nothing of the one before.
    fn restart(&mut self, host: Station) {
        self.world.inflict(Fault::Leave(host, Leaving::Restarting));
        self.world.run(ms(500));
        self.rings[host] = KeyRing::default();
        self.world.keys = self.keys(host);
        self.world.inflict(Fault::Start(host));
        self.world.run(ms(500));
    }

    fn assert_nothing_happened(&self, seed: u64) {
        let world = &self.world;
        assert!(world.verdicts.is_empty(), "{seed}: {:?}", world.verdicts);
        assert!(world.moves.is_empty(), "{seed}: {:?}", world.moves);
        for host in &world.hosts {
            let speaker = host.speaker.as_ref().expect("it runs");
            let all_live = speaker
                .members()
                .all(|member| member.standing == Standing::Live);
            assert!(all_live, "{seed}: {}", host.name);
        }
    }
}

/// So long after the key was made.
fn today(since: Duration) -> Timestamp {
    Timestamp::from_second(1_795_970_838).expect("a time") + since
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// K1: a fresh install. The one that restarts has the key already, and others have none.
#[test]
fn a_first_key_that_comes_minutes_apart_and_restarts_meanwhile_give_no_verdict() {
    for seed in seeds(3) {
        let mut cluster = Cluster::new(seed);
        cluster.change_secret(seconds(0), &["key-1"], [10, 60, 120]);
        cluster.run_until(seconds(20));
        assert!(cluster.keys(0).unsigned && cluster.keys(1).accepted.is_empty());
        cluster.restart(0);
        cluster.run_until(seconds(80));
        cluster.restart(1);
        cluster.restart(2);
        cluster.run_until(seconds(280));
        cluster.restart(2);
        cluster.run_until(seconds(400));
        cluster.assert_nothing_happened(seed);
        // The changeover is over for everybody, whenever he started.
        cluster.restart(1);
        cluster.run_until(seconds(420));
        for host in 0..HOSTS {
            let keys = cluster.keys(host);
            assert!(
                !keys.unsigned && keys.accepted.len() == 1,
                "{seed}: n{host}"
            );
        }
        cluster.assert_nothing_happened(seed);
    }
}

/// K4, with a restart in every state of it.
#[test]
fn a_key_that_is_changed_gives_no_verdict() {
    for seed in seeds(3) {
        let mut cluster = Cluster::new(seed);
        cluster.change_secret(seconds(0), &["key-1"], [10, 20, 30]);
        cluster.run_until(seconds(600));
        cluster.change_secret(seconds(600), &["key-1", "key-2"], [10, 60, 120]);
        cluster.run_until(seconds(640));
        cluster.restart(0);
        cluster.run_until(seconds(760));
        cluster.restart(1);
        cluster.run_until(seconds(1_000));
        cluster.restart(2);
        // Ten minutes after the change the first one goes.
        cluster.run_until(seconds(1_320));
        cluster.change_secret(seconds(1_320), &["key-2"], [10, 60, 120]);
        cluster.run_until(seconds(1_400));
        cluster.restart(0);
        cluster.run_until(seconds(1_800));
        for host in 0..HOSTS {
            assert_eq!(cluster.keys(host).accepted.len(), 1, "{seed}: n{host}");
        }
        cluster.assert_nothing_happened(seed);
    }
}
