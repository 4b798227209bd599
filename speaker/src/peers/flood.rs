//! While strangers send more than can be read, only members are: what waits in the socket's buffer
//! would keep their beats from being received.

use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::ownership::Ownership;
use tracing::{debug, warn};

use super::driver::TURN;
use super::socket::PeerSocket;
use crate::port::{Datagrams as _, Network};

/// So many in one turn are a flood: a quarter of the socket's buffer.
const MANY: usize = TURN / 4;
/// Then strangers are kept out for so long. A node that nobody knows yet, behind address translation,
/// has its chance in between.
const SHUT: Duration = Duration::from_secs(1);
/// It is said this often.
const SAY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Flood {
    shut_until: Option<Instant>,
    said_at: Option<Instant>,
}

impl Flood {
    /// After a turn in which so many datagrams of strangers were no use.
    pub(super) fn follow<N: Network>(
        &mut self,
        strangers: usize,
        sockets: &PeerSocket<N>,
        ownership: &Ownership,
        now: Instant,
    ) {
        let changed = if strangers >= MANY {
            self.shut_until = Some(now + SHUT);
            self.say(now);
            let sources = ownership.known_sources(now);
            let mut sockets = sockets.sockets();
            sockets.try_for_each(|socket| socket.admit_only(&sources))
        } else if self.shut_until.take_if(|until| now >= *until).is_some() {
            sockets.sockets().try_for_each(|socket| socket.admit_all())
        } else {
            Ok(())
        };
        if let Err(error) = changed {
            // A socket that is new since has no filter.
            debug!(%error, "cannot change the socket's filter");
        }
    }

    fn say(&mut self, now: Instant) {
        if self.said_at.is_none_or(|at| now >= at + SAY) {
            self.said_at = Some(now);
            warn!(
                "the speakers' port is flooded from addresses that are not nodes': receiving from \
                 nodes only until it stops"
            );
        }
    }
}
