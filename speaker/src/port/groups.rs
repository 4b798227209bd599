//! Membership in multicast groups: without it, switches that listen to MLD (RFC 4541 §3) keep the
//! solicitations for our addresses from us, and so may the interface.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::Ipv6Addr;
use std::task::Poll;

use ferrolb_core::announce::LinkId;
use socket2::{Domain, Protocol, Socket, Type};

use super::is_out_of_memory;

/// Groups that are joined before frames have their turn: the kernel looks through all memberships of
/// a link each time, so that 10,000 of them take more than a second.
const TURN: usize = 256;

/// A group on a link.
type Membership = (Ipv6Addr, LinkId);

/// The groups that this host is in for our sake.
#[derive(Debug, Default)]
pub struct Groups {
    /// Each takes memberships until the kernel gives it no more memory (`net.core.optmem_max`).
    sockets: Vec<Member>,
    /// Which socket holds which membership.
    joined: BTreeMap<Membership, usize>,
    /// Those to join yet.
    new: VecDeque<Membership>,
    /// The first that went wrong with them.
    error: Option<io::Error>,
}

#[derive(Debug)]
struct Member {
    socket: Socket,
    /// How many memberships it has.
    count: usize,
    is_full: bool,
}

impl Groups {
    /// Leaves what is not wanted any more; what is new is for [`Self::join`].
    pub fn set(&mut self, wanted: &BTreeSet<Membership>) {
        let is_wanted = |membership: &Membership| wanted.contains(membership);
        let joined = self.joined.keys().copied();
        let gone: Vec<_> = joined.filter(|joined| !is_wanted(joined)).collect();
        for membership in gone {
            self.leave(membership);
        }
        let joined = &self.joined;
        let new = wanted.iter().filter(|wanted| !joined.contains_key(*wanted));
        self.new = new.copied().collect();
        self.error = None;
    }

    /// Joins what is new, as much as one turn has. A group that cannot be joined stops no other one:
    /// when all have been tried, the first error is told; [`Self::set`] has it tried again.
    pub fn join(&mut self) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            let Some(membership) = self.new.pop_front() else {
                return Poll::Ready(self.error.take().map_or(Ok(()), Err));
            };
            if let Err(error) = self.join_one(membership) {
                self.error.get_or_insert(error);
            }
        }
        Poll::Pending
    }

    /// Forgets what was joined on links that are gone or not the same any more: the kernel has
    /// dropped it.
    pub fn forget(&mut self, gone: impl Fn(LinkId) -> bool) {
        let gone: Vec<_> = self
            .joined
            .keys()
            .filter(|(_, link)| gone(*link))
            .copied()
            .collect();
        for membership in gone {
            self.leave(membership);
        }
    }

    fn join_one(&mut self, membership: Membership) -> io::Result<()> {
        loop {
            let free = self.sockets.iter().position(|member| !member.is_full);
            let index = match free {
                Some(index) => index,
                None => {
                    self.sockets.push(Member::new()?);
                    self.sockets.len() - 1
                }
            };
            let member = &mut self.sockets[index];
            match member.join(membership) {
                // A socket that has none yet would not have room for another one either.
                Err(error) if is_out_of_memory(&error) && member.count > 0 => member.is_full = true,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.joined.insert(membership, index);
                    return Ok(());
                }
            }
        }
    }

    fn leave(&mut self, membership: Membership) {
        let index = self.joined.remove(&membership);
        if let Some(member) = index.and_then(|index| self.sockets.get_mut(index)) {
            member.leave(membership);
        }
    }
}

impl Member {
    fn new() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?,
            count: 0,
            is_full: false,
        })
    }

    fn join(&mut self, (group, link): Membership) -> io::Result<()> {
        self.socket.join_multicast_v6(&group, link.0)?;
        self.count += 1;
        Ok(())
    }

    fn leave(&mut self, (group, link): Membership) {
        // Refused only if the kernel has dropped the membership together with its link.
        let _ = self.socket.leave_multicast_v6(&group, link.0);
        self.count -= 1;
        self.is_full = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback link takes memberships like any other, and nothing leaves it.
    const LOOPBACK: LinkId = LinkId(1);

    /// How often a turn was needed, and what came out.
    fn set(groups: &mut Groups, wanted: &BTreeSet<Membership>) -> (usize, io::Result<()>) {
        groups.set(wanted);
        let mut turns = 1;
        loop {
            match groups.join() {
                Poll::Pending => turns += 1,
                Poll::Ready(result) => return (turns, result),
            }
        }
    }

    #[test]
    fn thousands_of_memberships_are_joined_in_turns_over_several_sockets_and_given_back() {
        let mut groups = Groups::default();
        let wanted: BTreeSet<_> = (0..3_000)
            .map(|n| (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, n), LOOPBACK))
            .collect();
        let (turns, result) = set(&mut groups, &wanted);
        result.unwrap();
        assert_eq!(turns, 3_000 / TURN + 1);
        let sockets = groups.sockets.len();
        assert!(sockets > 1, "none has room for all");
        assert_eq!(groups.joined.len(), 3_000);
        let fewer = wanted.iter().take(10).copied().collect();
        set(&mut groups, &fewer).1.unwrap();
        assert_eq!(
            groups.joined.keys().copied().collect::<BTreeSet<_>>(),
            fewer
        );
        set(&mut groups, &wanted).1.unwrap();
        assert_eq!(groups.sockets.len(), sockets, "what was left is free again");
    }

    #[test]
    fn a_link_that_does_not_exist_stops_no_other_one() {
        let mut groups = Groups::default();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, 0xffff);
        let wanted = [(group, LinkId(0x7fff_fff0)), (group, LOOPBACK)].into();
        assert!(set(&mut groups, &wanted).1.is_err());
        assert_eq!(groups.joined.len(), 1);
    }
}
