//! The connection to the keeper. Nothing here waits longer than it is told.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_core::keep::words::{Answer, Frames, Question};

/// Read at once.
const CHUNK: usize = 16 << 10;

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
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            frames: Frames::default(),
        })
    }

    /// A keeper that takes nothing in this time is none.
    pub(super) fn send(&mut self, question: &Question, patience: Duration) -> anyhow::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(patience))?;
        let sent = self.stream.write_all(&question.encode());
        self.stream.set_nonblocking(true)?;
        sent.context("it does not listen")
    }

    /// What has arrived, a word at a time.
    pub(super) fn receive(&mut self) -> anyhow::Result<Option<Answer>> {
        loop {
            if let Some(frame) = self.frames.next_frame()? {
                return Ok(Some(Answer::decode(&frame)?));
            }
            if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// The same, after a wait for more.
    pub(super) fn receive_within(&mut self, time: Duration) -> anyhow::Result<Option<Answer>> {
        if let Some(answer) = self.receive()? {
            return Ok(Some(answer));
        }
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(time))?;
        let read = self.read();
        self.stream.set_nonblocking(true)?;
        read?;
        self.receive()
    }

    /// Whether anything came.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; CHUNK];
        match self.stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("it hung up"),
            Ok(length) => {
                self.frames.push(&buffer[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
