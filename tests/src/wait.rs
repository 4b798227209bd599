//! Waiting for what tells nobody when it happens: a file, a socket.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Looks again and again until `is_done`; fails with `check`, or when the time is up.
pub fn wait_until(
    within: Duration,
    is_done: impl Fn() -> Result<bool>,
    check: impl Fn() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + within;
    while !is_done()? {
        check()?;
        if Instant::now() > deadline {
            bail!("still not after {within:?}");
        }
        #[expect(clippy::disallowed_methods, reason = "no event tells of it")]
        std::thread::sleep(POLL);
    }
    Ok(())
}
