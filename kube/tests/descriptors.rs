//! Alone in its process, since it takes all file descriptors away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use common::{serve, until_closed};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

#[test]
fn without_file_descriptors_the_port_waits_and_serves_again_when_there_are_some() {
    let server = serve();
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(200),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.pop();
    // It takes the last descriptor, and the kernel completes it: nobody can accept it.
    let mut client = TcpStream::connect(server).unwrap();
    client.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let start = used();
    assert!(
        client.peek(&mut [0]).is_err(),
        "nobody can have accepted it"
    );
    let used = used() - start;
    assert!(
        used < Duration::from_millis(200),
        "it spins: {used:?} in 1 s"
    );
    drop(taken);
    let answer = String::from_utf8(until_closed(&mut client)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Processor time of this process.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}
