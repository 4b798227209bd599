//! What a client gets that asks too much, or takes too long.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{METRICS, get, serve, until_closed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn ask(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

#[test]
fn each_connection_has_one_answer_and_says_that_it_is_the_last() {
    let mut stream = TcpStream::connect(serve()).unwrap();
    ask(&mut stream, &"GET /healthz HTTP/1.1\r\n\r\n".repeat(3));
    let answer = String::from_utf8(until_closed(&mut stream)).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn a_head_beyond_eight_kibibytes_is_refused_in_words() {
    let mut stream = TcpStream::connect(serve()).unwrap();
    let long = "y".repeat(9 * 1024);
    ask(&mut stream, &format!("GET /healthz HTTP/1.1\r\nx: {long}"));
    let answer = String::from_utf8(until_closed(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn a_body_is_not_waited_for() {
    let mut stream = TcpStream::connect(serve()).unwrap();
    ask(
        &mut stream,
        "GET /healthz HTTP/1.1\r\nContent-Length: 100\r\n\r\nsome of it",
    );
    let answer = String::from_utf8(until_closed(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_reader_that_takes_its_time_gets_the_whole_text() {
    let server = serve();
    let mut stream = TcpStream::connect(server).unwrap();
    ask(&mut stream, "GET /metrics HTTP/1.0\r\n\r\n");
    let mut first = [0; 1024];
    stream.read_exact(&mut first).unwrap();
    // Others read all of it meanwhile.
    for _ in 0..3 {
        let answer = get(server, "/metrics", Duration::from_secs(5)).unwrap();
        assert!(answer.len() > METRICS);
    }
    let rest = until_closed(&mut stream);
    assert!(first.len() + rest.len() > METRICS, "{}", rest.len());
}

#[test]
fn who_sends_no_request_within_five_seconds_is_cut_off_also_byte_by_byte() {
    let server = serve();
    let start = Instant::now();
    let mut silent = TcpStream::connect(server).unwrap();
    let mut slow = TcpStream::connect(server).unwrap();
    ask(&mut slow, "GET /healthz HTTP/1.1\r\nx: ");
    slow.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut byte = [0];
    // The pace is that of the time limit of the read.
    while slow
        .read(&mut byte)
        .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted))
    {
        if slow.write_all(b"y").is_err() {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on");
    }
    assert_eq!(until_closed(&mut silent), b"");
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(4), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn who_does_not_read_the_answer_within_fifteen_seconds_is_reset() {
    let server = serve();
    let start = Instant::now();
    let mut unread = TcpStream::connect(server).unwrap();
    ask(&mut unread, "GET /metrics HTTP/1.1\r\n\r\n");
    // That a small answer was sent is no reason to keep a connection which the client does not close.
    let mut unclosed = TcpStream::connect(server).unwrap();
    ask(&mut unclosed, "GET /healthz HTTP/1.1\r\n\r\n");
    for stream in [unread, unclosed] {
        let mut events = [PollFd::new(&stream, PollFlags::empty())];
        let limit = Timespec::try_from(Duration::from_secs(25)).unwrap();
        let count = poll(&mut events, Some(&limit)).unwrap();
        assert_eq!(count, 1, "it is kept");
        assert!(events[0].revents().contains(PollFlags::ERR), "{events:?}");
    }
    assert!(start.elapsed() >= Duration::from_secs(10));
}
