//! A daemon's monitoring port on the loopback interface, and clients that behave and others.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test is a program of its own, needs a part of this, and fails by panicking"
)]

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_kube::admin::{Answer, LocalPages, Pages, Readiness, Rendering, Server};
use http::StatusCode;
use socket2::{Domain, Socket, Type};

/// The text of /metrics, as large as that of a cluster with 10,000 Services.
pub(crate) const METRICS: usize = 2 * 1024 * 1024;

pub(crate) struct Status;

impl LocalPages for Status {
    const PATHS: &'static [&'static str] = &["/status"];

    async fn answer(&self, _: &str, _: Option<&str>) -> Answer {
        Answer::text(StatusCode::OK, "the status\n")
    }
}

/// Serves on a free port from a thread of its own, as the daemons do.
pub(crate) fn serve() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    apart(async move || {
        let page = "m".repeat(METRICS);
        let metrics = Rendering::new("text/plain", move |text| {
            text.push_str(&page);
            Ok(())
        });
        let host = Some(Ipv4Addr::LOCALHOST.into());
        let server = Server::bind(host, 0, Vec::new()).await.unwrap();
        tell.send(server.addresses().unwrap()[0]).unwrap();
        let pages = Pages::new(metrics, Readiness::default(), Status);
        server.serve(pages).await;
    });
    told.recv().unwrap()
}

/// Runs this in a thread of its own, as the daemons do.
pub(crate) fn apart(work: impl AsyncFnOnce() + Send + 'static) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work());
    });
}

/// Connects from that address.
pub(crate) fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), Duration::from_secs(5))?;
    Ok(socket.into())
}

/// The whole answer to a request, if it comes within `limit`.
pub(crate) fn get(to: SocketAddr, path: &str, limit: Duration) -> io::Result<String> {
    let end = Instant::now() + limit;
    let mut stream = TcpStream::connect_timeout(&to, limit)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ok(length) => answer.extend_from_slice(&part[..length]),
            // This process was stopped for a while.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads until the server closes the connection or resets it; tells what has come.
pub(crate) fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }
    answer
}
