//! Log lines on standard error.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use ferrolb_kube::log::Bounded;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::args::LogFormat;

/// Starts logging. `level` is a level, `MetalLB`'s `all` or `none`, or a list of `target=level`.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = match level {
        "all" => "trace",
        "none" => "off",
        // At debug level the API client alone writes more than all of us.
        "debug" => "info,ferrolb_speaker=debug,ferrolb_core=debug",
        other => other,
    };
    let filter: Targets = filter
        .parse()
        .with_context(|| format!("--log-level {level:?}"))?;
    let layer = fmt::layer().with_writer(Bounded(io::stderr));
    let layer = match format {
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
    Ok(())
}
