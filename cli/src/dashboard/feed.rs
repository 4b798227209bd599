//! Pictures as server-sent events (WHATWG HTML, section 9.2). One is taken for all who look; while nobody
//! does, nothing is asked.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::view::View;
use crate::output::causes;
use crate::picture::Picture;

/// As often a viewer is told that nothing has changed: the page sees that it is not cut off.
const STILL: Duration = Duration::from_secs(4);
/// How soon a browser comes back whose connection broke, ms.
const BEGIN: &str = "retry: 1000\n\n";

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Feed {
    latest: watch::Sender<Latest>,
    somebody_came: Notify,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Latest {
    /// As it is sent; none as long as nothing was taken for those who look.
    event: Option<Bytes>,
    /// When it was last seen to be so, ms since 1970.
    taken: Option<i64>,
}

impl Feed {
    /// Has `look` take pictures, one each `each`, as long as somebody looks. Never ends.
    pub(super) async fn run(
        &self,
        each: Duration,
        look: impl AsyncFn() -> anyhow::Result<Picture>,
    ) {
        let mut sent = None;
        loop {
            if self.latest.receiver_count() == 0 {
                // Whoever comes next would take what is old for what is.
                self.latest.send_replace(Latest::default());
                sent = None;
                self.somebody_came.notified().await;
                continue;
            }
            let begun = Instant::now();
            let (mark, event) = match look().await {
                Ok(picture) => (View::mark(&picture), Ok(picture)),
                Err(error) => (causes(&error), Err(error)),
            };
            let taken = event.is_ok().then(|| Timestamp::now().as_millisecond());
            if sent.as_ref() == Some(&mark) {
                self.latest.send_if_modified(|latest| {
                    latest.taken = taken.or(latest.taken);
                    false
                });
            } else {
                let event = match event {
                    Ok(picture) => event_of("picture", &View::of(&picture)),
                    Err(_) => event_of("trouble", &json!({ "error": mark })),
                };
                self.latest.send_modify(|latest| {
                    latest.event = Some(event);
                    latest.taken = taken.or(latest.taken);
                });
                sent = Some(mark);
            }
            // Where a look takes long, fewer are taken: each costs the API server connections.
            let took = begun.elapsed();
            sleep(each.saturating_sub(took).max(took)).await;
        }
    }

    /// What one viewer gets: what is, then each change. It counts as a viewer until it is dropped.
    pub(super) fn viewer(&self) -> impl Stream<Item = Bytes> + Send + use<> {
        let mut latest = self.latest.subscribe();
        // What is there already is news for this one.
        latest.mark_changed();
        self.somebody_came.notify_one();
        let begin = stream::once(async { Bytes::from_static(BEGIN.as_bytes()) });
        let events = stream::unfold(latest, async |mut latest| {
            loop {
                match timeout(STILL, latest.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => {
                        let taken = latest.borrow().taken;
                        let event = event_of("still", &json!({ "taken": taken }));
                        return Some((event, latest));
                    }
                }
                let event = latest.borrow_and_update().event.clone();
                if let Some(event) = event {
                    return Some((event, latest));
                }
            }
        });
        futures::StreamExt::chain(begin, events)
    }
}

/// An event with data, which are one line: JSON escapes all others.
fn event_of(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|error| {
        // Nothing of it fails to serialize; who looks would see what is old.
        json!({ "error": error.to_string() }).to_string()
    });
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;
    use futures::StreamExt as _;

    use super::*;
    use crate::fixtures::{controller, said};
    use crate::picture::tests::{picture_of, speakers_on};

    const EACH: Duration = Duration::from_millis(5);
    /// As long as a taking would take that should not be.
    const QUIET: Duration = Duration::from_millis(100);
    const SOON: Duration = Duration::from_secs(20);

    fn picture(owner: &str) -> Picture {
        let nodes = ["n1", "n2"];
        let told: Vec<_> = nodes
            .iter()
            .map(|node| (*node, (*node != owner).then_some("not_owner")))
            .collect();
        picture_of(speakers_on(&nodes), Ok(controller()), said(&told))
    }

    /// Does `work` while the feed runs.
    async fn beside<T>(
        feed: &Feed,
        look: impl AsyncFn() -> anyhow::Result<Picture>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::select! {
            () = feed.run(EACH, look) => unreachable!("it never ends"),
            done = timeout(SOON, work) => done.unwrap(),
        }
    }

    /// The next event but for signs of life, which come where this process was stopped for a while.
    async fn news(viewer: &mut (impl Stream<Item = Bytes> + Unpin)) -> Bytes {
        loop {
            let event = viewer.next().await.unwrap();
            if name_of(&event) != "event: still" {
                return event;
            }
        }
    }

    fn name_of(event: &Bytes) -> String {
        let text = String::from_utf8(event.to_vec()).unwrap();
        assert!(text.ends_with("\n\n"), "{text}");
        text.lines().next().unwrap().to_owned()
    }

    #[tokio::test]
    async fn nothing_is_asked_while_nobody_looks_and_no_more_once_the_last_one_left() {
        let feed = Feed::default();
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            Ok(picture("n1"))
        };
        let work = async {
            sleep(QUIET).await;
            assert_eq!(looks.get(), 0);
            let mut viewer = Box::pin(feed.viewer());
            while looks.get() < 3 {
                tokio::select! {
                    _ = viewer.next() => {}
                    () = sleep(EACH) => {}
                }
            }
            drop(viewer);
            // One may be on its way.
            sleep(QUIET).await;
            let left = looks.get();
            sleep(QUIET).await;
            assert_eq!(looks.get(), left);
        };
        beside(&feed, look, work).await;
    }

    #[tokio::test]
    async fn one_look_serves_all_who_look_and_only_a_change_is_sent() {
        let feed = Feed::default();
        let owner = Cell::new("n1");
        let looks = Cell::new(0);
        let look = async || {
            looks.set(looks.get() + 1);
            Ok(picture(owner.get()))
        };
        let work = async {
            let mut viewers = [Box::pin(feed.viewer()), Box::pin(feed.viewer())];
            for viewer in &mut viewers {
                assert_eq!(viewer.next().await.unwrap(), BEGIN);
                assert_eq!(name_of(&viewer.next().await.unwrap()), "event: picture");
            }
            assert!(looks.get() < 3, "{} looks for two", looks.get());
            // The same again and again is nothing to tell.
            while looks.get() < 6 {
                assert!(timeout(EACH, news(&mut viewers[0])).await.is_err());
            }
            owner.set("n2");
            for viewer in &mut viewers {
                let event = news(viewer).await;
                assert_eq!(name_of(&event), "event: picture");
                assert!(String::from_utf8_lossy(&event).contains(r#""nodes":["n2"]"#));
            }
            // Who comes later sees it at once, too.
            let mut late = Box::pin(feed.viewer());
            late.next().await.unwrap();
            assert_eq!(name_of(&late.next().await.unwrap()), "event: picture");
        };
        beside(&feed, look, work).await;
    }

    #[tokio::test]
    async fn trouble_is_told_once_and_what_is_behind_it_again() {
        let feed = Feed::default();
        let fails = Cell::new(false);
        let look = async || {
            if fails.get() {
                bail!("the API server does not answer");
            }
            Ok(picture("n1"))
        };
        let work = async {
            let mut viewer = Box::pin(feed.viewer());
            viewer.next().await.unwrap();
            assert_eq!(name_of(&viewer.next().await.unwrap()), "event: picture");
            fails.set(true);
            let event = news(&mut viewer).await;
            assert_eq!(
                event,
                "event: trouble\ndata: {\"error\":\"the API server does not answer\"}\n\n"
            );
            assert!(timeout(QUIET, news(&mut viewer)).await.is_err());
            fails.set(false);
            assert_eq!(name_of(&news(&mut viewer).await), "event: picture");
        };
        beside(&feed, look, work).await;
    }
}
