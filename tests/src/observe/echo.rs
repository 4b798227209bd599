//! Servers that send back what they get: the other ends of the probes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use super::stop::Stop;

/// How long the end of an echo may take.
const POLL: Duration = Duration::from_millis(50);

/// Echoes datagrams until it is dropped.
pub struct UdpEcho {
    address: SocketAddr,
    stop: Arc<Stop>,
    server: Option<JoinHandle<()>>,
}

/// Echoes the bytes of each connection. When it is dropped it accepts no further ones and closes
/// those that it has.
pub struct TcpEcho {
    address: SocketAddr,
    stop: Arc<Stop>,
    server: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Listens in the calling thread's network namespace; port 0 takes a free one.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(POLL))?;
        let address = socket.local_addr()?;
        let stop = Arc::<Stop>::default();
        let server = thread::Builder::new()
            .name(format!("udp echo {address}"))
            .spawn({
                let stop = Arc::clone(&stop);
                move || echo_datagrams(&socket, &stop)
            })?;
        Ok(Self {
            address,
            stop,
            server: Some(server),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl TcpEcho {
    /// Listens in the calling thread's network namespace; port 0 takes a free one.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        // On Linux the receive time-out bounds accept as well (socket(7)).
        SockRef::from(&listener).set_read_timeout(Some(POLL))?;
        let stop = Arc::<Stop>::default();
        let server = thread::Builder::new()
            .name(format!("tcp echo {address}"))
            .spawn({
                let stop = Arc::clone(&stop);
                move || echo_connections(&listener, &stop)
            })?;
        Ok(Self {
            address,
            stop,
            server: Some(server),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        end(&self.stop, &mut self.server);
    }
}

impl Drop for TcpEcho {
    fn drop(&mut self) {
        end(&self.stop, &mut self.server);
    }
}

fn end(stop: &Stop, server: &mut Option<JoinHandle<()>>) {
    stop.stop();
    if let Some(server) = server.take() {
        let _ = server.join();
    }
}

fn echo_datagrams(socket: &UdpSocket, stop: &Stop) {
    let mut buffer = [0; 2048];
    while !stop.is_stopped() {
        // Errors are time-outs, or news of a peer that is gone; the next datagram is another peer's.
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
        }
    }
}

fn echo_connections(listener: &TcpListener, stop: &Stop) {
    thread::scope(|scope| {
        while !stop.is_stopped() {
            if let Ok((stream, _)) = listener.accept() {
                scope.spawn(move || echo_bytes(stream, stop));
            }
        }
    });
}

/// Ends with the connection, or when told.
fn echo_bytes(mut stream: TcpStream, stop: &Stop) {
    let mut buffer = [0; 2048];
    if stream.set_read_timeout(Some(POLL)).is_err() {
        return;
    }
    while !stop.is_stopped() {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
