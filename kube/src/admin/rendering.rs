//! The text of `/metrics`. A large cluster's is megabytes, so there is one of it, whoever reads it and
//! however slowly.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::lock;

/// Nobody makes us do that work more often.
const FRESH: Duration = Duration::from_secs(1);
/// As long as a text is being read, others get the same. Then there is a new one, and whoever still
/// reads the old one is cut off: so a slow reader makes others see no older text than this.
const STALE: Duration = Duration::from_secs(5);
/// What a connection takes of the text at a time.
const PART: usize = 16 * 1024;

type Render = dyn Fn(&mut String) -> fmt::Result + Send + Sync;

/// A text that is made when somebody asks for it.
pub struct Rendering {
    kind: &'static str,
    render: Box<Render>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    text: String,
    made_at: Option<Instant>,
    /// Which one it is.
    edition: u64,
    /// How many read this edition.
    readers: usize,
}

impl Rendering {
    /// Of a content type; `render` writes the text.
    pub fn new(
        kind: &'static str,
        render: impl Fn(&mut String) -> fmt::Result + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            render: Box::new(render),
            shown: Mutex::default(),
        }
    }

    /// Its content type.
    pub(super) const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Begins to read the text, a new one if it is time for that.
    pub(super) fn read(self: &Arc<Self>, now: Instant) -> Result<Reader, fmt::Error> {
        let mut shown = lock(&self.shown);
        let good_for = if shown.readers > 0 { STALE } else { FRESH };
        let is_good = |made_at: Instant| now.duration_since(made_at) < good_for;
        if !shown.made_at.is_some_and(is_good) {
            shown.edition += 1;
            shown.readers = 0;
            shown.made_at = None;
            // Where it stands already: a new text beside it would take as much once more.
            let length = shown.text.len();
            shown.text.clear();
            shown.text.reserve(length + length / 8);
            (self.render)(&mut shown.text)?;
            shown.made_at = Some(now);
        }
        shown.readers += 1;
        Ok(Reader {
            edition: shown.edition,
            left: shown.text.len(),
            rendering: Arc::clone(self),
        })
    }
}

impl fmt::Debug for Rendering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("Rendering");
        text.field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Somebody reads the text.
#[derive(Debug)]
pub(super) struct Reader {
    rendering: Arc<Rendering>,
    edition: u64,
    left: usize,
}

/// The text that was being read is no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outdated;

impl fmt::Display for Outdated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("read too slowly: there is a newer text by now")
    }
}

impl std::error::Error for Outdated {}

impl Reader {
    /// Bytes that are still to come.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// The next part; nothing at the end.
    pub(super) fn next(&mut self) -> Option<Result<Bytes, Outdated>> {
        if self.left == 0 {
            return None;
        }
        let shown = lock(&self.rendering.shown);
        if shown.edition != self.edition {
            self.left = 0;
            return Some(Err(Outdated));
        }
        let text = shown.text.as_bytes();
        let rest = &text[text.len() - self.left..];
        let part = &rest[..rest.len().min(PART)];
        self.left -= part.len();
        Some(Ok(Bytes::copy_from_slice(part)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shown = lock(&self.rendering.shown);
        if shown.edition == self.edition {
            shown.readers = shown.readers.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// The text says how often it was made, 100,000 times.
    fn rendering() -> Arc<Rendering> {
        let made = AtomicU64::new(0);
        Arc::new(Rendering::new("text/plain", move |text| {
            let edition = made.fetch_add(1, Ordering::Relaxed) + 1;
            (0..100_000).try_for_each(|_| write!(text, "{edition}"))
        }))
    }

    fn rest(reader: &mut Reader) -> Result<String, Outdated> {
        let mut text = Vec::new();
        while let Some(part) = reader.next() {
            text.extend_from_slice(&part?);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn it_is_made_at_most_once_a_second_however_many_ask() {
        let rendering = rendering();
        let mut now = Instant::now();
        for edition in ["1", "2", "3"] {
            for _ in 0..1_000 {
                let mut reader = rendering.read(now).unwrap();
                assert_eq!(reader.left(), 100_000);
                assert_eq!(rest(&mut reader).unwrap(), edition.repeat(100_000));
            }
            now += FRESH;
        }
    }

    #[test]
    fn a_reader_in_the_middle_keeps_the_text_for_five_seconds_and_is_then_cut_off() {
        let rendering = rendering();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut slow = rendering.read(start).unwrap();
        let begin = slow.next().unwrap().unwrap();
        let mut quick = rendering.read(after(4)).unwrap();
        assert_eq!(rest(&mut quick).unwrap(), "1".repeat(100_000));
        assert_eq!(slow.next().unwrap().unwrap().len(), begin.len());
        let mut next = rendering.read(after(5)).unwrap();
        assert_eq!(slow.next(), Some(Err(Outdated)));
        assert_eq!(slow.next(), None);
        // That one is gone is no reason to take the new text away from those who read it.
        drop(slow);
        rendering.read(after(9)).unwrap();
        assert_eq!(rest(&mut next).unwrap(), "2".repeat(100_000));
    }

    #[test]
    fn a_text_that_cannot_be_made_is_tried_again_for_the_next_one() {
        let fails = AtomicU64::new(1);
        let rendering = Arc::new(Rendering::new("text/plain", move |text| {
            text.push_str("half of it");
            match fails.swap(0, Ordering::Relaxed) {
                0 => Ok(()),
                _ => Err(fmt::Error),
            }
        }));
        let now = Instant::now();
        rendering.read(now).unwrap_err();
        let mut reader = rendering.read(now).unwrap();
        assert_eq!(rest(&mut reader).unwrap(), "half of it");
    }
}
