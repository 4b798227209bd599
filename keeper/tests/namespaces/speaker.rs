//! The keeper's real program on a node, and what a speaker says to it.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_core::keep::words::{Answer, Frames, Question, Unable, VERSION, Way};
use ferrolb_core::keep::{Entry, Station};
use tempfile::TempDir;

use crate::lan::Lan;
use crate::load::read;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    process: Child,
    folder: TempDir,
    stream: UnixStream,
    frames: Frames,
    number: u32,
    pub(crate) way: Result<Way, Unable>,
    pub(crate) found: Vec<Entry>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Keeper {
    /// Starts it on the node, and tells it of all nodes of the LAN.
    pub(crate) fn start(lan: &Lan, node: &str, by: &str) -> Self {
        let mut keeper = Self::start_alone(lan, node, by);
        keeper.say(&Question::Stations(stations(lan, node)));
        keeper
    }

    pub(crate) fn start_alone(lan: &Lan, node: &str, by: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("keeper.sock");
        let program = [
            env!("CARGO_BIN_EXE_keeper"),
            "--by",
            by,
            "--log-level",
            "error",
            "--socket",
            socket.to_str().unwrap(),
        ];
        let mut command: Command = lan.command(node, &program);
        let process = command.stdin(Stdio::null()).spawn().unwrap();
        let stream = connect(&folder);
        let mut keeper = Self {
            process,
            folder,
            stream,
            frames: Frames::default(),
            number: 0,
            way: Err(Unable::NoTable),
            found: Vec::new(),
        };
        keeper.welcome();
        keeper
    }

    fn welcome(&mut self) {
        let Answer::Welcome {
            version,
            way,
            found,
        } = self.hear()
        else {
            panic!("its first word is a welcome");
        };
        assert_eq!(version, VERSION);
        (self.way, self.found) = (way, found);
    }

    /// As a speaker that was restarted.
    pub(crate) fn reconnect(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            (self.stream, self.frames) = (connect(&self.folder), Frames::default());
            // While it has not noticed that the other connection ended, it refuses a second one.
            let mut byte = [0];
            match read(&mut self.stream, &mut byte) {
                Ok(1) => break self.frames.push(&byte),
                _ => assert!(Instant::now() < deadline, "it takes no new speaker"),
            }
        }
        self.welcome();
    }

    /// Asks to pass on for a minute; whether it does.
    pub(crate) fn keep(&mut self, vips: &[IpAddr], via: &str) -> bool {
        self.keep_for(vips, via, Duration::from_secs(60))
    }

    pub(crate) fn keep_for(&mut self, vips: &[IpAddr], via: &str, time: Duration) -> bool {
        self.number += 1;
        let via = via.parse().unwrap();
        let entries = vips.iter().map(|&vip| Entry { vip, via, time }).collect();
        self.say(&Question::Keep {
            number: self.number,
            entries,
        });
        match self.hear() {
            Answer::Done { number, refused } => {
                assert_eq!(number, self.number);
                refused.is_empty()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Both families' addresses of a node, for Vips of either family.
    pub(crate) fn keep_both(&mut self, vips: &[IpAddr], last: u8) -> bool {
        let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = vips.iter().partition(|vip| vip.is_ipv6());
        let four = four.is_empty() || self.keep(&four, &format!("192.168.77.{last}"));
        let six = six.is_empty() || self.keep(&six, &format!("fd77::{last}"));
        four && six
    }

    pub(crate) fn drop_all(&mut self, vips: &[IpAddr]) {
        self.say(&Question::Drop(vips.to_vec()));
    }

    /// Packets that it has passed on.
    pub(crate) fn passed(&mut self) -> u64 {
        self.say(&Question::Count);
        match self.hear() {
            Answer::Passed(counts) => counts.iter().map(|(_, packets)| packets).sum(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn say(&mut self, question: &Question) {
        self.stream.write_all(&question.encode()).unwrap();
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Whether it has hung up.
    pub(crate) fn has_hung_up(&mut self) -> bool {
        let mut byte = [0];
        matches!(read(&mut self.stream, &mut byte), Ok(0) | Err(_))
    }

    fn hear(&mut self) -> Answer {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                return Answer::decode(&frame).unwrap();
            }
            let mut buffer = [0; 4_096];
            let length = read(&mut self.stream, &mut buffer).unwrap();
            assert_ne!(length, 0, "the keeper hung up");
            self.frames.push(&buffer[..length]);
        }
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

fn connect(folder: &TempDir) -> UnixStream {
    let socket = folder.path().join("keeper.sock");
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "no keeper: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What a speaker on this node knows of the others.
pub(crate) fn stations(lan: &Lan, me: &str) -> Vec<Station> {
    let others = [("a", 11), ("b", 12), ("c", 13)]
        .into_iter()
        .filter(|(name, _)| *name != me);
    let stations = others.flat_map(|(name, last)| {
        let mac = lan.mac(name).parse().unwrap();
        [format!("192.168.77.{last}"), format!("fd77::{last}")].map(|address| Station {
            address: address.parse().unwrap(),
            mac,
        })
    });
    stations.collect()
}
