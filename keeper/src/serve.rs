//! The socket, and the loop around it.

mod link;
mod work;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{info, warn};

use crate::surroundings;
use crate::table::Choice;

use link::Link;
use work::Work;

/// Serves the speaker until the process is ended.
///
/// # Errors
/// The socket cannot be made, rights cannot be given up, or another keeper runs on this node.
pub fn serve(path: &Path, choice: Choice) -> anyhow::Result<()> {
    let has_right = surroundings::keep_net_admin_only()?;
    let mut work = Work::start(choice, has_right)?;
    let listener = listen(path)?;
    info!(socket = %path.display(), "keeper {}", env!("CARGO_PKG_VERSION"));
    let mut speaker: Option<Link> = None;
    loop {
        let timeout = work
            .next_end()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let (asks, calls) = wait(&listener, speaker.as_ref(), timeout)?;
        if asks
            && let Some(link) = &mut speaker
            && let Err(error) = link.serve(&mut work)
        {
            warn!(
                error = format!("{error:#}"),
                "the speaker's connection has ended"
            );
            speaker = None;
            work.set_connected(false, Instant::now());
        }
        if calls {
            call(&listener, &mut speaker, &mut work);
        }
        work.end_what_is_over(Instant::now());
    }
}

fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let place = || format!("cannot listen on {}", path.display());
    // That of a keeper before this one.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(place);
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(place)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(place)?;
    listener.set_nonblocking(true).with_context(place)?;
    Ok(listener)
}

/// One speaker at a time: a pod has no other.
fn call(listener: &UnixListener, speaker: &mut Option<Link>, work: &mut Work) {
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(_) => return,
    };
    if speaker.is_some() {
        warn!("a second speaker called: refused");
        return;
    }
    match Link::greet(stream, work) {
        Ok(link) => {
            info!("the speaker is connected");
            work.set_connected(true, Instant::now());
            *speaker = Some(link);
        }
        Err(error) => warn!(error = format!("{error:#}"), "a caller was refused"),
    }
}

/// Whether the speaker says something, and whether somebody calls.
fn wait(
    listener: &UnixListener,
    speaker: Option<&Link>,
    timeout: Option<Duration>,
) -> anyhow::Result<(bool, bool)> {
    let mut files = vec![PollFd::new(listener, PollFlags::IN)];
    files.extend(speaker.map(|link| PollFd::new(link, PollFlags::IN)));
    // A millisecond more than nothing: a timer that is due is due after that.
    let timeout = timeout.map(|time| time + Duration::from_millis(1));
    let timeout = timeout.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    match poll(&mut files, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot wait for the speaker"),
    }
    let is_ready = |file: Option<&PollFd<'_>>| file.is_some_and(|file| !file.revents().is_empty());
    Ok((is_ready(files.get(1)), is_ready(files.first())))
}
