//! The instruments, on a LAN of network namespaces without a cluster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_core::wire::Message;
use ferrolb_tests::echo;
use ferrolb_tests::net::{CLIENT, Host, Network, lan_address};
use ferrolb_tests::observe::{
    ArpAnswer, ArpOperation, Content, FrameObserver, TcpHold, UdpProbe, arp_ask, http_get, pcap,
};
use ferrolb_tests::state::State;

const LINK: &str = "eth0";
const PORT: u16 = 9000;
/// For what happens at once, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn an_observer_sees_the_question_the_answer_and_when() {
    let lan = Lan::create("question");
    let observer = lan.observe();
    let asked = Instant::now();
    let answers = lan.ask(lan.n1().ipv4);
    let deadline = Instant::now() + SOON;
    let question = observer.wait_for(|frame| frame.outgoing, deadline).unwrap();
    let answer = observer
        .wait_for(|frame| !frame.outgoing, deadline)
        .unwrap();

    let (client, n1) = (lan.client(), lan.n1());
    assert!(asked <= question.at && question.at < answer.at && answer.at < Instant::now());
    assert_eq!(
        question.to_string(),
        format!(
            "{} > ff:ff:ff:ff:ff:ff arp who-has {} tell {} (sent here)",
            client.mac, n1.ipv4, client.ipv4
        )
    );
    assert_eq!(
        answer.to_string(),
        format!(
            "{} > {} arp {} is-at {}",
            n1.mac, client.mac, n1.ipv4, n1.mac
        )
    );
    assert_eq!(answer.arp().unwrap().operation, ArpOperation::Reply);
    assert_eq!(
        answers.iter().map(|answer| answer.mac).collect::<Vec<_>>(),
        [n1.mac]
    );
}

#[test]
fn a_gratuitous_arp_is_told_from_a_question() {
    let lan = Lan::create("gratuitous");
    let address = lan_address(240);
    let observer = lan.observe();
    assert_eq!(lan.ask(address), [], "nobody has the address yet");
    lan.take(lan.n1(), address);
    let mut announce = lan.n1().command("arping");
    announce.args([
        "-U",
        "-S",
        &address.to_string(),
        "-c1",
        "-w1",
        "-i",
        LINK,
        &address.to_string(),
    ]);
    let said = announce.output().unwrap();
    let seen = observer.wait_for(
        |frame| frame.is_gratuitous_for(address),
        Instant::now() + SOON,
    );
    assert_eq!(
        seen.unwrap_or_else(|error| panic!("{error}\n{said:?}"))
            .source,
        lan.n1().mac
    );
}

#[test]
fn neighbour_discovery_is_seen_too() {
    let lan = Lan::create("discovery");
    let observer = lan.observe();
    let n1 = lan.n1();
    // Nobody listens: the refusal proves that the neighbour was found.
    let refused = lan
        .get(SocketAddr::new(n1.ipv6.into(), PORT), SOON)
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let mut advertisement = None;
    let seen = observer.wait_for(
        |frame| match &frame.content {
            Content::Advertisement(it) if it.target == n1.ipv6 => {
                advertisement = Some(*it);
                true
            }
            _ => false,
        },
        Instant::now() + SOON,
    );
    assert_eq!(seen.unwrap().source, n1.mac);
    assert_eq!(advertisement.unwrap().link_layer, Some(n1.mac));
    assert_eq!(advertisement.unwrap().hop_limit, 255);
}

#[test]
fn what_does_not_come_is_reported_with_what_came() {
    let lan = Lan::create("nothing");
    let observer = lan.observe();
    lan.ask(lan.n2().ipv4);
    let called = Instant::now();
    let deadline = called + Duration::from_millis(50);
    let error = observer
        .wait_for(|frame| frame.is_gratuitous_for(lan_address(240)), deadline)
        .unwrap_err()
        .to_string();
    assert!(called.elapsed() >= Duration::from_millis(50));
    let question = format!("arp who-has {} tell {}", lan.n2().ipv4, lan.client().ipv4);
    assert!(error.contains(&question), "{error}");
}

#[test]
fn a_capture_can_be_read_by_tcpdump_and_by_ourselves() {
    let lan = Lan::create("capture");
    let observer = lan.observe();
    let deadline = Instant::now() + SOON;
    while lan.ask(lan.n1().ipv4).is_empty() {
        assert!(Instant::now() < deadline, "nobody answers");
    }
    observer
        .wait_for(|frame| !frame.outgoing, deadline)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frames.pcap");
    observer.write_pcap(&file).unwrap();
    let output = Command::new("tcpdump")
        .args(["-n", "-r"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!("Request who-has {}", lan.n1().ipv4)),
        "{text}"
    );
    assert!(
        text.contains(&format!("Reply {} is-at {}", lan.n1().ipv4, lan.n1().mac)),
        "{text}"
    );
    let capture = fs::read(&file).unwrap();
    let frames = pcap::read(&capture).unwrap();
    let told = frames.iter().map(|(_, frame)| match Message::parse(frame) {
        Ok(message) => message.to_string(),
        Err(reason) => reason.to_string(),
    });
    let told: Vec<_> = told.collect();
    let answer = format!("ARP reply: {} is at {}", lan.n1().ipv4, lan.n1().mac);
    assert!(told.iter().any(|line| line.ends_with(&answer)), "{told:?}");
}

#[test]
fn two_stations_that_claim_an_address_are_both_found() {
    let lan = Lan::create("two-owners");
    let address = lan_address(240);
    lan.take(lan.n1(), address);
    lan.take(lan.n2(), address);
    let mut macs: Vec<_> = lan.ask(address).iter().map(|answer| answer.mac).collect();
    macs.sort_by_key(|mac| mac.0);
    assert_eq!(macs, [lan.n1().mac, lan.n2().mac]);
}

#[test]
fn a_probe_without_trouble_loses_nothing() {
    let lan = Lan::create("calm");
    let begun = Instant::now();
    let probe = lan.probe(lan.echo(lan.n1(), lan.n1().ipv4));
    wait(Duration::from_millis(500));
    let report = probe.stop();
    // One each 10 ms; a busy machine sends fewer, and none is lost.
    let most = (report.ended - begun).as_millis() / 10 + 2;
    assert!((10..=most).contains(&(report.sent() as u128)), "{report}");
    assert_eq!(report.lost(), 0, "{report}");
}

#[test]
fn a_cut_shows_as_lost_datagrams_and_as_a_gap_of_its_length() {
    let lan = Lan::create("cut");
    let probe = lan.probe(lan.echo(lan.n1(), lan.n1().ipv4));
    wait(Duration::from_millis(300));
    lan.network.cut("n1", false).unwrap();
    // An answer that has arrived may not have been read.
    wait(Duration::from_millis(100));
    let silent = Instant::now();
    wait(Duration::from_millis(400));
    let healing = Instant::now();
    lan.network.heal("n1").unwrap();
    wait(Duration::from_millis(300));
    let report = probe.stop();
    assert!(report.lost() > 0, "{report}");
    let gap = report.gap_around(silent);
    assert!(
        gap >= healing - silent,
        "{gap:?} is shorter than the cut; {report}"
    );
    assert!(gap < report.ended - silent, "{gap:?} never ended; {report}");
    assert_eq!(report.longest_gap(), gap);
}

#[test]
fn connections_survive_a_short_cut() {
    let lan = Lan::create("hold");
    let hold = lan.hold(lan.echo(lan.n1(), lan.n1().ipv4), 10);
    lan.network.cut("n1", false).unwrap();
    wait(Duration::from_millis(500));
    lan.network.heal("n1").unwrap();
    let report = hold.stop();
    assert_eq!((report.resets(), report.timeouts()), (0, 0), "{report}");
    // The talkers waited for a segment that TCP repeated after the cut.
    assert!(
        report.worst_round_trip >= Duration::from_millis(200),
        "{report}"
    );
}

#[test]
fn an_address_that_moves_resets_talking_and_idle_connections() {
    let lan = Lan::create("move");
    let address = lan_address(240);
    lan.take(lan.n1(), address);
    lan.take(lan.n2(), address);
    lan.send_to(lan.n1(), address);
    let hold = lan.hold(lan.echo(lan.n1(), address), 10);
    // n2 has the address as well, and knows none of the connections.
    lan.send_to(lan.n2(), address);
    let report = hold.stop();
    assert_eq!((report.resets(), report.timeouts()), (10, 0), "{report}");
    let numbers: Vec<usize> = report
        .broken
        .iter()
        .map(|broken| broken.connection)
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_connection_whose_other_end_is_gone_times_out() {
    let lan = Lan::create("gone");
    let hold = lan.hold(lan.echo(lan.n1(), lan.n1().ipv4), 2);
    // The neighbour stays known, so that silence is all that comes back.
    lan.send_to(lan.n1(), lan.n1().ipv4);
    lan.network.cut("n1", false).unwrap();
    let report = hold.stop();
    assert_eq!((report.resets(), report.timeouts()), (0, 2), "{report}");
}

#[test]
fn a_page_comes_with_status_and_body_and_a_silent_server_is_a_timeout() {
    let lan = Lan::create("page");
    let target = lan.echo(lan.n1(), lan.n1().ipv4);
    let page = lan.get(target, SOON).unwrap();
    assert_eq!(page.status, 200);
    assert!(
        page.body
            .contains(&format!("source={} ", lan.client().ipv4)),
        "{}",
        page.body
    );

    lan.network.cut("n1", false).unwrap();
    let asked = Instant::now();
    let error = lan.get(target, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

/// Two nodes and a client on a bridge; removed when dropped.
struct Lan {
    network: Network,
    state: State,
}

impl Lan {
    fn create(name: &str) -> Self {
        let state = State::create(&format!("observe-{name}")).unwrap();
        let nodes = [
            ("n1".to_owned(), lan_address(11)),
            ("n2".to_owned(), lan_address(12)),
        ];
        let lan = Self {
            network: Network::plan(state.name(), &nodes),
            state,
        };
        lan.network.create(&lan.state).unwrap();
        lan
    }

    fn n1(&self) -> &Host {
        self.network.host("n1").unwrap()
    }

    fn n2(&self) -> &Host {
        self.network.host("n2").unwrap()
    }

    fn client(&self) -> &Host {
        self.network.host(CLIENT).unwrap()
    }

    fn observe(&self) -> FrameObserver {
        self.client()
            .enter(|| FrameObserver::start(LINK))
            .unwrap()
            .unwrap()
    }

    fn ask(&self, address: Ipv4Addr) -> Vec<ArpAnswer> {
        let patience = Duration::from_millis(300);
        self.client()
            .enter(|| arp_ask(LINK, address, patience))
            .unwrap()
            .unwrap()
    }

    fn probe(&self, target: SocketAddr) -> UdpProbe {
        self.client()
            .enter(|| UdpProbe::start(target))
            .unwrap()
            .unwrap()
    }

    fn hold(&self, target: SocketAddr, connections: usize) -> TcpHold {
        self.client()
            .enter(|| TcpHold::open(target, connections))
            .unwrap()
            .unwrap()
    }

    fn get(
        &self,
        target: SocketAddr,
        limit: Duration,
    ) -> std::io::Result<ferrolb_tests::observe::Page> {
        self.client()
            .enter(|| http_get(target, "/", limit))
            .unwrap()
    }

    /// Gives a host a further address.
    fn take(&self, host: &Host, address: Ipv4Addr) {
        let mut command = host.command("ip");
        command.args(["address", "add", &format!("{address}/32"), "dev", LINK]);
        assert!(command.status().unwrap().success());
    }

    /// Pins the host to which the client sends what is for an address.
    fn send_to(&self, host: &Host, address: Ipv4Addr) {
        let (mac, address) = (host.mac.to_string(), address.to_string());
        let mut command = self.client().command("ip");
        command.args([
            "neighbour",
            "replace",
            &address,
            "lladdr",
            &mac,
            "dev",
            LINK,
        ]);
        assert!(command.status().unwrap().success());
    }

    /// An echo on a host that serves until the test program ends.
    fn echo(&self, host: &Host, address: Ipv4Addr) -> SocketAddr {
        let target = SocketAddr::from((address, PORT));
        let server = host.clone();
        thread::spawn(move || server.enter(|| echo::serve("echo", &[IpAddr::V4(address)], PORT)));
        let started = Instant::now();
        while host.enter(|| http_get(target, "/", SOON)).unwrap().is_err() {
            assert!(started.elapsed() < SOON, "the echo does not listen");
            wait(Duration::from_millis(10));
        }
        target
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let removed = self.state.end();
        assert!(thread::panicking() || removed.is_ok(), "{removed:?}");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the passing of time is what these tests observe"
)]
fn wait(time: Duration) {
    thread::sleep(time);
}
