//! Records every ARP and neighbour-discovery frame of a link, from its creation to its end.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frame::Frame;
use super::packet_socket::PacketSocket;
use super::pcap;

/// How long the end of an observer may take.
const POLL: Duration = Duration::from_millis(50);

/// Records frames until it is dropped.
pub struct FrameObserver {
    link: String,
    started: Instant,
    record: Arc<Record>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Record {
    frames: Mutex<Vec<Frame>>,
    grown: Condvar,
    ended: AtomicBool,
}

/// No frame fulfilled the condition in time. Shows what passed instead.
#[derive(Debug)]
pub struct NotSeen {
    waited: Duration,
    transcript: String,
}

impl FrameObserver {
    /// Observes a link of the calling thread's network namespace. Frames that pass after this call
    /// returns are in the record, whatever the load of the machine.
    pub fn start(link: &str) -> io::Result<Self> {
        let socket = PacketSocket::open(link, POLL)?;
        let started = Instant::now();
        let record = Arc::<Record>::default();
        let reader = thread::Builder::new()
            .name(format!("frames on {link}"))
            .spawn({
                let record = Arc::clone(&record);
                move || record.fill(&socket)
            })?;
        Ok(Self {
            link: link.to_owned(),
            started,
            record,
            reader: Some(reader),
        })
    }

    /// All frames up to now, in the order in which they passed.
    pub fn seen(&self) -> Vec<Frame> {
        self.record.lock().clone()
    }

    /// Those that passed at that time or later.
    pub fn since(&self, time: Instant) -> Vec<Frame> {
        let frames = self.record.lock();
        let frames = frames.iter().filter(|frame| frame.at >= time);
        frames.cloned().collect()
    }

    /// The first frame since the start that fulfils the condition; waits for it until `deadline`.
    /// For frames after an event, let the condition compare [`Frame::at`] with the event's time.
    pub fn wait_for(
        &self,
        mut condition: impl FnMut(&Frame) -> bool,
        deadline: Instant,
    ) -> Result<Frame, NotSeen> {
        let called = Instant::now();
        let mut frames = self.record.lock();
        let mut looked_at = 0;
        loop {
            if let Some(frame) = frames[looked_at..].iter().find(|frame| condition(frame)) {
                return Ok(frame.clone());
            }
            looked_at = frames.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let transcript = self.tell(&frames);
                return Err(NotSeen {
                    waited: called.elapsed(),
                    transcript,
                });
            }
            let woken = self.record.grown.wait_timeout(frames, left);
            frames = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// One line a frame: seconds since the start, from whom to whom, what.
    pub fn transcript(&self) -> String {
        self.tell(&self.record.lock())
    }

    /// Writes the record for tcpdump and its like.
    pub fn write_pcap(&self, path: &Path) -> io::Result<()> {
        pcap::write(BufWriter::new(File::create(path)?), &self.seen())
    }

    fn tell(&self, frames: &[Frame]) -> String {
        let mut text = format!("{} frames on {}\n", frames.len(), self.link);
        for frame in frames {
            let seconds = frame
                .at
                .saturating_duration_since(self.started)
                .as_secs_f64();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{seconds:10.6} {frame}");
        }
        text
    }
}

impl Drop for FrameObserver {
    fn drop(&mut self) {
        self.record.ended.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Record {
    /// Ends when told, or when the link is gone: then nothing can come any more.
    fn fill(&self, socket: &PacketSocket) {
        while !self.ended.load(Ordering::Relaxed) {
            match socket.receive() {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    self.lock().push(frame);
                    self.grown.notify_all();
                }
                // A link that goes down says so once; frames come again when it is back.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(_) => return,
            }
        }
    }

    /// A waiting test that failed inside its condition leaves the record whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the frame did not come within {:?}; what came: {}",
            self.waited, self.transcript
        )
    }
}

impl std::error::Error for NotSeen {}
