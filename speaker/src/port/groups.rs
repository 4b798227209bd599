//! Membership in multicast groups: without it, switches that listen to MLD (RFC 4541 §3) keep the
//! solicitations for our addresses from us, and so may the interface.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use ferrolb_core::announce::LinkId;
use socket2::{Domain, Protocol, Socket, Type};

/// Memberships of one socket: each takes 56 bytes of `net.core.optmem_max`, which was 20,480 up to
/// Linux 6.7.
const MOST_PER_SOCKET: usize = 300;

/// A group on a link.
type Membership = (Ipv6Addr, LinkId);

/// The groups that this host is in for our sake.
#[derive(Debug, Default)]
pub struct Groups {
    /// The sockets, with how many memberships each has.
    sockets: Vec<(Socket, usize)>,
    /// Which socket holds which membership.
    joined: BTreeMap<Membership, usize>,
}

impl Groups {
    /// Leaves what is not wanted any more and joins what is new. A group that cannot be joined stops
    /// no other one; the first error is told, and the next call tries again.
    pub fn set(&mut self, wanted: &BTreeSet<Membership>) -> io::Result<()> {
        let gone: Vec<_> = self
            .joined
            .keys()
            .filter(|membership| !wanted.contains(membership))
            .copied()
            .collect();
        for membership in gone {
            self.leave(membership);
        }
        let mut result = Ok(());
        for membership in wanted {
            if !self.joined.contains_key(membership) {
                let joined = self.join(*membership);
                result = result.and(joined);
            }
        }
        result
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

    fn join(&mut self, (group, link): Membership) -> io::Result<()> {
        let free = self
            .sockets
            .iter()
            .position(|(_, count)| *count < MOST_PER_SOCKET);
        let index = match free {
            Some(index) => index,
            None => {
                let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
                self.sockets.push((socket, 0));
                self.sockets.len() - 1
            }
        };
        if let Some((socket, count)) = self.sockets.get_mut(index) {
            socket.join_multicast_v6(&group, link.0)?;
            *count += 1;
            self.joined.insert((group, link), index);
        }
        Ok(())
    }

    fn leave(&mut self, (group, link): Membership) {
        let index = self.joined.remove(&(group, link));
        if let Some((socket, count)) = index.and_then(|index| self.sockets.get_mut(index)) {
            // Refused only if the kernel has dropped the membership together with its link.
            let _ = socket.leave_multicast_v6(&group, link.0);
            *count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback link takes memberships like any other, and nothing leaves it.
    const LOOPBACK: LinkId = LinkId(1);

    #[test]
    fn a_thousand_memberships_are_spread_over_sockets_and_given_back() {
        let mut groups = Groups::default();
        let wanted: BTreeSet<_> = (0..1_000)
            .map(|n| (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, n), LOOPBACK))
            .collect();
        groups.set(&wanted).unwrap();
        assert_eq!(groups.sockets.len(), 4);
        assert_eq!(groups.joined.len(), 1_000);
        let fewer = wanted.iter().take(10).copied().collect();
        groups.set(&fewer).unwrap();
        assert_eq!(
            groups.joined.keys().copied().collect::<BTreeSet<_>>(),
            fewer
        );
        groups.set(&wanted).unwrap();
        assert_eq!(groups.sockets.len(), 4, "what was left is free again");
    }

    #[test]
    fn a_link_that_does_not_exist_stops_no_other_one() {
        let mut groups = Groups::default();
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, 0xffff);
        let wanted = [(group, LinkId(0x7fff_fff0)), (group, LOOPBACK)].into();
        assert!(groups.set(&wanted).is_err());
        assert_eq!(groups.joined.len(), 1);
    }
}
