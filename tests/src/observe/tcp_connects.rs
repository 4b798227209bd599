//! New connections, one after the other at a steady pace: which of them fail.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::from_new_port::connect;
use super::stop::Stop;

/// Between the beginnings of two connections.
const PACE: Duration = Duration::from_millis(20);
/// What a user waits for; a lost SYN is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens connections until it is stopped, each in a thread of its own: one that hangs delays no other.
pub struct TcpConnects {
    shared: Arc<Shared>,
    pacer: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    tries: Mutex<Vec<Try>>,
    stop: Stop,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    begun: Instant,
    failed: bool,
}

/// What became of the connections.
#[derive(Debug, Clone)]
pub struct ConnectReport {
    /// When each began, and whether it failed; in that order.
    tries: Vec<(Instant, bool)>,
}

impl TcpConnects {
    /// Begins, in the calling thread's network namespace. Whoever listens at `target` has to say something
    /// first, or to close.
    pub fn start(target: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let of_pacer = Arc::clone(&shared);
        let pacer = thread::spawn(move || pace(target, &of_pacer));
        Self { shared, pacer }
    }

    /// Ends, waits for those that are under way, and reports.
    pub fn stop(self) -> ConnectReport {
        self.shared.stop.stop();
        // Its threads end after a second.
        let _ = self.pacer.join();
        let tries = self.shared.tries.lock();
        let tries = tries.unwrap_or_else(PoisonError::into_inner);
        let mut tries: Vec<_> = tries.iter().map(|one| (one.begun, one.failed)).collect();
        tries.sort_unstable();
        ConnectReport { tries }
    }
}

fn pace(target: SocketAddr, shared: &Arc<Shared>) {
    let mut next = Instant::now();
    let mut under_way = Vec::new();
    while shared.stop.wait_until(next) {
        let begun = Instant::now();
        next = begun + PACE;
        let of_try = Arc::clone(shared);
        under_way.retain(|one: &JoinHandle<()>| !one.is_finished());
        under_way.push(thread::spawn(move || {
            let failed = !is_served(target);
            let tries = of_try.tries.lock();
            let mut tries = tries.unwrap_or_else(PoisonError::into_inner);
            tries.push(Try { begun, failed });
        }));
    }
    for one in under_way {
        let _ = one.join();
    }
}

/// Whether a server takes the connection: that its kernel does is what is asked.
fn is_served(target: SocketAddr) -> bool {
    let Ok(mut stream) = connect(target, PATIENCE) else {
        return false;
    };
    // Nothing is read: an echo says nothing first. The handshake was the server's pod's.
    let closes = stream.shutdown(std::net::Shutdown::Write);
    let waits = stream.set_read_timeout(Some(PATIENCE));
    closes.is_ok() && waits.is_ok() && stream.read(&mut [0; 64]).is_ok()
}

impl ConnectReport {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.tries.len()
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.tries.iter().filter(|(_, failed)| *failed).count()
    }

    /// How long after `since` the last one began that failed.
    pub fn last_failed(&self, since: Instant) -> Option<Duration> {
        let failed = self.tries.iter().filter(|(_, failed)| *failed);
        let last = failed.map(|(begun, _)| *begun).max()?;
        Some(last.saturating_duration_since(since))
    }

    /// Of those that began from `from` to `to` after `since`: how many failed, and how many there were.
    pub fn within(&self, since: Instant, from: Duration, to: Duration) -> (usize, usize) {
        let of = |begun: &Instant| (since + from..since + to).contains(begun);
        let tries = self.tries.iter().filter(|(begun, _)| of(begun));
        let failed = tries.clone().filter(|(_, failed)| *failed);
        (failed.count(), tries.count())
    }
}

impl fmt::Display for ConnectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} connections failed",
            self.failed(),
            self.count()
        )
    }
}
