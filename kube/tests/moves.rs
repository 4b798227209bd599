//! The monitoring port of a node that gets another address.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{apart, get};
use ferrolb_kube::admin::{Pages, Readiness, Rendering, Server};
use tokio::sync::watch;

const SOON: Duration = Duration::from_secs(10);

/// Within 127.0.0.0/8, of this test alone.
fn node(host: u8) -> IpAddr {
    let [.., a, b] = std::process::id().to_be_bytes();
    [127, a | 0x80, b, host].into()
}

fn is_served(at: SocketAddr) -> bool {
    get(at, "/healthz", SOON).is_ok_and(|answer| answer.ends_with("ok\n"))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what}");
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing tells when a socket of another thread listens"
        )]
        thread::sleep(Duration::from_millis(20));
    }
}

/// A kubelet's probes go to the loopback interface, and are answered all the while.
#[test]
fn it_is_served_at_the_nodes_address_of_the_moment_and_on_the_loopback_interface() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    // No interface has it: as after a restart with an address that is out of date.
    let gone = IpAddr::from([192, 0, 2, 1]);
    let (at, moves) = watch::channel(Some(gone));
    let (tell, told) = mpsc::channel();
    apart(async move || {
        let server = Server::bind(Some(gone), port, Vec::new()).await.unwrap();
        tell.send(()).unwrap();
        let metrics = Rendering::new("text/plain", |_| Ok(()));
        let pages = Pages::new(metrics, Readiness::default(), common::Status);
        server.serve_at(pages, moves).await;
    });
    told.recv_timeout(SOON).unwrap();
    let [first, second] = [1, 2].map(|host| SocketAddr::new(node(host), port));
    let probe = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    assert!(is_served(probe), "before the node has any address");
    for (here, there) in [(first, second), (second, first)] {
        at.send_replace(Some(here.ip()));
        wait_until("not served at the new address", || is_served(here));
        assert!(!is_served(there), "still served at the old address");
        assert!(is_served(probe));
    }
    drop(at);
    assert!(
        is_served(second) && is_served(probe),
        "nobody says any more"
    );
}
