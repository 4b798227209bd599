//! The connection to the speaker.

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ferrolb_core::keep::words::{Answer, Frames, Question, VERSION};
use rustix::process::geteuid;

use super::work::Work;

/// Whoever does not take an answer in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Read at once; the rest has its turn.
const TURN: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    frames: Frames,
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Link {
    /// Takes a caller of the same user, and says what can be done and what is done.
    pub(super) fn greet(stream: UnixStream, work: &Work) -> anyhow::Result<Self> {
        // The process number is 0 here: a container does not see the processes of another one.
        let caller = getsockopt(&stream, PeerCredentials).context("cannot tell who calls")?;
        ensure!(caller.uid() == geteuid().as_raw(), "it is another user");
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut link = Self {
            stream,
            frames: Frames::default(),
        };
        link.say(&Answer::Welcome {
            version: VERSION,
            way: work.way(),
            found: work.entries(Instant::now()),
        })?;
        Ok(link)
    }

    /// Reads what is there, once, and answers it.
    pub(super) fn serve(&mut self, work: &mut Work) -> anyhow::Result<()> {
        let mut buffer = [0; TURN];
        let length = self.stream.read(&mut buffer).context("cannot read")?;
        if length == 0 {
            bail!("the speaker has gone");
        }
        self.frames.push(&buffer[..length]);
        while let Some(frame) = self.frames.next_frame()? {
            let question = Question::decode(&frame)?;
            if let Some(answer) = work.answer(question, Instant::now())? {
                self.say(&answer)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, answer: &Answer) -> anyhow::Result<()> {
        self.stream
            .write_all(&answer.encode())
            .context("cannot answer")
    }
}
