//! What every area does with times.

use std::time::Duration;

/// Fewer rounds have no 99th percentile.
const FOR_P99: usize = 200;

pub(crate) fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a measurement of what happens in this time"
    )]
    std::thread::sleep(time);
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Median, 99th percentile where there are enough, and the longest.
pub(crate) fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(longest) = times.last() else {
        return "never".to_owned();
    };
    let at = |share: f64| millis(times[((times.len() - 1) as f64 * share).round() as usize]);
    let mut text = format!("p50 {:.0}", at(0.5));
    if times.len() >= FOR_P99 {
        text += &format!(", p99 {:.0}", at(0.99));
    }
    text + &format!(", max {:.0}", millis(*longest))
}
