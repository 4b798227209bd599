//! The page with a real redis-server behind it, on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn each_page_counts_and_says_who_served_whom() {
    let redis = RedisServer::start();
    let app = App::start(redis.port);
    for visit in 1..=3 {
        let (status, body) = app.get("/");
        assert_eq!(status, 200, "{body}");
        let pod = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(
            body,
            format!("count: {visit}\npod: {}\nclient: 127.0.0.1\n", pod.trim())
        );
    }
    assert_eq!(app.ask_redis(&["get", "count"]), "3\n");
    assert_eq!(app.ask_redis(&["dbsize"]), "1\n");
}

#[test]
fn nothing_but_the_page_counts() {
    let redis = RedisServer::start();
    let app = App::start(redis.port);
    assert_eq!(app.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(app.get("/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(app.get("/favicon.ico").0, 404);
    assert_eq!(app.request("POST / HTTP/1.1").0, 405);
    assert_eq!(app.ask_redis(&["get", "count"]), "(nil)\n");
}

#[test]
fn a_page_without_redis_says_so_and_recovers_with_it() {
    let port = free_port();
    let app = App::start(port);
    let (status, body) = app.get("/");
    assert_eq!(status, 503);
    assert!(
        body.starts_with(&format!("cannot count in redis 127.0.0.1:{port}: ")),
        "{body}"
    );
    assert!(body.contains("refused"), "the cause must be told: {body}");
    assert_eq!(app.get("/healthz").0, 200, "it runs all the same");
    let (status, body) = app.get("/readyz");
    assert_eq!(status, 503);
    assert!(
        body.starts_with(&format!("no redis at 127.0.0.1:{port}: ")),
        "{body}"
    );

    let _redis = RedisServer::start_on(port);
    assert_eq!(app.get("/").0, 200);
}

#[test]
fn an_error_of_redis_is_shown() {
    let redis = RedisServer::start();
    let app = App::start(redis.port);
    assert_eq!(app.ask_redis(&["set", "count", "many"]), "OK\n");
    let (status, body) = app.get("/");
    assert_eq!(status, 503);
    assert!(body.contains("not an integer"), "{body}");
}

#[test]
fn a_termination_signal_is_handled_and_ends_it_at_once() {
    let round = |_| {
        let mut app = App::start(free_port());
        let sent = Instant::now();
        let status = app.terminate();
        // A process that the signal killed for want of a handler would have no exit code, and as
        // process 1 of a container it would not end at all.
        assert_eq!(status.code(), Some(0));
        sent.elapsed()
    };
    // In another round somebody else may have had the cores.
    let mut rounds = (0..3).map(round);
    assert!(rounds.any(|took| took < Duration::from_secs(1)));
}

#[test]
fn an_unknown_command_is_refused_with_the_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_walk-app"))
        .arg("redis")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: "));
}

/// The program under test; killed when dropped.
struct App {
    process: Child,
    port: u16,
    redis_port: u16,
}

impl App {
    fn start(redis_port: u16) -> Self {
        let mut process = walk_app(redis_port).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut log = BufReader::new(process.stdout.take().unwrap());
        log.read_line(&mut line).unwrap();
        let port = line
            .strip_prefix("serving port ")
            .and_then(|rest| rest.split(',').next());
        let port = port
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{line}"));
        // Lines that nobody reads would fill the pipe and stop the program.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            port,
            redis_port,
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.request(&format!("GET {path} HTTP/1.1"))
    }

    fn request(&self, line: &str) -> (u16, String) {
        let mut stream = connect(self.port);
        write!(stream, "{line}\r\nHost: test\r\nUser-Agent: test\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{head}"
        );
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    fn ask_redis(&self, command: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = walk_app(self.redis_port)
            .arg("redis")
            .args(command)
            .output()
            .unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn terminate(&mut self) -> ExitStatus {
        let kill = Command::new("kill")
            .arg(self.process.id().to_string())
            .status()
            .unwrap();
        assert!(kill.success());
        self.process.wait().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A redis-server without a database on disk; killed when dropped.
struct RedisServer {
    process: Child,
    port: u16,
}

impl RedisServer {
    fn start() -> Self {
        Self::start_on(free_port())
    }

    fn start_on(port: u16) -> Self {
        let process = Command::new(ferrolb_tests::debian::program("redis-server"))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("make setup brings redis-server");
        let server = Self { process, port };
        drop(connect(port));
        server
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn walk_app(redis_port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walk-app"));
    command.env("PORT", "0");
    command
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PORT", redis_port.to_string());
    command
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Connects as soon as somebody listens.
fn connect(port: u16) -> TcpStream {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let started = Instant::now();
    loop {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                return stream;
            }
            Err(error) => {
                assert!(
                    started.elapsed() < DEADLINE,
                    "nobody listens on {address}: {error}"
                );
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a closed port tells nobody when it opens"
                )]
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
