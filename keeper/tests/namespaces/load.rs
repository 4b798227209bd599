//! Servers that echo, and connections that are held open across a move.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::lan::{Lan, PORT};

/// A stall: nobody waits longer. A lost packet is sent again after 0.2, 0.6 and 1.4 s, so what takes longer is
/// stuck; a machine that is busy with other things takes less.
pub(crate) const STALL: Duration = Duration::from_secs(3);
const MESSAGE: usize = 64;
/// A message that begins with this asks for so many bytes instead of an echo.
const GIVE: &[u8; 4] = b"GIVE";

/// Echoes on every host that has a backend, until the test ends.
pub(crate) fn serve(lan: &Lan) {
    for host in ["c", "pa", "pb"] {
        let listener = lan.within(host, || TcpListener::bind(("::", PORT)).unwrap());
        let listener = listener.join().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || echo(stream));
            }
        });
    }
}

fn echo(mut stream: TcpStream) {
    let mut message = [0; MESSAGE];
    while stream.read_exact(&mut message).is_ok() {
        let wanted = message
            .strip_prefix(GIVE)
            .and_then(|rest| rest.first_chunk().copied());
        let answered = match wanted {
            Some(length) => stream.write_all(&vec![7; u32::from_be_bytes(length) as usize]),
            None => stream.write_all(&message),
        };
        if answered.is_err() {
            return;
        }
    }
}

/// Connections to a Vip.
pub(crate) struct Held(Vec<TcpStream>);

/// What has become of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) alive: usize,
    pub(crate) reset: usize,
    pub(crate) stalled: usize,
}

impl Held {
    pub(crate) fn open(lan: &Lan, from: &str, vip: IpAddr, count: usize) -> Self {
        let streams = lan.within(from, move || {
            let open = |_| {
                let held = TcpStream::connect_timeout(&(vip, PORT).into(), 5 * STALL);
                held.unwrap_or_else(|error| panic!("{vip}: {error}"))
            };
            (0..count).map(open).collect::<Vec<_>>()
        });
        let held = Self(streams.join().unwrap());
        for stream in &held.0 {
            stream.set_nodelay(true).unwrap();
        }
        held
    }

    /// A message and its echo on each.
    pub(crate) fn talk(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        // All at once, so that all wait at the same time.
        let written: Vec<bool> = self
            .0
            .iter_mut()
            .map(|stream| stream.write_all(&[1; MESSAGE]).is_ok())
            .collect();
        let deadline = Instant::now() + STALL;
        for (stream, written) in self.0.iter_mut().zip(written) {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = left.max(Duration::from_millis(10));
            stream.set_read_timeout(Some(timeout)).unwrap();
            let mut answer = [0; MESSAGE];
            match stream.read_exact(&mut answer) {
                Ok(()) if written => outcome.alive += 1,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    outcome.stalled += 1;
                }
                _ => outcome.reset += 1,
            }
        }
        outcome
    }

    /// How many have their FIN answered by the other end's.
    pub(crate) fn close(self) -> usize {
        for stream in &self.0 {
            let _ = stream.shutdown(Shutdown::Write);
            stream.set_read_timeout(Some(STALL)).unwrap();
        }
        let answered = self
            .0
            .into_iter()
            .filter_map(|mut stream| read(&mut stream, &mut [0]).ok());
        answered.filter(|length| *length == 0).count()
    }

    /// Asks the first for so many bytes; how many came before it stalled.
    pub(crate) fn download(&mut self, length: u32, patience: Duration) -> usize {
        let stream = &mut self.0[0];
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut question = [0; MESSAGE];
        question[..4].copy_from_slice(GIVE);
        question[4..8].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&question).unwrap();
        let mut buffer = vec![0; 64 << 10];
        let mut read = 0;
        while read < length as usize {
            match self::read(stream, &mut buffer) {
                Ok(more) if more > 0 => read += more,
                _ => break,
            }
        }
        read
    }
}

/// Reads on if this process was stopped meanwhile.
pub(crate) fn read(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(to) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// One TCP segment that belongs to no connection, from the client to the Vip.
pub(crate) fn stray_ack(lan: &Lan, vip: IpAddr) {
    stray_ack_from(lan, "client", vip);
}

/// The same, from the client beside the nodes or the one behind the router.
pub(crate) fn stray_ack_from(lan: &Lan, host: &str, vip: IpAddr) {
    const ACK: u8 = 0x10;
    let own = match (host, vip) {
        ("client", IpAddr::V4(_)) => "192.168.77.14",
        ("client", IpAddr::V6(_)) => "fd77::14",
        (_, IpAddr::V4(_)) => "172.31.77.2",
        (_, IpAddr::V6(_)) => "fd31::2",
    };
    let own: IpAddr = own.parse().unwrap();
    let sent = lan.within(host, move || {
        let domain = if vip.is_ipv4() {
            Domain::IPV4
        } else {
            Domain::IPV6
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).unwrap();
        let mut segment = Vec::new();
        segment.extend_from_slice(&40_000_u16.to_be_bytes());
        segment.extend_from_slice(&PORT.to_be_bytes());
        segment.extend_from_slice(&1_u32.to_be_bytes());
        segment.extend_from_slice(&1_u32.to_be_bytes());
        segment.extend_from_slice(&[5 << 4, ACK, 0x40, 0, 0, 0, 0, 0]);
        let sum = checksum(own, vip, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        let to = std::net::SocketAddr::from((vip, 0));
        socket.send_to(&segment, &to.into()).unwrap();
    });
    sent.join().unwrap();
}

/// RFC 9293 §3.1, RFC 8200 §8.1
fn checksum(from: IpAddr, to: IpAddr, segment: &[u8]) -> u16 {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = (segment.len() as u32).to_be_bytes();
    let all = [
        octets(from),
        octets(to),
        length.to_vec(),
        vec![0, 0, 0, 6],
        segment.to_vec(),
    ]
    .concat();
    let sum = all
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum::<u32>();
    let sum = (sum >> 16) + (sum & 0xffff);
    !(((sum >> 16) + sum) as u16)
}
