//! Watches that never end: with a second way where the API server refuses the first one, with patience
//! where it is away, and begun anew where something else is wanted.

use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::sync::watch as latest;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{Error, Event};
use crate::backoff::{spread, spread_delay};

/// With these an API server answers that forbids to read objects, or has no such kind.
pub const NOT_THERE: &[u16] = &[403, 404];

/// Rights that are missing may be given, and kinds installed, while a daemon runs.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// With these an API server answers that does not know a field selector: Services by type before 1.31.
pub const NOT_SELECTABLE: &[u16] = &[400, 422];

/// What a watch tells, or why it failed.
pub type Watched<T> = Result<T, Error>;

/// What came out of a watch.
pub trait Told {
    /// A list is about to be asked for; nothing has been told yet.
    fn only_begins(&self) -> bool;
}

impl<T> Told for Event<T> {
    fn only_begins(&self) -> bool {
        matches!(self, Self::Init)
    }
}

impl<T> Told for Vec<Event<T>> {
    fn only_begins(&self) -> bool {
        self.iter().all(Told::only_begins)
    }
}

/// Goes on with `other` when the API server answers `first` with one of these status codes before it has
/// told anything, and back again when that is refused, too: an API server that is starting forbids
/// everything for a moment. `why` is logged once it is settled.
pub fn or_else<T: Told + Send + 'static>(
    first: impl Stream<Item = Watched<T>> + Send + 'static,
    codes: &'static [u16],
    other: impl Stream<Item = Watched<T>> + Send + 'static,
    why: &'static str,
) -> impl Stream<Item = Watched<T>> + Send + 'static {
    let choice = Choice {
        streams: [first.boxed(), other.boxed()],
        current: 0,
        is_settled: false,
    };
    stream::unfold(choice, move |mut choice| async move {
        loop {
            let event = choice.streams[choice.current].next().await?;
            match &event {
                Err(error) if !choice.is_settled && error.is_one_of(codes) => {
                    choice.current = 1 - choice.current;
                    if choice.current == 1 {
                        debug!("{why}");
                        continue;
                    }
                }
                Ok(told) if !told.only_begins() && !choice.is_settled => {
                    choice.is_settled = true;
                    if choice.current == 1 {
                        info!("{why}");
                    }
                }
                _ => {}
            }
            return Some((event, choice));
        }
    })
}

/// Two ways to the same objects, until one has told something.
struct Choice<T> {
    streams: [BoxStream<'static, Watched<T>>; 2],
    current: usize,
    is_settled: bool,
}

/// What `watch` tells; none, as long as the API server answers it with one of these status codes.
pub fn or_none<T, S>(
    watch: impl Fn() -> S + Send + 'static,
    codes: &'static [u16],
    why: &'static str,
) -> impl Stream<Item = Watched<Event<T>>> + Send + 'static
where
    T: Send + 'static,
    S: Stream<Item = Watched<Event<T>>> + Send + 'static,
{
    or_else(watch(), codes, none_until(watch, codes, LOOK_AGAIN), why)
}

/// There are none, until the API server answers otherwise: looked up with this pause.
fn none_until<T, S>(
    watch: impl Fn() -> S + Send + 'static,
    codes: &'static [u16],
    pause: Duration,
) -> impl Stream<Item = Watched<Event<T>>> + Send + 'static
where
    T: Send + 'static,
    S: Stream<Item = Watched<Event<T>>> + Send + 'static,
{
    let none = stream::iter([Event::Init, Event::InitDone].map(Ok));
    let attempts = stream::repeat_with(watch).then(move |events| async move {
        sleep(pause).await;
        events.take_while(|event| {
            let is_there = event
                .as_ref()
                .err()
                .is_none_or(|error| !error.is_one_of(codes));
            std::future::ready(is_there)
        })
    });
    none.chain(attempts.flatten())
}

/// What is told, whatever goes wrong in between: each failure is logged, and tried again with patience.
pub fn told<T: Told + Send + 'static>(
    what: &'static str,
    events: impl Stream<Item = Watched<T>> + Send + 'static,
) -> BoxStream<'static, T> {
    let events = patient(what, events);
    events.filter_map(async |event| event.ok()).boxed()
}

/// Waits after each failure before it goes on, longer each time. The first of several in a row is logged
/// as a warning, together with what is watched.
fn patient<T: Told + Send + 'static>(
    what: &'static str,
    events: impl Stream<Item = Watched<T>> + Send + 'static,
) -> impl Stream<Item = Watched<T>> + Send {
    let events = Box::pin(events);
    // How often it has failed in a row, and whether that has been waited for.
    stream::unfold(
        (events, 0_u32, true, spread()),
        move |(mut events, failures, has_waited, mut spread)| async move {
            if !has_waited {
                sleep(spread_delay(failures, &mut spread)).await;
            }
            let event = events.next().await?;
            let failures = match &event {
                // Comes before each attempt to list, also one that fails.
                Ok(told) if told.only_begins() => failures,
                Ok(_) => {
                    if failures > 0 {
                        info!(what, "watch restored");
                    }
                    0
                }
                Err(error) => {
                    let error = chain(error);
                    if failures == 0 {
                        warn!(what, error, "watch failed, keeping the last known state");
                    } else {
                        debug!(what, error, "watch failed again");
                    }
                    failures.saturating_add(1)
                }
            };
            let has_to_wait = event.is_err();
            Some((event, (events, failures, !has_to_wait, spread)))
        },
    )
}

/// The error with its causes: the outer one's text has only the next one's.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// What `begin` makes of the latest value; it begins again when there is another one.
pub fn renewed<T, S>(
    mut latest: latest::Receiver<T>,
    begin: impl Fn(T) -> BoxStream<'static, S> + Send + 'static,
) -> BoxStream<'static, S>
where
    T: Clone + Send + Sync + 'static,
    S: Send + 'static,
{
    let first = begin(latest.borrow_and_update().clone());
    stream::unfold(
        (latest, begin, first),
        |(mut latest, begin, mut current)| async move {
            loop {
                tokio::select! {
                    biased;
                    Ok(()) = latest.changed() => {
                        current = begin(latest.borrow_and_update().clone());
                    }
                    item = current.next() => return Some((item?, (latest, begin, current))),
                }
            }
        },
    )
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Watched<Event<u8>> {
        let status = kube::core::Status {
            code,
            ..Default::default()
        };
        Err(Error::List(kube::Error::Api(Box::new(status))))
    }

    /// What comes of two ways that tell these, one after the other.
    async fn told(first: Vec<Watched<Event<u8>>>, other: Vec<Watched<Event<u8>>>) -> Vec<u8> {
        let applied = async |event| match event {
            Event::Apply(n) => Some(n),
            _ => None,
        };
        let told = or_else(stream::iter(first), &[403], stream::iter(other), "");
        super::told("numbers", told)
            .filter_map(applied)
            .collect()
            .await
    }

    #[tokio::test]
    async fn what_is_wanted_otherwise_begins_anew() {
        let (want, latest) = latest::channel("a");
        let mut told = renewed(latest, |what| {
            stream::iter([what, "more"])
                .chain(stream::pending())
                .boxed()
        });
        assert_eq!(told.next().await, Some("a"));
        want.send_replace("b");
        assert_eq!(
            told.next().await,
            Some("b"),
            "nothing of the former comes after that"
        );
        assert_eq!(told.next().await, Some("more"));
    }

    #[tokio::test]
    async fn a_right_that_is_given_later_or_a_kind_that_is_installed_later_is_noticed() {
        for code in NOT_THERE {
            let attempts = std::sync::Mutex::new(vec![
                vec![Ok(Event::Init), Ok(Event::Apply(1))],
                vec![Ok(Event::Init), refused(*code), Ok(Event::Apply(9))],
                vec![refused(*code)],
            ]);
            let watch = move || stream::iter(attempts.lock().unwrap().pop().unwrap_or_default());
            let told = none_until(watch, NOT_THERE, Duration::ZERO).take(5);
            let kinds = told.map(|event| match event.unwrap() {
                Event::Init => "init",
                Event::InitDone => "done",
                Event::Apply(1) => "one",
                _ => "another",
            });
            let told: Vec<_> = kinds.collect().await;
            assert_eq!(told, ["init", "done", "init", "init", "one"], "{code}");
        }
    }

    #[tokio::test]
    async fn what_is_forbidden_for_a_moment_only_is_tried_again() {
        let apply = |n| Ok(Event::Apply(n));
        let first = vec![Ok(Event::Init), refused(403), Ok(Event::Init), apply(1)];
        let other = vec![Ok(Event::Init), refused(403), apply(2)];
        assert_eq!(
            told(first, other).await,
            [1],
            "the first way is the better one"
        );
        let first = vec![refused(403), apply(1)];
        let other = vec![refused(500), apply(2), refused(403), apply(3)];
        assert_eq!(
            told(first, other).await,
            [2, 3],
            "once it told something, it stays"
        );
    }
}
