//! Waiting for frames, commands and deadlines at once.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::time::Duration;

/// Ends another thread's [`wait`].
#[derive(Debug)]
pub struct Waker {
    sender: UnixDatagram,
}

impl Waker {
    /// A waker, and what it makes readable.
    pub fn new() -> io::Result<(Self, UnixDatagram)> {
        let (sender, receiver) = UnixDatagram::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok((Self { sender }, receiver))
    }

    /// Wakes the thread. If it is so far behind that no more wake-ups fit, it wakes anyway.
    pub fn wake(&self) {
        let _ = self.sender.send(&[0]);
    }
}

/// Waits for several files at once.
#[derive(Debug, Default)]
pub struct Poll {
    /// Kept, so that a wait allocates nothing.
    polled: Vec<libc::pollfd>,
}

impl Poll {
    /// Waits until one of `files` is readable or `timeout` has passed; says which are.
    pub fn wait<'a>(
        &mut self,
        files: impl Iterator<Item = BorrowedFd<'a>>,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = bool>> {
        self.polled.clear();
        self.polled.extend(files.map(|file| libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        }));
        ppoll(&mut self.polled, timeout)?;
        // An error or a hang-up is reported by the next read.
        Ok(self.polled.iter().map(|polled| polled.revents != 0))
    }
}

fn ppoll(polled: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `polled` is an array of the given length, `timeout` is null or points to a timespec,
    // both live through the call; no signal mask is set.
    let ready = unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            timeout,
            ptr::null(),
        )
    };
    if ready < 0 {
        let error = io::Error::last_os_error();
        // A signal is for the main thread; here it is a wake-up for nothing.
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        polled.iter_mut().for_each(|polled| polled.revents = 0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    fn wait(woken: &UnixDatagram, timeout: Duration) -> Vec<bool> {
        let mut poll = Poll::default();
        let files = std::iter::once(woken.as_fd());
        poll.wait(files, Some(timeout)).unwrap().collect()
    }

    #[test]
    fn a_wake_up_before_or_during_the_wait_ends_it() {
        let (waker, woken) = Waker::new().unwrap();
        waker.wake();
        let start = Instant::now();
        let ready = wait(&woken, Duration::from_secs(10));
        assert_eq!(ready, [true]);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn without_an_event_the_wait_lasts_as_long_as_it_was_told() {
        let (_waker, woken) = Waker::new().unwrap();
        let start = Instant::now();
        let ready = wait(&woken, Duration::from_micros(1_500));
        assert_eq!(ready, [false]);
        assert!(start.elapsed() >= Duration::from_micros(1_500));
    }

    #[test]
    fn a_thousand_wake_ups_do_not_block_the_waker() {
        let (waker, _woken) = Waker::new().unwrap();
        (0..1_000).for_each(|_| waker.wake());
    }
}
