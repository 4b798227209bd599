//! Log lines on standard error.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Starts logging. `level` is a level, `MetalLB`'s `all` or `none`, or a filter of `tracing`.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = match level {
        "all" => "trace",
        "none" => "off",
        // At debug level the API client alone writes more than all of us.
        "debug" => "info,ferrolb_speaker=debug,ferrolb_core=debug",
        other => other,
    };
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log-level {level:?}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
    }
    Ok(())
}
