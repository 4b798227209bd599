//! Log lines on standard error, bounded. What we say is short; but libraries print what an API server
//! sent.

use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr;

use ferrolb_core::text::shortened;
use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What our own crates are called, as targets of log lines.
const OURS: &str = "ferrolb";

/// The longest line.
const LINE: usize = 8 << 10;
/// The longest text in a longer one that is JSON.
const TEXT: usize = 1 << 10;

/// `--log-level`: one of `MetalLB`'s words, or a list of `target=level`.
#[derive(Debug, Clone)]
pub struct Level(Targets);

impl FromStr for Level {
    type Err = String;

    /// # Errors
    /// It is neither, in a sentence that says what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        // Libraries speak up at DEBUG only when everything is asked for: the API client alone writes
        // more than all of us.
        let (ours, theirs) = match text {
            "all" | "trace" => (LevelFilter::TRACE, LevelFilter::DEBUG),
            "debug" => (LevelFilter::DEBUG, LevelFilter::INFO),
            "info" => (LevelFilter::INFO, LevelFilter::ERROR),
            "warn" => (LevelFilter::WARN, LevelFilter::ERROR),
            "error" => (LevelFilter::ERROR, LevelFilter::ERROR),
            "none" | "off" => (LevelFilter::OFF, LevelFilter::OFF),
            list if list.contains('=') => {
                let targets = list.parse().map(Self);
                return targets.map_err(|error| format!("no list of target=level: {error}"));
            }
            _ => {
                return Err(
                    "choose error, warn, info, debug, all or none; or give a list of \
                            target=level, such as ferrolb_core=debug"
                        .to_owned(),
                );
            }
        };
        let targets = Targets::new().with_default(theirs).with_target(OURS, ours);
        Ok(Self(targets))
    }
}

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object per line
    Json,
    /// For a terminal
    Text,
}

/// Writes log lines from now on.
pub fn start(level: Level, format: Format) {
    let layer = fmt::layer().with_writer(Bounded(io::stderr));
    let layer = match format {
        Format::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .boxed(),
        Format::Text => layer
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(level.0))
        .init();
}

/// Writes each line to what `M` makes, in a bounded form.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<M>(pub M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Bounded<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self.0.make_writer())
    }
}

/// Takes one whole line with each call.
#[derive(Debug)]
pub struct Line<W>(W);

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() <= LINE {
            self.0.write_all(line)?;
        } else {
            self.0.write_all(bounded(line).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with a line end. One that is JSON stays so.
fn bounded(line: &[u8]) -> String {
    let mut text = match serde_json::from_slice(line) {
        Ok(mut value) => {
            shorten(&mut value);
            value.to_string()
        }
        Err(_) => String::from_utf8_lossy(line).trim_end().to_owned(),
    };
    if text.len() > LINE {
        text = shortened(&text, LINE);
    }
    text.push('\n');
    text
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text, TEXT),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::Level as At;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a library that prints a whole list leaves in the log.
    fn logged(json: bool) -> String {
        let written = Written::default();
        let to = written.clone();
        let layer = fmt::layer()
            .with_ansi(false)
            .with_writer(Bounded(move || to.clone()));
        let layer = if json {
            layer.json().flatten_event(true).boxed()
        } else {
            layer.boxed()
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let list = "ä".repeat(1 << 20);
            tracing::warn!(service = "shop/web", "{list}, expected i32");
            tracing::info!("short");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn libraries_speak_up_less_than_we_do_unless_they_are_named() {
        let would = |level: &str, target: &str, at: At| {
            level.parse::<Level>().unwrap().0.would_enable(target, &at)
        };
        assert!(would("info", "ferrolb_core::alloc", At::INFO));
        assert!(!would("info", "kube_client", At::WARN));
        assert!(would("debug", "ferrolb_speaker", At::DEBUG));
        assert!(!would("debug", "kube_client", At::DEBUG));
        assert!(would("all", "kube_client", At::DEBUG));
        assert!(!would("none", "ferrolb_speaker", At::ERROR));
        assert!(would(
            "kube_client=trace,ferrolb=warn",
            "kube_client",
            At::TRACE
        ));
        for wrong in ["loud", "", "ferrolb=loud"] {
            assert!(wrong.parse::<Level>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = logged(false);
        let lines: Vec<_> = text.lines().collect();
        let [long, short] = lines[..] else {
            panic!("{} lines", lines.len())
        };
        assert!(long.len() <= LINE);
        assert!(
            long.contains("WARN") && long.contains("expected i32"),
            "{long}"
        );
        assert!(short.ends_with("short"));
    }

    #[test]
    fn a_long_line_of_json_stays_json() {
        let text = logged(true);
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[0]["level"], json!("WARN"));
        assert_eq!(lines[0]["service"], json!("shop/web"));
        assert!(
            lines[0]["message"]
                .as_str()
                .unwrap()
                .ends_with("expected i32")
        );
        assert_eq!(lines[1]["message"], json!("short"));
        assert!(text.len() <= 2 * LINE);
    }
}
