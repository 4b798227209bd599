//! One datagram each 10 ms to an echo, and when each came back.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::stop::Stop;

/// Time between two datagrams.
const PACE: Duration = Duration::from_millis(10);

/// How long an answer may be under way after the last datagram. Linux keeps a datagram for an
/// unresolved neighbour no longer than 3 s.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// How often the receiver looks whether it is over.
const POLL: Duration = Duration::from_millis(20);

/// Probes until it is stopped. All datagrams are one flow, from one port, as a user's would be: a
/// flow that begins before kube-proxy has rules for the address never gets through, so start it when
/// the address works.
pub struct UdpProbe {
    record: Arc<Record>,
    sender: JoinHandle<()>,
    receiver: JoinHandle<()>,
}

#[derive(Default)]
struct Record {
    probes: Mutex<Vec<Probe>>,
    /// No further datagram is sent.
    sending: Stop,
    /// No further answer is awaited.
    receiving: Stop,
}

/// One datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub sent: Instant,
    /// When its echo was read; the first one, if it came twice.
    pub answered: Option<Instant>,
}

/// What the probes suffered.
#[derive(Debug, Clone)]
pub struct UdpReport {
    /// In the order in which they were sent.
    pub probes: Vec<Probe>,
    /// When the last datagram had been sent.
    pub ended: Instant,
}

impl UdpProbe {
    /// Starts in the calling thread's network namespace.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let any = match target {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = Arc::new(UdpSocket::bind(any)?);
        socket.set_read_timeout(Some(POLL))?;
        let record = Arc::<Record>::default();
        let receiver = thread::Builder::new()
            .name(format!("echoes of {target}"))
            .spawn({
                let (socket, record) = (Arc::clone(&socket), Arc::clone(&record));
                move || record.receive(&socket, target)
            })?;
        let sender = thread::Builder::new()
            .name(format!("probes to {target}"))
            .spawn({
                let record = Arc::clone(&record);
                move || record.send(&socket, target)
            })?;
        Ok(Self {
            record,
            sender,
            receiver,
        })
    }

    /// What is known up to now; the last probes may still be under way.
    pub fn report(&self) -> UdpReport {
        UdpReport {
            probes: self.record.probes(),
            ended: Instant::now(),
        }
    }

    /// Stops sending, waits a little for the last answer, and reports.
    pub fn stop(self) -> UdpReport {
        self.record.sending.stop();
        let _ = self.sender.join();
        let ended = Instant::now();
        while !self.record.last_is_answered() && ended.elapsed() < LAST_ANSWER {
            self.record.receiving.wait_until(Instant::now() + POLL);
        }
        self.record.receiving.stop();
        let _ = self.receiver.join();
        UdpReport {
            probes: self.record.probes(),
            ended,
        }
    }
}

impl Record {
    fn send(&self, socket: &UdpSocket, target: SocketAddr) {
        let mut next = Instant::now();
        while self.sending.wait_until(next) {
            let number = {
                let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
                probes.push(Probe {
                    sent: Instant::now(),
                    answered: None,
                });
                probes.len() as u64 - 1
            };
            // A datagram that the kernel refuses (no route, no neighbour) is a lost one.
            let _ = socket.send_to(&number.to_be_bytes(), target);
            // A late thread sends the missed ones late and not in a heap.
            next = (next + PACE).max(Instant::now());
        }
    }

    fn receive(&self, socket: &UdpSocket, target: SocketAddr) {
        let mut buffer = [0; 64];
        while !self.receiving.is_stopped() {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let now = Instant::now();
            // An echo may add words of its own.
            let Some((number, _)) = buffer[..length].split_first_chunk() else {
                continue;
            };
            let number = u64::from_be_bytes(*number);
            if peer == target {
                let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(probe) = probes.get_mut(number as usize) {
                    probe.answered.get_or_insert(now);
                }
            }
        }
    }

    fn probes(&self) -> Vec<Probe> {
        self.probes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What was sent before the last one and is not back with it never will be.
    fn last_is_answered(&self) -> bool {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.last().is_none_or(|probe| probe.answered.is_some())
    }
}

impl UdpReport {
    pub fn sent(&self) -> usize {
        self.probes.len()
    }

    pub fn lost(&self) -> usize {
        self.probes
            .iter()
            .filter(|probe| probe.answered.is_none())
            .count()
    }

    /// The longest time in which nothing came back, from the first datagram to the end of sending.
    pub fn longest_gap(&self) -> Duration {
        let gaps = self
            .silences()
            .into_iter()
            .map(|(from, to)| to.saturating_duration_since(from));
        gaps.max().unwrap_or_default()
    }

    /// How long nothing came back around a moment: from the last answer before it to the first one
    /// after it.
    pub fn gap_around(&self, moment: Instant) -> Duration {
        let around = self
            .silences()
            .into_iter()
            .find(|&(from, to)| from <= moment && moment < to);
        around.map_or(Duration::ZERO, |(from, to)| {
            to.saturating_duration_since(from)
        })
    }

    /// The longest round trip of an answered probe.
    pub fn worst_round_trip(&self) -> Duration {
        let trips = self.probes.iter().filter_map(|probe| {
            probe
                .answered
                .map(|answered| answered.saturating_duration_since(probe.sent))
        });
        trips.max().unwrap_or_default()
    }

    /// The times between two signs of life that follow each other.
    fn silences(&self) -> Vec<(Instant, Instant)> {
        let Some(first) = self.probes.first() else {
            return Vec::new();
        };
        let mut signs: Vec<Instant> = self
            .probes
            .iter()
            .filter_map(|probe| probe.answered)
            .collect();
        signs.extend([first.sent, self.ended]);
        signs.sort_unstable();
        signs.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

impl fmt::Display for UdpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} datagrams lost, nothing came back for at most {:?}, worst round trip {:?}",
            self.lost(),
            self.sent(),
            self.longest_gap(),
            self.worst_round_trip(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes sent each 10 ms, answered 1 ms later but for those that are named.
    fn report(count: u32, lost: std::ops::Range<u32>) -> (Instant, UdpReport) {
        let start = Instant::now();
        let probes = (0..count).map(|number| {
            let sent = start + PACE * number;
            let answered = (!lost.contains(&number)).then(|| sent + Duration::from_millis(1));
            Probe { sent, answered }
        });
        (
            start,
            UdpReport {
                probes: probes.collect(),
                ended: start + PACE * count,
            },
        )
    }

    #[test]
    fn without_a_loss_the_longest_gap_is_the_pace() {
        let (start, report) = report(100, 0..0);
        assert_eq!((report.sent(), report.lost()), (100, 0));
        assert_eq!(report.longest_gap(), PACE);
        assert_eq!(report.gap_around(start + PACE * 50), PACE);
    }

    #[test]
    fn a_gap_lasts_from_the_last_answer_to_the_next_one() {
        let (start, report) = report(100, 40..45);
        assert_eq!(report.lost(), 5);
        assert_eq!(report.longest_gap(), PACE * 6);
        assert_eq!(report.gap_around(start + PACE * 42), PACE * 6);
        assert_eq!(report.gap_around(start + PACE * 80), PACE);
    }

    #[test]
    fn a_silence_that_lasts_to_the_end_counts() {
        let (_, dead) = report(100, 60..100);
        assert_eq!(dead.longest_gap(), Duration::from_millis(1000 - 591));
        let (_, never) = report(100, 0..100);
        assert_eq!(never.longest_gap(), Duration::from_millis(1000));
    }

    #[test]
    fn an_answer_that_comes_late_is_not_lost_but_leaves_a_gap() {
        let (start, mut report) = report(10, 0..0);
        for probe in &mut report.probes[3..8] {
            probe.answered = Some(start + PACE * 8);
        }
        assert_eq!(report.lost(), 0);
        assert_eq!(report.longest_gap(), Duration::from_millis(59));
        assert_eq!(report.worst_round_trip(), PACE * 5);
    }
}
