//! The server behind a hollow pod. What it answers says who it is and what source address it saw,
//! which is what tests of `externalTrafficPolicy` ask.
//!
//! - TCP, a line that starts with `GET `: one HTTP page, then the connection is closed.
//! - TCP, anything else: an endless echo, for connections that are held open.
//! - UDP: the datagram, then a space and the same sentence as on the page.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context, Result};

/// Serves until it is killed.
pub fn serve(name: &str, addresses: &[IpAddr], port: u16) -> Result<()> {
    let mut threads = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        let tcp = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
        let udp = UdpSocket::bind(at).with_context(|| format!("cannot listen on UDP {at}"))?;
        let (tcp_name, udp_name) = (name.to_owned(), name.to_owned());
        threads.push(thread::spawn(move || serve_tcp(&tcp, &tcp_name)));
        threads.push(thread::spawn(move || serve_udp(&udp, &udp_name)));
    }
    for thread in threads {
        // They end only by a panic, which has said why.
        let _ = thread.join();
    }
    Ok(())
}

/// What the server says to `peer`.
fn sentence(name: &str, peer: SocketAddr) -> String {
    format!("pod={name} source={} port={}", peer.ip(), peer.port())
}

fn serve_tcp(listener: &TcpListener, name: &str) {
    for stream in listener.incoming().flatten() {
        let name = name.to_owned();
        // A broken connection concerns its client alone.
        thread::spawn(move || converse(stream, &name));
    }
}

fn converse(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let page = sentence(name, stream.peer_addr()?);
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = Vec::new();
    let mut first = true;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if first && line.starts_with(b"GET ") {
            // All of the request is read first: closing on unread bytes would reset the answer.
            while reader.read_until(b'\n', &mut line)? > 2 {}
            let length = page.len() + 1;
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{page}\n"
            );
        }
        stream.write_all(&line)?;
        line.clear();
        first = false;
    }
    Ok(())
}

fn serve_udp(socket: &UdpSocket, name: &str) {
    /// The largest datagram there is.
    const LARGEST: usize = 65_535;
    let mut buffer = vec![0; LARGEST];
    loop {
        // An ICMP error of an earlier answer may show up here; the next datagram is fine.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let mut answer = buffer[..length].to_vec();
        answer.extend_from_slice(format!(" {}", sentence(name, peer)).as_bytes());
        let _ = socket.send_to(&answer, peer);
    }
}
