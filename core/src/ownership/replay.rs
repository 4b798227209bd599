//! No datagram counts twice.

/// The newest counter of a sender's boot, and which of the 1,024 counters up to it were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    boot: u64,
    newest: u64,
    seen: [u64; Window::WORDS],
}

impl Window {
    const WORDS: usize = 16;
    /// A burst to 1,000 members may arrive out of order; older datagrams are none of it.
    const SIZE: u64 = 64 * Self::WORDS as u64;

    /// Whether this counter is new. The caller has ruled out boots older than the one known.
    pub(super) fn admit(&mut self, boot: u64, counter: u64) -> bool {
        if boot != self.boot {
            *self = Self {
                boot,
                newest: counter,
                seen: [0; Self::WORDS],
            };
            self.mark(counter);
            return true;
        }
        if counter > self.newest {
            self.forget_until(counter);
            self.newest = counter;
        } else if self.newest - counter >= Self::SIZE || self.is_marked(counter) {
            return false;
        }
        self.mark(counter);
        true
    }

    /// The slots of the counters after `newest` up to `counter` held older ones.
    fn forget_until(&mut self, counter: u64) {
        if counter - self.newest >= Self::SIZE {
            self.seen = [0; Self::WORDS];
            return;
        }
        for passed in self.newest + 1..=counter {
            let (word, bit) = Self::slot(passed);
            self.seen[word] &= !bit;
        }
    }

    fn mark(&mut self, counter: u64) {
        let (word, bit) = Self::slot(counter);
        self.seen[word] |= bit;
    }

    fn is_marked(&self, counter: u64) -> bool {
        let (word, bit) = Self::slot(counter);
        self.seen[word] & bit != 0
    }

    const fn slot(counter: u64) -> (usize, u64) {
        let index = counter % Self::SIZE;
        ((index / 64) as usize, 1 << (index % 64))
    }
}
