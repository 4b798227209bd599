//! Futures for the branches of a loop.

use std::future::pending;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Waits for what is under way, for ever if that is nothing.
pub(crate) async fn done<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

/// Waits for a time, for ever if there is none.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
