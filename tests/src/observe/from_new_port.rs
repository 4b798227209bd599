//! TCP connections, each from a source port that none had before: servers, and nodes in between, remember for
//! minutes one that got no answer, or of whose end nobody told them, and where they sent it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Below those that Linux chooses from.
const PORTS: Range<u16> = 10_000..32_000;

pub(super) fn connect(target: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    bind(&socket, target)?;
    socket.connect_timeout(&target.into(), patience)?;
    Ok(socket.into())
}

fn bind(socket: &Socket, target: SocketAddr) -> io::Result<()> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        let bound = socket.bind(&SocketAddr::new(any, PORTS.start + number).into());
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn each_connection_has_a_source_port_of_its_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let streams = listener.incoming().take(12);
            let ports = streams.map(|stream| stream.unwrap().peer_addr().unwrap().port());
            ports.collect::<Vec<_>>()
        });
        for _ in 0..12 {
            connect(target, Duration::from_secs(5)).unwrap();
        }
        let ports = server.join().unwrap();
        assert!(ports.iter().all(|port| PORTS.contains(port)), "{ports:?}");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 12, "{ports:?}");
    }
}
