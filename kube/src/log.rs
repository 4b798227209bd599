//! Log lines, bounded. What we say is short; but libraries print what an API server sent.

use std::io::{self, Write};

use ferrolb_core::text::shortened;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// The longest line.
const LINE: usize = 8 << 10;
/// The longest text in a longer one that is JSON.
const TEXT: usize = 1 << 10;

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
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt};

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
