//! Asks for one address again and again, as fast as it is answered or at a pace.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::arp_ask::{own_address_towards, request};
use super::packet_socket::PacketSocket;

/// After which time an answer is taken as lost.
const LOST: Duration = Duration::from_millis(20);

/// A host that asks for one address, by broadcast.
pub struct ArpLoad {
    socket: PacketSocket,
    request: Vec<u8>,
}

impl ArpLoad {
    /// Asks on a link of the calling thread's network namespace.
    pub fn open(link: &str, address: Ipv4Addr) -> io::Result<Self> {
        let socket = PacketSocket::open_for_replies(link, address, LOST)?;
        let request = request(socket.mac()?, own_address_towards(address)?, address);
        Ok(Self { socket, request })
    }

    /// Asks, waits for the answer, asks again; the round trips, in the order of their length.
    pub fn one_by_one(&self, duration: Duration) -> io::Result<Vec<Duration>> {
        self.drain()?;
        let (start, mut trips) = (Instant::now(), Vec::new());
        while start.elapsed() < duration {
            let sent = Instant::now();
            self.socket.send(&self.request)?;
            if self.socket.comes()? {
                trips.push(sent.elapsed());
            }
        }
        trips.sort_unstable();
        Ok(trips)
    }

    /// Keeps so many questions unanswered; the answers of a second.
    pub fn with_outstanding(&self, window: u32, duration: Duration) -> io::Result<f64> {
        self.drain()?;
        let (start, mut answers) = (Instant::now(), 0_u32);
        let mut open = 0;
        while start.elapsed() < duration {
            while open < window {
                self.socket.send(&self.request)?;
                open += 1;
            }
            if self.socket.comes()? {
                answers += 1;
                open -= 1;
            } else {
                // All were lost.
                open = 0;
            }
        }
        Ok(f64::from(answers) / start.elapsed().as_secs_f64())
    }

    /// Asks at an even pace, whether answers come or not; the round trips, in the order of their length.
    pub fn paced(&self, per_second: u32, duration: Duration) -> io::Result<Vec<Duration>> {
        self.drain()?;
        let (start, mut trips) = (Instant::now(), Vec::new());
        let pause = Duration::from_secs(1) / per_second;
        let mut due = start;
        while start.elapsed() < duration {
            let wait = due.saturating_duration_since(Instant::now());
            #[expect(clippy::disallowed_methods, reason = "the pace is what it is about")]
            std::thread::sleep(wait);
            due += pause;
            let sent = Instant::now();
            self.socket.send(&self.request)?;
            if self.socket.comes()? {
                trips.push(sent.elapsed());
            }
        }
        trips.sort_unstable();
        Ok(trips)
    }

    /// Sends so many questions, evenly over the time, and reads no answer.
    pub fn flood(&self, count: u32, duration: Duration) -> io::Result<()> {
        let start = Instant::now();
        for n in 0..count {
            let due = duration * n / count;
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
            match self.socket.send(&self.request) {
                // The link's queue is full: as good as sent and lost.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Takes what is left of an earlier load.
    fn drain(&self) -> io::Result<()> {
        while self.socket.comes()? {}
        Ok(())
    }
}
