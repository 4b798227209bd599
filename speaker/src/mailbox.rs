//! What one thread tells another: what is true now, not how it came to be.
//!
//! Thousands of changes may come faster than they are followed, and each may tell of thousands of
//! addresses. So what says how something is takes the place of what said so before, if the other thread
//! has not taken that yet. It holds at most one of each such kind, and of the others what its users say.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::port::Waker;

/// Something to tell.
pub(crate) trait Tells: Send + Sized {
    /// Whether what `earlier` tells no longer counts.
    fn supersedes(&self, earlier: &Self) -> bool;

    /// This in the place of `earlier`, which it supersedes and which nobody has taken.
    fn after(self, earlier: Self) -> Self {
        drop(earlier);
        self
    }
}

struct Untaken<T> {
    all: Vec<T>,
    /// Nobody takes it any more.
    is_closed: bool,
}

/// The end that tells.
pub(crate) struct Sender<T> {
    untaken: Arc<Mutex<Untaken<T>>>,
    waker: Arc<Waker>,
}

/// The end that takes.
pub(crate) struct Receiver<T>(Arc<Mutex<Untaken<T>>>);

/// Both ends; `waker` wakes the thread that takes.
pub(crate) fn mailbox<T: Tells>(waker: Waker) -> (Sender<T>, Receiver<T>) {
    let untaken = Untaken {
        all: Vec::new(),
        is_closed: false,
    };
    let untaken = Arc::new(Mutex::new(untaken));
    let sender = Sender {
        untaken: Arc::clone(&untaken),
        waker: Arc::new(waker),
    };
    (sender, Receiver(untaken))
}

impl<T: Tells> Sender<T> {
    /// Tells it, and wakes who takes it. It is dropped if nobody does any more.
    pub(crate) fn send(&self, what: T) {
        let mut untaken = locked(&self.untaken);
        if untaken.is_closed {
            return;
        }
        let all = &mut untaken.all;
        match all.iter().position(|earlier| what.supersedes(earlier)) {
            // In its place: what was told first is taken first.
            Some(place) => {
                let earlier = all.remove(place);
                all.insert(place, what.after(earlier));
            }
            None => all.push(what),
        }
        drop(untaken);
        self.waker.wake();
    }
}

impl<T> Receiver<T> {
    /// All that is there; `None` once there is nothing and nobody can tell any more.
    pub(crate) fn take(&self) -> Option<Vec<T>> {
        // Before the look: whoever goes meanwhile has told all that it had to.
        let is_alone = Arc::strong_count(&self.0) == 1;
        let all = std::mem::take(&mut locked(&self.0).all);
        (!is_alone || !all.is_empty()).then_some(all)
    }
}

impl<T> Drop for Receiver<T> {
    /// Whoever waits for an answer learns that none comes.
    fn drop(&mut self) {
        let mut untaken = locked(&self.0);
        untaken.is_closed = true;
        let all = std::mem::take(&mut untaken.all);
        drop(untaken);
        drop(all);
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            untaken: Arc::clone(&self.untaken),
            waker: Arc::clone(&self.waker),
        }
    }
}

impl<T> Debug for Sender<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

fn locked<T>(untaken: &Mutex<Untaken<T>>) -> MutexGuard<'_, Untaken<T>> {
    untaken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    enum Told {
        Level(u32),
        Event(u32),
        Question(oneshot::Sender<()>),
    }

    impl Told {
        fn word(self) -> String {
            match self {
                Self::Level(number) => format!("level {number}"),
                Self::Event(number) => format!("event {number}"),
                Self::Question(asked) => format!("question, open: {}", !asked.is_closed()),
            }
        }
    }

    impl Tells for Told {
        fn supersedes(&self, earlier: &Self) -> bool {
            matches!((self, earlier), (Self::Level(_), Self::Level(_)))
        }
    }

    fn ends() -> (Sender<Told>, Receiver<Told>) {
        let (waker, _woken) = Waker::new().unwrap();
        mailbox(waker)
    }

    fn words(all: Option<Vec<Told>>) -> String {
        let words = all.unwrap().into_iter().map(Told::word);
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_tells_how_it_is_takes_the_place_of_what_told_so_before_and_nothing_else_is_lost() {
        let (sender, receiver) = ends();
        for told in [Told::Event(1), Told::Level(1), Told::Event(2)] {
            sender.send(told);
        }
        for level in 2..10_000 {
            sender.clone().send(Told::Level(level));
        }
        assert_eq!(words(receiver.take()), "event 1, level 9999, event 2");
        assert_eq!(words(receiver.take()), "");
        sender.send(Told::Level(7));
        drop(sender);
        assert_eq!(words(receiver.take()), "level 7");
        assert!(receiver.take().is_none(), "nobody can tell any more");
    }

    #[tokio::test]
    async fn whoever_asks_one_that_has_ended_learns_that_no_answer_comes() {
        let (sender, receiver) = ends();
        let ask = || {
            let (question, answer) = oneshot::channel();
            sender.send(Told::Question(question));
            answer
        };
        let before = ask();
        drop(receiver);
        assert!(before.await.is_err());
        assert!(ask().await.is_err());
    }
}
