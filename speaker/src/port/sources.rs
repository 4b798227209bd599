//! Keeps all but known senders from a UDP socket, in the kernel: what nobody reads fills no buffer.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, UdpSocket};

use socket2::SockRef;

use super::filter;

/// From now on the socket receives only what comes from these addresses.
pub fn admit_only(socket: &UdpSocket, sources: &BTreeSet<IpAddr>) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&filter::from_sources(sources))
}

/// From now on it receives whatever comes.
pub fn admit_all(socket: &UdpSocket) -> io::Result<()> {
    SockRef::from(socket).detach_filter()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Who of these is heard, by their number, while `admitted` are.
    fn heard(senders: &[&str], admitted: &[&str], at: &str) -> Vec<u8> {
        let parse = |text: &&str| text.parse::<IpAddr>().unwrap();
        let receiver = UdpSocket::bind((at, 0)).unwrap();
        let mut to = receiver.local_addr().unwrap();
        receiver
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        admit_only(&receiver, &admitted.iter().map(parse).collect()).unwrap();
        let listen = || {
            let mut bytes = [0; 600];
            let mut heard = Vec::new();
            while let Ok(length) = receiver.recv(&mut bytes) {
                assert_eq!(length, 600, "all of it");
                heard.push(bytes[0]);
            }
            heard
        };
        let senders: Vec<UdpSocket> = senders
            .iter()
            .map(|from| UdpSocket::bind((*from, 0)).unwrap())
            .collect();
        let mut say = || {
            for (number, socket) in (0..).zip(&senders) {
                let is_v4 = socket.local_addr().unwrap().is_ipv4();
                let localhost = if is_v4 { "127.0.0.1" } else { "::1" };
                to.set_ip(localhost.parse().unwrap());
                socket.send_to(&[number; 600], to).unwrap();
            }
        };
        say();
        let admitted = listen();
        admit_all(&receiver).unwrap();
        say();
        assert_eq!(listen().len(), senders.len(), "then all are heard again");
        admitted
    }

    #[test]
    fn a_socket_hears_those_that_are_admitted_until_all_are() {
        let ours = ["127.0.0.3", "127.0.0.4", "127.9.0.1"];
        let senders = [
            "127.0.0.2",
            "127.0.0.3",
            "127.0.0.4",
            "127.0.0.5",
            "127.9.0.1",
        ];
        assert_eq!(heard(&senders, &ours, "127.0.0.1"), [1, 2, 4]);
        assert!(heard(&senders, &[], "127.0.0.1").is_empty());
        if UdpSocket::bind("[::1]:0").is_ok() {
            // A socket for both families.
            let senders = ["127.0.0.2", "::1", "127.0.0.3"];
            assert_eq!(heard(&senders, &["127.0.0.3"], "::"), [2]);
            assert_eq!(heard(&senders, &["::1"], "::"), [1]);
        }
    }

    #[test]
    fn as_many_sources_fit_as_a_cluster_has_nodes() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let every_other = (0..5_000_u32).map(|n| IpAddr::from((0x0a00_0000 + 2 * n).to_be_bytes()));
        admit_only(&socket, &every_other.collect()).unwrap();
    }
}
