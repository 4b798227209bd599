//! Two thousand connections of each kind that means harm. Meanwhile probes are answered, and afterwards
//! the process is as large as before.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{METRICS, connect, get, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CONNECTIONS: usize = 2_000;
/// A kubelet gives a probe up after a second, unless told otherwise.
const PROBE: Duration = Duration::from_secs(1);
/// More than this the connections must not cost, beside one text of /metrics.
const MEMORY: usize = 4 * 1024 * 1024;
/// Connections that are kept of the node's addresses.
const KEPT: usize = 256;

/// What a client sends, again and again as long as the server takes it.
struct Kind {
    name: &'static str,
    once: Vec<u8>,
    again: Vec<u8>,
}

fn kinds() -> Vec<Kind> {
    let kind = |name, once: &str, again: &str| Kind {
        name,
        once: once.into(),
        again: again.into(),
    };
    let long = format!("x: {}\r\n", "y".repeat(4_000));
    vec![
        kind("says nothing", "", ""),
        kind("byte by byte", "GET /healthz HTTP/1.1\r\nx: ", "y"),
        kind(
            "90 headers of 4 KB",
            "GET /healthz HTTP/1.1\r\n",
            &long.repeat(90),
        ),
        kind(
            "a header of 400 KiB",
            "GET /healthz HTTP/1.1\r\nx: ",
            &"y".repeat(400 * 1024),
        ),
        kind("a request line without end", "GET /", &"y".repeat(8_000)),
        kind("reads no /metrics", "GET /metrics HTTP/1.1\r\n\r\n", ""),
        kind(
            "many requests in one connection",
            "",
            &"GET /metrics HTTP/1.1\r\n\r\n".repeat(100),
        ),
        kind(
            "kept alive",
            "GET /healthz HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
            "",
        ),
        kind(
            "a body without end",
            "POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n",
            &"y".repeat(8_000),
        ),
        kind("no HTTP", "\u{16}\u{3}\u{1}", "\u{0}\u{1}"),
        kind("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{0}"),
    ]
}

#[test]
fn two_thousand_hostile_connections_of_any_kind_cost_little_and_delay_no_probe() {
    allow_many_files();
    let server = serve();
    let warm = get(server, "/metrics", PROBE * 5).unwrap();
    assert!(warm.len() > METRICS, "{}", warm.len());
    drop(warm);
    for kind in kinds() {
        // From the very address that the probes come from, and from many others: those of this host
        // share the places that a probe has, so that this is harder than any stranger can make it.
        for sources in [1, 200] {
            // The best of three: in another one somebody else may have had the cores.
            let mut slowest = (0..3).map(|_| bear(server, &kind, sources));
            assert!(slowest.any(|one| one < PROBE), "{}", kind.name);
        }
    }
}

/// An attack, and what it may cost. Tells how long the slowest probe took.
fn bear(server: SocketAddr, kind: &Kind, sources: u8) -> Duration {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let (slowest, kept) = attack(server, kind, sources);
    let grown = peak().saturating_sub(before);
    eprintln!(
        "{}, from {sources} addresses: slowest probe {slowest:?}, {} KiB, {kept} open",
        kind.name,
        grown / 1024
    );
    assert!(kept <= KEPT, "{}: {kept} connections are kept", kind.name);
    assert!(grown < MEMORY, "{}: {grown} bytes", kind.name);
    slowest
}

/// Opens the connections and keeps them busy, while probes are asked. Tells how long the slowest took,
/// and how many connections are still open at the end.
fn attack(server: SocketAddr, kind: &Kind, sources: u8) -> (Duration, usize) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut streams: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
            for number in 0..CONNECTIONS {
                let host = u8::try_from(number % usize::from(sources)).unwrap() + 1;
                let from = Ipv4Addr::new(127, 0, u8::from(sources > 1), host);
                let mut stream = connect(IpAddr::V4(from), server).unwrap();
                stream.set_nonblocking(true).unwrap();
                let _ = stream.write(&kind.once);
                let _ = stream.write(&kind.again);
                streams.push(stream);
            }
            for stream in &mut streams {
                let _ = stream.write(&kind.again);
            }
            is_over.store(true, Ordering::Relaxed);
            streams
        });
        let mut slowest = Duration::ZERO;
        let mut asked = 0;
        while !is_over.load(Ordering::Relaxed) || asked < 20 {
            for path in ["/healthz", "/readyz"] {
                let start = Instant::now();
                let answer = get(server, path, PROBE * 5);
                slowest = slowest.max(start.elapsed());
                asked += 1;
                let Ok(answer) = answer else {
                    // One that says nothing yet gives way to others of its host: as bad as one that waits.
                    slowest = PROBE * 5;
                    continue;
                };
                assert!(
                    answer.starts_with("HTTP/1.1 200"),
                    "{}: {answer}",
                    kind.name
                );
            }
        }
        let mut streams = attacker.join().unwrap();
        // Whoever is answered now has come last: all others have been accepted.
        get(server, "/healthz", PROBE * 5).unwrap();
        let open = streams
            .iter_mut()
            .filter_map(|stream| is_open(stream).then_some(()));
        (slowest, open.count())
    })
}

/// Whether the server has neither closed nor reset it; what came is thrown away.
fn is_open(stream: &mut TcpStream) -> bool {
    let mut part = [0; 16 * 1024];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// The most memory that this process has had since the last look.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    kibibytes.unwrap().parse::<usize>().unwrap() * 1024
}

fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).unwrap();
}
