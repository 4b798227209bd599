//! The page of the reference walk: counts its visits in redis and says who served whom.
//!
//! `walk-app` serves the page. `walk-app redis WORD…` asks the same redis by the same name, so that
//! `kubectl exec` can look at the count although the image holds nothing but this program.
//!
//! Variables: `REDIS_HOST` (default `redis`), `REDIS_PORT` (6379), `PORT` (3000).

mod page;
mod redis;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{env, thread};

use page::Page;
use redis::Redis;

/// Requests in work at the same time; further ones wait in the listener's queue.
const WORKERS: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] => serve(),
        ["redis", command @ ..] if !command.is_empty() => ask(command),
        _ => {
            complain("usage: walk-app | walk-app redis COMMAND [ARGUMENT]…");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends the process.
fn serve() -> Result<(), String> {
    quit_on_signals().map_err(|error| format!("cannot handle signals: {error}"))?;
    let page = Page {
        redis: redis_from_env()?,
        pod: host_name(),
    };
    let port = number_from_env("PORT", 3000)?;
    let listener =
        listen(port).map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let port = listener.local_addr().map_or(port, |address| address.port());
    log(format!(
        "serving port {port}, counting in redis {}",
        page.redis
    ));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| page.serve(&listener));
        }
    });
    Ok(())
}

/// Asks redis once and prints its answer.
fn ask(command: &[&str]) -> Result<(), String> {
    let redis = redis_from_env()?;
    let reply = redis
        .ask(command)
        .map_err(|error| format!("redis {redis}: {error}"))?;
    log(reply);
    Ok(())
}

/// Ends the process at once. In a container it is process 1, which the kernel shields from every
/// signal that it does not handle.
fn quit_on_signals() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&always))?;
    }
    Ok(())
}

/// Both families by one socket; IPv4 alone on a machine without IPv6.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

fn redis_from_env() -> Result<Redis, String> {
    Ok(Redis {
        host: env::var("REDIS_HOST").unwrap_or_else(|_| "redis".to_owned()),
        port: number_from_env("REDIS_PORT", 6379)?,
    })
}

fn number_from_env(name: &str, default: u16) -> Result<u16, String> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}={text} is not a port number")),
    }
}

/// The pod's name: Kubernetes makes it the host name.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// One line on standard output. A reader that has gone away is no reason to stop serving.
fn log(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "{error}");
}
