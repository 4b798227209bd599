//! Connections that are held open while something happens: half of them idle, half of them talking.

use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::from_new_port::connect;
use super::stop::Stop;

/// Time between two messages of a talking connection.
const PACE: Duration = Duration::from_millis(200);

/// How long an echo may take before its connection counts as timed out. TCP repeats a lost segment
/// after 0.2, 0.6, 1.4, 3.0 and 6.2 s: a path that is back after 3 s is found in time.
const PATIENCE: Duration = Duration::from_secs(8);

/// Holds connections to a TCP echo.
pub struct TcpHold {
    idle: Vec<(usize, TcpStream)>,
    talkers: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    opened: usize,
}

#[derive(Default)]
struct Shared {
    broken: Mutex<Vec<Broken>>,
    worst_round_trip: Mutex<Duration>,
    stop: Stop,
}

/// A connection that did not survive.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Its number, in the order of opening; odd ones talk, even ones were idle.
    pub connection: usize,
    /// When that was noticed: for an idle connection at the end, since it says nothing before.
    pub at: Instant,
    /// `TimedOut`, or how the peer ended it.
    pub kind: io::ErrorKind,
}

/// What the connections suffered.
#[derive(Debug, Clone)]
pub struct TcpReport {
    pub opened: usize,
    pub broken: Vec<Broken>,
    /// The longest time that an echo took on any connection.
    pub worst_round_trip: Duration,
}

impl TcpHold {
    /// Opens `count` connections in the calling thread's network namespace, and sends over each of
    /// them once: a backend must have answered before anything is proved by its silence.
    pub fn open(target: SocketAddr, count: usize) -> io::Result<Self> {
        let streams = (0..count)
            .map(|_| opened(target))
            .collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::<Shared>::default();
        let mut hold = Self {
            idle: Vec::new(),
            talkers: Vec::new(),
            shared,
            opened: count,
        };
        for (number, stream) in streams.into_iter().enumerate() {
            if number % 2 == 0 {
                hold.idle.push((number, stream));
            } else {
                hold.talkers.push(hold.start_talking(number, stream)?);
            }
        }
        Ok(hold)
    }

    fn start_talking(&self, number: usize, stream: TcpStream) -> io::Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        // Hundreds of them: the default of 2 MiB of stack each would be a waste.
        let thread = thread::Builder::new()
            .name(format!("talker {number}"))
            .stack_size(64 * 1024);
        thread.spawn(move || shared.talk(number, stream))
    }

    /// Connections that are known to be broken by now, the talking ones alone.
    pub fn broken(&self) -> usize {
        self.shared.broken().len()
    }

    /// Sends over every connection once more, the idle ones too, and reports.
    pub fn stop(mut self) -> TcpReport {
        self.shared.stop.stop();
        thread::scope(|scope| {
            for (number, stream) in mem::take(&mut self.idle) {
                let shared = &self.shared;
                scope.spawn(move || shared.check(number, &stream));
            }
        });
        for talker in mem::take(&mut self.talkers) {
            let _ = talker.join();
        }
        let mut broken = self.shared.broken();
        broken.sort_by_key(|broken| broken.connection);
        let worst_round_trip = *self
            .shared
            .worst_round_trip
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        TcpReport {
            opened: self.opened,
            broken,
            worst_round_trip,
        }
    }
}

impl Drop for TcpHold {
    fn drop(&mut self) {
        self.shared.stop.stop();
    }
}

impl Shared {
    /// Sends at a steady pace until told to stop, and then once more, or until it breaks.
    fn talk(&self, number: usize, stream: TcpStream) {
        let mut next = Instant::now();
        loop {
            let go_on = self.stop.wait_until(next);
            if !self.check(number, &stream) || !go_on {
                return;
            }
            next = (next + PACE).max(Instant::now());
        }
    }

    /// One message there and back; notes and says whether the connection lives.
    fn check(&self, number: usize, stream: &TcpStream) -> bool {
        let sent = Instant::now();
        let outcome = exchange(stream);
        let now = Instant::now();
        match outcome {
            Ok(()) => {
                let mut worst = self
                    .worst_round_trip
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *worst = (*worst).max(now.duration_since(sent));
            }
            Err(error) => {
                let broken = Broken {
                    connection: number,
                    at: now,
                    kind: error.kind(),
                };
                self.broken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(broken);
                return false;
            }
        }
        true
    }

    fn broken(&self) -> Vec<Broken> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl TcpReport {
    pub fn timeouts(&self) -> usize {
        self.broken
            .iter()
            .filter(|broken| broken.kind == io::ErrorKind::TimedOut)
            .count()
    }

    /// Connections that the other side ended, by a reset in nearly all cases.
    pub fn resets(&self) -> usize {
        self.broken.len() - self.timeouts()
    }
}

impl fmt::Display for TcpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} connections reset, {} timed out, worst round trip {:?}",
            self.resets(),
            self.opened,
            self.timeouts(),
            self.worst_round_trip,
        )
    }
}

fn opened(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = connect(target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(&stream)?;
    Ok(stream)
}

fn exchange(mut stream: &TcpStream) -> io::Result<()> {
    let message = *b"are you there??\n";
    let mut answer = [0; 16];
    let outcome = stream
        .write_all(&message)
        .and_then(|()| stream.read_exact(&mut answer));
    match outcome {
        Ok(()) if answer == message => Ok(()),
        Ok(()) => Err(io::ErrorKind::InvalidData.into()),
        // What a socket's own time-out is called on Linux.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}
