use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

fn millis(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn address(name: &str) -> IpAddr {
    IpAddr::from([192, 168, 64, 10 + name[1..].parse::<u8>().unwrap()])
}

fn nodes() -> BTreeMap<String, Vec<IpAddr>> {
    NAMES
        .iter()
        .map(|name| ((*name).to_owned(), vec![address(name)]))
        .collect()
}

fn speaker(name: &str, boot: u64, now: Instant) -> Liveness {
    let mut liveness = Liveness::new(name.to_owned(), boot, Settings::default(), now);
    liveness.set_nodes(nodes(), now);
    liveness
}

/// Lets `speakers` run from `start` to `end` in steps of 10 ms; a datagram arrives in the step
/// after it was sent, unless `lost(from, to)`.
fn run(
    speakers: &mut BTreeMap<&str, Liveness>,
    start: u64,
    end: u64,
    lost: impl Fn(&str, &str) -> bool,
) {
    for step in (start..end).step_by(10) {
        let mut sent = Vec::new();
        for (name, speaker) in speakers.iter_mut() {
            speaker.handle_timeout(millis(step));
            sent.extend(std::iter::from_fn(|| speaker.poll_transmit()).map(|sent| (*name, sent)));
        }
        for (from, (to, datagram)) in sent {
            let to = NAMES.iter().find(|name| address(name) == to).unwrap();
            if let Some(speaker) = speakers.get_mut(to).filter(|_| !lost(from, to)) {
                let _ = speaker.handle_datagram(address(from), &datagram, millis(step + 1));
            }
        }
    }
}

fn three() -> BTreeMap<&'static str, Liveness> {
    NAMES
        .into_iter()
        .map(|name| (name, speaker(name, 1, Instant::START)))
        .collect()
}

fn alive(speaker: &Liveness) -> Option<String> {
    speaker
        .alive()
        .map(|alive| alive.into_iter().collect::<Vec<_>>().join(" "))
}

#[test]
fn speakers_listen_before_they_take_part_and_then_know_each_other() {
    let mut speakers = three();
    run(&mut speakers, 0, 400, |_, _| false);
    assert!(speakers.values().all(|speaker| alive(speaker).is_none()));
    run(&mut speakers, 400, 410, |_, _| false);
    for speaker in speakers.values() {
        assert_eq!(alive(speaker).as_deref(), Some("n1 n2 n3"));
    }
}

#[test]
fn a_speaker_that_does_not_know_the_nodes_yet_goes_on_listening() {
    let mut liveness = Liveness::new("n1".into(), 1, Settings::default(), Instant::START);
    liveness.handle_timeout(millis(5_000));
    assert_eq!(liveness.alive(), None);
    liveness.set_nodes(nodes(), millis(5_000));
    liveness.handle_timeout(millis(5_399));
    assert_eq!(liveness.alive(), None);
    liveness.handle_timeout(millis(5_400));
    assert_eq!(
        alive(&liveness).as_deref(),
        Some("n1"),
        "always alive itself, never heard others"
    );
}

#[test]
fn a_silent_peer_is_dropped_after_the_silence_and_taken_back_at_its_first_beat() {
    let mut speakers = three();
    run(&mut speakers, 0, 1_010, |_, _| false);
    run(&mut speakers, 1_010, 1_400, |from, _| from == "n2");
    assert_eq!(alive(&speakers["n1"]).as_deref(), Some("n1 n2 n3"));
    run(&mut speakers, 1_400, 1_420, |from, _| from == "n2");
    assert_eq!(alive(&speakers["n1"]).as_deref(), Some("n1 n3"));
    run(&mut speakers, 1_420, 1_480, |_, _| false);
    assert_eq!(alive(&speakers["n1"]).as_deref(), Some("n1 n2 n3"));
}

#[test]
fn the_next_deadline_is_the_first_silence_or_beat() {
    let mut n1 = speaker("n1", 1, Instant::START);
    n1.handle_timeout(millis(0));
    assert_eq!(n1.poll_timeout(), (millis(50), "beat"));
    n1.handle_timeout(millis(380));
    assert_eq!(n1.poll_timeout(), (millis(400), "listened"));
    let mut n2 = speaker("n2", 1, Instant::START);
    n2.handle_timeout(Instant::START);
    let (_, datagram) = n2.poll_transmit().unwrap();
    n1.handle_datagram(address("n2"), &datagram, millis(10))
        .unwrap();
    n1.handle_timeout(millis(402));
    assert_eq!(n1.poll_timeout(), (millis(410), "silence"));
    n1.handle_timeout(millis(410));
    assert_eq!(alive(&n1).as_deref(), Some("n1"));
    assert_eq!(n1.poll_timeout(), (millis(430), "beat"));
}

#[test]
fn a_delay_of_this_process_is_no_silence_of_the_others() {
    let mut speakers = three();
    run(&mut speakers, 0, 1_010, |_, _| false);
    let n1 = speakers.get_mut("n1").unwrap();
    n1.handle_timeout(millis(6_000));
    assert_eq!(alive(n1).as_deref(), Some("n1 n2 n3"));
    for step in (6_050..6_400).step_by(50) {
        n1.handle_timeout(millis(step));
    }
    n1.handle_timeout(millis(6_400));
    assert_eq!(
        alive(n1).as_deref(),
        Some("n1"),
        "forgiven once, not for ever"
    );
}

#[test]
fn goodbye_counts_at_once_and_a_late_beat_of_that_start_does_not_undo_it() {
    let mut speakers = three();
    run(&mut speakers, 0, 1_000, |_, _| false);
    let mut n2 = speakers.remove("n2").unwrap();
    n2.handle_timeout(millis(1_050));
    let late = n2.poll_transmit().unwrap().1;
    std::iter::from_fn(|| n2.poll_transmit()).count();
    n2.leave();
    let (to, goodbye) = n2.poll_transmit().unwrap();
    assert_eq!(to, address("n1"));
    let n1 = speakers.get_mut("n1").unwrap();
    n1.handle_datagram(address("n2"), &goodbye, millis(1_001))
        .unwrap();
    assert_eq!(alive(n1).as_deref(), Some("n1 n3"));
    let outcome = n1.handle_datagram(address("n2"), &late, millis(1_002));
    assert_eq!(outcome, Err(Reason::Overtaken));
    assert_eq!(alive(n1).as_deref(), Some("n1 n3"));

    let mut again = speaker("n2", 2, millis(1_100));
    again.handle_timeout(millis(1_100));
    let (_, beat) = again.poll_transmit().unwrap();
    n1.handle_datagram(address("n2"), &beat, millis(1_100))
        .unwrap();
    assert_eq!(
        alive(n1).as_deref(),
        Some("n1 n2 n3"),
        "a new start counts at once"
    );
}

#[test]
fn only_datagrams_from_an_address_of_the_named_node_are_taken() {
    let mut n1 = speaker("n1", 1, Instant::START);
    let beat = |name: &str| Beat {
        message: Message::Beat,
        boot: 7,
        sequence: 1,
        name: name.into(),
        macs: vec![MacAddr(2, 0, 0, 0, 0, 9)],
    };
    let rows = [
        ("n2", address("n3"), Err(Reason::UnknownPeer)),
        ("n9", address("n2"), Err(Reason::UnknownPeer)),
        ("n1", address("n1"), Err(Reason::UnknownPeer)),
        ("n2", address("n2"), Ok(())),
    ];
    for (name, source, want) in rows {
        let outcome = n1.handle_datagram(source, &beat(name).emit(), millis(1));
        assert_eq!(outcome, want, "{name} from {source}");
    }
    assert_eq!(
        n1.handle_datagram(address("n2"), b"GET / HTTP/1.1", millis(1)),
        Err(Reason::NotABeat)
    );
    assert!(n1.macs().contains_key(&MacAddr(2, 0, 0, 0, 0, 9)));
    let mut fewer = nodes();
    fewer.remove("n2");
    n1.set_nodes(fewer, millis(2));
    n1.handle_timeout(millis(400));
    assert_eq!(
        alive(&n1).as_deref(),
        Some("n1"),
        "a deleted Node's speaker counts no more"
    );
    assert!(n1.macs().is_empty());
}

#[test]
fn beats_go_to_every_other_node_and_not_to_oneself() {
    let mut n1 = speaker("n1", 1, Instant::START);
    n1.handle_timeout(Instant::START);
    let to: Vec<_> = std::iter::from_fn(|| n1.poll_transmit())
        .map(|(to, _)| to)
        .collect();
    assert_eq!(to, [address("n2"), address("n3")]);
}

#[test]
fn a_beat_is_written_byte_for_byte() {
    let beat = Beat {
        message: Message::Goodbye,
        boot: 0x0102_0304_0506_0708,
        sequence: 9,
        name: "n1".into(),
        macs: vec![MacAddr(2, 0, 0, 0, 0, 0x0b)],
    };
    let want =
        b"FB\x01\x01\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x09\x02n1\x01\x02\0\0\0\0\x0b";
    assert_eq!(beat.emit(), want);
    let mut other_version = want.to_vec();
    other_version[2] = 2;
    assert_eq!(Beat::parse(&other_version), None);
}

proptest! {
    #[test]
    fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut n1 = speaker("n1", 1, Instant::START);
        let _ = n1.handle_datagram(address("n2"), &bytes, millis(1));
        let _ = n1.handle_datagram(address("n2"), &[b"FB\x01\0", bytes.as_slice()].concat(), millis(1));
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_shorter_or_longer(
        boot in any::<u64>(), sequence in any::<u64>(), name in "[a-z0-9.-]{1,253}",
        macs in proptest::collection::vec(any::<[u8; 6]>(), 0..5), goodbye in any::<bool>(),
    ) {
        let message = if goodbye { Message::Goodbye } else { Message::Beat };
        let macs = macs.into_iter().map(MacAddr::from).collect();
        let beat = Beat { message, boot, sequence, name, macs };
        let mut bytes = beat.emit();
        prop_assert_eq!(Beat::parse(&bytes), Some(beat));
        prop_assert_eq!(Beat::parse(&bytes[..bytes.len() - 1]), None);
        bytes.push(0);
        prop_assert_eq!(Beat::parse(&bytes), None);
    }
}
