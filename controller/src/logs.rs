//! Log lines on standard output.

use ferrolb_kube::log::Bounded;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter::Targets, fmt};

use crate::args::{LogFormat, LogLevel};

/// Writes log lines from now on. Libraries speak up at DEBUG only when everything is asked for.
pub fn start(level: LogLevel, format: LogFormat) {
    let (ours, theirs) = match level {
        LogLevel::All => (LevelFilter::TRACE, LevelFilter::DEBUG),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::None => (LevelFilter::OFF, LevelFilter::OFF),
    };
    let filter = Targets::new()
        .with_default(theirs)
        .with_target("ferrolb", ours);
    let layer = match format {
        LogFormat::Json => fmt::layer()
            .with_writer(Bounded(std::io::stdout))
            .json()
            .flatten_event(true)
            .boxed(),
        LogFormat::Text => fmt::layer()
            .with_writer(Bounded(std::io::stdout))
            .with_target(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}
